"""How the pages are built: for screen readers, in three languages, on narrow and on dark screens."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from .chromium import expect
from .sites import Sites

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.thorough

# Text whose contrast with its ground is below 4.5 : 1 (WCAG 2.2, 1.4.3), with the contrast.
LOW_CONTRAST = """() => {
  const luminance = color => {
    const [r, g, b] = color.match(/[\\d.]+/g).map(Number).map(v => v / 255)
      .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = element => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (color !== 'rgba(0, 0, 0, 0)') { return color; }
    }
    return 'rgb(255, 255, 255)';
  };
  return [...document.querySelectorAll('main *')]
    .filter(element => [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim()))
    .filter(element => !['SCRIPT', 'STYLE'].includes(element.tagName))
    .map(element => {
      const [a, b] = [getComputedStyle(element).color, ground(element)].map(luminance).sort((x, y) => y - x);
      return [element.tagName, (a + 0.05) / (b + 0.05)];
    }).filter(([, contrast]) => contrast < 4.5);
}"""
# What can be pressed and is lower than 44 pixels (WCAG 2.2, 2.5.5).
SMALL_TARGETS = """[...document.querySelectorAll('main a, main button, main input:not([type=hidden])')]
  .map(element => element.getBoundingClientRect().height).filter(height => height < 44)"""
TOO_WIDE = "document.documentElement.scrollWidth > document.documentElement.clientWidth"

PAGES: dict[str, Callable[[Sites], str]] = {
    "rooms": lambda sites: sites.consumer,
    "landing": lambda sites: sites.link(sites.mint()),
    "refusal": lambda sites: sites.link(sites.mint(age=400)),
    "no booking": lambda sites: f"{sites.booking}/aurora/booking/0",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("address", PAGES.values(), ids=PAGES)
def test_page_can_be_read(
    sites: Sites, another: Callable[..., Page], address: Callable[[Sites], str], scheme: str
) -> None:
    """On 320 pixels, light or dark: enough contrast, nothing to scroll sideways, and targets that a thumb hits."""
    page = another(viewport={"width": 320, "height": 640}, color_scheme=scheme)
    page.goto(address(sites))
    assert page.evaluate(LOW_CONTRAST) == []
    assert page.evaluate(SMALL_TARGETS) == []
    assert not page.evaluate(TOO_WIDE)


def test_booking_can_be_read(sites: Sites, another: Callable[..., Page]) -> None:
    """So can the booking page."""
    page = another(viewport={"width": 320, "height": 640})
    page.goto(sites.link(sites.mint()))
    page.get_by_role("button").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Your booking at Hotel Aurora")
    assert page.evaluate(LOW_CONTRAST) == []
    assert not page.evaluate(TOO_WIDE)


@pytest.mark.parametrize("address", PAGES.values(), ids=PAGES)
def test_page_has_a_structure(sites: Sites, page: Page, address: Callable[[Sites], str]) -> None:
    """A screen reader finds a language, a title, one main heading, and a name for all that can be used."""
    page.goto(address(sites))
    heading = page.get_by_role("main").get_by_role("heading", level=1)
    expect(heading).to_have_count(1)
    assert page.title() == heading.inner_text()
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator("meta[name=viewport]").get_attribute("content") == "width=device-width, initial-scale=1"
    for control in page.locator("main a, main button, main input:not([type=hidden])").all():
        expect(control).to_have_accessible_name(re.compile(r"\w"))


@pytest.mark.parametrize(
    ("locale", "direction", "title", "button"),
    [
        ("en-GB", "ltr", "Your booking is ready", "Continue to your booking"),
        ("de-AT", "ltr", "Ihre Buchung ist bereit", "Weiter zu Ihrer Buchung"),
        ("ar-EG", "rtl", "حجزك جاهز", "المتابعة إلى حجزك"),
        ("fi-FI", "ltr", "Your booking is ready", "Continue to your booking"),
    ],
)
def test_language_of_the_browser(
    sites: Sites, another: Callable[..., Page], locale: str, direction: str, title: str, button: str
) -> None:
    """The page speaks the browser's language where it can, written in its direction, and English elsewhere."""
    page = another(locale=locale, viewport={"width": 1280, "height": 800})
    page.goto(sites.link(sites.mint()))
    expect(page.get_by_role("heading", level=1)).to_have_text(title)
    expect(page.get_by_role("button", name=button)).to_be_visible()
    assert page.evaluate("getComputedStyle(document.body).direction") == direction
    box, main = page.get_by_role("button").bounding_box(), page.get_by_role("main").bounding_box()
    assert box is not None and main is not None
    middle = main["x"] + main["width"] / 2
    assert box["x"] + box["width"] / 2 < middle if direction == "ltr" else box["x"] + box["width"] / 2 > middle


def test_reference_is_read_left_to_right_in_arabic(sites: Sites, another: Callable[..., Page]) -> None:
    """A reference in an Arabic page keeps the order of its characters."""
    page = another(locale="ar-EG")
    page.goto(sites.link(sites.mint(age=400)))
    reference = page.locator("bdi")
    assert len(reference.inner_text()) == 8
    assert reference.evaluate("element => getComputedStyle(element).direction") == "ltr"


def test_refusal_is_announced(sites: Sites, page: Page) -> None:
    """What a screen reader is told of a refusal: heading, status, a link to start again, the reference."""
    page.goto(sites.link(sites.mint(age=400)))
    snapshot = page.get_by_role("main").aria_snapshot()
    assert '- heading "This link has expired" [level=1]' in snapshot
    assert "- status: Please start again from the site that sent you here." in snapshot
    assert '- link "Start again"' in snapshot
