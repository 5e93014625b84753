"""The test browser against a small landing page: it brings what Chromium brings, and keeps what Chromium keeps."""

from __future__ import annotations

import re
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import pytest
from httpx2 import Response as Answer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from ghasi_handoff import ConfigurationError
from ghasi_handoff.testing import FrozenClock, HandoffBrowser

COOKIE = "__Host-ghasi_handoff"
FORM = '<form method="post" action="handoff"><input type="hidden" name="handoff" value="{}"><button>Go</button></form>'
URL = "/aurora/handoff?handoff=ghasi1.k.b.m"


async def show(request: Request) -> Response:
    """The landing page, as the library's router makes it."""
    token = request.query_params["handoff"]
    if token == "refused":
        return HTMLResponse("<h1>This link is not valid</h1>", 400)
    secret = request.cookies.get(COOKIE) or secrets.token_urlsafe(32)
    response = HTMLResponse(FORM.format(token), headers={"Referrer-Policy": "strict-origin"})
    response.headers["Set-Cookie"] = f"{COOKIE}={secret}; Max-Age=3840; Path=/; Secure; HttpOnly; SameSite=Lax"
    return response


async def redeem(request: Request) -> Response:
    """What the form leads to."""
    if request.headers["Sec-Fetch-Site"] != "same-origin" or request.headers["Origin"] != "https://testserver":
        return PlainTextResponse("forged", 403)
    if not re.fullmatch("[A-Za-z0-9_-]{43}", request.cookies.get(COOKIE, "")):
        return PlainTextResponse("cookies are needed", 400)
    assert await request.body() == b"handoff=ghasi1.k.b.m"
    return RedirectResponse("/aurora/booking", 303)


async def echo(request: Request) -> Response:
    """The request's headers; the query says what is answered."""
    asked = request.query_params
    response: Response = PlainTextResponse(f"{request.method} {(await request.body()).decode()}")
    if "to" in asked:
        response = RedirectResponse(asked["to"], int(asked.get("status", "303")))
    if "html" in asked and request.method == "GET":
        response = HTMLResponse(asked["html"])
    for cookie in asked.getlist("cookie"):
        response.headers.append("Set-Cookie", cookie)
    if "policy" in asked:
        response.headers["Referrer-Policy"] = asked["policy"]
    return response


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncGenerator[None]:
    app.state.started = getattr(app.state, "started", 0) + 1
    yield


