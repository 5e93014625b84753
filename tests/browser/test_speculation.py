"""Pages that a browser fetches before anybody has asked for them: speculation rules and ``<link rel=prefetch>``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ghasi_handoff.handshake import HandoffState

from .. import servers
from .apps import LOST_PURPOSE
from .chromium import connected, evaluate, expect, launched, open_tab, tabs
from .journeys import Arrivals
from .sites import Sites

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Playwright

pytestmark = pytest.mark.thorough


# What the browser says of a link that it fetches ahead in each way, and whose page can have it do so.
PURPOSES = {"prefetch": "prefetch", "prerender": "prefetch;prerender", "link": "prefetch"}
AHEAD = {
    "prefetch": ("consumer", "sibling", "booking"),
    "prerender": ("sibling", "booking"),
    "link": ("consumer", "booking"),
}


@pytest.mark.parametrize(("how", "who"), [(how, who) for how, pages in AHEAD.items() for who in pages])
def test_speculation_changes_nothing(
    sites: Sites, page: Page, context: BrowserContext, arrivals: Arrivals, who: str, how: str
) -> None:
    """A link fetched ahead is a 503 without a cookie, nothing is consumed; when the guest comes, it works."""
    minted = sites.mint()
    link = sites.link(minted)
    page.goto(sites.said(getattr(sites, who), f'{_ahead(how, link)}<a href="{link}">room</a>'))
    servers.wait_until(lambda: arrivals("booking", "GET", "/handoff") != [], "for the browser to fetch ahead")
    (ahead,) = arrivals("booking", "GET", "/handoff")
    assert ahead.header("sec-purpose") == PURPOSES[how]
    assert (ahead.status, ahead.set_cookies) == (503, [])
    assert context.cookies() == []
    assert sites.logged(minted).state is HandoffState.ISSUED

    page.get_by_role("link").click()
    if who == "booking":  # from the same origin, nobody has sent the guest: the page waits
        expect(page.get_by_role("heading", level=1)).to_have_text("Your booking is ready")
        page.get_by_role("button").click()
    page.wait_for_url("**/aurora/booking/*")
    assert arrivals("booking", "GET", "/handoff")[1].header("sec-purpose") is None
    assert len(sites.bookings(minted)) == 1


def test_prerendered_page_waits_to_be_seen(
    sites: Sites, playwright: Playwright, tmp_path: Path, arrivals: Arrivals
) -> None:
    """Where a proxy drops Sec-Purpose, the page is prerendered; it sends nothing, and works once the guest comes."""
    minted = sites.mint()
    link = f"{sites.link(minted)}&{LOST_PURPOSE}"
    goes_on = f"<script>setTimeout(() => {{ location = {json.dumps(link)} }}, 1500)</script>"
    with launched(tmp_path / "profile", trusted=sites.trusted) as address:
        open_tab(address, sites.said(sites.booking, _ahead("prerender", link) + goes_on))
        servers.wait_until(lambda: tabs(address) == [link, "about:blank"], "for the tab to go on")
        (arrival,) = arrivals("booking", path="/handoff")
        assert arrival.header("sec-purpose") == "prefetch;prerender"
        assert arrival.status == 200
        assert sites.logged(minted).state is HandoffState.ISSUED
        with connected(playwright, address) as browser:
            # It is the prerendered page that is shown: it was there long before the guest came.
            assert evaluate(browser, link, "performance.getEntriesByType('navigation')[0].activationStart") > 1000
            evaluate(browser, link, "document.querySelector('button').click()")
            servers.wait_until(lambda: "/aurora/booking/" in tabs(address)[0], "for the booking")


def _ahead(how: str, link: str) -> str:
    if how == "link":
        return f'<link rel="prefetch" href="{link}">'
    rules = {how: [{"urls": [link], "eagerness": "immediate"}]}
    return f'<script type="speculationrules">{json.dumps(rules)}</script>'
