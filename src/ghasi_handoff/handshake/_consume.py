"""consume request -> authentic call -> handoff log -> answer. For any web framework: bytes in, status and bytes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ghasi_handoff._encoding import read_clock
from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.handshake._consume_call import SCHEME, ConsumeCall, RefusedCall, verify_call
from ghasi_handoff.handshake._course import Course, drive, drive_async
from ghasi_handoff.handshake._events import CallAnswered, OnEvent, Reporter
from ghasi_handoff.handshake._issuer import check_log
from ghasi_handoff.handshake._log import AsyncHandoffLog, HandoffLog, HandoffRecord, Verdict, judge
from ghasi_handoff.handshake._steps import Step, reached
from ghasi_handoff.keys import KeyRing, ring_source

UNAUTHENTICATED: Final = "unauthenticated_call"
_PROBLEMS: Final[Mapping[Verdict, tuple[int, str]]] = {
    Verdict.REPLAYED: (409, "The handoff was redeemed by another browser."),
    Verdict.REVOKED: (410, "The handoff was revoked."),
    Verdict.EXPIRED: (410, "The handoff was redeemed too late."),
    Verdict.UNKNOWN: (404, "There is no such handoff."),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumeRequest:
    """What a web framework took from ``POST /internal/handoff/{id}/consume``.

    Attributes:
        path_id: The path's id, decoded once. Not trusted.
        authorization: The values of the ``Authorization`` fields, in order; none, or several, are refused.
        body: The body. More than 1024 bytes need not be read: any longer one is refused.
    """

    path_id: str
    authorization: Sequence[str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumeAnswer:
    """What to send back, as it is.

    Attributes:
        status: The HTTP status.
        headers: Content type, caching, and with a 401 the scheme.
        body: JSON: the redemption with a 200, else a problem (RFC 9457) with its ``code``.
        code: The problem's code; None with a 200.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    code: str | None


def answer_consume(
    request: ConsumeRequest,
    *,
    log: HandoffLog,
    keys: KeyRing | Callable[[], KeyRing],
    clock: Callable[[], float] = time.time,
    on_event: OnEvent | None = None,
) -> ConsumeAnswer:
    """Answer a consume call. Nothing but an authentic, recent call for a handoff in the log changes anything.

    Args:
        request: The call.
        log: What this issuer issued.
        keys: The ring of this issuer and audience, or a callable that returns the present one.
        clock: Returns Unix seconds.
        on_event: Gets a `CallAnswered` for each call.

    Raises:
        ConfigurationError: An argument or the clock's reading is not valid.
    """
    check_log(log, awaited=False)
    return drive(_answer(request, log, keys, clock, Reporter(on_event)))


async def answer_consume_async(
    request: ConsumeRequest,
    *,
    log: AsyncHandoffLog,
    keys: KeyRing | Callable[[], KeyRing],
    clock: Callable[[], float] = time.time,
    on_event: OnEvent | None = None,
) -> ConsumeAnswer:
    """As `answer_consume`, over an `AsyncHandoffLog`."""
    check_log(log, awaited=True)
    return await drive_async(_answer(request, log, keys, clock, Reporter(on_event)))


def _answer(
    request: ConsumeRequest,
    log: HandoffLog | AsyncHandoffLog,
    keys: KeyRing | Callable[[], KeyRing],
    clock: Callable[[], float],
    reporter: Reporter,
) -> Course[ConsumeAnswer]:
    """In the order of the specification."""
    now = int(read_clock(clock))
    call = verify_call(request.authorization, request.body, ring_source(keys)(), now)
    if isinstance(call, RefusedCall):
        reporter.report(CallAnswered(status=401, code=UNAUTHENTICATED, reason=call.reason, kid=call.kid))
        return _problem(401, UNAUTHENTICATED, "The call is not authentic.", {"WWW-Authenticate": SCHEME})
    reached(Step.CALL_CHECKED)
    record: HandoffRecord | None = None
    # Compared as text: the path is what a proxy routed, the body is what was signed.
    if request.path_id == call.handoff_id:
        try:
            record = yield lambda: log.consume(call, now)
        except ReplayStoreError as exc:
            return _unavailable(call, str(exc), reporter)
        reached(Step.CALL_RECORDED)
    verdict = judge(call, record)
    if verdict is Verdict.UNDECIDED:
        return _unavailable(call, "the row appeared while it was looked for", reporter)
    # Of a handoff of another pair nothing is told, not even to the log.
    tenant = record.tenant if record is not None and verdict is not Verdict.UNKNOWN else None
    facts = {"handoff_id": call.handoff_id, "tenant": tenant, "redemption_id": call.redemption_id}
    if verdict is not Verdict.CONFIRMED or record is None:
        status, title = _PROBLEMS[verdict]
        reporter.report(CallAnswered(status=status, code=verdict.value, **facts))
        return _problem(status, verdict.value, title)
    reporter.report(CallAnswered(status=200, **facts))
    body = (
        f'{{"consumed_at":{record.consumed_at},"handoff_id":"{record.handoff_id}",'
        f'"redemption_id":"{record.redemption_id}"}}'
    )
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return ConsumeAnswer(status=200, headers=headers, body=body.encode("ascii"), code=None)


def _unavailable(call: ConsumeCall, reason: str, reporter: Reporter) -> ConsumeAnswer:
    code = ReplayStoreError.code
    event = CallAnswered(
        status=503, code=code, reason=reason, handoff_id=call.handoff_id, redemption_id=call.redemption_id
    )
    reporter.report(event)
    return _problem(503, code, "The handoff log cannot answer now.", {"Retry-After": "1"})


def _problem(status: int, code: str, title: str, headers: Mapping[str, str] | None = None) -> ConsumeAnswer:
    body = f'{{"code":"{code}","status":{status},"title":"{title}","type":"about:blank"}}'
    general = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    return ConsumeAnswer(status=status, headers={**general, **(headers or {})}, body=body.encode("ascii"), code=code)
