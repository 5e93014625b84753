-- Version 1
CREATE TABLE handoff_log (
    handoff_id    TEXT    NOT NULL PRIMARY KEY,
    issuer        TEXT    NOT NULL,
    audience      TEXT    NOT NULL,
    tenant        TEXT    NOT NULL,
    kid           TEXT    NOT NULL,
    issued_at     INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    state         TEXT    NOT NULL DEFAULT 'issued' CHECK (state IN ('issued', 'consumed', 'revoked')),
    redemption_id TEXT,
    consumed_at   INTEGER,
    recorded_at   INTEGER,
    revoked_at    INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX handoff_log_tenant ON handoff_log (tenant, handoff_id);
