"""The cookie: what a browser keeps of it, who gets it, and what a sibling subdomain can do about it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ghasi_handoff.handshake import HandoffState

from .chromium import chromium, expect
from .conftest import Trace
from .journeys import BOOKING, Arrivals
from .sites import Sites

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page, Playwright

pytestmark = pytest.mark.thorough

COOKIE = "__Host-ghasi_handoff"


def test_each_attribute_is_as_designed(sites: Sites, page: Page, context: BrowserContext) -> None:
    """The browser keeps it for the one host, every path and 64 minutes; Secure, HttpOnly, SameSite=Lax."""
    page.goto(sites.link(sites.mint()))
    (cookie,) = context.cookies()
    lasts = cookie.pop("expires", 0) - time.time()
    assert len(cookie.pop("value", "")) == 43
    assert cookie == {
        "name": COOKIE,
        "domain": "booking.hotels.test",
        "path": "/",
        "httpOnly": True,
        "secure": True,
        "sameSite": "Lax",
    }
    assert 3780 < lasts <= 3840


def test_no_script_can_read_it(sites: Sites, page: Page) -> None:
    """A script of the booking site does not see the cookie."""
    page.goto(sites.link(sites.mint()))
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("cookieStore.getAll()") == []


def test_it_stays_when_it_is_there(sites: Sites, page: Page, context: BrowserContext) -> None:
    """A second handoff finds the cookie of the first, sent across sites, and leaves its value as it is."""
    page.goto(sites.link(sites.mint()))
    before = context.cookies()[0].get("value")
    page.goto(sites.said(sites.consumer, f'<a href="{sites.link(sites.mint())}">room</a>'))
    page.get_by_role("link").click()
    page.wait_for_url(BOOKING)
    assert [cookie.get("value") for cookie in context.cookies() if cookie.get("name") == COOKIE] == [before]


def test_a_sibling_does_not_get_it(sites: Sites, page: Page, arrivals: Arrivals) -> None:
    """A page of a sibling subdomain is not sent the cookie."""
    page.goto(sites.link(sites.mint()))
    page.goto(sites.said(sites.sibling, "sibling"))
    assert arrivals("strangers", "GET", "/said")[0].cookies == []


@pytest.mark.parametrize(
    "line",
    [
        f"{COOKIE}={'A' * 43}; Domain=hotels.test; Path=/; Secure",
        f"{COOKIE.lower()}={'A' * 43}; Domain=hotels.test; Path=/; Secure",
        f"={COOKIE}={'A' * 43}; Domain=hotels.test; Path=/; Secure",
        f"{COOKIE}\t={'A' * 43}; Domain=hotels.test; Path=/; Secure",
    ],
    ids=["same name", "other case", "no name", "tab"],
)
def test_a_sibling_cannot_set_it(sites: Sites, page: Page, arrivals: Arrivals, line: str) -> None:
    """The prefix's promise, kept by the browser: no cookie for the whole domain has the name, however it is spelt."""
    page.goto(sites.said(sites.sibling, "sibling", f"Set-Cookie: {line}"))
    page.evaluate("line => { document.cookie = line }", line)
    page.goto(sites.link(sites.mint()))
    assert arrivals("booking", "GET", "/handoff")[0].cookies == []
    page.get_by_role("button").click()
    page.wait_for_url(BOOKING)


@pytest.mark.parametrize("name", ["__Host%2Dghasi_handoff", "%5f%5fHost-ghasi_handoff", "__\uff28ost-ghasi_handoff"])
def test_a_lookalike_is_refused(
    sites: Sites, page: Page, context: BrowserContext, arrivals: Arrivals, name: str
) -> None:
    """A sibling's cookie that careless readers would take for it arrives, is refused, and nothing changes."""
    minted = sites.mint()
    page.goto(sites.said(sites.sibling, "sibling"))
    page.evaluate("line => { document.cookie = line }", f"{name}={'A' * 43}; domain=hotels.test; path=/; secure")
    answer = page.goto(sites.link(minted))
    assert arrivals("booking", "GET", "/handoff")[0].cookies == [name.encode().decode("latin-1")]
    assert answer is not None and answer.status == 403
    expect(page.get_by_role("button")).to_have_count(0)
    assert [cookie.get("name") for cookie in context.cookies()] == [name]
    assert sites.logged(minted).state is HandoffState.ISSUED


def test_a_lookalike_between_page_and_form_is_refused(
    sites: Sites, page: Page, context: BrowserContext, arrivals: Arrivals
) -> None:
    """A lookalike that a sibling sets while the guest reads the landing page is refused at the POST; nothing changes."""
    minted = sites.mint()
    page.goto(sites.link(minted))
    sibling = context.new_page()
    sibling.goto(
        sites.said(
            sites.sibling, "", f"Set-Cookie: __Host%2Dghasi_handoff={'A' * 43}; Domain=hotels.test; Secure; Path=/"
        )
    )
    page.bring_to_front()
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This page cannot be opened like this")
    assert [arrival.status for arrival in arrivals("booking", "POST")] == [403]
    assert sites.logged(minted).state is HandoffState.ISSUED


def test_blocked_cookies_are_said(
    sites: Sites, playwright: Playwright, tmp_path: Path, trace: Trace, arrivals: Arrivals
) -> None:
    """A guest whose browser blocks cookies is told that one is needed, and nothing is consumed."""
    minted = sites.mint()
    preferences = {"profile": {"default_content_setting_values": {"cookies": 2}}}
    with chromium(playwright, tmp_path / "profile", trusted=sites.trusted, preferences=preferences) as browser:
        context = browser.contexts[0]
        trace.follow(context)
        page = context.new_page()
        page.goto(sites.said(sites.consumer, f'<a href="{sites.link(minted)}">room</a>'))
        page.get_by_role("link").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("Cookies are needed")
        assert "ghasi1." not in page.url
    assert [(arrival.status, arrival.cookies) for arrival in arrivals("booking", "POST")] == [(400, [])]
    assert sites.logged(minted).state is HandoffState.ISSUED
