# Generated from _consume_async.py by tools/sync_twins.py. Do not edit.
"""consume request -> authentic call -> handoff log -> answer. For any web framework: bytes in, status and bytes out."""

from __future__ import annotations

import time
from collections.abc import Callable

from ghasi_handoff._require import Wrapped, require
from ghasi_handoff._times import read_clock
from ghasi_handoff.errors import HandoffLogError, ReplayStoreError
from ghasi_handoff.handshake._consume_answers import ConsumeAnswer, ConsumeRequest, Verdict, confirmed, judge, problem
from ghasi_handoff.handshake._consume_call import RefusedCall, verify_call
from ghasi_handoff.handshake._events import CallAnswered, OnEvent, Reporter
from ghasi_handoff.handshake._steps import Step, reached
from ghasi_handoff.keys import KeyRing, ring_source
from ghasi_handoff.stores._handoff_log import HandoffRecord
from ghasi_handoff.stores._maintained import HandoffLog


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
    # The order of the specification.
    require(log, "record", awaited=False, name="log", kind="HandoffLog")
    reporter = Reporter(on_event)
    now = int(read_clock(clock))
    call = verify_call(request.authorization, request.body, ring_source(keys)(), now)
    if isinstance(call, RefusedCall):
        return _reported(problem(Verdict.UNAUTHENTICATED), reporter, reason=call.reason, kid=call.kid)
    reached(Step.CALL_CHECKED)
    facts = {"handoff_id": call.handoff_id, "redemption_id": call.redemption_id}
    record: HandoffRecord | None = None
    # Compared as text: the path is what a proxy routed, the body is what was signed.
    if request.path_id == call.handoff_id:
        try:
            with Wrapped("log", HandoffLogError, handoff_id=call.handoff_id):
                record = log.consume(call, now)
        except ReplayStoreError as exc:
            return _reported(problem(Verdict.UNDECIDED), reporter, reason=str(exc), **facts)
        reached(Step.CALL_RECORDED)
    verdict = judge(call, record)
    if verdict is Verdict.UNDECIDED:
        return _reported(problem(verdict), reporter, reason="the row appeared while it was looked for", **facts)
    # Of a handoff of another pair nothing is told, not even to the log.
    tenant = record.tenant if record is not None and verdict is not Verdict.UNKNOWN else None
    answer = confirmed(record) if verdict is Verdict.CONFIRMED and record is not None else problem(verdict)
    return _reported(answer, reporter, tenant=tenant, **facts)


def _reported(answer: ConsumeAnswer, reporter: Reporter, **facts: str | None) -> ConsumeAnswer:
    reporter.report(CallAnswered(status=answer.status, code=answer.code, **facts))
    return answer
