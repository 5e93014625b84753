"""Where a guest is sent: without extra slashes, or on from a redemption. No I/O."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.landing._answer import Answer
from ghasi_handoff.landing._guest_request import unescaped

_KEPT_HERE: Final = {"Cache-Control": "no-store", "Referrer-Policy": "strict-origin"}


def without_slashes(slashes: int, query: str) -> Answer:
    """A redirect from ``/handoff/`` to ``/handoff``, one level up for each slash (RFC 3986, 5.2.4).

    It is relative. Behind an ingress that ends TLS, a framework's own redirect would name the scheme that it sees:
    plain http, and the token would go there.
    """
    place = "../" * slashes + "handoff" + (f"?{query}" if query else "")
    return Answer(status=307, headers={"Location": place, **_KEPT_HERE})


def sent_on(given: object, response_type: type | tuple[type, ...], *, origin: str, token: str, cookie: str) -> Answer:
    """The answer to a redemption: what `on_redeemed` gave, if it is a response or a place on this origin.

    Some browsers stop a redirect elsewhere because of ``form-action``. One that a client can steer would be open.
    """
    headers = {**_KEPT_HERE, "Set-Cookie": cookie}
    if isinstance(given, response_type):
        return Answer(status=200, headers=headers, response=given)
    if isinstance(given, str):
        is_local = (given.startswith("/") and not given.startswith("//")) or given.startswith(f"{origin}/")
        if is_local and "\\" not in given and given.isprintable() and token not in unescaped(given):
            return Answer(status=303, headers={"Location": quote(given, safe=":/%#?=@[]!$&'()*+,;"), **headers})
    raise ConfigurationError("on_redeemed must give a path on this origin, without the token, or a response")
