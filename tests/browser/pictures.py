"""Each page that a guest may see -> real services, a real browser -> ``python -m tests.browser.pictures --out folder``."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from .chromium import chromium
from .sites import Sites

WIDTHS = (390, 1280)
# Low: a page is as high as what stands on it.
HEIGHT = 420


def landing(sites: Sites, page: Page) -> None:
    page.goto(sites.link(sites.mint()))


def press(page: Page) -> None:
    page.get_by_role("button").click()
    page.wait_for_load_state()


def booking(sites: Sites, page: Page) -> None:
    landing(sites, page)
    press(page)


def confirming(sites: Sites, page: Page) -> None:
    landing(sites, page)
    with stopped(sites, "consumer"):
        press(page)


def not_confirmed(sites: Sites, page: Page) -> None:
    landing(sites, page)
    with stopped(sites, "consumer"):
        press(page)
        page.locator("input[name=since]").evaluate("field => { field.value = Number(field.value) - 20 }")
        press(page)


def unavailable(sites: Sites, page: Page) -> None:
    landing(sites, page)
    with sites.locked_store():
        press(page)


def expired(sites: Sites, page: Page) -> None:
    page.goto(sites.link(sites.mint(age=400)))


def replayed(sites: Sites, page: Page) -> None:
    link = sites.link(sites.mint())
    for _ in range(2):  # without its cookie, it is another browser
        page.context.clear_cookies()
        page.goto(link)
        press(page)


def revoked(sites: Sites, page: Page) -> None:
    minted = sites.mint()
    page.goto(sites.link(minted))
    sites.log.revoke(minted.handoff_id)
    press(page)


def cookies(sites: Sites, page: Page) -> None:
    landing(sites, page)
    page.context.clear_cookies()
    press(page)


def forbidden(sites: Sites, page: Page) -> None:
    page.goto(sites.said(sites.attacker, f'<form method="post" action="{sites.booking}/aurora/handoff"><button>'))
    press(page)


SCENES: dict[str, Callable[[Sites, Page], object]] = {
    "rooms": lambda sites, page: page.goto(sites.consumer),
    "landing": landing,
    "booking": booking,
    "confirming": confirming,
    "not-confirmed": not_confirmed,
    "unavailable": unavailable,
    "expired": expired,
    "replayed": replayed,
    "revoked": revoked,
    "invalid": lambda sites, page: page.goto(f"{sites.booking}/aurora/handoff"),
    "cookies": cookies,
    "forbidden": forbidden,
    "unknown-site": lambda sites, page: page.goto(sites.link(sites.mint(), "nowhere")),
}
TRANSLATED = ("landing", "expired")
LANGUAGES = ("de", "ar")


@contextmanager
def stopped(sites: Sites, name: str) -> Generator[None]:
    sites.stop(name)
    yield
    sites.start(name)


def take(out: Path) -> None:
    """Take all pictures."""
    wanted = [(name, "en") for name in SCENES]
    wanted += [(name, language) for language in LANGUAGES for name in TRANSLATED]
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pictures-") as name:
        folder = Path(name)
        (folder / "sites").mkdir()
        with (
            Sites(folder / "sites") as sites,
            sync_playwright() as playwright,
            chromium(playwright, folder / "profile", trusted=sites.trusted) as browser,
        ):
            for scene, language in wanted:
                for width in WIDTHS:
                    # Without JavaScript nothing moves on; the pages look the same.
                    context = browser.new_context(
                        locale=language, viewport={"width": width, "height": HEIGHT}, java_script_enabled=False
                    )
                    page = context.new_page()
                    SCENES[scene](sites, page)
                    title = scene if language == "en" else f"{scene}-{language}"
                    page.screenshot(path=out / f"{title}-{width}.png", full_page=True)
                    context.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="the folder for the pictures")
    take(parser.parse_args().out)
