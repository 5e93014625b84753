"""URL -> request as a browser makes it -> answer, cookies kept -> form -> request. `HandoffBrowser`, over Starlette.

`Browser` is the same over any HTTP client, so that it can visit a server.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from types import MappingProxyType, TracebackType
from typing import Final, Self
from urllib.parse import SplitResult, urlencode, urljoin, urlsplit

import httpx2
from starlette.testclient import TestClient
from starlette.types import ASGIApp

from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.testing._cookies import CookieJar, is_address
from ghasi_handoff.testing._entries import broken
from ghasi_handoff.testing._pages import Form, Page, location

CONSUMER: Final = "https://bff-consumer.example"

# Browsers trust these over plain http, too: they send Sec-Fetch headers there and keep Secure cookies.
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_SITES: Final = ("none", "same-origin", "same-site", "cross-site")  # a redirect can only make it worse


class Browser:
    """As `HandoffBrowser`, over a client that sends its requests and follows no redirect. Browsers may share one."""

    def __init__(
        self,
        client: httpx2.Client,
        base_url: str,
        *,
        cookies_blocked: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._base_url = _split(base_url).geturl()
        self._client = client
        client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))  # our own jar knows the prefixes
        self._cookies_blocked = cookies_blocked
        self._clock = clock
        self._jar = CookieJar(clock)
        self._refused_cookies: list[str] = []

    def another(self) -> Self:
        """A second browser, with no cookies yet, on the same running application."""
        browser = copy.copy(self)
        Browser.__init__(
            browser, self._client, self._base_url, cookies_blocked=self._cookies_blocked, clock=self._clock
        )
        return browser

    def navigate(self, url: str, *, initiator: str | None = CONSUMER, clicked: bool = True) -> httpx2.Response:
        """Open a URL at the top level. A redirect is not followed: see `follow`.

        Args:
            url: Absolute, or relative to the base URL.
            initiator: The site whose link or redirect leads there; None: the guest typed it, or it was in an e-mail.
            clicked: Whether a click or key of the guest began it.
        """
        target = _split(urljoin(self._base_url, url))
        site = "none" if initiator is None else _site(_split(initiator), target)
        return self._send("GET", target, site, clicked=clicked)

    def submit(
        self, page: httpx2.Response, *, field: str | None = None, initiator: str | None = None, clicked: bool = True
    ) -> httpx2.Response:
        """Send a page's form. It takes the page's only form with ``method=post``, and its ``input`` elements.

        Args:
            page: The answer that holds the page.
            field: Where there are several forms: the name of an input that only the wanted one has.
            initiator: Another site that shows a copy of the form, to try what a forged POST does.
            clicked: Whether the guest used its button; False: a script sent it.

        Raises:
            AssertionError: The page has no such form, or more than one.
        """
        forms = [
            form
            for form in Page(page).forms
            if form.method == "post" and (field is None or any(name == field for name, _ in form.fields))
        ]
        if len(forms) != 1:
            broken(f"{_described(page)} has {len(forms)} forms to submit, not one: {page.text[:200]!r}")
        return self.submit_form(forms[0], initiator=initiator, clicked=clicked)

    def submit_form(self, form: Form, *, initiator: str | None = None, clicked: bool = True) -> httpx2.Response:
        """Send a form of any page. Arguments and errors are those of `submit`."""
        source, target = _split(form.page if initiator is None else initiator), _split(form.action)
        site = _site(source, target)
        # Fetch, "append a request Origin header". A copy of the form is not under its page's policy.
        policy = form.referrer_policy if initiator is None else ""
        hidden = policy == "no-referrer" or (policy == "same-origin" and site != "same-origin")
        origin = "null" if hidden else _origin(source)
        headers = {"Origin": origin, "Content-Type": "application/x-www-form-urlencoded"}
        content = urlencode(form.fields).encode("ascii")
        return self._send("POST", target, site, clicked=clicked, headers=headers, content=content)

    def open_handoff(self, url: str, *, initiator: str | None = CONSUMER) -> httpx2.Response:
        """Come from the consumer's site, and let the landing page send its form, as a guest's browser does.

        Args:
            url: The redirect's URL, with the token.
            initiator: As for `navigate`.

        Returns:
            The answer to the form: a redirect, or a refusal. If the landing page itself is a refusal, that.

        Raises:
            AssertionError: There is a page, but not one form on it.
        """
        page = self.navigate(url, initiator=initiator)
        return self.submit(page, clicked=False) if page.is_success else page

    def follow(self, response: httpx2.Response) -> httpx2.Response:
        """Go where a redirect leads.

        Raises:
            AssertionError: It is none, or one that repeats a POST (307, 308).
        """
        request = response.request
        if not response.has_redirect_location:
            broken(f"{_described(response)} is no redirect: {response.text[:200]!r}")
        if response.status_code in (307, 308) and request.method != "GET":
            broken(f"{_described(response)} repeats the {request.method}: this browser does not")
        source = _split(str(request.url))
        target = _split(location(response))
        before = request.headers["Sec-Fetch-Site"]
        # What the guest asked for stays so; else the worst step counts (Fetch Metadata, section 2.3).
        site = before if before == "none" else max(before, _site(source, target), key=_SITES.index)
        return self._send("GET", target, site, clicked="Sec-Fetch-User" in request.headers)

    def cookies(self, url: str = "/") -> dict[str, str]:
        """What the browser sends with a request to `url` from a page there: names and values."""
        target = _split(urljoin(self._base_url, url))
        return dict(self._jar.cookies(target, site="same-origin", method="GET"))

    @property
    def refused_cookies(self) -> list[str]:
        """Why cookies were dropped, one text each: a real browser says it in its developer tools only."""
        return list(self._refused_cookies)

    def _send(
        self,
        method: str,
        url: SplitResult,
        site: str,
        *,
        clicked: bool,
        headers: Mapping[str, str] = MappingProxyType({}),
        content: bytes | None = None,
    ) -> httpx2.Response:
        sent = {
            "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "Upgrade-Insecure-Requests": "1",
            "Sec-Fetch-Site": site,
            "Sec-Fetch-Mode": "navigate",
            "Sec-Fetch-Dest": "document",
            **({"Sec-Fetch-User": "?1"} if clicked else {}),
            **headers,
        }
        cookies = self._jar.cookies(url, site=site, method=method)
        if cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" if name else value for name, value in cookies)
        response = self._client.request(method, url.geturl(), headers=sent, content=content)
        for header in response.headers.get_list("Set-Cookie"):
            problem = "cookies are blocked" if self._cookies_blocked else self._jar.take(header, url)
            if problem:
                self._refused_cookies.append(problem)
        return response


class HandoffBrowser(Browser):
    """A browser for tests of an ASGI application that opens handoffs. Each object is another browser.

    It does what a landing page depends on as Chromium does it: cookies with their prefixes, ``Path``, ``Domain``,
    ``Max-Age`` and ``SameSite``; the ``Sec-Fetch-`` headers; the ``Origin`` of a form, which is ``null`` under
    ``Referrer-Policy: no-referrer``. It runs no scripts, shows no frames, and sends no ``Referer``. Two hosts are one
    site if their last two labels are the same.

    The application answers for every host, so that tenants may have hosts of their own. As a context manager the
    browser runs the application's lifespan; for a second browser on it take `another`. What the application does not
    catch is raised in the test.

    Needs the extras ``[fastapi]`` and ``[client]``.

    Args:
        app: The ASGI application.
        base_url: Where it is: an https URL, or http on loopback. Browsers return a ``__Host-`` cookie nowhere else.
        headers: Sent with every request, for example ``{"Accept-Language": "ar"}``.
        cookies_blocked: Whether the guest's browser keeps no cookies.
        clock: Returns Unix seconds; cookies end by it.

    Raises:
        ConfigurationError: `base_url`, or the URL of a later request, is neither https nor http on loopback.

    >>> from starlette.responses import HTMLResponse
    >>> async def app(scope, receive, send):
    ...     await HTMLResponse("<h1>Welcome</h1>")(scope, receive, send)
    >>> response = HandoffBrowser(app).navigate("/handoff")
    >>> response.request.headers["Sec-Fetch-Site"]
    'cross-site'
    """

    def __init__(
        self,
        app: ASGIApp,
        base_url: str = "https://testserver",
        *,
        headers: Mapping[str, str] | None = None,
        cookies_blocked: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        where = _split(base_url).geturl()
        client = TestClient(app, base_url=where, headers=dict(headers or {}), follow_redirects=False)
        super().__init__(client, where, cookies_blocked=cookies_blocked, clock=clock)

    def __enter__(self) -> Self:
        self._client.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.__exit__(kind, error, traceback)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        trusted = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
        if trusted and parts.hostname and parts.port != 0:
            return parts
    except ValueError:  # brackets around something else than an IPv6 address, or a port that is no number
        pass
    # Over plain http browsers send neither Sec-Fetch headers nor Secure cookies: every handoff would be refused.
    raise ConfigurationError(f"{url.partition('?')[0]!r} is no https URL (http is for loopback only)")


def _site(source: SplitResult, target: SplitResult) -> str:
    """The ``Sec-Fetch-Site`` of a request to `target` that a page of `source` makes."""
    if _origin(source) == _origin(target):
        return "same-origin"
    return "same-site" if _site_name(source) == _site_name(target) else "cross-site"


def _site_name(url: SplitResult) -> tuple[str, str]:
    host = url.hostname or ""
    return url.scheme, host if is_address(host) else ".".join(host.split(".")[-2:])


def _origin(url: SplitResult) -> str:
    host = url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    usual = {"https": 443, "http": 80}[url.scheme]
    return f"{url.scheme}://{host}" if url.port in (None, usual) else f"{url.scheme}://{host}:{url.port}"


def _described(response: httpx2.Response) -> str:
    # Not the whole URL: a test's output need not show the token.
    return f"The answer {response.status_code} of {response.request.method} {response.url.path}"
