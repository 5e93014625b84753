"""HTML -> heading, reference, forms and referrer policy: what a test browser reads of a page."""

from __future__ import annotations

from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin

import httpx2
from typing_extensions import override

_NOT_SUBMITTED: Final = frozenset({"submit", "button", "image", "reset", "file"})


@dataclass(frozen=True, slots=True)
class Form:
    page: str  # the URL of the page that shows it
    action: str  # the URL that it is sent to
    fields: tuple[tuple[str, str], ...]  # names and values, in their order
    method: str = "post"
    referrer_policy: str = ""  # the page's


class Page(HTMLParser):
    """An answer's HTML. Its title is the ``h1``, its reference what a refused guest tells support: the ``bdi``."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__()
        self.title = self.reference = ""
        self._url = str(response.url)
        self._forms: list[tuple[str, str, list[tuple[str, str]]]] = []  # action, method and fields of each
        self._open: set[str] = set()
        # Browsers take the last policy of a list; those before it are for older browsers.
        self._policy = response.headers.get("Referrer-Policy", "").rpartition(",")[2].strip().lower()
        self.feed(response.text)
        self.close()

    @property
    def forms(self) -> list[Form]:
        return [
            Form(self._url, urljoin(self._url, action), tuple(fields), method, self._policy)
            for action, method, fields in self._forms
        ]

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._open.add(tag)
        if tag == "meta" and given.get("name", "").lower() == "referrer":
            self._policy = given.get("content", "").strip().lower()
        elif tag == "form":
            self._forms.append((given.get("action", ""), given.get("method", "get").lower(), []))
        elif tag == "input" and "form" in self._open and given.get("name") and "disabled" not in given:
            kind = given.get("type", "").lower()
            choice = kind in ("checkbox", "radio")
            if kind not in _NOT_SUBMITTED and (not choice or "checked" in given):
                self._forms[-1][2].append((given["name"], given.get("value", "on" if choice else "")))

    @override
    def handle_endtag(self, tag: str) -> None:
        self._open.discard(tag)

    @override
    def handle_data(self, data: str) -> None:
        if "h1" in self._open:
            self.title += data
        elif "bdi" in self._open:
            self.reference += data


def location(response: httpx2.Response) -> str:
    """The URL that a redirect leads to."""
    return urljoin(str(response.url), response.headers.get("Location", ""))
