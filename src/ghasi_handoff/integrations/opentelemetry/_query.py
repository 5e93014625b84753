"""span of a request -> the same without its query, which on the landing page is the token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from opentelemetry.trace import Span

# Where a web framework's instrumentation puts a request's URL, by the present conventions and the older ones.
_URLS: Final = ("url.full", "http.url", "http.target")
_URL_QUERY: Final = "url.query"


def hide_query(span: Span, scope: Mapping[str, Any]) -> None:
    """Take the query out of a request's span: the query of the landing page is the token.

    Pass it as ``server_request_hook=`` to the instrumentation of FastAPI, Starlette or any ASGI application. It gets
    the span, just started, and the ASGI scope, which it does not use.
    """
    # The API writes attributes and does not read them; a span that is recorded is the SDK's, which does.
    attributes = dict(getattr(span, "attributes", None) or {})
    for name in _URLS:
        if name in attributes:
            span.set_attribute(name, str(attributes[name]).partition("?")[0])
    if _URL_QUERY in attributes:
        span.set_attribute(_URL_QUERY, "")
