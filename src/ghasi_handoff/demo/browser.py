"""As much of a browser as the story needs: cookies, forms, and what browsers say of a navigation. Over httpx2."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Final
from urllib.parse import urljoin, urlsplit

import httpx2
from typing_extensions import override

_HEADING: Final = re.compile(r"<h1>(.*?)</h1>")
_REFERENCE: Final = re.compile(r"<bdi>([0-9A-Z]{8})</bdi>")


@dataclass(frozen=True, slots=True)
class Form:
    """A form.

    Attributes:
        action: Where it is sent: a whole URL.
        fields: What its inputs hold.
    """

    action: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Visit:
    """What a server answered.

    Attributes:
        url: What was asked for.
        status: The HTTP status.
        headers: Of the answer.
        html: Its body.
    """

    url: str
    status: int
    headers: httpx2.Headers
    html: str

    @property
    def title(self) -> str:
        """The page's heading."""
        found = _HEADING.search(self.html)
        return "" if found is None else found[1]

    @property
    def reference(self) -> str:
        """What a refused guest would read out to support."""
        found = _REFERENCE.search(self.html)
        return "" if found is None else found[1]

    @property
    def location(self) -> str:
        """Where a redirect leads: a whole URL."""
        return urljoin(self.url, self.headers.get("location", ""))

    @property
    def forms(self) -> list[Form]:
        """The page's forms."""
        reader = _FormReader()
        reader.feed(self.html)
        return [Form(urljoin(self.url, action), fields) for action, fields in reader.forms]


class Browser:
    """A browser of its own: nobody else has its cookies. It follows no redirect by itself.

    It keeps ``Secure`` cookies for loopback, as Chromium does, which trusts it; httpx2's cookie jar would not return
    them over http.

    Args:
        client: Sends the requests; None makes one. Browsers may share one: it has connections, and no cookie of theirs.
    """

    def __init__(self, client: httpx2.Client | None = None) -> None:
        self.cookies: dict[str, str] = {}
        # No proxy of the environment: everything is on this machine.
        self._client = client or httpx2.Client(timeout=15, trust_env=False)

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def open(self, url: str, *, method: str = "GET", came_from: str = "cross-site") -> Visit:
        """Go to an address, as after a redirect of another site, or ``none``: typed, or out of a mail."""
        headers = {"Sec-Fetch-Site": came_from, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
        return self._ask(method, url, headers, None)

    def submit(self, form: Form, *, site: str = "same-origin", origin: str | None = None) -> Visit:
        """Press a form's button.

        Args:
            form: The form.
            site: How the page that has the form stands to the form's target.
            origin: Of that page; None is the target's own.
        """
        target = urlsplit(form.action)
        headers = {"Sec-Fetch-Site": site, "Origin": origin or f"{target.scheme}://{target.netloc}"}
        return self._ask("POST", form.action, headers, form.fields)

    def _ask(self, method: str, url: str, headers: dict[str, str], form: Mapping[str, str] | None) -> Visit:
        headers |= {"Accept-Language": "en"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        answer = self._client.request(method, url, headers=headers, data=form)
        for cookie in answer.headers.get_list("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return Visit(url, answer.status_code, answer.headers, answer.text)


class _FormReader(HTMLParser):
    """The forms of a page: action and fields."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: list[tuple[str, dict[str, str]]] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form, or a field of the last one."""
        attributes = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append((attributes.get("action", ""), {}))
        elif tag == "input" and self.forms:
            self.forms[-1][1][attributes.get("name", "")] = attributes.get("value", "")
