CREATE TABLE IF NOT EXISTS handoff_log (
    handoff_id    uuid   PRIMARY KEY,
    issuer        text   NOT NULL,
    audience      text   NOT NULL,
    tenant        text   NOT NULL,
    kid           text   NOT NULL,
    issued_at     bigint NOT NULL,
    expires_at    bigint NOT NULL,
    state         text   NOT NULL DEFAULT 'issued' CHECK (state IN ('issued', 'consumed', 'revoked')),
    redemption_id text,
    consumed_at   bigint,
    recorded_at   bigint,
    revoked_at    bigint
);
CREATE INDEX IF NOT EXISTS handoff_log_tenant ON handoff_log (tenant, handoff_id);
CREATE TABLE IF NOT EXISTS handoff_log_schema (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    schema_version integer NOT NULL
);
INSERT INTO handoff_log_schema (schema_version) VALUES (1) ON CONFLICT DO NOTHING;
