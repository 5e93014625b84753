"""headers, query, form -> what a guest's browser says about itself: cookie, origin, navigation. Pure.

Sources: RFC 6265bis for cookies and their prefixes, W3C Fetch Metadata for ``Sec-Fetch-*``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl, unquote

from starlette.datastructures import Headers
from starlette.types import Scope

from ghasi_handoff._base64url import b64u_decode, b64u_encode
from ghasi_handoff._limits import BROWSER_SECRET_BYTES
from ghasi_handoff._token import parse_token
from ghasi_handoff.errors import MalformedTokenError

PARAMETER: Final = "handoff"
COOKIE: Final = "__Host-ghasi_handoff"
# The largest lifetime, leeway on both sides and a retry's grace: as long as any token may need it.
COOKIE_SECONDS: Final = 3840
# A token has at most 4096 characters; each may take three bytes where a browser escapes it.
MAX_FORM_BYTES: Final = 16384

_MAX_FIELDS: Final = 100
# However often somebody has escaped it: after more rounds nobody takes it for what it was.
_ESCAPED_AT_MOST: Final = 3
# language-range [ OWS ";" OWS "q=" qvalue ]
_parse_language: Final = re.compile(
    r"([A-Za-z0-9-]+|\*)(?:[ \t]*;[ \t]*[Qq]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?))?"
).fullmatch
_FRAMES: Final = frozenset({"iframe", "frame", "fencedframe", "embed", "object"})


class ForgedCookieError(Exception):
    """The cookie is there twice, or under a name that only looks like its own: somebody else has set one."""


def browser_secret(headers: Headers) -> bytes | None:
    """The 32 bytes of this browser's cookie; None where it has none, or one that is not well formed.

    Raises:
        ForgedCookieError: There are two, or a lookalike. A page of a sibling subdomain can set a cookie for the whole
            domain; only the exact ``__Host-`` name is out of its reach, as browsers do not let it set that.
    """
    values = []
    for name, value in _cookies(headers.getlist("cookie")):
        if name == COOKIE:
            values.append(value)
        elif _skeleton(name) == _skeleton(COOKIE):
            raise ForgedCookieError
    if len(values) > 1:
        raise ForgedCookieError
    secret = b64u_decode(values[0]) if values else None
    return secret if secret is not None and len(secret) == BROWSER_SECRET_BYTES else None


def set_cookie(secret: bytes) -> str:
    """The ``Set-Cookie`` header's value."""
    return f"{COOKIE}={b64u_encode(secret)}; Max-Age={COOKIE_SECONDS}; Path=/; Secure; HttpOnly; SameSite=Lax"


def is_speculative(headers: Headers) -> bool:
    """Whether the page is fetched before anybody has asked for it: prefetch, prerender, preview."""
    return any(
        word in value.lower()
        for name in ("sec-purpose", "purpose", "x-purpose", "x-moz")
        for value in headers.getlist(name)
        for word in ("prefetch", "prerender", "preview")
    )


def is_framed(headers: Headers) -> bool:
    """Whether the page would stand inside another page."""
    return headers.get("sec-fetch-dest", "") in _FRAMES


def may_submit_itself(headers: Headers) -> bool:
    """Whether a site has sent the guest here, just now, as a whole page: then nobody needs to press a button.

    A link out of a mail or a chat has no site that it comes from, or no such headers at all: there a scanner may be
    looking, and a person presses the button.
    """
    return (
        headers.get("sec-fetch-site") in ("cross-site", "same-site")
        and headers.get("sec-fetch-mode") == "navigate"
        and headers.get("sec-fetch-dest") == "document"
    )


def is_same_origin(headers: Headers, public_origin: str) -> bool:
    """Whether our own page sent this form.

    By ``Sec-Fetch-Site``, which no page can forge; where a browser has none, by ``Origin``, which must be there.
    """
    sites, origins = headers.getlist("sec-fetch-site"), headers.getlist("origin")
    return sites == ["same-origin"] if sites else origins == [public_origin]


def query_of(scope: Scope) -> str:
    """The query as it was sent. Not out of ``request.url``, which bytes outside UTF-8 would break."""
    query: bytes = scope["query_string"]
    return query.decode("latin-1")


def one_token(query_or_form: str) -> str | None:
    """The one ``handoff`` of a query or form; None if it is missing or there twice: two readers could differ."""
    values = [value for name, value in _pairs(query_or_form) or () if name == PARAMETER]
    return values[0] if len(values) == 1 else None


def named_kid(token: str) -> str | None:
    """The key that a token names; None where it has not the shape of one. Nothing else of it is looked at."""
    try:
        return parse_token(token).kid
    except MalformedTokenError:
        return None


def may_hold_token(query: str) -> bool:
    """Whether a query has the parameter at all, or so many that nobody looks."""
    pairs = _pairs(query)
    return pairs is None or any(name == PARAMETER for name, _ in pairs)


def whole_number(form: str, name: str) -> int | None:
    """The one field `name` of a form, if it is a whole number of at most 12 digits."""
    values = [value for field, value in _pairs(form) or () if field == name]
    number = values[0] if len(values) == 1 else ""
    return int(number) if number.isascii() and number.isdigit() and len(number) <= 12 else None


def preferred_languages(headers: Headers) -> list[str]:
    """Language tags of ``Accept-Language`` in lower case, the best liked first; RFC 9110, 12.5.4."""
    wanted = []
    for position, item in enumerate(",".join(headers.getlist("accept-language"))[:1000].split(",")):
        match = _parse_language(item.strip(" \t"))
        weight = float(match[2] or 1) if match is not None else 0
        if match is not None and weight > 0:
            wanted.append((-weight, position, match[1].lower()))
    return [tag for _, _, tag in sorted(wanted)]


def unescaped(text: str) -> str:
    """`text` without its percent-encoding, were it done several times."""
    for _ in range(_ESCAPED_AT_MOST):
        text = unquote(text)
    return text


def _cookies(fields: Sequence[str]) -> list[tuple[str, str]]:
    """Names and values as they were sent. No library's parser: some trim, unquote or fold what they read."""
    pairs = []
    for pair in ";".join(fields).split(";"):
        name, _, value = pair.partition("=")
        pairs.append((name.strip(" \t"), value.strip(" \t")))
    return pairs


def _skeleton(name: str) -> str:
    """What is left of a cookie's name when a careless reader has decoded, trimmed and folded it."""
    text = unescaped(name.encode("latin-1").decode("utf-8", errors="replace"))
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


def _pairs(text: str) -> list[tuple[str, str]] | None:
    """Names and values; None where there are too many."""
    try:
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        return None
