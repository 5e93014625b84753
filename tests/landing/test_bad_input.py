"""Tokens that are none, or in the wrong place: one answer for all of them, a reference that the log explains, no trace."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.handshake.services import AUDIENCE, ISSUER, STAY, TENANT

from ghasi_handoff import KeyRing, Minter
from ghasi_handoff._base64url import b64u_decode, b64u_encode
from ghasi_handoff._limits import MAX_FORM_BYTES

from .both_services import ARRIVES, FORM, KNOWN, OTHER_TENANT, SUBMITS, Answer, BothServices, Browser, endless


@pytest.fixture(autouse=True)
def _all_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ghasi_handoff")


def mint(services: BothServices, ring: KeyRing | None = None, ahead: int = 0, **options: Any) -> str:
    """A token of a minter that is a little wrong."""
    names = {"issuer": ISSUER, "audience": AUDIENCE, **options}
    tenant = names.pop("tenant", TENANT)
    minter = Minter(ring or services.keys, clock=lambda: services.clock.now + ahead, **names)
    return minter.mint(STAY, tenant=tenant).token


def tampered(token: str) -> str:
    """One bit of the body is another."""
    head, kid, body, mac = token.split(".")
    raw = bytearray(b64u_decode(body) or b"")
    raw[-3] ^= 1
    return f"{head}.{kid}.{b64u_encode(bytes(raw))}.{mac}"


def strange_ring(services: BothServices, kid: str) -> KeyRing:
    """A ring that the booking side does not have; old enough to sign by the services' clock."""
    return KeyRing.generate(kid=kid, now=datetime.fromtimestamp(services.clock.now - 60, UTC))


def revoked_key(services: BothServices) -> str:
    now = datetime.fromtimestamp(services.clock.now, UTC)
    rotated = services.keys.rotate(kid="next", now=now)
    services.verifying = rotated.revoke("next", now=now)
    return mint(services, rotated, ahead=1000)


def retired_key(services: BothServices) -> str:
    token = mint(services)
    services.verifying = services.keys.rotate(kid="next", now=datetime.fromtimestamp(services.clock.now, UTC))
    services.clock.now += 2 * 3600
    return token


# name -> the code that only the log may tell, and how to come by such a token.
TOKENS: dict[str, tuple[str, Callable[[BothServices], str]]] = {
    "empty": ("malformed", lambda services: ""),
    "nonsense": ("malformed", lambda services: "nonsense"),
    "two parts": ("malformed", lambda services: "ghasi1.k"),
    "another version": ("malformed", lambda services: services.issue().token.replace("ghasi1", "ghasi2")),
    "upper case": ("malformed", lambda services: services.issue().token.replace("ghasi1", "GHASI1")),
    "a space behind": ("malformed", lambda services: services.issue().token + " "),
    "cut short": ("malformed", lambda services: services.issue().token[:-1]),
    "no ASCII": ("malformed", lambda services: services.issue().token + "é"),
    "too long": ("malformed", lambda services: "ghasi1.k." + "A" * 5000 + "." + "A" * 43),
    "a foreign key": ("unknown_key", lambda services: mint(services, strange_ring(services, "foreign"))),
    "a revoked key": ("revoked_key", revoked_key),
    "a retired key": ("retired_key", retired_key),
    "a forged signature": (
        "invalid_mac",
        lambda services: mint(services, strange_ring(services, services.issue().kid)),
    ),
    "a body tampered with": ("invalid_mac", lambda services: tampered(services.issue().token)),
    "another issuer": ("wrong_issuer", lambda services: mint(services, issuer="bff-other")),
    "another audience": ("wrong_audience", lambda services: mint(services, audience="bff-other")),
    "another tenant": ("wrong_tenant", lambda services: services.issue(OTHER_TENANT).token),
    "from the future": ("not_yet_valid", lambda services: mint(services, ahead=60)),
    "valid for too long": ("lifetime_too_long", lambda services: mint(services, lifetime=timedelta(hours=1))),
}


def explained(caplog: pytest.LogCaptureFixture, answer: Answer, code: str, token: str) -> None:
    """The log's message holds the reference that the page shows, and says why; no line holds the token's MAC."""
    (record,) = [r for r in caplog.records if answer.reference in r.getMessage()]
    extra: Any = record
    assert (extra.handoff_reference, extra.handoff_code, extra.handoff_status) == (
        answer.reference,
        code,
        answer.status,
    )
    assert code in record.getMessage()
    mac = token.rpartition(".")[2]
    assert len(mac) < 43 or not any(mac in str(vars(r)) for r in caplog.records)


