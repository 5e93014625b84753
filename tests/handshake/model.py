"""A bounded model of the handshake: every interleaving of two browsers, few faults, and what must hold in each state.

Two attempts of one guest (a double click, two tabs, or a reload after a failure), one of a stranger, one handoff. An
attempt verifies, consumes locally, calls bff-consumer, and lets its browser through, in the order of its variant. In
between, anything may happen, as far as the budget goes: an attempt's process dies (and its browser may load the page
again), a reply is lost, the store loses the row, the token's time passes, bff-consumer's side revokes, a worker
delivers what waits in the outbox.

`explore` visits every state that can be reached, breadth first, so that the trace of a violation is a shortest one. States
that differ only in which of the guest's two attempts is which are one state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple, TypeAlias

GUEST, STRANGER = "guest", "stranger"
BROWSERS = (GUEST, GUEST, STRANGER)  # whose attempt it is


class Phase(IntEnum):
    """The token's time: valid; the minute after it, for its own redeemer; over."""

    VALID = 0
    GRACE = 1
    OVER = 2


@dataclass(frozen=True)
class Variant:
    """The protocol, or one mistake in it."""

    strict: bool = True
    random_ids: bool = False  # a redemption id per attempt, instead of one derived from the browser's secret
    decide_by_first: bool = False  # let through whom the store calls first, instead of whom it calls the holder
    remote_first: bool = False  # bff-consumer before the local store
    conflict_for_same_id: bool = False  # bff-consumer answers 409 to a repetition
    late_by_sending: bool = False  # bff-consumer judges lateness by the call, not by the redemption
    unconsume: bool = False  # the local row is removed when bff-consumer gives no answer
    fail_open: bool = False  # no answer counts as a confirmation
    outbox_apart: bool = False  # the outbox entry is written after the consume, not with it
    loses_rows: bool = True  # the store can lose the row, once


class Row(NamedTuple):
    """The local store's row: the redemption id, and the phase of its redemption."""

    holder: str
    consumed_in: Phase


class Attempt(NamedTuple):
    """One request of a browser: where it is, and what it knows."""

    step: str = "start"  # start, [called,] verified, consumed, noted, done, refused, waiting, dead
    rid: str = ""
    consumed_in: Phase = Phase.VALID
    code: str = ""


class State(NamedTuple):
    """Everything that lasts, every attempt, and what is left of the budget."""

    attempts: tuple[Attempt, ...] = (Attempt(), Attempt(), Attempt())
    row: Row | None = None
    outbox: frozenset[tuple[str, Phase]] = frozenset()
    issuer: str = "issued"  # issued, revoked, or a redemption id
    sessions: frozenset[str] = frozenset()  # redemption ids that were let through
    phase: Phase = Phase.VALID
    crashes: int = 2
    lost: int = 1
    wipes: int = 1
    revokes: int = 1
    reloads: int = 2
    wiped: bool = False
    timely: frozenset[str] = frozenset()  # redemption ids that the store ever held in time
    ids: int = 0  # random ids drawn so far


# Gives the state in which this attempt has changed so.
Move: TypeAlias = Callable[..., State]


class ViolationError(Exception):
    """A state in which a promise is broken, and the steps that lead there."""

    def __init__(self, promise: str, trace: list[str]) -> None:
        super().__init__(f"{promise}:\n  " + "\n  ".join(trace))
        self.promise = promise


def owner(rid: str) -> str:
    """Whose redemption id it is: ids begin with their browser."""
    return rid.partition("#")[0]


def answered(variant: Variant, state: State, rid: str, consumed_in: Phase) -> tuple[State, int]:
    """bff-consumer's decision: one guarded update."""
    if state.issuer == "revoked":
        return state, 410
    if state.issuer != "issued":
        same = state.issuer == rid and not variant.conflict_for_same_id
        return state, 200 if same else 409
    late = state.phase if variant.late_by_sending else consumed_in
    if late is not Phase.VALID:
        return state, 410
    return state._replace(issuer=rid), 200


def moves(variant: Variant, state: State) -> Iterator[tuple[str, State]]:
    """Every next step, with what it is called."""
    for n, attempt in enumerate(state.attempts):
        for name, after in attempt_moves(variant, state, n, attempt):
            yield f"{BROWSERS[n]} {n}: {name}", after
    for entry in state.outbox:
        rid, consumed_in = entry
        told, status = answered(variant, state, rid, consumed_in)
        yield f"worker delivers {rid}: {status}", told._replace(outbox=state.outbox - {entry})
    if state.phase is not Phase.OVER:
        yield "time passes", state._replace(phase=Phase(state.phase + 1))
    if state.revokes and state.issuer == "issued":
        yield "revoked", state._replace(issuer="revoked", revokes=0)
    if variant.loses_rows and state.wipes and state.row is not None:
        yield "the store loses its row", state._replace(row=None, outbox=frozenset(), wipes=0, wiped=True)


