"""An executable -> a headless Chromium with a profile of its own -> driven by Playwright, then killed.

The browser is started here and not by Playwright, which would switch much of it off: speculation, the back-forward
cache, hidden tabs. Playwright connects to it, and its first profile is left as a guest would have it.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Playwright

from .. import servers
from .processes import Process

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
        servers.NoServerError: There is none.
    """
    given = os.environ.get(VARIABLE)
    found = given or next(filter(None, map(shutil.which, NAMES)), None)
    if not sys.platform.startswith("linux") or found is None or not Path(found).exists():
        raise servers.NoServerError(
            f"no Chromium: neither {VARIABLE} nor PATH has one ({', '.join(NAMES)}), or this is not Linux; on Debian:"
            " apt-get install chromium"
        )
    return Path(found)


@contextmanager
def chromium(
    playwright: Playwright, folder: Path, *, trusted: str = "", preferences: dict[str, Any] | None = None
) -> Iterator[Browser]:
    """A browser that finds hosts under ``.test`` on loopback, and no others.

    Args:
        playwright: Drives it.
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
        process.wait_until(lambda: told.exists() and "\n" in told.read_text(), "to start")
        port = told.read_text().splitlines()[0]
        browser = playwright.chromium.connect_over_cdp(f"http://127.0.0.1:{port}", no_defaults=True, is_local=True)
        try:
            yield browser
        finally:
            browser.close()