class TestTokens:
    @pytest.mark.parametrize("name", TOKENS)
    def test_each_gets_the_one_answer(
        self, services: BothServices, caplog: pytest.LogCaptureFixture, name: str
    ) -> None:
        """400, byte for byte the answer to no token at all but for reference and nonce, for GET and POST; the log knows."""
        code, make = TOKENS[name]
        token = make(services)
        before = services.rows()
        guest = Browser(services, cookie=b64u_encode(b"G" * 32))
        wanted = services.plain()
        assert wanted.status == 400
        for answer in (services.browser().get(token), guest.get(token), guest.post(token)):
            assert answer.uniform == wanted.uniform
            explained(caplog, answer, code, token)
        assert (services.rows(), services.consumer.requests, services.redemptions) == (before, [], [])

    def test_a_token_of_another_site_still_works_there(self, services: BothServices) -> None:
        """Refused at one hotel's site, it is not used up for its own."""
        token = services.issue(OTHER_TENANT).token
        guest = services.browser()
        assert guest.get(token).status == 400
        assert guest.get(token, site="borealis").status == 200
        assert guest.post(token, site="borealis").status == 303

    def test_the_host_needs_no_way_back_for_uniformity(self, services: BothServices) -> None:
        """Other languages are as uniform as English."""
        german = (*ARRIVES, ("Accept-Language", "de"))
        pages = {
            services.browser().get(TOKENS[name][1](services), german).uniform for name in ("nonsense", "another tenant")
        }
        assert len(pages) == 1


class TestPlaces:
    def ask_all(self, services: BothServices, token: str) -> Iterable[Answer]:
        """The token everywhere but where it belongs; each time with a cookie and the right origin."""
        form, json = ("Content-Type", FORM), ("Content-Type", "application/json")
        path, body, here = "/aurora/handoff", f"handoff={token}".encode(), (*SUBMITS, KNOWN)
        yield services.ask("GET", path, (*here, ("Authorization", f"Bearer {token}")))
        yield services.ask("GET", path, (*here, ("X-Handoff", token), ("Handoff", token)))
        yield services.ask("GET", path, (*SUBMITS, ("Cookie", f"{KNOWN[1]}; handoff={token}")))
        yield services.ask("GET", path, (*here, form), body)
        yield services.ask("GET", f"{path}?Handoff={token}", here)
        yield services.ask("GET", f"{path}?handoff[]={token}", here)
        yield services.ask("GET", f"{path}?handoff={token}&handoff={token}", here)
        yield services.ask("GET", f"{path}?handoff={token}&handoff=", here)
        yield services.ask("GET", f"{path}?handoff={token}&h%61ndoff={token}", here)
        yield services.ask("GET", f"{path}?{'a=b&' * 100}handoff={token}", here)
        yield services.ask("GET", f"{path}?handoff%3D{token}", here)
        yield services.ask("GET", f"{path}?{token}", here)
        yield services.ask("GET", f"{path}?x=1#handoff={token}".encode(), here)
        yield services.ask("GET", f"{path}?\xff={token}".encode("latin-1"), here)
        yield services.ask("GET", f"{path}?handoff=\xff{token}".encode("latin-1"), here)
        yield services.ask("POST", path, (*here, form))
        yield services.ask("POST", f"{path}?handoff={token}", (*here, form))
        yield services.ask("POST", f"{path}?handoff={token}", (*here, form), body)
        yield services.ask("POST", f"{path}?handoff=", (*here, form), body)
        yield services.ask("POST", f"{path}?{'a=b&' * 100}handoff={token}", (*here, form), body)
        yield services.ask("POST", path, (*here, form, ("Authorization", f"Bearer {token}"), ("X-Handoff", token)))
        yield services.ask("POST", path, (*SUBMITS, form, ("Cookie", f"{KNOWN[1]}; handoff={token}")))
        yield services.ask("POST", path, (*here, json), f'{{"handoff":"{token}"}}'.encode())
        yield services.ask("POST", path, (*here, form), f'{{"handoff":"{token}"}}'.encode())
        yield services.ask("POST", path, (*here, form), body + b"&" + body)
        yield services.ask("POST", path, (*here, form), body + b"&handoff=")
        yield services.ask("POST", path, (*here, form), b"a=b&" * 100 + body)
        yield services.ask("POST", path, (*here, form), b"\xff" + body)
        yield services.ask("POST", path, here, body)

    def test_in_the_wrong_place_it_is_not_seen(self, services: BothServices, caplog: pytest.LogCaptureFixture) -> None:
        """Query of the POST, header, JSON, cookie, another name, twice: the one answer, and nothing is redeemed."""
        token = services.issue().token
        before, wanted = services.rows(), services.plain()
        count = 0
        for answer in self.ask_all(services, token):
            count += 1
            assert answer.uniform == wanted.uniform, count
            explained(caplog, answer, "malformed", token)
        assert count == 29
        assert (services.rows(), services.consumer.requests, services.redemptions) == (before, [], [])


class TestSize:
    def post(self, services: BothServices, body: Any, *more: tuple[str, str]) -> Answer:
        return services.ask("POST", "/aurora/handoff", (*SUBMITS, KNOWN, ("Content-Type", FORM), *more), body)

    def test_the_longest_form_is_read(self, services: BothServices) -> None:
        """One of exactly the limit, in pieces of a byte, is a form; one byte more is none."""
        start = f"handoff={services.issue().token}&x=".encode()
        body = start + b"y" * (MAX_FORM_BYTES - len(start))
        assert self.post(services, body + b"y").uniform == services.plain().uniform
        assert self.post(services, (bytes([byte]) for byte in body)).status == 303

    def test_nothing_is_read_for_a_stranger(self, services: BothServices) -> None:
        """Without the right origin, or a cookie, the body is not read at all."""
        for headers in ((("Sec-Fetch-Site", "cross-site"),), SUBMITS):
            answer = services.ask("POST", "/aurora/handoff", (*headers, ("Content-Type", FORM)), endless())
            assert answer.status in (400, 403) and answer.chunks_read == 0
