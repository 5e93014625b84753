-- Version 1
CREATE TABLE handoff_replay_log (
    handoff_id    TEXT    NOT NULL,
    scope         TEXT    NOT NULL,
    redemption_id TEXT    NOT NULL,
    consumed_at   INTEGER NOT NULL,
    PRIMARY KEY (handoff_id, scope)
) STRICT, WITHOUT ROWID;
CREATE TABLE handoff_replay_refused (
    handoff_id    TEXT    NOT NULL,
    scope         TEXT    NOT NULL,
    redemption_id TEXT    NOT NULL,
    refused_at    INTEGER NOT NULL,
    PRIMARY KEY (handoff_id, scope, refused_at, redemption_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE handoff_outbox (
    handoff_id    TEXT    NOT NULL,
    scope         TEXT    NOT NULL,
    redemption_id TEXT    NOT NULL,
    consumed_at   INTEGER NOT NULL,
    PRIMARY KEY (handoff_id, scope)
) STRICT, WITHOUT ROWID;
CREATE TABLE handoff_replay_mark (purged_before INTEGER NOT NULL) STRICT;
INSERT INTO handoff_replay_mark VALUES (0);

-- Version 2
-- When to deliver an entry next, and what became of the last try. An entry with dead_at is delivered no more.
ALTER TABLE handoff_outbox ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
ALTER TABLE handoff_outbox ADD COLUMN due_at   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE handoff_outbox ADD COLUMN dead_at  INTEGER;
ALTER TABLE handoff_outbox ADD COLUMN outcome  TEXT    NOT NULL DEFAULT '';
CREATE INDEX handoff_outbox_due ON handoff_outbox (due_at) WHERE dead_at IS NULL;
