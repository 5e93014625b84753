"""The SQL of store and log: entries -> arrays, rows -> answers. No I/O, but for reading the schemas once."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final, LiteralString, cast

from ghasi_handoff._signing_string import handoff_id_seconds
from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.replay import Consumption
from ghasi_handoff.stores._group_commit import Entry, Outcome
from ghasi_handoff.stores._shared_sql import SharedSQL


def read_sql(name: str) -> LiteralString:
    """A file of this package. So it is a literal for type checkers, as psycopg wants."""
    text = (files("ghasi_handoff.stores.postgres") / name).read_text("utf-8")
    return cast(LiteralString, text)  # type: ignore[redundant-cast]


SCHEMA: Final = read_sql("schema.sql")
LOG_SCHEMA: Final = read_sql("handoff_log.sql")
SQL: Final = SharedSQL("%s")
READ_SCHEMA_VERSION: Final = "SELECT schema_version FROM handoff_replay_mark"
READ_LOG_SCHEMA_VERSION: Final = "SELECT schema_version FROM handoff_log_schema"
PURGED: Final = "GH001"
WRONG_ISOLATION: Final = "GH002"

CONSUME: Final = "SELECT holder, holder_at, first FROM handoff_replay_consume_v1(%s, %s, %s, %s, %s, %s)"
CONSUME_MANY: Final = (
    "SELECT held_id, held_scope, holder, holder_at"
    " FROM handoff_replay_consume_many_v1(%s::uuid[], %s::text[], %s::text[], %s::bigint[], %s, %s)"
)
NOTE: Final = """
INSERT INTO handoff_replay_refused (handoff_id, scope, redemption_id, refused_at)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::bigint[]) AS r (id, of_scope, by, at)
WHERE (SELECT count(*) FROM handoff_replay_refused x WHERE x.handoff_id = r.id AND x.scope = r.of_scope) < %s
ON CONFLICT DO NOTHING
"""
PURGE: Final = "DELETE FROM handoff_replay_log WHERE handoff_id >= %s AND handoff_id < %s"
# The place of the table's persistence in its row; None: there is no table.
PERSISTENCE: Final = 7
SETTINGS: Final = """
SELECT current_setting('server_version'), current_setting('fsync'), current_setting('full_page_writes'),
       current_setting('synchronous_commit'), current_setting('default_transaction_isolation'),
       pg_is_in_recovery(), extract(epoch FROM clock_timestamp())::float8,
       (SELECT relpersistence::text FROM pg_class WHERE oid = to_regclass('handoff_replay_log')),
       to_regprocedure('handoff_replay_consume_v1(uuid,text,text,bigint,bigint,boolean)') IS NOT NULL
       AND to_regprocedure('handoff_replay_consume_many_v1(uuid[],text[],text[],bigint[],bigint,boolean)') IS NOT NULL
"""
STATS: Final = """
SELECT (SELECT reltuples::bigint FROM pg_class WHERE oid = 'handoff_replay_log'::regclass),
       (SELECT count(*) FROM (SELECT FROM handoff_replay_log LIMIT %s) AS first_rows),
       (SELECT purged_before FROM handoff_replay_mark),
       (SELECT count(*) FROM handoff_replay_refused),
       (SELECT count(*) FROM handoff_outbox),
       (SELECT sum(pg_total_relation_size(name::regclass))::bigint FROM unnest(
            ARRAY['handoff_replay_log', 'handoff_replay_refused', 'handoff_outbox', 'handoff_replay_mark']) AS name)
"""

# A commit that is answered before it is on disk could be forgotten: a token in the world that the log does not know, or
# a consumed flag that comes off again.
_DURABLE: Final = """
WITH durable AS MATERIALIZED (SELECT CASE WHEN current_setting('synchronous_commit') = 'off'
                                          THEN set_config('synchronous_commit', 'on', true) END AS setting)
"""
LOG_RECORD: Final = f"""{_DURABLE}
INSERT INTO handoff_log (handoff_id, issuer, audience, tenant, kid, issued_at, expires_at)
SELECT %s, %s, %s, %s, %s, %s, %s FROM durable ON CONFLICT DO NOTHING
"""  # noqa: S608 - constants only
LOG_CONSUME: Final = f"""{_DURABLE}
UPDATE handoff_log SET state = 'consumed', redemption_id = %s, consumed_at = %s, recorded_at = %s FROM durable
WHERE handoff_id = %s AND issuer = %s AND audience = %s AND state = 'issued' AND %s < expires_at + %s
"""  # noqa: S608
LOG_REVOKE: Final = f"""{_DURABLE}
UPDATE handoff_log SET state = 'revoked', revoked_at = %s FROM durable WHERE handoff_id = %s AND state = 'issued'
"""  # noqa: S608
LOG_PURGE: Final = "DELETE FROM handoff_log WHERE handoff_id >= %s AND handoff_id < %s AND expires_at <= %s"


def consume_statement(entries: Sequence[Entry], outbox: bool) -> tuple[LiteralString, tuple[Any, ...]]:
    """What to run for a batch, sorted by id."""
    first = entries[0]  # they are sorted by id, so also the oldest
    seconds = handoff_id_seconds(first.handoff_id)
    if len(entries) == 1:
        return CONSUME, (*first, seconds, outbox)
    return CONSUME_MANY, (*columns(entries), seconds, outbox)


def columns(entries: Sequence[Entry]) -> tuple[str, ...]:
    """A batch as arrays, one for each column."""
    return tuple(array(column) for column in zip(*entries, strict=True))


def array(values: Sequence[object]) -> str:
    r"""A PostgreSQL array literal. The driver's own way through a list costs as much as the commit of the batch.

    >>> print(array(["a", 'b"c', "NULL", "", 7]))
    {"a","b\"c","NULL","","7"}
    """
    return "{" + ",".join('"' + str(v).replace("\\", "\\\\").replace('"', '\\"') + '"' for v in values) + "}"


def outcomes_of(entries: Sequence[Entry], rows: Sequence[tuple[Any, ...]]) -> list[Outcome]:
    """The answer to each entry of a batch, from the rows that came back."""
    if len(entries) == 1:
        ((holder, consumed_at, first),) = rows
        return [Consumption(holder, first=first, consumed_at=consumed_at)]
    held = {(handoff_id, scope): (holder, at) for handoff_id, scope, holder, at in rows}
    outcomes: list[Outcome] = []
    for entry in entries:
        holder, consumed_at = held.get(entry.key, entry[2:])
        outcomes.append(Consumption(holder, first=entry.key not in held, consumed_at=consumed_at))
    return outcomes


def is_refusal(error: ReplayStoreError) -> bool:
    """Whether the server judged the entry, so that asking again gives the same."""
    return getattr(error.__cause__, "sqlstate", None) in (PURGED, WRONG_ISOLATION)
