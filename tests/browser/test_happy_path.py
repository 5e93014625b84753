"""From the rooms to the booking, in every way that a guest may take."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from ghasi_handoff.handshake import HandoffState

from .chromium import expect
from .journeys import BOOKING, Arrivals, arrive, book
from .sites import Sites

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.thorough

# In it, a page that wanted to submit itself would have done so.
A_MOMENT = "new Promise(done => setTimeout(done, 300))"


def test_book_leads_to_the_booking(sites: Sites, page: Page, arrivals: Arrivals) -> None:
    """A guest presses Book once, and sees the booking of that room at the hotel's own site."""
    book(sites, page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your booking at Hotel Aurora")
    expect(page.get_by_role("main")).to_contain_text("rt_double")
    expect(page.get_by_role("main")).to_contain_text("459.00 EUR")
    assert [(arrival.method, arrival.status) for arrival in arrivals("booking", path="/handoff")] == [
        ("GET", 200),
        ("POST", 303),
    ]


def test_without_javascript_there_is_a_button(sites: Sites, another: Callable[..., Page], arrivals: Arrivals) -> None:
    """Without JavaScript the guest presses one button more, and gets there as well."""
    page = another(java_script_enabled=False)
    page.goto(sites.consumer)
    page.get_by_role("button", name="Book").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your booking is ready")
    assert arrivals("booking", "POST") == []
    page.get_by_role("button", name="Continue to your booking").click()
    page.wait_for_url(BOOKING)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your booking at Hotel Aurora")


def test_keyboard_is_enough(sites: Sites, page: Page) -> None:
    """Tab and Enter lead from the rooms to the booking, and from a link to it."""
    page.goto(sites.consumer)
    focused = "document.activeElement.innerText"
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate(focused) == "Book":
            break
    page.keyboard.press("Enter")
    page.wait_for_url(BOOKING)

    page.goto(sites.link(sites.mint()))
    page.keyboard.press("Tab")
    assert page.evaluate(focused) == "Continue to your booking"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url(BOOKING)


def test_plain_http_on_loopback_works(another: Callable[..., Page], plain_sites: Sites) -> None:
    """The demo on 127.0.0.1, without TLS, leads to the booking, too."""
    page = another()
    book(plain_sites, page)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your booking at Hotel Aurora")


def test_looking_consumes_nothing(sites: Sites, page: Page, arrivals: Arrivals) -> None:
    """A link that is only opened, out of a mail say, shows a button; nothing is consumed until it is pressed."""
    minted = sites.mint()
    page.goto(sites.link(minted))
    expect(page.get_by_role("button", name="Continue to your booking")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Continue to your booking")).to_be_visible()
    assert sites.logged(minted).state is HandoffState.ISSUED
    assert sites.bookings(minted) == []
    assert arrivals("booking", "POST") == []
    page.get_by_role("button").click()
    page.wait_for_url(BOOKING)
    assert sites.logged(minted).state is HandoffState.CONSUMED


def test_refresh_of_the_booking_repeats_nothing(sites: Sites, page: Page, arrivals: Arrivals) -> None:
    """A refreshed booking page is the same booking; the form is not sent again."""
    minted = sites.mint()
    arrive(page, sites.link(minted))
    address = page.url
    page.reload()
    assert page.url == address
    expect(page.get_by_role("heading", level=1)).to_have_text("Your booking at Hotel Aurora")
    assert len(arrivals("booking", "POST")) == 1


def test_link_opened_again_is_the_same_booking(sites: Sites, page: Page) -> None:
    """The browser that redeemed a link may open it again, and finds the same booking."""
    minted = sites.mint()
    arrive(page, sites.link(minted))
    address = page.url
    arrive(page, sites.link(minted))
    assert page.url == address
    assert sites.bookings(minted) == [address.rpartition("/")[2]]


def test_back_leads_to_the_rooms(sites: Sites, page: Page, arrivals: Arrivals) -> None:
    """The booking takes the landing page's place in the history: one step back are the rooms, and no token is left."""
    book(sites, page)
    assert page.evaluate("navigation.entries().map(entry => entry.url)") == [page.url]
    _walk(page, -1)
    expect(page.get_by_role("heading", level=1)).to_have_text("Rooms for your journey")
    _walk(page, 1)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your booking at Hotel Aurora")
    assert len(arrivals("booking", "POST")) == 1


def test_back_to_the_landing_page_sends_nothing(
    sites: Sites, page: Page, context: BrowserContext, arrivals: Arrivals
) -> None:
    """Who goes back to a landing page that had submitted itself stays there; the button leads to the same booking."""
    minted = sites.mint()
    # In a background tab the page has loaded before it submits itself, so that it stays in the history.
    tab = _in_background(page, context, sites.said(sites.consumer, f'<a href="{sites.link(minted)}">room</a>'))
    tab.bring_to_front()
    tab.wait_for_url(BOOKING)
    address = tab.url
    _walk(tab, -1)
    expect(tab.get_by_role("heading", level=1)).to_have_text("Your booking is ready")
    assert arrivals("booking", "GET", "/handoff")[-1].header("sec-fetch-site") == "cross-site"
    tab.evaluate(A_MOMENT)
    assert len(arrivals("booking", "POST")) == 1
    tab.get_by_role("button").click()
    tab.wait_for_url(address)


def test_double_click_makes_one_booking(sites: Sites, page: Page) -> None:
    """A double click on the button ends on the booking, and there is one."""
    minted = sites.mint()
    page.goto(sites.link(minted))
    page.get_by_role("button").dblclick()
    page.wait_for_url(BOOKING)
    assert sites.bookings(minted) == [page.url.rpartition("/")[2]]


def test_double_click_on_book_ends_on_a_booking(sites: Sites, page: Page) -> None:
    """A double click on Book ends on a booking as well."""
    page.goto(sites.consumer)
    page.get_by_role("button", name="Book").first.dblclick()
    page.wait_for_url(BOOKING)
    expect(page.get_by_role("heading", level=1)).to_have_text("Your booking at Hotel Aurora")


def test_two_tabs_are_one_browser(sites: Sites, context: BrowserContext) -> None:
    """A link in two tabs of a browser, both open before either redeems, is one booking that both may read."""
    minted = sites.mint()
    tabs = [context.new_page() for _ in range(2)]
    for tab in tabs:
        tab.goto(sites.link(minted))
    for tab in tabs:
        tab.evaluate("void setTimeout(() => document.forms[0].requestSubmit())")
    for tab in tabs:
        tab.wait_for_url(BOOKING)
    for tab in tabs:
        tab.reload()
        expect(tab.get_by_role("heading", level=1)).to_have_text("Your booking at Hotel Aurora")
    assert sites.bookings(minted) == [tabs[0].url.rpartition("/")[2]]
    assert tabs[0].url == tabs[1].url


def test_second_browser_is_told_so(sites: Sites, page: Page, another: Callable[..., Page], arrivals: Arrivals) -> None:
    """A link that one browser has redeemed is a 409 in another, with a way to start again; bff-consumer is not asked."""
    minted = sites.mint()
    arrive(page, sites.link(minted))
    second = another()
    second.goto(sites.link(minted))
    with second.expect_response("**/aurora/handoff") as answer:
        second.get_by_role("button").click()
    assert answer.value.status == 409
    expect(second.get_by_role("heading", level=1)).to_have_text("This link was already used")
    assert len(arrivals("consumer", "POST", "/consume")) == 1
    second.get_by_role("link", name="Start again").click()
    expect(second.get_by_role("heading", level=1)).to_have_text("Rooms for your journey")


def test_somebody_elses_booking_is_not_found(sites: Sites, page: Page, another: Callable[..., Page]) -> None:
    """The address of a booking page shows nothing in a browser that it does not belong to."""
    arrive(page, sites.link(sites.mint()))
    answer = another().goto(page.url)
    assert answer is not None and answer.status == 404


def test_background_tab_waits_until_it_is_seen(
    sites: Sites, page: Page, context: BrowserContext, arrivals: Arrivals
) -> None:
    """A link opened in a background tab is not redeemed before the guest looks at it; then it is, by itself."""
    minted = sites.mint()
    tab = _in_background(page, context, sites.said(sites.consumer, f'<a href="{sites.link(minted)}">room</a>'))
    assert tab.evaluate("document.visibilityState") == "hidden"
    tab.evaluate(A_MOMENT)
    assert arrivals("booking", "POST") == []
    assert sites.logged(minted).state is HandoffState.ISSUED
    tab.bring_to_front()
    tab.wait_for_url(BOOKING)


def test_referer_has_no_path(sites: Sites, page: Page, arrivals: Arrivals) -> None:
    """What leaves in Referer on the way is an origin and no more; the form says its Origin."""
    book(sites, page)
    (shown,), (posted,) = arrivals("booking", "GET", "/handoff"), arrivals("booking", "POST", "/handoff")
    (booking,) = [arrival for arrival in arrivals("booking", "GET") if "/booking/" in arrival.path]
    assert shown.header("referer") == f"{sites.consumer}/"
    assert posted.header("referer") == f"{sites.booking}/"
    assert posted.header("origin") == sites.booking
    assert booking.header("referer") == f"{sites.booking}/"


def _in_background(page: Page, context: BrowserContext, address: str) -> Page:
    """The tab that the one link of a page opens behind it."""
    page.goto(address)
    with context.expect_page() as opened:
        page.get_by_role("link").click(modifiers=["Control"])
    opened.value.wait_for_load_state()
    return opened.value


def _walk(page: Page, steps: int) -> None:
    """Back or forward; not page.go_back, which waits in vain where the page comes out of the back-forward cache."""
    page.evaluate("steps => void setTimeout(() => history.go(steps), 50)", steps)
