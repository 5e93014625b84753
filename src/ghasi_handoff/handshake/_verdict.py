"""consume call, row of the handoff log -> what the issuer answers. No I/O."""

from __future__ import annotations

from enum import StrEnum

from ghasi_handoff._limits import MAX_LATENESS_SECONDS
from ghasi_handoff.stores._handoff_log import ConsumeCall, HandoffRecord, HandoffState


class Verdict(StrEnum):
    """What the issuer answers to an authentic call. The value is the problem's code."""

    CONFIRMED = "confirmed"
    REPLAYED = "replayed"
    REVOKED = "revoked_handoff"
    EXPIRED = "expired"
    UNKNOWN = "unknown_handoff"
    UNDECIDED = "undecided"


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
