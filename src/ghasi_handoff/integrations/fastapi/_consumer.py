"""``POST /internal/handoff/{id}/consume`` -> the consume operation -> its answer. `consumer_router`."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import APIKeyHeader
from starlette.concurrency import run_in_threadpool

from ghasi_handoff._limits import MAX_CONSUME_BODY_BYTES
from ghasi_handoff._require import require
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.handshake import AsyncHandoffLog, ConsumeRequest, HandoffLog, answer_consume, answer_consume_async
from ghasi_handoff.handshake._consume_call import named_kid
from ghasi_handoff.handshake._events import OnEvent
from ghasi_handoff.integrations.fastapi._openapi import json_operation
from ghasi_handoff.integrations.fastapi._starlette import read_body, response_of
from ghasi_handoff.keyfile import catch_up
from ghasi_handoff.keys import KeyRing, ring_source
from ghasi_handoff.landing._refusals import answer_error

_BODY: Final[dict[str, Any]] = {
    "type": "object",
    "description": "Written in the one spelling of the specification: members in this order, no white space.",
    "required": ["audience", "consumed_at", "handoff_id", "issuer", "redemption_id", "sent_at"],
    "additionalProperties": False,
    "properties": {
        "audience": {"type": "string", "description": "Who redeemed, and calls."},
        "consumed_at": {"type": "integer", "description": "When it was redeemed, Unix seconds."},
        "handoff_id": {"type": "string", "description": "The handoff: a UUIDv7 in lower case."},
        "issuer": {"type": "string", "description": "Who minted, and is called."},
        "redemption_id": {"type": "string", "description": "Who redeemed: 64 lower-case hexadecimal digits."},
        "sent_at": {"type": "integer", "description": "When the call was signed, Unix seconds."},
    },
}
_CONFIRMED: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["consumed_at", "handoff_id", "redemption_id"],
    "properties": {name: _BODY["properties"][name] for name in ("consumed_at", "handoff_id", "redemption_id")},
}
_PROBLEMS: Final = {
    401: "The call is not authentic, or not of the last minute.",
    404: "There is no such handoff.",
    409: "The handoff was redeemed by another.",
    410: "The handoff was revoked, or redeemed too late.",
    503: "The handoff log, or the key ring, cannot answer now.",
}
_OPERATION: Final = {
    **json_operation(
        "consume_handoff",
        "Report that a handoff was redeemed",
        _CONFIRMED,
        "Recorded now, or before by the same redemption id.",
        _PROBLEMS,
    ),
    "openapi_extra": {
        # Said here, not in the signature: the framework would promise a 422 that never comes.
        "parameters": [{"name": "handoff_id", "in": "path", "required": True, "schema": {"type": "string"}}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}},
    },
}
_authorization: Final = APIKeyHeader(
    name="Authorization",
    scheme_name="GHASI-CONSUME",
    description="`GHASI-CONSUME kid=…, mac=…`: an HMAC over the call; see the consume call, version 1.",
    auto_error=False,
)


def consumer_router(
    log: HandoffLog | AsyncHandoffLog,
    *,
    keys: KeyRing | Callable[[], KeyRing],
    clock: Callable[[], float] = time.time,
    on_event: OnEvent | None = None,
) -> APIRouter:
    """The route by which the booking side reports a redemption: ``POST /internal/handoff/{id}/consume``.

    Include it in the application that issues, and let only the booking side's machines reach it. What it answers to a
    call that is not authentic tells nothing; see docs/spec/consume-v1.md.

    Args:
        log: The handoff log that the issuer writes, for threads or for asyncio.
        keys: The ring of this issuer and audience, or a callable that returns the present one.
        clock: Returns Unix seconds.
        on_event: Gets a `CallAnswered` for each call.

    Raises:
        ConfigurationError: An argument has the wrong type.
    """
    awaited = inspect.iscoroutinefunction(getattr(log, "consume", None))
    require(log, "record", awaited=awaited, name="log", kind="AsyncHandoffLog" if awaited else "HandoffLog")
    checked_log: Any = log
    source = ring_source(keys)
    router = APIRouter(tags=["handoff"])

    @router.post("/internal/handoff/{handoff_id}/consume", dependencies=[Depends(_authorization)], **_OPERATION)
    async def consume(request: Request) -> Response:
        call = ConsumeRequest(
            path_id=request.path_params["handoff_id"],
            authorization=request.headers.getlist("authorization"),
            body=await read_body(request, MAX_CONSUME_BODY_BYTES),
        )
        options: dict[str, Any] = {"log": checked_log, "keys": source, "clock": clock, "on_event": on_event}
        try:
            await catch_up(source, named_kid(call.authorization))
            if awaited:
                return response_of(await answer_consume_async(call, **options))
            return response_of(await run_in_threadpool(answer_consume, call, **options))
        except KeyRingError as exc:  # the key file cannot be read just now; the caller tries again
            return response_of(answer_error(exc))

    return router
