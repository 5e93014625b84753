"""An executable -> a headless Chromium with a profile of its own -> driven by Playwright, then killed.

The browser is started here and not by Playwright, which would switch much of it off: speculation, the back-forward
cache, hidden tabs. Playwright connects to it, and its first profile is left as a guest would have it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from ..no_server_error import NoServerError
from .processes import Process

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright
    from playwright.sync_api import expect as expect
else:

    def expect(locator: Any) -> Any:
        """Playwright's own, which is imported only when a browser is used."""
        from playwright.sync_api import expect as expected

        return expected(locator)


NAMES = ("chromium", "chromium-browser", "google-chrome")
VARIABLE = "GHASI_TEST_CHROMIUM"

_FLAGS = (
    "--headless",
    "--no-sandbox",  # needs rights that containers do not have
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-search-engine-choice-screen",
    "--disable-features=PreconnectToSearch,Translate,OptimizationHints,MediaRouter",
    "--password-store=basic",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--lang=en",
    "--remote-debugging-port=0",
    "about:blank",
)


def executable() -> Path:
    """The machine's Chromium.

    Raises:
        NoServerError: There is none.
    """
    given = os.environ.get(VARIABLE)
    found = given or next(filter(None, map(shutil.which, NAMES)), None)
    if not sys.platform.startswith("linux") or found is None or not Path(found).exists():
        raise NoServerError(
            f"no Chromium: neither {VARIABLE} nor PATH has one ({', '.join(NAMES)}), or this is not Linux; on Debian:"
            " apt-get install chromium"
        )
    return Path(found)


@contextmanager
def launched(folder: Path, *, trusted: str = "", preferences: dict[str, Any] | None = None) -> Generator[str]:
    """A browser that finds hosts under ``.test`` on loopback, and no others; gives the address of its DevTools.

    Args:
        folder: An empty one, for its profile.
        trusted: The hash of the authority whose certificates it trusts; see `certificates`.
        preferences: Of its first profile.
    """
    (folder / "Default").mkdir(parents=True)
    (folder / "Default" / "Preferences").write_text(json.dumps(preferences or {}))
    command = [
        str(executable()),
        f"--user-data-dir={folder}",
        "--host-resolver-rules=MAP *.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--ignore-certificate-errors-spki-list={trusted}",
        *_FLAGS,
    ]
    told = folder / "DevToolsActivePort"
    with Process(command, folder / "log") as process:
        process.wait_until(lambda: told.exists() and "\n" in told.read_text(), "for Chromium")
        yield f"http://127.0.0.1:{told.read_text().splitlines()[0]}"


@contextmanager
def connected(playwright: Playwright, address: str) -> Generator[Browser]:
    """Playwright's hand on a browser that runs."""
    browser = playwright.chromium.connect_over_cdp(address, no_defaults=True, is_local=True)
    try:
        yield browser
    finally:
        browser.close()


@contextmanager
def chromium(playwright: Playwright, folder: Path, **options: Any) -> Generator[Browser]:
    """Both: see `launched`."""
    with launched(folder, **options) as address, connected(playwright, address) as browser:
        yield browser


def open_tab(address: str, url: str) -> None:
    """Open a tab without a hand on it: Chromium prerenders nothing for a tab that is driven."""
    urlopen(Request(f"{address}/json/new?{quote(url)}", method="PUT"), timeout=10).close()


def evaluate(browser: Browser, url: str, expression: str) -> Any:
    """What an expression gives in the tab that shows `url`. For pages that Playwright has no hand on."""
    devtools = browser.new_browser_cdp_session()
    targets = devtools.send("Target.getTargets")["targetInfos"]
    (target,) = [target["targetId"] for target in targets if target["url"] == url]
    session = devtools.send("Target.attachToTarget", {"targetId": target, "flatten": False})["sessionId"]
    call = {"id": 1, "method": "Runtime.evaluate", "params": {"expression": expression, "returnByValue": True}}
    with_session = {"sessionId": session, "message": json.dumps(call)}
    answers: list[Any] = []
    devtools.on("Target.receivedMessageFromTarget", lambda event: answers.append(json.loads(event["message"])))
    devtools.send("Target.sendMessageToTarget", with_session)
    while not answers:
        devtools.send("Target.getTargets")  # answers are handed out while something is asked
    return answers[0]["result"]["result"].get("value")


def tabs(address: str) -> list[str]:
    """The addresses that the tabs show."""
    with urlopen(f"{address}/json/list", timeout=10) as answer:
        return [target["url"] for target in json.load(answer) if target["type"] == "page"]
