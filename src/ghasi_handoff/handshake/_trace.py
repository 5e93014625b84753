"""rows of both logs and the outbox -> a timeline and a verdict, for support. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

from ghasi_handoff._scope import Scope
from ghasi_handoff._times import from_seconds
from ghasi_handoff.replay import ReplayRecord, ReplayTrace
from ghasi_handoff.stores._handoff_log import HandoffRecord, HandoffState


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that happened.

    Attributes:
        at: Unix seconds, by the clock of the service where it happened.
        where: ``bff-consumer`` or ``booking side``.
        what: In words.
    """

    at: int
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Trace:
    """What is known of one handoff.

    Attributes:
        code: The verdict in one word, for programs.
        verdict: The same in a sentence: what to tell a guest or an engineer.
        timeline: What happened, in order of time.
    """

    code: str
    verdict: str
    timeline: tuple[Moment, ...]


ISSUER_SIDE = "bff-consumer"
BOOKING_SIDE = "booking side"


def trace_handoff(record: HandoffRecord | None, replay: ReplayTrace | None, now: int, *, log_asked: bool) -> Trace:
    """What became of a handoff.

    Args:
        record: Its row in the handoff log; None if there is none, or the log was not asked.
        replay: What the replay store has; None if the store was not asked.
        now: Unix seconds.
        log_asked: Whether the handoff log was asked.
    """
    held = _held(record, replay)
    names = _browsers(record, held, replay)
    code, verdict = _verdict(record, replay, held, now, log_asked)
    return Trace(code, verdict, tuple(sorted(_timeline(record, replay, names), key=lambda moment: moment.at)))


def _held(record: HandoffRecord | None, replay: ReplayTrace | None) -> ReplayRecord | None:
    if replay is None:
        return None
    scope = None if record is None else str(Scope(record.issuer, record.audience))
    return next((row for row in replay.records if scope in (None, row.scope)), None)


def _browsers(record: HandoffRecord | None, held: ReplayRecord | None, replay: ReplayTrace | None) -> dict[str, str]:
    """Redemption ids, as people speak of them: browser A has the handoff, B and C tried."""
    ids = [held.redemption_id] if held is not None else []
    ids += [record.redemption_id] if record is not None and record.redemption_id is not None else []
    ids += [refusal.redemption_id for refusal in replay.refusals] if replay is not None else []
    return {
        redemption_id: f"browser {chr(ord('A') + n) if n < 26 else n + 1} ({redemption_id[:8]})"
        for n, redemption_id in enumerate(dict.fromkeys(ids))
    }


def _timeline(record: HandoffRecord | None, replay: ReplayTrace | None, names: dict[str, str]) -> list[Moment]:
    """What happened, in an order that also holds within one second."""
    moments = []
    if record is not None:
        moments.append(Moment(record.issued_at, ISSUER_SIDE, f"issued for {record.tenant}, signed by {record.kid}"))
    if replay is not None:
        for row in replay.records:
            name = names.get(row.redemption_id, row.redemption_id[:8])
            moments.append(Moment(row.consumed_at, BOOKING_SIDE, f"redeemed by {name}"))
    if record is not None and record.redemption_id is not None and record.recorded_at is not None:
        moments.append(Moment(record.recorded_at, ISSUER_SIDE, f"told: redeemed by {names[record.redemption_id]}"))
    if record is not None and record.revoked_at is not None:
        moments.append(Moment(record.revoked_at, ISSUER_SIDE, "revoked"))
    if replay is not None:
        for refusal in replay.refusals:
            moments.append(Moment(refusal.refused_at, BOOKING_SIDE, f"refused: {names[refusal.redemption_id]} tried"))
        for entry in replay.outbox:
            if entry.dead_at is not None:
                moments.append(Moment(entry.dead_at, BOOKING_SIDE, f"delivery given up: {entry.outcome}"))
    if record is not None:
        moments.append(Moment(record.expires_at, ISSUER_SIDE, "the token ends"))
    return moments


def _verdict(
    record: HandoffRecord | None, replay: ReplayTrace | None, held: ReplayRecord | None, now: int, log_asked: bool
) -> tuple[str, str]:
    told = record.redemption_id if record is not None else None
    if held is not None and told is not None and held.redemption_id != told:
        return "logs_disagree", (
            "the two logs name different browsers: the replay store has lost rows (see the alarm local_row_lost)"
        )
    if held is not None or told is not None:
        at = held.consumed_at if held is not None else (record.consumed_at or 0) if record is not None else 0
        text = f"redeemed by one browser at {_time(at)}{_tries(replay, held, told)}"
        if record is not None and record.state is HandoffState.REVOKED:
            return "redeemed_and_revoked", f"{text}; revoked at bff-consumer before it was told"
        if log_asked and record is None:
            return (
                "unknown_at_issuer",
                f"{text}; bff-consumer's log does not have it: two environments mixed up, or lost",
            )
        if record is not None and held is not None and _too_late(record, replay, held):
            after = held.consumed_at - record.expires_at
            return "too_late", (
                f"one browser came at {_time(held.consumed_at)}, {after} s after the token's end, and bff-consumer has"
                " not been told: too late, unless the verifier's leeway is longer"
            )
        if log_asked and told is None:
            return "not_reported", f"{text}; bff-consumer has not been told yet{_waiting(replay)}"
        return "redeemed", text
    if record is None:
        asked = "the logs that were asked do" if log_asked and replay is not None else "this log does"
        return "unknown", f"{asked} not have this handoff: never issued here, or long ago"
    if record.state is HandoffState.REVOKED:
        return "revoked", f"revoked at {_time(record.revoked_at or 0)}, and never redeemed"
    if now >= record.expires_at:
        return "expired", f"never redeemed; it ended at {_time(record.expires_at)}"
    return "open", f"not redeemed; it is good until {_time(record.expires_at)}"


def _too_late(record: HandoffRecord, replay: ReplayTrace | None, held: ReplayRecord) -> bool:
    """A redemption in the last minute is recorded, refused, and taken from the outbox: nobody was let through."""
    told = record.redemption_id is not None
    return not told and held.consumed_at >= record.expires_at and not (replay is not None and replay.outbox)


def _tries(replay: ReplayTrace | None, held: ReplayRecord | None, told: str | None) -> str:
    if replay is None:
        return ""
    holder = held.redemption_id if held is not None else told
    others = [refusal for refusal in replay.refusals if refusal.redemption_id != holder]
    if not others:
        return ""
    browsers = len({refusal.redemption_id for refusal in others})
    who = "another" if browsers == 1 else f"{browsers} others"
    if held is None:
        return f", tried by {who}"
    gap = others[0].refused_at - held.consumed_at
    return f", tried by {who} {gap} s later" if browsers == 1 else f", tried by {who}, the first {gap} s later"


def _waiting(replay: ReplayTrace | None) -> str:
    if replay is None:
        return ""
    if not replay.outbox:
        return ", and nothing waits in the outbox"
    entry = replay.outbox[0]
    if entry.dead_at is not None:
        return f"; delivery was given up ({entry.outcome})"
    return (
        f" ({entry.attempts} tries, the last one: {entry.outcome})" if entry.attempts else " (it waits in the outbox)"
    )


def _time(seconds: int) -> str:
    return f"{from_seconds(seconds):%Y-%m-%d %H:%M:%S} UTC"
