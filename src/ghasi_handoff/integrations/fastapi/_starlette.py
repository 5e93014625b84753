"""Starlette's requests, responses and functions <-> those of the landing; a request's span without its query."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any, Final, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from ghasi_handoff.handshake import ConsumeAnswer
from ghasi_handoff.handshake._events import harmless
from ghasi_handoff.landing import Answer, GuestRequest

Tenant: TypeAlias = Callable[[Request], str | None] | Callable[[Request], Awaitable[str | None]]
PublicOrigin: TypeAlias = Callable[[Request], str] | Callable[[Request], Awaitable[str]]

# Where FastAPI keeps the span that it makes of each request by itself, as soon as the application has set up tracing.
_SPAN: Final = "fastapi.telemetry"


async def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of `function`, awaited or out of a thread."""
    # An object with an async __call__ is as good as an async def.
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        return await function(*arguments)
    result = await run_in_threadpool(function, *arguments)
    # A lambda around an async def: left alone it would pass for an answer that is not None.
    return await result if inspect.isawaitable(result) else result


def of_guest(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """`function`, which takes FastAPI's request, for the landing, which has a `GuestRequest`."""

    async def call(guest: GuestRequest, *arguments: Any) -> Any:
        return await called(function, guest.native, *arguments)

    return call


def guest_request(request: Request) -> GuestRequest:
    """The facts of a request. Not out of ``request.url``, which bytes outside UTF-8 would break."""
    query: bytes = request.scope["query_string"]
    return GuestRequest(
        method=request.method,
        path=request.scope["path"],
        query=query.decode("latin-1"),
        headers=request.headers.items(),
        native=request,
    )


async def read_body(request: Request, most: int) -> bytes:
    """The body, or a little more than `most` bytes of it: enough to see that it is too long.

    Empty if the client has gone: half a form is no form, and nobody waits for an answer.
    """
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk[: most + 1 - len(body)]
            if len(body) > most:
                break
    except ClientDisconnect:
        return b""
    return body


def response_of(answer: Answer | ConsumeAnswer) -> Response:
    """The response that sends `answer`."""
    if isinstance(answer, Answer) and answer.response is not None:
        return _with_headers(answer.response, answer)
    return Response(answer.body, answer.status, dict(answer.headers))


def _with_headers(response: Response, answer: Answer) -> Response:
    # A copy: the application may give one and the same response to every guest, and the cookie is this guest's own.
    own = copy(response)
    own.raw_headers = list(response.raw_headers)
    # Starlette keeps a view of the headers once it was asked for one. It would be a view of the other response's.
    own.__dict__.pop("_headers", None)
    for name, value in answer.beside(own.headers):
        own.headers.append(name, value)
    return own


def hide_query_in_span(scope: Scope) -> None:
    """Whoever reads traces could otherwise redeem a handoff before its guest does.

    FastAPI's own span, and that of an instrumentation around the application. What fails changes no answer.
    """
    harmless("telemetry", lambda: _hide(scope))


def _hide(scope: Scope) -> None:
    spans: list[Any] = [getattr(scope.get(_SPAN), "span", None)]
    # Only where somebody else has loaded it: without OpenTelemetry there is no span.
    tracing: Any = sys.modules.get("opentelemetry.trace")
    if tracing is not None:
        spans.append(tracing.get_current_span())
    for span in spans:
        if getattr(span, "attributes", None):
            from ghasi_handoff.integrations.opentelemetry import hide_query

            hide_query(span, scope)
