"""a request's span -> the same without the query, which is the token. For every route that has one in its query."""

from __future__ import annotations

import sys
from typing import Any, Final

from starlette.types import Scope

from ghasi_handoff.handshake._events import harmless

# Where FastAPI keeps the span that it makes of each request by itself, as soon as the application has set up tracing.
_FASTAPI: Final = "fastapi.telemetry"


def hide_query_in_span(scope: Scope) -> None:
    """Whoever reads traces could otherwise redeem a handoff before its guest does.

    FastAPI's own span, and that of an instrumentation around the application. What fails changes no answer.
    """
    harmless("telemetry", lambda: _hide(scope))


def _hide(scope: Scope) -> None:
    spans: list[Any] = [getattr(scope.get(_FASTAPI), "span", None)]
    # Only where somebody else has loaded it: without OpenTelemetry there is no span.
    tracing: Any = sys.modules.get("opentelemetry.trace")
    if tracing is not None:
        spans.append(tracing.get_current_span())
    for span in spans:
        if getattr(span, "attributes", None):
            from ghasi_handoff.integrations.opentelemetry import hide_query

            hide_query(span, scope)
