"""What the test browser reads of a page. Which inputs a form sends is tested with the browser, in test_browser.py."""

from __future__ import annotations

import httpx2
import pytest

from ghasi_handoff.testing._pages import Form, Page, location

URL = "https://testserver/a/b?c=d"
REQUEST = httpx2.Request("GET", URL)


def page(html: str, **headers: str) -> Page:
    return Page(httpx2.Response(200, html=html, request=REQUEST, headers=headers))


def test_heading_and_reference_are_read() -> None:
    """The text of the heading, its entities read, and the reference; no other text."""
    found = page("<title>T</title><h1>Rooms &amp; <em>suites</em></h1><p>Say <bdi>4VX2JP9X</bdi>, please.</p>")
    assert (found.title, found.reference) == ("Rooms & suites", "4VX2JP9X")


def test_a_page_without_them_has_empty_ones() -> None:
    """No heading, no reference and no form are no error."""
    found = page("<p>Nothing</p>")
    assert (found.title, found.reference, found.forms) == ("", "", [])


def test_each_form_knows_its_page() -> None:
    """All that is needed to send a form later: target, fields, method, and the page's URL and policy."""
    html = "<form action=/search><input name=q value=x></form><form method=POST action=e><input name=a></form>"
    assert page(html, **{"Referrer-Policy": "no-referrer"}).forms == [
        Form(URL, "https://testserver/search", (("q", "x"),), "get", "no-referrer"),
        Form(URL, "https://testserver/a/e", (("a", ""),), "post", "no-referrer"),
    ]


@pytest.mark.parametrize(("to", "found"), [("/x", "https://testserver/x"), ("https://elsewhere.example/", None)])
def test_a_redirect_leads_to_a_whole_url(to: str, found: str | None) -> None:
    """A relative Location is resolved against the answer's own URL."""
    assert location(httpx2.Response(303, headers={"Location": to}, request=REQUEST)) == (found or to)