def attempt_moves(variant: Variant, state: State, n: int, attempt: Attempt) -> Iterator[tuple[str, State]]:
    """The next steps of one attempt."""

    def to(after: State, **changes: Any) -> State:
        changed = after.attempts[n]._replace(**changes)
        return after._replace(attempts=(*after.attempts[:n], changed, *after.attempts[n + 1 :]))

    if attempt.step in ("dead", "waiting", "refused") and state.reloads and BROWSERS[n] == GUEST:
        if attempt.step != "refused" or attempt.code == "unavailable":
            yield "loads again", to(state, step="start", code="")._replace(reloads=state.reloads - 1)
        return
    if attempt.step in ("dead", "waiting", "refused", "done"):
        return
    if state.crashes:
        yield f"dies at {attempt.step}", to(state, step="dead")._replace(crashes=state.crashes - 1)
    if attempt.step == "start":
        if state.phase is Phase.OVER:
            yield "expired", to(state, step="refused", code="expired")
            return
        rid = f"{BROWSERS[n]}#{state.ids}" if variant.random_ids else BROWSERS[n]
        drawn = state._replace(ids=state.ids + 1) if variant.random_ids else state
        yield "verifies", to(drawn, step="verified", rid=rid)
    elif attempt.step == "verified" and variant.remote_first:
        yield from call(variant, state, attempt._replace(consumed_in=state.phase), to, confirmed="called")
    elif attempt.step in ("verified", "called"):
        yield consumes(variant, state, attempt, to)
    elif attempt.step == "consumed" and variant.outbox_apart:
        waiting = state.outbox | {(attempt.rid, attempt.consumed_in)}
        yield "writes the outbox entry", to(state._replace(outbox=waiting), step="noted")
    elif variant.strict and not variant.remote_first:
        yield from call(variant, state, attempt, to, confirmed="through")
    else:
        yield "is let through", to(let_through(state, attempt.rid), step="done")


def consumes(variant: Variant, state: State, attempt: Attempt, to: Move) -> tuple[str, State]:
    """The local store's one atomic act, and the redeemer's rule."""
    first = state.row is None
    row = state.row or Row(attempt.rid, state.phase)
    after = state._replace(row=row)
    if first and row.consumed_in is Phase.VALID:
        after = after._replace(timely=state.timely | {row.holder})
        if not variant.outbox_apart:
            after = after._replace(outbox=state.outbox | {(row.holder, row.consumed_in)})
    ours = first if variant.decide_by_first else row.holder == attempt.rid
    if not ours:
        return "replayed", to(after, step="refused", code="replayed")
    if row.consumed_in is not Phase.VALID or state.phase is Phase.OVER:
        return "expired", to(after, step="refused", code="expired")
    step = "consumed" if first or not variant.outbox_apart else "noted"
    return "consumes", to(after, step=step, consumed_in=row.consumed_in)


def call(variant: Variant, state: State, attempt: Attempt, to: Move, *, confirmed: str) -> Iterator[tuple[str, State]]:
    """The consume call: answered, or answered and the reply lost."""
    told, status = answered(variant, state, attempt.rid, attempt.consumed_in)
    settled = told._replace(outbox=told.outbox - {(attempt.rid, attempt.consumed_in)})
    if status == 200:
        if confirmed == "through":
            yield "confirmed", to(let_through(settled, attempt.rid), step="done")
        else:
            yield "confirmed", to(settled, step=confirmed)
    else:
        code = "replayed" if status == 409 else "gone"
        yield f"told {status}", to(settled, step="refused", code=code)
    if state.lost:
        lost = told._replace(lost=state.lost - 1)
        if variant.fail_open:
            yield "no reply, let through", to(let_through(lost, attempt.rid), step="done")
        elif variant.unconsume:
            yield "no reply, un-consumes", to(lost._replace(row=None), step="waiting")
        else:
            yield "no reply", to(lost, step="waiting")


def let_through(state: State, rid: str) -> State:
    """A booking session for the browser of this redemption."""
    return state._replace(sessions=state.sessions | {rid})


