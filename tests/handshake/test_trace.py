"""Timeline and verdict: what each combination of rows says, in words that support can pass on."""

from __future__ import annotations

import pytest

from ghasi_handoff.handshake import HandoffRecord, HandoffState
from ghasi_handoff.handshake._trace import Trace, trace_handoff
from ghasi_handoff.replay import OutboxEntry, ReplayRecord, ReplayRefusal, ReplayTrace

from .services import AUDIENCE, ISSUER, SCOPE, TENANT

ISSUED = 1795426200  # 2026-11-23 09:30:00 UTC
AT = ISSUED + 60
A, B, C = "a" * 64, "b" * 64, "c" * 64
ID = "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71"


def row(state: HandoffState = HandoffState.ISSUED, who: str | None = None, revoked_at: int | None = None) -> HandoffRecord:  # fmt: skip
    at = AT if who else None
    return HandoffRecord(
        handoff_id=ID, issuer=ISSUER, audience=AUDIENCE, tenant=TENANT, kid="2026-11a", issued_at=ISSUED,
        expires_at=ISSUED + 300, state=state, redemption_id=who, consumed_at=at, recorded_at=at, revoked_at=revoked_at,
    )  # fmt: skip


def told(who: str = A) -> HandoffRecord:
    return row(HandoffState.CONSUMED, who)


def entry(*, attempts: int = 0, dead_at: int | None = None, outcome: str = "") -> OutboxEntry:
    return OutboxEntry(ID, SCOPE, A, AT, attempts, AT, dead_at, outcome)


def held(*tries: tuple[str, int], by: str = A, scope: str = SCOPE, outbox: tuple[OutboxEntry, ...] = ()) -> ReplayTrace:
    refusals = tuple(ReplayRefusal(scope, who, AT + after) for who, after in tries)
    return ReplayTrace((ReplayRecord(scope, by, AT),), refusals, outbox)


EMPTY = ReplayTrace((), (), ())
REDEEMED = "redeemed by one browser at 2026-11-23 09:31:00 UTC"


@pytest.mark.parametrize(
    ("record", "replay", "log_asked", "code", "verdict"),
    [
        (told(), held(), True, "redeemed", REDEEMED),
        (told(), held((B, 41)), True, "redeemed", f"{REDEEMED}, tried by another 41 s later"),
        (told(), held((B, 5), (B, 9)), True, "redeemed", f"{REDEEMED}, tried by another 5 s later"),
        (told(), held((B, 5), (C, 9)), True, "redeemed", f"{REDEEMED}, tried by 2 others, the first 5 s later"),
        (told(), held((A, 5)), True, "redeemed", REDEEMED),
        (told(), None, True, "redeemed", REDEEMED),
        (told(), EMPTY, True, "redeemed", REDEEMED),
        (told(), ReplayTrace((), (ReplayRefusal(SCOPE, B, AT),), ()), True, "redeemed", f"{REDEEMED}, tried by another"),
        (None, held(), False, "redeemed", REDEEMED),
        (None, held(), True, "unknown_at_issuer", f"{REDEEMED}; bff-consumer's log does not have it"),
        (row(), held(), True, "not_reported", "bff-consumer has not been told yet, and nothing waits in the outbox"),
        (row(), held(outbox=(entry(),)), True, "not_reported", "not been told yet (it waits in the outbox)"),
        (row(), held(outbox=(entry(attempts=3, outcome="timeout"),)), True, "not_reported", "(3 tries, the last one: timeout)"),
        (row(), held(outbox=(entry(dead_at=AT, outcome="status_401"),)), True, "not_reported", "delivery was given up (status_401)"),
        (told(B), held(), True, "logs_disagree", "name different browsers"),
        (row(HandoffState.REVOKED, revoked_at=AT), EMPTY, True, "revoked", "revoked at 2026-11-23 09:31:00 UTC, and never redeemed"),
        (row(HandoffState.REVOKED, revoked_at=AT), held(), True, "redeemed_and_revoked", f"{REDEEMED}; revoked at bff-consumer"),
        (row(), EMPTY, True, "open", "not redeemed; it is good until 2026-11-23 09:35:00 UTC"),
        (row(), held(scope="another\npair"), True, "open", "not redeemed"),
        (None, EMPTY, True, "unknown", "the logs that were asked do not have this handoff"),
        (None, None, True, "unknown", "this log does not have this handoff"),
    ],
)  # fmt: skip
def test_the_verdict(record: HandoffRecord | None, replay: ReplayTrace | None, log_asked: bool, code: str, verdict: str) -> None:  # fmt: skip
    """One sentence and one word, from whatever rows there are."""
    found = trace_handoff(record, replay, AT + 10, log_asked=log_asked)
    assert (found.code, verdict in found.verdict) == (code, True), found.verdict


def test_a_handoff_that_has_ended() -> None:
    """From its last second on."""
    assert trace_handoff(row(), EMPTY, ISSUED + 299, log_asked=True).code == "open"
    assert trace_handoff(row(), EMPTY, ISSUED + 300, log_asked=True).code == "expired"


def test_a_redemption_that_was_too_late_is_none() -> None:
    """The row of the last minute let nobody through, unless an entry still waits or bff-consumer was told."""

    def late(seconds: int, *outbox: OutboxEntry) -> ReplayTrace:
        return ReplayTrace((ReplayRecord(SCOPE, A, ISSUED + 300 + seconds),), (), outbox)

    found = trace_handoff(row(), late(30), AT + 900, log_asked=True)
    assert found.code == "too_late"
    assert found.verdict.startswith("one browser came at 2026-11-23 09:35:30 UTC, 30 s after the token's end")
    assert trace_handoff(row(), late(-1), AT + 900, log_asked=True).code == "not_reported"
    assert trace_handoff(row(), late(5, entry()), AT + 900, log_asked=True).code == "not_reported"
    assert trace_handoff(told(), late(5), AT + 900, log_asked=True).code == "redeemed"


def test_the_timeline_reads_from_top_to_bottom() -> None:
    """In order of time, and within a second in order of cause; browsers have letters, the holder the first."""
    found: Trace = trace_handoff(told(), held((B, 0), (C, 400), outbox=(entry(dead_at=AT + 9, outcome="x"),)), AT, log_asked=True)  # fmt: skip
    assert [(moment.at - ISSUED, moment.where, moment.what) for moment in found.timeline] == [
        (0, "bff-consumer", f"issued for {TENANT}, signed by 2026-11a"),
        (60, "booking side", "redeemed by browser A (aaaaaaaa)"),
        (60, "bff-consumer", "told: redeemed by browser A (aaaaaaaa)"),
        (60, "booking side", "refused: browser B (bbbbbbbb) tried"),
        (69, "booking side", "delivery given up: x"),
        (300, "bff-consumer", "the token ends"),
        (460, "booking side", "refused: browser C (cccccccc) tried"),
    ]


def test_many_browsers_have_numbers() -> None:
    """After Z the letters end."""
    tries = [(f"{n:064x}", n) for n in range(40)]
    whats = [moment.what for moment in trace_handoff(told(), held(*tries), AT, log_asked=True).timeline]
    assert "refused: browser Z (00000000) tried" in whats
    assert "refused: browser 41 (00000000) tried" in whats
