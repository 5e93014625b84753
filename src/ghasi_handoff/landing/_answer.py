"""What a landing sends back: status, headers and body, for any web framework. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What to send back, as it is.

    Attributes:
        status: The HTTP status.
        headers: Every header but ``Content-Length``. Values are Latin-1 text. They may hold the browser's cookie.
        body: The body.
        response: The response that ``on_redeemed`` gave. Send it in place of status and body; see `beside`.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)
    response: Any = None

    def beside(self, names: Iterable[str]) -> list[tuple[str, str]]:
        """The headers to add to `response`, which has headers of these names: those it lacks, and always the cookie."""
        own = {name.lower() for name in names}
        return [
            (name, value) for name, value in self.headers.items() if name == "Set-Cookie" or name.lower() not in own
        ]
