"""The booking service by itself: to whom its bookings belong. Its bff-consumer confirms everything."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

from ghasi_handoff import KeyRing, Minter
from ghasi_handoff.demo.booking import DemoBookingSettings, create_app
from ghasi_handoff.testing import FakeConsumer, HandoffBrowser
from tests.minter_and_verifier import STAY

ORIGIN = "https://booking.example"
SESSION = "__Host-session"
QUOTED = STAY.model_copy(update={"currency": "EUR", "quoted_total_minor": 45900})


class Site:
    """The service, and who mints for it."""

    def __init__(self, folder: Path, consumer_url: str) -> None:
        keys = KeyRing.generate()
        self._minter = Minter(keys, issuer="bff-consumer", audience="bff-tenant-booking")
        self.app = create_app(
            DemoBookingSettings(
                keys=SecretStr(keys.to_json()),
                store_url=SecretStr(f"sqlite:///{folder / 'replay.db'}"),
                consumer_url=consumer_url,
                public_origin=ORIGIN,
                bookings_file=folder / "bookings.db",
            )
        )

    def link(self) -> str:
        """Where bff-consumer sends a guest with a new handoff."""
        return self._minter.mint(QUOTED, tenant="tn_aurora").url(f"{ORIGIN}/aurora/handoff")

    def booked(self, browser: HandoffBrowser) -> str:
        """The path of the booking that a browser got for a handoff of its own."""
        answer = browser.open_handoff(self.link())
        assert answer.status_code == 303
        location: str = answer.headers["Location"]
        return location


def with_cookie(app: ASGIApp, cookie: bytes) -> ASGIApp:
    """The application, asked by a browser for which a sibling subdomain has set one cookie more.

    A browser lets it: with a byte before it, the name is not the one that ``__Host-`` protects. Python trims that byte.
    """

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        sent = [value for name, value in scope["headers"] if name == b"cookie"]
        others = [(name, value) for name, value in scope["headers"] if name != b"cookie"]
        await app({**scope, "headers": [*others, (b"cookie", b"; ".join([*sent, cookie]))]}, receive, send)

    return asked


@pytest.fixture
def site(tmp_path: Path) -> Generator[Site]:
    with FakeConsumer() as consumer:
        yield Site(tmp_path, consumer.url)


def test_no_session_is_taken_over(site: Site) -> None:
    """A session that somebody else has planted under a lookalike name does not get to read the guest's booking."""
    with HandoffBrowser(site.app, ORIGIN) as planter:
        site.booked(planter)
        planted = planter.cookies()[SESSION]
        guest = HandoffBrowser(with_cookie(site.app, b"\xa0" + f"{SESSION}={planted}".encode("ascii")), ORIGIN)
        booking = site.booked(guest)
        assert planter.navigate(booking).status_code == 404
        assert guest.cookies()[SESSION] != planted


def test_an_earlier_booking_stays_readable(site: Site) -> None:
    """A browser that redeems a second handoff still reads the booking of the first."""
    with HandoffBrowser(site.app, ORIGIN) as guest:
        first, second = site.booked(guest), site.booked(guest)
        assert first != second
        assert [guest.navigate(booking).status_code for booking in (first, second)] == [200, 200]


def test_the_price_is_the_handoffs(site: Site) -> None:
    """What a guest adds to the landing page's form changes nothing: the booking is what was handed over."""
    wishes = {"quoted_total_minor": "1", "price": "1", "currency": "JPY", "adults": "9"}
    inputs = "".join(f'<input name="{name}" value="{value}">' for name, value in wishes.items())
    with HandoffBrowser(site.app, ORIGIN) as guest:
        landing = guest.navigate(site.link())
        changed = landing.text.replace("</form>", f"{inputs}</form>")
        answer = guest.submit(httpx2.Response(200, headers=landing.headers, text=changed, request=landing.request))
        assert answer.status_code == 303
        assert b"price=1" in answer.request.content
        page = guest.navigate(answer.headers["Location"]).text
    assert "<dt>Price</dt><dd>459.00 EUR</dd>" in page
    assert "<dt>Adults</dt><dd>2</dd>" in page
