"""What a guest sees who cannot go on, and how they get on when that passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from ghasi_handoff import KeyRing
from ghasi_handoff.handshake import HandoffState

from .. import servers
from .chromium import expect
from .journeys import BOOKING, Arrivals, arrive
from .sites import Sites

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.thorough

INVALID = "This link is not valid"


@dataclass(frozen=True)
class Case:
    """A link that is refused when it is opened."""

    link: Callable[[Sites], str]
    status: int
    title: str
    code: str


CASES = {
    "expired": Case(lambda sites: sites.link(sites.mint(age=400)), 410, "This link has expired", "expired"),
    "altered": Case(lambda sites: f"{sites.link(sites.mint())}.", 400, INVALID, "malformed"),
    "forged": Case(lambda sites: sites.link(sites.mint(keys=_ring_like(sites))), 400, INVALID, "invalid_mac"),
    "other hotel": Case(lambda sites: sites.link(sites.mint(), "borealis"), 400, INVALID, "wrong_tenant"),
    "no token": Case(lambda sites: f"{sites.booking}/aurora/handoff", 400, INVALID, "malformed"),
    "twice": Case(lambda sites: f"{sites.link(sites.mint())}&handoff=x", 400, INVALID, "malformed"),
    "no such hotel": Case(
        lambda sites: sites.link(sites.mint(), "nowhere"), 404, "There is no such site here", "unknown_tenant"
    ),
    "unknown key": Case(
        lambda sites: sites.link(sites.mint(keys=KeyRing.generate(kid="other"))), 400, INVALID, "unknown_key"
    ),
    "too early": Case(lambda sites: sites.link(sites.mint(age=-60)), 400, INVALID, "not_yet_valid"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_refusal(sites: Sites, page: Page, arrivals: Arrivals, case: Case) -> None:
    """A page says what to do, has a reference that the log explains, and sets nothing."""
    answer = page.goto(case.link(sites))
    assert answer is not None and answer.status == case.status
    expect(page.get_by_role("heading", level=1)).to_have_text(case.title)
    expect(page.get_by_role("button")).to_have_count(0)
    assert f"{page.locator('bdi').inner_text()} {case.code}" in sites.output("booking")
    assert arrivals("booking", "GET", "/handoff")[0].set_cookies == []
    page.get_by_role("link", name="Start again").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Rooms for your journey")
    assert arrivals("consumer", "GET", "/")[0].header("referer") == f"{sites.booking}/"


@pytest.mark.parametrize("case", ["expired", "no such hotel"])
def test_address_loses_the_token(sites: Sites, page: Page, case: str) -> None:
    """Where a refusal is for good, neither the address nor the history keeps the token."""
    link = CASES[case].link(sites)
    page.goto(link)
    assert page.url == link.partition("?")[0]
    assert page.evaluate("navigation.entries().map(entry => entry.url)") == [page.url]


@pytest.mark.parametrize("case", ["unknown key", "too early"])
def test_address_keeps_the_token(sites: Sites, page: Page, case: str) -> None:
    """Where clocks or key files may catch up, it stays: a reload needs it."""
    link = CASES[case].link(sites)
    page.goto(link)
    assert page.url == link


def test_without_javascript_start_again_tells_no_token(
    sites: Sites, another: Callable[..., Page], arrivals: Arrivals
) -> None:
    """Without JavaScript the address stays as it is; bff-consumer still gets none of it in Referer."""
    page = another(java_script_enabled=False)
    page.goto(CASES["expired"].link(sites))
    page.get_by_role("link", name="Start again").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Rooms for your journey")
    assert arrivals("consumer", "GET", "/")[0].header("referer") == f"{sites.booking}/"


def test_reload_after_a_refusal_that_passed(sites: Sites, page: Page) -> None:
    """A handoff whose time has not come is refused; a reload of the same page after that shows the form."""
    page.goto(sites.link(sites.mint(age=-12)))  # the leeway is 10 s
    expect(page.get_by_role("heading", level=1)).to_have_text(INVALID)

    def reloaded() -> bool:
        answer = page.reload()
        return answer is not None and answer.status == 200

    servers.wait_until(reloaded, "for the handoff's time")
    page.get_by_role("button", name="Continue to your booking").click()
    page.wait_for_url(BOOKING)


def test_revoked(sites: Sites, page: Page) -> None:
    """A handoff that was revoked between page and form is a 410, and makes no booking."""
    minted = sites.mint()
    page.goto(sites.link(minted))
    sites.log.revoke(minted.handoff_id)
    with page.expect_response("**/aurora/handoff") as answer:
        page.get_by_role("button").click()
    assert answer.value.status == 410
    expect(page.get_by_role("heading", level=1)).to_have_text("This link was cancelled")
    assert "ghasi1." not in page.url
    assert sites.bookings(minted) == []


def test_confirming_goes_on_by_itself(sites: Sites, page: Page, arrivals: Arrivals) -> None:
    """While bff-consumer does not answer, the page says so and tries again; when it does, the guest is sent on."""
    minted = sites.mint()
    page.goto(sites.said(sites.attacker, f'<a href="{sites.link(minted)}">room</a>'))
    # Halted, not killed: it is back at once, and the page tries for 20 seconds only.
    with sites.halted("consumer"):
        page.get_by_role("link").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Confirming your booking")
        expect(page.get_by_role("button", name="Try again")).to_be_visible()
        servers.wait_until(lambda: len(arrivals("booking", "POST")) > 1, "for the page to try again")
    page.wait_for_url(BOOKING)
    tries = arrivals("booking", "POST")
    assert [arrival.status for arrival in tries] == [503] * (len(tries) - 1) + [303]
    assert len(sites.bookings(minted)) == 1
    # Back leads to a page that was the answer to a form: the browser asks, and sends nothing by itself.
    from playwright.sync_api import Error as PlaywrightError

    with pytest.raises(PlaywrightError, match="ERR_CACHE_MISS"):
        page.go_back()
    assert len(arrivals("booking", "POST")) == len(tries)


@pytest.mark.usefixtures("consumer_comes_back")
def test_confirming_ends(sites: Sites, page: Page, arrivals: Arrivals) -> None:
    """After 20 seconds without bff-consumer the page stops to try, and offers to start again or to try once more."""
    minted = sites.mint()
    page.goto(sites.link(minted))
    sites.stop("consumer")
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Confirming your booking")
    # Not waited for: the form says since when it tries.
    since = page.locator("input[name=since]")
    since.evaluate("field => { field.value = Number(field.value) - 20 }")
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This is taking too long")
    expect(page.get_by_role("link", name="Start again")).to_be_visible()
    tries = len(arrivals("booking", "POST"))
    page.evaluate("new Promise(done => setTimeout(done, 2500))")
    assert len(arrivals("booking", "POST")) == tries
    sites.start("consumer")

    def pressed() -> bool:
        with page.expect_navigation():
            page.get_by_role("button", name="Try again").click()
        return "/aurora/booking/" in page.url

    servers.wait_until(pressed, "for bff-consumer to answer in time")


def test_locked_store(sites: Sites, page: Page, arrivals: Arrivals) -> None:
    """While the store gives no answer, nothing is opened and bff-consumer is not asked; then the page goes on."""
    minted = sites.mint()
    page.goto(sites.link(minted))
    with sites.locked_store():
        page.get_by_role("button").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Not available right now")
        assert arrivals("consumer") == []
        assert sites.logged(minted).state is HandoffState.ISSUED
    page.wait_for_url(BOOKING)


def test_logs_hold_no_token(sites: Sites, page: Page) -> None:
    """What the services have logged until now, access logs included, holds no token and no cookie."""
    minted = sites.mint()
    arrive(page, sites.link(minted))
    logged = sites.output("booking") + sites.output("consumer")
    assert "/aurora/handoff?[hidden]" in logged
    assert "ghasi1." not in logged
    assert "__Host-" not in logged


def _ring_like(sites: Sites) -> KeyRing:
    """A ring with the same kid and another secret."""
    return KeyRing.generate(kid=sites.ring.keys[0].kid, now=sites.ring.keys[0].created_at)