@pytest.fixture
def app() -> Starlette:
    """An application with a landing page, and a page that does as it is told."""
    routes = [
        Route("/aurora/handoff", show),
        Route("/aurora/handoff", redeem, methods=["POST"]),
        Route("/{rest:path}", echo, methods=["GET", "POST"]),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


@pytest.fixture
def browser(app: Starlette) -> HandoffBrowser:
    """A browser on it."""
    return HandoffBrowser(app)


def ask(browser: HandoffBrowser, path: str = "/", *, initiator: str | None = None, **asked: Any) -> Answer:
    """The answer of the page that does as it is told."""
    return browser.navigate(f"{path}?{urlencode(asked, doseq=True)}", initiator=initiator)


def fetch_headers(response: Answer) -> dict[str, str]:
    names = ("Sec-Fetch-Site", "Sec-Fetch-Mode", "Sec-Fetch-Dest", "Sec-Fetch-User", "Origin")
    return {name: response.request.headers[name] for name in names if name in response.request.headers}


def test_a_handoff_is_opened(browser: HandoffBrowser) -> None:
    """Landing page, cookie, form, and a redirect that is not followed unasked."""
    done = browser.open_handoff(URL)
    assert "Sec-Fetch-User" not in fetch_headers(done)  # the page's script sent the form
    assert (done.status_code, done.headers["Location"]) == (303, "/aurora/booking")
    booking = browser.follow(done)
    assert (booking.status_code, booking.url.path, booking.text) == (200, "/aurora/booking", "GET ")


def test_the_browser_stays_the_same_and_another_is_another(app: Starlette, browser: HandoffBrowser) -> None:
    """A second visit brings the cookie of the first one; a second browser has one of its own."""
    secrets_seen = []
    for visitor in (browser, browser, HandoffBrowser(app), browser.another()):
        visitor.open_handoff(URL)
        secrets_seen.append(visitor.cookies()[COOKIE])
    assert secrets_seen[0] == secrets_seen[1]
    assert len(set(secrets_seen)) == 3


def test_a_refusal_on_the_landing_page_is_the_answer(browser: HandoffBrowser) -> None:
    """There is nothing to submit."""
    assert browser.open_handoff("/aurora/handoff?handoff=refused").status_code == 400


def test_a_landing_page_without_its_form_is_a_failure(browser: HandoffBrowser) -> None:
    """Not a success that opened nothing. The message shows the page, and not the URL's query."""
    with pytest.raises(AssertionError, match=r"The answer 200 of GET /elsewhere has 0 forms") as caught:
        browser.open_handoff("/elsewhere?handoff=ghasi1.k.b.m")
    assert "ghasi1" not in str(caught.value)


def test_blocked_cookies_are_not_sent(app: Starlette) -> None:
    """The form goes out without one."""
    browser = HandoffBrowser(app, cookies_blocked=True)
    assert browser.open_handoff(URL).text == "cookies are needed"
    assert browser.cookies() == {}
    assert browser.refused_cookies == ["cookies are blocked"]
    assert browser.another().refused_cookies == []


def test_a_forged_form_shows_where_it_comes_from(browser: HandoffBrowser) -> None:
    """A copy of the form on another site: its own Origin, cross-site, and no SameSite=Lax cookie."""
    page = browser.navigate(URL)
    forged = browser.submit(page, initiator="https://evil.example/page")
    assert forged.text == "forged"
    assert fetch_headers(forged)["Origin"] == "https://evil.example"
    assert fetch_headers(forged)["Sec-Fetch-Site"] == "cross-site"
    assert "Cookie" not in forged.request.headers


def test_the_headers_of_a_link_from_elsewhere(browser: HandoffBrowser) -> None:
    """By default the guest comes from the consumer's site, by a click. A GET has no Origin."""
    assert fetch_headers(browser.navigate("/")) == {
        "Sec-Fetch-Site": "cross-site",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
        "Sec-Fetch-User": "?1",
    }
    assert "Sec-Fetch-User" not in fetch_headers(browser.navigate("/", clicked=False))


@pytest.mark.parametrize(
    ("base_url", "initiator", "site"),
    [
        ("https://testserver", None, "none"),
        ("https://testserver", "https://testserver/other?page#there", "same-origin"),
        ("https://testserver", "https://testserver:443/", "same-origin"),
        ("https://testserver", "https://testserver:8443", "same-site"),
        ("https://aurora.hotels.example", "https://borealis.hotels.example", "same-site"),
        ("https://aurora.hotels.example", "https://hotels.example", "same-site"),
        ("https://aurora.example", "https://consumer.example", "cross-site"),
        ("https://127.0.0.1", "https://10.0.0.1", "cross-site"),
        ("https://[::1]:8443", "https://[::1]", "same-site"),
        ("https://AURORA.example", "https://aurora.example", "same-origin"),
        ("http://127.0.0.1:8002", "http://127.0.0.1:8001", "same-site"),
        ("http://localhost", "http://localhost:80", "same-origin"),
        ("http://127.0.0.1", "https://127.0.0.1", "cross-site"),
    ],
)
def test_where_a_navigation_comes_from(app: Starlette, base_url: str, initiator: str | None, site: str) -> None:
    """Sec-Fetch-Site is how the initiator stands to the target."""
    response = HandoffBrowser(app, base_url).navigate("/", initiator=initiator)
    assert fetch_headers(response)["Sec-Fetch-Site"] == site


def test_the_headers_of_a_form(browser: HandoffBrowser) -> None:
    """Same-origin, with its Origin; with a user only if the guest used the button."""
    page = ask(browser, html=FORM.format("T"))
    wanted = {
        "Sec-Fetch-Site": "same-origin",
        "Sec-Fetch-Mode": "navigate",
        "Sec-Fetch-Dest": "document",
        "Origin": "https://testserver",
    }
    by_script = browser.submit(page, clicked=False)
    assert fetch_headers(by_script) == wanted
    assert fetch_headers(browser.submit(page)) == {**wanted, "Sec-Fetch-User": "?1"}
    assert by_script.request.headers["Content-Type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("policy", "meta", "origin"),
    [
        ("no-referrer", "", "null"),
        ("strict-origin", "no-referrer", "null"),
        *(
            (policy, "", "https://testserver")
            for policy in ("strict-origin", "same-origin", "no-referrer, strict-origin")
        ),
    ],
)
def test_the_origin_follows_the_pages_referrer_policy(
    browser: HandoffBrowser, policy: str, meta: str, origin: str
) -> None:
    """Under no-referrer a form's Origin is null, even at home: a landing page with it would refuse every guest."""
    html = f'<meta name="referrer" content="{meta}">' if meta else ""
    page = ask(browser, html=html + FORM.format("T"), policy=policy)
    assert fetch_headers(browser.submit(page))["Origin"] == origin
    forged = browser.submit(page, initiator="https://evil.example")  # its policy is not that page's
    assert fetch_headers(forged)["Origin"] == "https://evil.example"


def test_a_form_to_another_origin(browser: HandoffBrowser) -> None:
    """It is cross-site there, and under the policy same-origin its Origin is null."""
    html = FORM.format("T").replace('"handoff"', '"https://elsewhere.example/x"', 1)
    sent = browser.submit(ask(browser, html=html))
    assert (sent.url.host, fetch_headers(sent)["Sec-Fetch-Site"]) == ("elsewhere.example", "cross-site")
    assert fetch_headers(sent)["Origin"] == "https://testserver"
    assert fetch_headers(browser.submit(ask(browser, html=html, policy="same-origin")))["Origin"] == "null"


@pytest.mark.parametrize(
    ("action", "path"),
    [("handoff", "/a/handoff"), ("./handoff", "/a/handoff"), ("/handoff", "/handoff"), ("?x=1", "/a/b"), ("", "/a/b")],
)
def test_the_action_is_resolved_against_the_page(browser: HandoffBrowser, action: str, path: str) -> None:
    """As a link is, so that a landing page works under any prefix."""
    html = f'<form method=POST action="{action}"><input name=handoff value=T></form>'
    sent = browser.submit(ask(browser, "/a/b", html=html))
    assert (sent.url.path, sent.text) == (path, "POST handoff=T")


def test_the_fields_of_a_form_are_what_a_browser_sends(browser: HandoffBrowser) -> None:
    """In their order, as UTF-8; no buttons, nothing disabled, unchecked or without a name."""
    html = """<input name=outside value=1><form method=post>
        <input type=HIDDEN name=a value="1 &amp; 2"/><input name=b value="ü"><input name=c><input value=x>
        <input type=checkbox name=d><input type=checkbox name=e checked><input type=radio name=f value=1 checked>
        <input type=radio name=f value=2><input type=submit name=g value=Go><input name=h value=1 disabled>
        <input type=file name=i><input type=radio name=j checked></form><input name=after value=1>"""
    sent = browser.submit(ask(browser, html=html))
    assert sent.text == "POST a=1+%26+2&b=%C3%BC&c=&e=on&f=1&j=on"


def test_among_several_forms_one_is_named_by_a_field(browser: HandoffBrowser) -> None:
    """A search form is no choice; two posts are, and are refused until a field says which."""
    html = "<form action=/search><input name=q></form><form method=post action=/news><input name=mail></form>"
    page = ask(browser, html=html + FORM.format("T"))
    with pytest.raises(AssertionError, match="has 2 forms"):
        browser.submit(page)
    assert browser.submit(page, field="handoff").text == "POST handoff=T"
    with pytest.raises(AssertionError, match="has 0 forms"):
        browser.submit(page, field="q")


@pytest.mark.parametrize(
    ("initiator", "to", "site"),
    [
        ("https://consumer.example", "/b", "cross-site"),
        (None, "https://elsewhere.example/b", "none"),
        ("https://testserver", "/b", "same-origin"),
        ("https://testserver", "https://testserver:8443/b", "same-site"),
        ("https://testserver", "https://elsewhere.example/b", "cross-site"),
    ],
)
def test_a_redirect_keeps_the_worst_of_its_steps(
    browser: HandoffBrowser, initiator: str | None, to: str, site: str
) -> None:
    """A page that was reached from elsewhere is not same-origin after a redirect, and a typed one stays typed."""
    response = browser.follow(ask(browser, initiator=initiator, to=to))
    assert fetch_headers(response)["Sec-Fetch-Site"] == site
    assert "Sec-Fetch-User" in fetch_headers(response)


def test_what_cannot_be_followed_is_a_failure(browser: HandoffBrowser) -> None:
    """An answer that is no redirect, and one that would send the form again."""
    with pytest.raises(AssertionError, match="is no redirect"):
        browser.follow(browser.navigate("/"))
    for status in (307, 308):
        page = ask(browser, html=f'<form method=post action="/?to=/b&status={status}"></form>')
        with pytest.raises(AssertionError, match="repeats the POST"):
            browser.follow(browser.submit(page))
        assert browser.follow(ask(browser, to="/b", status=status)).status_code == 200


BROKEN_COOKIES = {
    "needs Secure": ["__Host-a=1; Path=/", "__host-a=1; Path=/", "__Secure-a=1"],
    "needs Path=/": ["__Host-a=1; Secure", "__Host-a=1; Secure; Path=/deep"],
    "forbids Domain": ["__Host-a=1; Secure; Path=/; Domain=hotels.example"],
    "SameSite=None needs Secure": ["a=1; SameSite=None"],
    "is not the host's": ["a=1; Domain=elsewhere.example", "a=1; Domain=example"],
    "without a name": ["=__Host-a=1; Secure; Path=/", "=__secure-a=1; Secure", "=; Path=/", "__Host-a"],
}


@pytest.mark.parametrize(("why", "cookie"), [(why, one) for why, cookies in BROKEN_COOKIES.items() for one in cookies])
def test_a_cookie_that_breaks_the_rules_is_dropped(app: Starlette, cookie: str, why: str) -> None:
    """As a browser does, which tells nobody; here a test can ask why."""
    browser = HandoffBrowser(app, "https://aurora.hotels.example")
    ask(browser, "/deep/down", cookie=cookie)
    assert browser.cookies("/deep/down") == {}
    assert why in browser.refused_cookies[0]


def test_an_address_has_no_domain_above_it(app: Starlette) -> None:
    """Its last numbers are nobody's."""
    browser = HandoffBrowser(app, "https://127.0.0.1")
    ask(browser, cookie="a=1; Domain=0.0.1")
    assert browser.refused_cookies == ["a: the Domain 0.0.1 is not the host's"]


@pytest.mark.parametrize(
    ("cookie", "there", "not_there"),
    [
        ("a=1", "/deep/x", "/other"),
        ("a=1; Path=/deep", "/deep", "/deeper"),
        ("a=1; Path=/", "/", "https://sub.aurora.hotels.example/"),
        ("a=1; Path=/; Domain=.hotels.example", "https://borealis.hotels.example/", "https://nothotels.example/"),
        ("__Host-a=1; Path=/; Secure", "/any", "https://hotels.example/"),
        ("a=1; Path=/; Max-Age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "/", "https://elsewhere.example/"),
    ],
)
def test_a_cookie_goes_where_it_belongs(app: Starlette, cookie: str, there: str, not_there: str) -> None:
    """By path and host, Domain included."""
    browser = HandoffBrowser(app, "https://aurora.hotels.example")
    ask(browser, "/deep/down", cookie=cookie)
    assert list(browser.cookies(there).values()) == ["1"]
    assert browser.cookies(not_there) == {}
    assert browser.refused_cookies == []


@pytest.mark.parametrize(
    ("same_site", "with_link", "with_forged_form"),
    [("Strict", False, False), ("Lax", True, False), ("", True, False), ("None; Secure", True, True)],
)
def test_same_site_cookies(app: Starlette, same_site: str, with_link: bool, with_forged_form: bool) -> None:
    """A link from elsewhere brings Lax, a form from elsewhere does not; at home and typed, all go."""
    clock = FrozenClock()
    browser = HandoffBrowser(app, clock=clock)
    page = ask(browser, html="<form method=post></form>", cookie=f"a=1; SameSite={same_site}" if same_site else "a=1")
    clock.forward(120)
    sent = {
        name: "Cookie" in response.request.headers
        for name, response in {
            "link": browser.navigate("/"),
            "forged": browser.submit(page, initiator="https://evil.example"),
            "own form": browser.submit(page),
            "typed": browser.navigate("/", initiator=None),
        }.items()
    }
    assert sent == {"link": with_link, "forged": with_forged_form, "own form": True, "typed": True}


def test_a_cookie_without_same_site_goes_with_a_forged_form_for_two_minutes(app: Starlette) -> None:
    """Chromium's exception; a cookie that says Lax has none."""
    clock = FrozenClock()
    browser = HandoffBrowser(app, clock=clock)
    page = ask(
        browser, html="<form method=post></form>", cookie=["a=1", "b=1; SameSite=Lax", "c=1", "s=1; SameSite=Strict"]
    )
    clock.forward(1)
    ask(browser, cookie=["c=1"])  # the same cookie, not a new one
    clock.forward(118)
    assert browser.submit(page, initiator="https://evil.example").request.headers["Cookie"] == "a=1; c=1"
    ask(browser, cookie=["a=2", "d=1; SameSite=Nonsense"])
    clock.forward(1)
    assert browser.submit(page, initiator="https://evil.example").request.headers["Cookie"] == "a=2; d=1"


def test_cookies_end_by_the_clock(app: Starlette) -> None:
    """Max-Age before Expires; a session's cookie stays, and Max-Age=0 removes one."""
    clock = FrozenClock()
    browser = HandoffBrowser(app, clock=clock)
    ask(
        browser,
        cookie=["a=1; Max-Age=60", "b=1", "c=1; Expires=Fri, 31 Dec 9999 23:59:59 GMT", "d=1", "e=1; Expires=?"],
    )
    clock.forward(59)
    assert set(browser.cookies()) == set("abcde")
    clock.forward(1)
    ask(browser, cookie=["c=; Expires=Thu, 01 Jan 1970 00:00:00 GMT", "d=; Max-Age=0", "e=; Max-Age=-1"])
    assert set(browser.cookies()) == set("b")


def test_cookies_are_sent_in_a_browsers_order(browser: HandoffBrowser) -> None:
    """The longer path first, then the older one; a new value makes a new one. Which of two lookalikes comes first matters."""
    ask(browser, "/a/b", cookie=["x=1; Path=/", "x=2; Path=/a", "y=1; Path=/", "x=1; Path=/"])
    assert browser.navigate("/a/b").request.headers["Cookie"] == "x=2; x=1; y=1"
    ask(browser, "/a/b", cookie=["x=3; Path=/"])
    assert browser.navigate("/a/b").request.headers["Cookie"] == "x=2; y=1; x=3"


def test_a_cookie_without_a_name_is_sent_bare(browser: HandoffBrowser) -> None:
    """As Chromium does: it may look like a pair to a server."""
    ask(browser, cookie=["=x=1", "bare; Path=/deep"])
    assert browser.navigate("/deep").request.headers["Cookie"] == "bare; x=1"


@pytest.mark.parametrize(
    "url", ["http://testserver", "testserver", "https://", "https://[x", "https://h:0", "https://h:x"]
)
def test_only_https(app: Starlette, browser: HandoffBrowser, url: str) -> None:
    """Over anything else no handoff works, and the message would be a puzzle."""
    with pytest.raises(ConfigurationError):
        HandoffBrowser(app, url)
    with pytest.raises(ConfigurationError):
        browser.navigate("/", initiator=url)
    if url == "http://testserver":
        with pytest.raises(ConfigurationError):
            browser.navigate(f"{url}/handoff?handoff=T")


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8002", "http://localhost:8002", "http://[::1]:8002"])
def test_loopback_is_trusted_without_tls(app: Starlette, origin: str) -> None:
    """As in Chromium and Firefox, a Secure cookie is kept there and comes back; the form says where it is from."""
    browser = HandoffBrowser(app, origin)
    ask(browser, cookie="__Host-a=1; Secure; Path=/")
    assert browser.navigate("/").request.headers["Cookie"] == "__Host-a=1"
    assert fetch_headers(browser.submit(ask(browser, html=FORM)))["Origin"] == origin


def test_headers_of_the_browser_go_with_every_request(app: Starlette) -> None:
    """For the guest's languages, say."""
    browser = HandoffBrowser(app, headers={"Accept-Language": "ar"})
    page = ask(browser, html="<form method=post></form>")
    for response in (page, browser.submit(page)):
        assert response.request.headers["Accept-Language"] == "ar"
        assert response.request.headers["Accept"].startswith("text/html,")


def test_one_lifespan_for_all_browsers_of_an_application(app: Starlette) -> None:
    """A browser in a with block starts the application, and another one uses what runs."""
    with HandoffBrowser(app) as browser:
        assert browser.another().navigate("/").status_code == 200
        assert app.state.started == 1
    assert app.state.started == 1


def test_an_error_of_the_application_is_the_tests_error() -> None:
    """It is not hidden behind a 500."""

    async def broken(request: Request) -> Response:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        HandoffBrowser(Starlette(routes=[Route("/", broken)])).navigate("/")
