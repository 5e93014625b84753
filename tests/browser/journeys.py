"""What a guest does most: book on the consumer site, or follow a link and press the landing page's button."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from .sites import Arrival, Sites

if TYPE_CHECKING:
    from playwright.sync_api import Page

Arrivals: TypeAlias = Callable[..., list[Arrival]]
BOOKING = "**/aurora/booking/*"


def book(sites: Sites, page: Page) -> None:
    """Press Book for the first room of bff-consumer's page, and come to the booking."""
    page.goto(sites.consumer)
    page.get_by_role("button", name="Book").first.click()
    page.wait_for_url(BOOKING)


def arrive(page: Page, link: str) -> None:
    """Follow a link as if it were typed, press the button, and come to the booking."""
    page.goto(link)
    page.get_by_role("button").click()
    page.wait_for_url(BOOKING)
