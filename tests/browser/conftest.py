"""One Chromium and one set of sites for all tests of this folder; a guest's tabs, cookies and trace anew for each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from .chromium import chromium, executable
from .sites import Arrival, Sites

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Playwright, Request

PATIENCE_MILLISECONDS = 60_000


# Of the session: in random order a process of the run comes here again and again.
@pytest.fixture(scope="session")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    """The services and the strangers. A test that stops one starts it again."""
    executable()  # without a browser, nothing needs to be started
    with Sites(tmp_path_factory.mktemp("sites")) as running:
        yield running


# Of the package, not of the session: while Playwright's synchronous interface is open, no test can call asyncio.run.
@pytest.fixture(scope="package")
def playwright(sites: Sites) -> Iterator[Playwright]:
    """Playwright, open. It is imported here: whoever runs no browser must not wait for it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as opened:
        yield opened


@pytest.fixture(scope="package")
def browser(playwright: Playwright, sites: Sites, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser. Its first profile is as a guest has it; contexts made later are tuned by Playwright."""
    with chromium(playwright, tmp_path_factory.mktemp("browser") / "profile", trusted=sites.trusted) as started:
        yield started


@pytest.fixture
def plain_sites(tmp_path: Path) -> Iterator[Sites]:
    """The two services alone, without TLS, on 127.0.0.1."""
    with Sites(tmp_path, tls=False) as running:
        yield running


@dataclass
class Trace:
    """What browsers asked of the network, and what they complained about."""

    hosts: set[str | None] = field(default_factory=set)
    violations: list[str] = field(default_factory=list)
    provoked: str = "nothing"  # a directive that the test has violated on purpose

    def follow(self, context: BrowserContext) -> Callable[[], None]:
        """Listen to a context, until what is returned is called."""

        def requested(request: Request) -> None:
            if request.url.startswith("http"):
                self.hosts.add(urlsplit(request.url).hostname)

        def told(message: ConsoleMessage) -> None:
            if "Content Security Policy" in message.text and self.provoked not in message.text:
                self.violations.append(message.text)

        def stop() -> None:
            context.remove_listener("request", requested)
            context.remove_listener("console", told)

        context.on("request", requested)
        context.on("console", told)
        return stop


@pytest.fixture
def trace() -> Iterator[Trace]:
    """Checked after each test: no host but ours was asked for anything, and no policy of a page was violated.

    A test that provokes a violation says so beforehand.
    """
    trace = Trace()
    yield trace
    assert {host for host in trace.hosts if host is not None and not host.endswith(".test")} <= {"127.0.0.1"}
    assert trace.violations == []


@pytest.fixture
def context(browser: Browser, trace: Trace) -> Iterator[BrowserContext]:
    """The first profile, without cookies."""
    context = browser.contexts[0]
    context.set_default_timeout(PATIENCE_MILLISECONDS)
    context.clear_cookies()
    before = set(context.pages)
    stop = trace.follow(context)
    yield context
    stop()
    for page in set(context.pages) - before:
        page.close()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab of the first profile."""
    return context.new_page()


@pytest.fixture
def another(browser: Browser, trace: Trace) -> Iterator[Callable[..., Page]]:
    """Opens another browser, as its caller wants it, and a tab in it."""
    with ExitStack() as stack:

        def opened(**options: Any) -> Page:
            context = stack.enter_context(browser.new_context(**options))
            context.set_default_timeout(PATIENCE_MILLISECONDS)
            stack.callback(trace.follow(context))
            return context.new_page()

        yield opened


@pytest.fixture
def arrivals(sites: Sites) -> Callable[..., list[Arrival]]:
    """Gives the requests of this test at a site, oldest first; by method and end of path, if these are given."""
    since = sites.position

    def found(site: str, method: str = "", path: str = "") -> list[Arrival]:
        return [
            arrival
            for arrival in sites.arrivals(since)
            if arrival.site == site and arrival.method.startswith(method) and arrival.path.endswith(path)
        ]

    return found


@pytest.fixture
def consumer_comes_back(sites: Sites) -> Iterator[None]:
    """For a test that stops bff-consumer."""
    yield
    if not sites.processes["consumer"].alive:
        sites.start("consumer")