def broken(variant: Variant, before: State, after: State) -> str | None:
    """The promise that the step from `before` to `after` breaks, if any."""
    if after.sessions is not before.sessions and len({owner(rid) for rid in after.sessions}) > 1:
        return "two owners"
    if before.issuer not in ("issued", after.issuer):
        return "the issuer's log changed its mind"
    if variant.strict and after.sessions and after.sessions != {after.issuer}:
        return "let through without the issuer's log"
    if after.attempts is before.attempts:
        return None
    for n, (was, now) in enumerate(zip(before.attempts, after.attempts, strict=True)):
        if now.code != "replayed" or was.code == "replayed":
            continue
        names = {owner(rid) for rid in (before.row.holder if before.row else "", before.issuer) if rid}
        if not names - {BROWSERS[n], "issued", "revoked"}:
            return "locked out"
    return None


def quiet(variant: Variant, state: State) -> str | None:
    """What must hold once everything that was under way has ended and the outbox is drained."""
    for rid, consumed_in in state.outbox:
        state, _ = answered(variant, state, rid, consumed_in)
    if not state.wiped and state.issuer not in ("revoked",) and state.row is not None:
        timely = state.row.consumed_in is Phase.VALID
        if timely and state.issuer != state.row.holder:
            return "the issuer was never told"
    return None


def retried(variant: Variant, state: State) -> str | None:
    """In time, with no other browser in either log and nothing revoked, a guest's fault-free retry must succeed."""
    names = {owner(rid) for rid in (state.row.holder if state.row else "", state.issuer) if rid}
    if not variant.strict or state.phase is not Phase.VALID or names - {GUEST, "issued"}:
        return None
    return alone(variant, state.row, state.issuer, state.ids)


@cache
def alone(variant: Variant, row: Row | None, issuer: str, ids: int) -> str | None:
    """What a guest's one attempt breaks that starts here, with no fault and no other attempt: all that it can depend on."""
    attempts = (Attempt(), Attempt("dead"), Attempt("dead"))
    calm = State(attempts, row, issuer=issuer, ids=ids, crashes=0, lost=0, wipes=0, revokes=0, reloads=0)
    for _ in range(6):
        steps = [after for name, after in moves(variant, calm) if name.startswith("guest 0")]
        if not steps:
            break
        calm = steps[0]
    return None if calm.attempts[0].step == "done" else "locked out"


@dataclass(frozen=True)
class Explored:
    """How far the model went."""

    states: int
    ends: int


def explore(variant: Variant) -> Explored:
    """Visit every state; raise the first violation, with a shortest trace."""
    start = State()
    if variant.outbox_apart or not variant.loses_rows:
        start = start._replace(wipes=0)
    came_from: dict[State, tuple[State, str] | None] = {start: None}
    queue = deque([start])
    ends = 0

    def trace(state: State, last: str) -> list[str]:
        steps = [last]
        while (origin := came_from[state]) is not None:
            state, step = origin
            steps.append(step)
        return [step for step in reversed(steps) if step]

    while queue:
        state = queue.popleft()
        under_way = False
        for name, after in moves(variant, state):
            promise = broken(variant, state, after)
            if promise is not None:
                raise ViolationError(promise, trace(state, name))
            under_way = under_way or not (name.startswith(("worker", "time", "revoked", "the store")))
            guests, stranger = after.attempts[:2], after.attempts[2]
            seen = after if guests[0] <= guests[1] else after._replace(attempts=(guests[1], guests[0], stranger))
            if seen not in came_from:
                came_from[seen] = (state, name)
                queue.append(seen)
        promise = retried(variant, state) or (None if under_way else quiet(variant, state))
        if promise is not None:
            raise ViolationError(promise, trace(state, ""))
        ends += not under_way
    return Explored(len(came_from), ends)


RIGHT = Variant()
DEFERRED = Variant(strict=False, loses_rows=False)
WRONG: dict[str, tuple[Variant, set[str]]] = {
    "random-ids": (replace(RIGHT, random_ids=True), {"locked out"}),
    "remote-first-random-ids": (replace(RIGHT, random_ids=True, remote_first=True), {"locked out"}),
    "decide-by-first": (replace(RIGHT, decide_by_first=True), {"locked out"}),
    "deferred-on-a-store-that-loses-rows": (replace(DEFERRED, loses_rows=True), {"two owners"}),
    "deferred-random-ids": (replace(DEFERRED, random_ids=True), {"locked out"}),
    "conflict-for-the-same-id": (replace(RIGHT, conflict_for_same_id=True), {"locked out"}),
    "late-by-sending": (replace(DEFERRED, late_by_sending=True), {"the issuer was never told"}),
    "un-consume": (
        replace(RIGHT, unconsume=True, loses_rows=False),
        {"two owners", "let through without the issuer's log", "locked out", "the issuer was never told"},
    ),
    "fail-open": (replace(RIGHT, fail_open=True), {"two owners", "let through without the issuer's log"}),
    "outbox-apart": (replace(DEFERRED, outbox_apart=True), {"the issuer was never told"}),
}
