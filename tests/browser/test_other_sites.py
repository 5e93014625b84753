"""What other sites try with a link: frames, forms, fetches; and what bff-consumer's own policy can break."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ghasi_handoff.handshake import HandoffState

from .. import servers
from .chromium import expect
from .conftest import Trace
from .journeys import Arrivals
from .sites import Sites

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

pytestmark = pytest.mark.thorough

A_MOMENT = "new Promise(done => setTimeout(done, 300))"
OTHERS = ["attacker", "sibling"]


@pytest.mark.parametrize("who", OTHERS)
@pytest.mark.parametrize("tag", ["iframe src", "embed src", "object data"])
def test_framed_page_is_refused(
    sites: Sites, page: Page, context: BrowserContext, trace: Trace, arrivals: Arrivals, who: str, tag: str
) -> None:
    """In a frame of another site there is no form, no cookie, and nothing to be seen."""
    minted = sites.mint()
    trace.provoked = "frame-ancestors"
    page.goto(sites.said(getattr(sites, who), f'<{tag}="{sites.link(minted)}"></{tag.split()[0]}>'))
    servers.wait_until(lambda: arrivals("booking") != [], "for the frame")
    page.evaluate(A_MOMENT)
    (arrival,) = arrivals("booking")
    assert (arrival.status, arrival.set_cookies) == (403, [])
    # Not even the refusal is shown: the browser puts an error page of its own in its place.
    assert [frame.url for frame in page.frames[1:] if not frame.url.startswith("chrome-error:")] == []
    assert context.cookies() == []
    assert sites.logged(minted).state is HandoffState.ISSUED


@pytest.mark.parametrize("path", ["/aurora/booking/0", "/aurora/handoff"])
def test_no_page_of_the_booking_site_can_be_framed(
    sites: Sites, page: Page, trace: Trace, arrivals: Arrivals, path: str
) -> None:
    """The browser itself keeps every page of the booking site out of frames, whatever its status."""
    trace.provoked = "frame-ancestors"
    with page.expect_console_message(lambda message: "frame-ancestors" in message.text):
        page.goto(sites.said(sites.attacker, f'<iframe src="{sites.booking}{path}"></iframe>'))
    page.evaluate(A_MOMENT)
    assert len(arrivals("booking")) == 1
    assert page.frames[1].url.startswith("chrome-error:")


@pytest.mark.parametrize("who", OTHERS)
def test_form_of_another_site_is_refused(
    sites: Sites, page: Page, context: BrowserContext, arrivals: Arrivals, who: str
) -> None:
    """A token that another site posts is a 403, even from a guest who has the cookie; nothing changes."""
    page.goto(sites.link(sites.mint()))
    before = context.cookies()
    minted = sites.mint()
    page.goto(
        sites.said(
            getattr(sites, who),
            f'<form method="post" action="{sites.booking}/aurora/handoff">'
            f'<input name="handoff" value="{minted.token}"><button>Win</button></form>',
        )
    )
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("This page cannot be opened like this")
    (posted,) = arrivals("booking", "POST")
    assert (posted.status, posted.set_cookies) == (403, [])
    # SameSite=Lax: another site's form is sent without it. A sibling's is of the same site.
    assert posted.cookies == ([] if who == "attacker" else ["__Host-ghasi_handoff"])
    assert context.cookies() == before
    assert sites.logged(minted).state is HandoffState.ISSUED
    assert sites.bookings(minted) == []


@pytest.mark.parametrize(
    "attempt",
    [
        "url => fetch(url, {mode: 'no-cors', credentials: 'include'}).catch(() => null)",
        "url => fetch(url).catch(() => null)",
        "url => fetch(url, {method: 'HEAD', mode: 'no-cors', credentials: 'include'}).catch(() => null)",
        "url => new Promise(done => { const image = new Image(); image.onerror = done; image.src = url })",
    ],
    ids=["fetch with cookies", "fetch with CORS", "HEAD", "image"],
)
def test_fetch_of_another_site_changes_nothing(
    sites: Sites, page: Page, context: BrowserContext, arrivals: Arrivals, attempt: str
) -> None:
    """A link that another site's page loads as something else than a page consumes nothing and leaves no cookie."""
    minted = sites.mint()
    page.goto(sites.said(sites.attacker, "attacker"))
    page.evaluate(attempt, sites.link(minted))
    assert len(arrivals("booking")) == 1
    assert context.cookies() == []
    assert sites.logged(minted).state is HandoffState.ISSUED


def test_posting_fetch_of_another_site_is_refused(sites: Sites, page: Page, arrivals: Arrivals) -> None:
    """A token that another site's script posts is a 403; nothing changes."""
    minted = sites.mint()
    page.goto(sites.link(minted))
    page.goto(sites.said(sites.sibling, "sibling"))
    page.evaluate(
        "([url, token]) => fetch(url, {method: 'POST', mode: 'no-cors', credentials: 'include',"
        " body: new URLSearchParams({handoff: token})})",
        [f"{sites.booking}/aurora/handoff", minted.token],
    )
    assert [arrival.status for arrival in arrivals("booking", "POST")] == [403]
    assert sites.logged(minted).state is HandoffState.ISSUED


def test_consumer_policy_must_name_the_booking_site(sites: Sites, page: Page, trace: Trace, arrivals: Arrivals) -> None:
    """Under ``form-action 'self'`` on bff-consumer's page, Chromium stops the 303: the guest stays where they were."""
    trace.provoked = "form-action"
    page.goto(f"{sites.consumer}/?form-action=self")
    with page.expect_console_message(lambda message: "form-action" in message.text):
        page.get_by_role("button", name="Book").first.click()
    assert [arrival.status for arrival in arrivals("consumer", "POST")] == [303]
    assert arrivals("booking") == []


def test_consumer_policy_with_the_booking_site(sites: Sites, page: Page, arrivals: Arrivals) -> None:
    """With the booking origin in ``form-action`` the same page leads to the booking."""
    page.goto(sites.consumer)
    policy = dict(arrivals("consumer", "GET")[0].sent)["content-security-policy"]
    assert "default-src 'none'" in policy
    assert f"form-action 'self' {sites.booking};" in policy
    page.get_by_role("button", name="Book").first.click()
    page.wait_for_url("**/aurora/booking/*")
