"""Where a guest is sent: without extra slashes, or on from a redemption. No I/O."""

from __future__ import annotations

from urllib.parse import quote

from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.landing._answer import Answer
from ghasi_handoff.landing._guest_request import unescaped


def without_slashes(slashes: int, query: str) -> Answer:
    """A redirect from ``/handoff/`` to ``/handoff``, one level up for each slash (RFC 3986, 5.2.4).

    It is relative. Behind an ingress that ends TLS, a framework's own redirect would name the scheme that it sees:
    plain http, and the token would go there.
    """
    place = "../" * slashes + "handoff" + (f"?{query}" if query else "")
    return Answer(
        status=307, headers={"Location": place, "Cache-Control": "no-store", "Referrer-Policy": "strict-origin"}
    )


def path_on(origin: str, given: object, *, token: str) -> str:
    """The value of ``Location`` for what `on_redeemed` gave, if it is a place on this origin.

    Raises:
        ConfigurationError: It is not. Some browsers stop a redirect elsewhere because of ``form-action``, and one that
            a client can steer would be an open redirect.
    """
    if isinstance(given, str):
        is_local = (given.startswith("/") and not given.startswith("//")) or given.startswith(f"{origin}/")
        if is_local and "\\" not in given and given.isprintable() and token not in unescaped(given):
            return quote(given, safe=":/%#?=@[]!$&'()*+,;")
    raise ConfigurationError("on_redeemed must give a path on this origin, without the token, or a response")
