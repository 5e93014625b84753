"""What SQLite and PostgreSQL have in common: statements that both understand, and rows -> values. No I/O."""

# ruff: noqa: S608 - a statement is put together from constants of this package alone; LiteralString shows it

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, LiteralString
from uuid import UUID

from ghasi_handoff._limits import HANDOFF_LOG_KEPT_SECONDS, MAX_LATENESS_SECONDS, OUTBOX_DELAY_SECONDS
from ghasi_handoff._signing_string import handoff_id_seconds
from ghasi_handoff._store_reports import OutboxEntry, ReplayRecord, ReplayRefusal, ReplayTrace
from ghasi_handoff.stores._handoff_log import ConsumeCall, HandoffQuery, HandoffRecord

_OUTBOX: Final = "CAST(handoff_id AS text), scope, redemption_id, consumed_at, attempts, due_at, dead_at, outcome"
# In the order of `HandoffRecord`.
_LOG: Final = (
    "CAST(handoff_id AS text), issuer, audience, tenant, kid, issued_at, expires_at, state, redemption_id, consumed_at,"
    " recorded_at, revoked_at"
)
_ANY_TIME: Final = 2**62


class SharedSQL:
    """The statements, with the driver's mark for an argument: ``?`` for SQLite, ``%s`` for PostgreSQL."""

    def __init__(self, mark: LiteralString) -> None:
        self._mark: Final = mark
        self.oldest: Final = end_of("handoff_replay_log", "ASC")
        self.newest: Final = end_of("handoff_replay_log", "DESC")
        self.raise_mark: Final = f"UPDATE handoff_replay_mark SET purged_before = {mark} WHERE purged_before < {mark}"
        self.purge_refused: Final = f"DELETE FROM handoff_replay_refused WHERE refused_at < {mark}"
        self.records_of_one: Final = (
            f"SELECT scope, redemption_id, consumed_at FROM handoff_replay_log WHERE handoff_id = {mark}"
        )
        self.refusals_of_one: Final = (
            "SELECT scope, redemption_id, refused_at FROM handoff_replay_refused"
            f" WHERE handoff_id = {mark} ORDER BY refused_at"
        )
        key = f"handoff_id = {mark} AND scope = {mark} AND redemption_id = {mark}"
        change = f"outcome = {mark} WHERE dead_at IS NULL AND {key}"
        self.outbox_of_one: Final = f"SELECT {_OUTBOX} FROM handoff_outbox WHERE handoff_id = {mark}"
        self.settle: Final = f"DELETE FROM handoff_outbox WHERE {key}"
        self.postpone: Final = f"UPDATE handoff_outbox SET due_at = {mark}, {change}"
        self.bury: Final = f"UPDATE handoff_outbox SET dead_at = {mark}, {change}"
        self.revive: Final = "UPDATE handoff_outbox SET dead_at = NULL, due_at = 0 WHERE dead_at IS NOT NULL"
        self.outbox_entries: Final = (
            f"SELECT {_OUTBOX} FROM handoff_outbox ORDER BY dead_at IS NULL, consumed_at LIMIT {mark}"
        )
        self.outbox_stats: Final = (
            "SELECT count(*) - count(dead_at), count(dead_at), min(consumed_at) FILTER (WHERE dead_at IS NULL)"
            " FROM handoff_outbox"
        )
        self.outbox_columns: Final = _OUTBOX
        self.log_newest: Final = end_of("handoff_log", "DESC")
        self.log_find: Final = f"SELECT {_LOG} FROM handoff_log WHERE handoff_id = {mark}"

    def log_search(self, query: HandoffQuery) -> tuple[LiteralString, list[Any]]:
        """The statement that finds what `query` asks for, and its arguments."""
        wanted: list[tuple[LiteralString, Any]] = [
            ("tenant =", query.tenant),
            ("issued_at >=", query.since),
            ("issued_at <", query.until),
            ("state =", None if query.state is None else str(query.state)),
        ]
        wanted = [(condition, value) for condition, value in wanted if value is not None]
        where = " AND ".join(f"{condition} {self._mark}" for condition, _ in wanted) or "true"
        statement = f"SELECT {_LOG} FROM handoff_log WHERE {where} ORDER BY handoff_log.handoff_id DESC"
        return f"{statement} LIMIT {self._mark}", [*(value for _, value in wanted), query.limit]


def end_of(table: LiteralString, direction: LiteralString) -> LiteralString:
    """Selects the oldest (``ASC``) or newest (``DESC``) handoff id of a table."""
    # Qualified: ORDER BY handoff_id would mean the text that is put out, and PostgreSQL would sort the whole table.
    return f"SELECT CAST(handoff_id AS text) FROM {table} ORDER BY {table}.handoff_id {direction} LIMIT 1"


def lease_bounds(now: int, whether_due: bool) -> tuple[int, int]:
    """The latest ``due_at`` and the latest ``consumed_at`` of the entries that may be leased at `now`."""
    return (now, now - OUTBOX_DELAY_SECONDS) if whether_due else (_ANY_TIME, _ANY_TIME)


def outbox_key(entry: OutboxEntry) -> tuple[str, str, str]:
    """By what an entry is found."""
    return entry.handoff_id, entry.scope, entry.redemption_id


def leased(rows: Iterable[Any]) -> list[OutboxEntry]:
    """What a lease took, the oldest redemption first."""
    return sorted((OutboxEntry(*row) for row in rows), key=lambda entry: entry.consumed_at)


def trace_of(records: Iterable[Any], refusals: Iterable[Any], outbox: Iterable[Any]) -> ReplayTrace:
    """What the tables hold of one handoff."""
    return ReplayTrace(
        tuple(ReplayRecord(*row) for row in records),
        tuple(ReplayRefusal(*row) for row in refusals),
        tuple(OutboxEntry(*row) for row in outbox),
    )


def seconds_of(row: Any) -> int | None:
    """The time of the handoff id in `row`, Unix seconds; None if there is no row."""
    return None if row is None else handoff_id_seconds(row[0])


def log_row(record: HandoffRecord) -> tuple[Any, ...]:
    """What is recorded of a handoff that was just issued: the first seven columns."""
    names = (record.handoff_id, record.issuer, record.audience, record.tenant, record.kid)
    return *names, record.issued_at, record.expires_at


def log_change(call: ConsumeCall, recorded_at: int) -> tuple[Any, ...]:
    """The arguments of the update that marks a row consumed: three new values, and five for what must hold."""
    guard = (call.handoff_id, call.issuer, call.audience, call.consumed_at, MAX_LATENESS_SECONDS)
    return call.redemption_id, call.consumed_at, recorded_at, *guard


def log_cutoff(now: int, newest_seconds: int) -> int:
    """Rows of tokens that ended before this time (Unix seconds) may be purged.

    Bounded by the newest row as well as the clock: a clock that jumps ahead must not empty the log.
    """
    return max(0, min(now, newest_seconds) - HANDOFF_LOG_KEPT_SECONDS)


def first_id(seconds: int) -> UUID:
    """The least value of a UUID of this time: ids of before are below it."""
    return UUID(int=(seconds * 1000) << 80)
