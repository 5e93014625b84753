"""rows of both logs and the outbox -> a timeline and a verdict, for support. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ghasi_handoff._times import from_seconds
from ghasi_handoff.replay import ReplayRecord, ReplayTrace, Scope
from ghasi_handoff.stores._handoff_log import HandoffRecord, HandoffState

ISSUER_SIDE = "bff-consumer"
BOOKING_SIDE = "booking side"


@dataclass(frozen=True, slots=True)
class Moment:
    """What happened, where (`ISSUER_SIDE`, `BOOKING_SIDE`), and when: Unix seconds by the clock of that service."""

    at: int
    where: str
    what: str


@dataclass(frozen=True, slots=True)
class Trace:
    """What is known of one handoff: a verdict in one word, for programs, and in a sentence; the moments in order."""

    code: str
    verdict: str
    timeline: tuple[Moment, ...]


def trace_handoff(record: HandoffRecord | None, replay: ReplayTrace | None, now: int, *, log_asked: bool) -> Trace:
    """What became of a handoff, from its row in the handoff log, if any, and the replay store's, if that was asked."""
    rows = ReplayTrace((), (), ()) if replay is None else replay
    scope = None if record is None else str(Scope(record.issuer, record.audience))
    held = next((row for row in rows.records if scope in (None, row.scope)), None)
    # sorted() keeps the order of moments within one second.
    timeline = tuple(sorted(_timeline(record, rows, held), key=lambda moment: moment.at))
    if held is None and record is None:
        asked = "the logs that were asked do" if log_asked and replay is not None else "this log does"
        return Trace("unknown", f"{asked} not have this handoff: never issued here, or long ago", timeline)
    if held is None and record is not None and record.redemption_id is None:
        return Trace(*_never_redeemed(record, now), timeline)
    return Trace(*_redeemed(record, rows, held, log_asked), timeline)


def _timeline(record: HandoffRecord | None, rows: ReplayTrace, held: ReplayRecord | None) -> Iterator[Moment]:
    # Redemption ids, as people speak of them: browser A has the handoff, B and C tried.
    ids = [held.redemption_id] if held is not None else []
    ids += [record.redemption_id] if record is not None and record.redemption_id is not None else []
    ids += [refusal.redemption_id for refusal in rows.refusals]
    names = {
        redemption_id: f"browser {chr(ord('A') + n) if n < 26 else n + 1} ({redemption_id[:8]})"
        for n, redemption_id in enumerate(dict.fromkeys(ids))
    }
    if record is not None:
        yield Moment(record.issued_at, ISSUER_SIDE, f"issued for {record.tenant}, signed by {record.kid}")
    for row in rows.records:
        name = names.get(row.redemption_id, row.redemption_id[:8])
        yield Moment(row.consumed_at, BOOKING_SIDE, f"redeemed by {name}")
    if record is not None and record.redemption_id is not None and record.recorded_at is not None:
        yield Moment(record.recorded_at, ISSUER_SIDE, f"told: redeemed by {names[record.redemption_id]}")
    if record is not None and record.revoked_at is not None:
        yield Moment(record.revoked_at, ISSUER_SIDE, "revoked")
    for refusal in rows.refusals:
        yield Moment(refusal.refused_at, BOOKING_SIDE, f"refused: {names[refusal.redemption_id]} tried")
    for entry in rows.outbox:
        if entry.dead_at is not None:
            yield Moment(entry.dead_at, BOOKING_SIDE, f"delivery given up: {entry.outcome}")
    if record is not None:
        yield Moment(record.expires_at, ISSUER_SIDE, "the token ends")


def _never_redeemed(record: HandoffRecord, now: int) -> tuple[str, str]:
    if record.state is HandoffState.REVOKED:
        return "revoked", f"revoked at {_time(record.revoked_at or 0)}, and never redeemed"
    if now >= record.expires_at:
        return "expired", f"never redeemed; it ended at {_time(record.expires_at)}"
    return "open", f"not redeemed; it is good until {_time(record.expires_at)}"


def _redeemed(
    record: HandoffRecord | None, rows: ReplayTrace, held: ReplayRecord | None, log_asked: bool
) -> tuple[str, str]:
    told = None if record is None else record.redemption_id
    if held is not None and told is not None and held.redemption_id != told:
        return "logs_disagree", (
            "the two logs name different browsers: the replay store has lost rows (see the alarm local_row_lost)"
        )
    at = held.consumed_at if held is not None else (record.consumed_at or 0) if record is not None else 0
    text = f"redeemed by one browser at {_time(at)}{_tries(rows, held, told)}"
    if record is not None and record.state is HandoffState.REVOKED:
        return "redeemed_and_revoked", f"{text}; revoked at bff-consumer before it was told"
    if log_asked and record is None:
        lost = "bff-consumer's log does not have it: two environments mixed up, or lost"
        return "unknown_at_issuer", f"{text}; {lost}"
    # A redemption in the last minute is recorded, refused, and taken from the outbox: nobody was let through.
    if record is not None and told is None and at >= record.expires_at and not rows.outbox:
        return "too_late", (
            f"one browser came at {_time(at)}, {at - record.expires_at} s after the token's end, and bff-consumer has"
            " not been told: too late, unless the verifier's leeway is longer"
        )
    if log_asked and told is None:
        return "not_reported", f"{text}; bff-consumer has not been told yet{_waiting(rows)}"
    return "redeemed", text


def _tries(rows: ReplayTrace, held: ReplayRecord | None, told: str | None) -> str:
    holder = held.redemption_id if held is not None else told
    others = [refusal for refusal in rows.refusals if refusal.redemption_id != holder]
    if not others:
        return ""
    browsers = len({refusal.redemption_id for refusal in others})
    who = "another" if browsers == 1 else f"{browsers} others"
    if held is None:
        return f", tried by {who}"
    gap = others[0].refused_at - held.consumed_at
    return f", tried by {who} {gap} s later" if browsers == 1 else f", tried by {who}, the first {gap} s later"


def _waiting(rows: ReplayTrace) -> str:
    if not rows.outbox:
        return ", and nothing waits in the outbox"
    entry = rows.outbox[0]
    if entry.dead_at is not None:
        return f"; delivery was given up ({entry.outcome})"
    return (
        f" ({entry.attempts} tries, the last one: {entry.outcome})" if entry.attempts else " (it waits in the outbox)"
    )


def _time(seconds: int) -> str:
    return f"{from_seconds(seconds):%Y-%m-%d %H:%M:%S} UTC"
