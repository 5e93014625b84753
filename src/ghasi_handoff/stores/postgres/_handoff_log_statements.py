"""The SQL of the handoff log, beside what it shares with SQLite. No I/O, but for reading handoff_log.sql once."""

from __future__ import annotations

from typing import Final

from ghasi_handoff.stores.postgres._statements import read_sql

LOG_SCHEMA: Final = read_sql("handoff_log.sql")
READ_SCHEMA_VERSION: Final = "SELECT schema_version FROM handoff_log_schema"
# A commit that is answered before it is on disk could be forgotten: a token in the world that the log does not know, or
# a consumed flag that comes off again.
_DURABLE: Final = """
WITH durable AS MATERIALIZED (SELECT CASE WHEN current_setting('synchronous_commit') = 'off'
                                          THEN set_config('synchronous_commit', 'on', true) END AS setting)
"""
RECORD: Final = f"""{_DURABLE}
INSERT INTO handoff_log (handoff_id, issuer, audience, tenant, kid, issued_at, expires_at)
SELECT %s, %s, %s, %s, %s, %s, %s FROM durable ON CONFLICT DO NOTHING
"""  # noqa: S608 - constants only
CONSUME: Final = f"""{_DURABLE}
UPDATE handoff_log SET state = 'consumed', redemption_id = %s, consumed_at = %s, recorded_at = %s FROM durable
WHERE handoff_id = %s AND issuer = %s AND audience = %s AND state = 'issued' AND %s < expires_at + %s
"""  # noqa: S608
REVOKE: Final = f"""{_DURABLE}
UPDATE handoff_log SET state = 'revoked', revoked_at = %s FROM durable WHERE handoff_id = %s AND state = 'issued'
"""  # noqa: S608
PURGE: Final = "DELETE FROM handoff_log WHERE handoff_id >= %s AND handoff_id < %s AND expires_at <= %s"
