"""Starlette's request -> facts and body; an answer -> Starlette's response."""

from __future__ import annotations

from copy import copy

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from ghasi_handoff.handshake import ConsumeAnswer
from ghasi_handoff.landing import Answer, GuestRequest


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
