"""A guest's request -> what its browser says about itself: cookie, origin, navigation, language, token. No I/O.

Sources: RFC 6265bis for cookies and their prefixes, W3C Fetch Metadata for ``Sec-Fetch-*``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from ghasi_handoff._base64url import b64u_decode, b64u_encode
from ghasi_handoff._limits import (
    BROWSER_COOKIE_SECONDS,
    BROWSER_SECRET_BYTES,
    MAX_ACCEPT_LANGUAGE_CHARACTERS,
    MAX_FORM_BYTES,
    MAX_FORM_FIELDS,
    MAX_TIMES_ESCAPED,
)
from ghasi_handoff._token import parse_token
from ghasi_handoff.errors import MalformedTokenError
from ghasi_handoff.landing._refusals import PARAMETER, RefusedError

COOKIE: Final = "__Host-ghasi_handoff"

# language-range [ OWS ";" OWS "q=" qvalue ]
_parse_language: Final = re.compile(
    r"([A-Za-z0-9-]+|\*)(?:[ \t]*;[ \t]*[Qq]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
).fullmatch
_FRAMES: Final = frozenset({"iframe", "frame", "fencedframe", "embed", "object"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestRequest:
    """What a web framework took from a request for ``/handoff``. Bytes are given as text: one character each, Latin-1.

    Attributes:
        method: The method, in capitals.
        path: The path. Decoded or not: only the slashes at its end are read.
        query: The query as it was sent, without the question mark. Never decoded.
        headers: Names, in any case, and values, in the order in which they came.
        native: The framework's own request. The landing hands it to the application's callables, and never reads it.
    """

    method: str
    path: str
    query: str = field(repr=False)
    headers: Sequence[tuple[str, str]] = field(repr=False)
    native: Any = field(default=None, repr=False)

    def values(self, name: str) -> list[str]:
        """The values of all headers of that name, which is given in lower case."""
        return [value for key, value in self.headers if key.lower() == name]

    def _first(self, name: str) -> str:
        return next(iter(self.values(name)), "")

    @property
    def is_speculative(self) -> bool:
        """Whether the page is fetched before anybody has asked for it: prefetch, prerender, preview."""
        return any(
            word in value.lower()
            for name in ("sec-purpose", "purpose", "x-purpose", "x-moz")
            for value in self.values(name)
            for word in ("prefetch", "prerender", "preview")
        )

    @property
    def is_framed(self) -> bool:
        """Whether the page would stand inside another page."""
        return self._first("sec-fetch-dest") in _FRAMES

    @property
    def may_submit_itself(self) -> bool:
        """Whether a site has just sent the guest here, as a whole page: then nobody needs to press a button.

        A link in a mail or a chat comes from no site. A scanner may be looking there: a person must press the button.
        """
        return (
            self._first("sec-fetch-site") in ("cross-site", "same-site")
            and self._first("sec-fetch-mode") == "navigate"
            and self._first("sec-fetch-dest") == "document"
        )

    def is_from(self, public_origin: str) -> bool:
        """Whether our own page sent this form.

        ``Sec-Fetch-Site`` decides, which no page can forge. A browser without it must send ``Origin``.
        """
        sites = self.values("sec-fetch-site")
        return sites == ["same-origin"] if sites else self.values("origin") == [public_origin]

    def browser_secret(self) -> bytes | None:
        """The 32 bytes of this browser's cookie. None if there is no cookie, or it is not well formed.

        Two cookies are refused, and a name that only looks like ours. A page of a sibling subdomain can set a cookie
        for the whole domain. It cannot set the exact ``__Host-`` name: browsers prevent that.
        """
        values = []
        # Names and values as they were sent: a library's parser may trim, unquote or fold what it reads.
        for pair in ";".join(self.values("cookie")).split(";"):
            name, _, value = (part.strip(" \t") for part in pair.partition("="))
            if name == COOKIE:
                values.append(value)
            elif _skeleton(name) == _skeleton(COOKIE):
                raise RefusedError("forbidden", 403, "forged_cookie")
        if len(values) > 1:
            raise RefusedError("forbidden", 403, "forged_cookie")
        secret = b64u_decode(values[0]) if values else None
        return secret if secret is not None and len(secret) == BROWSER_SECRET_BYTES else None

    @property
    def languages(self) -> list[str]:
        """The tags of ``Accept-Language`` in lower case, the preferred one first. RFC 9110, 12.5.4."""
        wanted = []
        text = ",".join(self.values("accept-language"))[:MAX_ACCEPT_LANGUAGE_CHARACTERS]
        for position, item in enumerate(text.split(",")):
            match = _parse_language(item.strip(" \t"))
            weight = float(match[2] or 1) if match is not None else 0
            if match is not None and weight > 0:
                wanted.append((-weight, position, match[1].lower()))
        return [tag for _, _, tag in sorted(wanted)]

    def form(self, body: bytes) -> list[tuple[str, str]]:
        """The fields of the form in `body`. Empty if it is too long, has too many, or is not a browser's form."""
        kind = self._first("content-type").partition(";")[0].strip().lower()
        is_form = kind == "application/x-www-form-urlencoded" and len(body) <= MAX_FORM_BYTES
        return (_fields(body.decode("latin-1")) if is_form else None) or []

    def token(self, form: Sequence[tuple[str, str]] | None = None) -> str:
        """The one ``handoff`` of a GET's query, or of a POST's form, whose query must have none."""
        query = _fields(self.query)
        fields, elsewhere = (query, []) if form is None else (form, query)
        tokens = [value for name, value in fields or () if name == PARAMETER]
        if len(tokens) != 1 or elsewhere is None or any(name == PARAMETER for name, _ in elsewhere):
            raise RefusedError("invalid", 400, MalformedTokenError.code)
        return tokens[0]


def set_cookie(secret: bytes) -> str:
    """The value of the header ``Set-Cookie``."""
    return f"{COOKIE}={b64u_encode(secret)}; Max-Age={BROWSER_COOKIE_SECONDS}; Path=/; Secure; HttpOnly; SameSite=Lax"


def whole_number(form: Sequence[tuple[str, str]], name: str) -> int | None:
    """The one field `name` of a form, if it is a whole number of at most 12 digits."""
    values = [value for field, value in form if field == name]
    number = values[0] if len(values) == 1 else ""
    return int(number) if number.isascii() and number.isdigit() and len(number) <= 12 else None


def named_kid(token: str) -> str | None:
    """The key that a token names, unverified. None if it has not the shape of a token."""
    try:
        return parse_token(token).kid
    except MalformedTokenError:
        return None


def unescaped(text: str) -> str:
    """`text` without its percent-encoding, which may have been applied several times."""
    for _ in range(MAX_TIMES_ESCAPED):
        text = unquote(text)
    return text


def _skeleton(name: str) -> str:
    """What a careless reader would make of a cookie's name, by decoding, trimming and folding it."""
    text = unescaped(name.encode("latin-1").decode("utf-8", errors="replace"))
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


def _fields(text: str) -> list[tuple[str, str]] | None:
    """Names and values. None if there are too many."""
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
    except ValueError:
        return None
