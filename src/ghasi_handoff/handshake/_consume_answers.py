"""consume call, row of the handoff log -> verdict -> status, headers and body; and what these say. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ghasi_handoff import errors
from ghasi_handoff._limits import MAX_LATENESS_SECONDS
from ghasi_handoff.handshake._consume_call import SCHEME
from ghasi_handoff.stores._handoff_log import ConsumeCall, HandoffRecord, HandoffState


class Verdict(StrEnum):
    """What the issuer answers to a call. The value is the problem's code."""

    CONFIRMED = "confirmed"
    UNAUTHENTICATED = "unauthenticated_call"
    UNKNOWN = "unknown_handoff"
    REPLAYED = "replayed"
    REVOKED = "revoked_handoff"
    EXPIRED = "expired"
    UNDECIDED = errors.HandoffLogError.code


_PROBLEMS: Final[Mapping[Verdict, tuple[int, str, Mapping[str, str]]]] = {
    Verdict.UNAUTHENTICATED: (401, "The call is not authentic.", {"WWW-Authenticate": SCHEME}),
    Verdict.UNKNOWN: (404, "There is no such handoff.", {}),
    Verdict.REPLAYED: (409, "The handoff was redeemed by another browser.", {}),
    Verdict.REVOKED: (410, "The handoff was revoked.", {}),
    Verdict.EXPIRED: (410, "The handoff was redeemed too late.", {}),
    Verdict.UNDECIDED: (503, "The handoff log cannot answer now.", {"Retry-After": "1"}),
}
# Final for the caller, whatever else the answer holds, if its code is the right one for its status.
_FINAL: Final[Mapping[int, tuple[type[errors.HandoffError], ...]]] = {
    409: (errors.ReplayedTokenError,),
    410: (errors.RevokedHandoffError, errors.ExpiredTokenError),
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


def judge(call: ConsumeCall, record: HandoffRecord | None) -> Verdict:
    """The answer to `call`, from the row as it is after `HandoffLog.consume`. Steps 6 to 9 of the specification."""
    if record is None or (record.issuer, record.audience) != (call.issuer, call.audience):
        return Verdict.UNKNOWN
    if record.state is HandoffState.CONSUMED:
        # By the same redemption id: a repetition, after a lost reply or a reload. It gets the same answer again.
        return Verdict.CONFIRMED if record.redemption_id == call.redemption_id else Verdict.REPLAYED
    if record.state is HandoffState.REVOKED:
        return Verdict.REVOKED
    # By the time of the redemption, not of the call: a timely one counts, however late it is delivered.
    if call.consumed_at >= record.expires_at + MAX_LATENESS_SECONDS:
        return Verdict.EXPIRED
    return Verdict.UNDECIDED  # the row came into being between the update and the reading


def confirmed(record: HandoffRecord) -> ConsumeAnswer:
    """200: the handoff is redeemed, by the redemption that the call names."""
    body = (
        f'{{"consumed_at":{record.consumed_at},"handoff_id":"{record.handoff_id}",'
        f'"redemption_id":"{record.redemption_id}"}}'
    )
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return ConsumeAnswer(status=200, headers=headers, body=body.encode("ascii"), code=None)


def problem(verdict: Verdict) -> ConsumeAnswer:
    """Every other answer. It does not say why a call is not authentic."""
    status, title, more = _PROBLEMS[verdict]
    body = f'{{"code":"{verdict}","status":{status},"title":"{title}","type":"about:blank"}}'
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store", **more}
    return ConsumeAnswer(status=status, headers=headers, body=body.encode("ascii"), code=verdict.value)


def understood(call: ConsumeCall, status: int, content_type: str, answer: bytes) -> errors.HandoffError | str | None:
    """What an answer to `call` says: None if confirmed, the error of a final refusal, a word for everything else."""
    kind = content_type.partition(";")[0].strip().lower()
    if status == 200:
        # Whatever stands between us may answer 200, too: a login page, a default host. Ours names what it confirms.
        wanted = f'"handoff_id":"{call.handoff_id}","redemption_id":"{call.redemption_id}"}}'.encode("ascii")
        is_ours = kind == "application/json" and answer.startswith(b'{"consumed_at":') and answer.endswith(wanted)
        return None if is_ours else "invalid_answer"
    if kind == "application/problem+json":
        for error in _FINAL.get(status, ()):
            if f'"code":"{error.code}"'.encode("ascii") in answer:
                return error(f"bff-consumer answered {status} {error.code}", handoff_id=call.handoff_id)
    return f"status_{status}"
