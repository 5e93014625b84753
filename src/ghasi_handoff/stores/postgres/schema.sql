CREATE TABLE IF NOT EXISTS handoff_replay_log (
    handoff_id    uuid   NOT NULL,
    scope         text   NOT NULL,
    redemption_id text   NOT NULL,
    consumed_at   bigint NOT NULL,
    PRIMARY KEY (handoff_id, scope)
);
CREATE TABLE IF NOT EXISTS handoff_replay_refused (
    handoff_id    uuid   NOT NULL,
    scope         text   NOT NULL,
    redemption_id text   NOT NULL,
    refused_at    bigint NOT NULL,
    PRIMARY KEY (handoff_id, scope, refused_at, redemption_id)
);
CREATE TABLE IF NOT EXISTS handoff_outbox (
    handoff_id    uuid   NOT NULL,
    scope         text   NOT NULL,
    redemption_id text   NOT NULL,
    consumed_at   bigint NOT NULL,
    PRIMARY KEY (handoff_id, scope)
);
-- When to deliver an entry next, and what became of the last try. An entry with dead_at is delivered no more.
ALTER TABLE handoff_outbox
    ADD COLUMN IF NOT EXISTS attempts integer NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS due_at   bigint  NOT NULL DEFAULT 0,
    ADD COLUMN IF NOT EXISTS dead_at  bigint,
    ADD COLUMN IF NOT EXISTS outcome  text    NOT NULL DEFAULT '';
CREATE INDEX IF NOT EXISTS handoff_outbox_due ON handoff_outbox (due_at) WHERE dead_at IS NULL;
CREATE TABLE IF NOT EXISTS handoff_replay_mark (
    only_row       boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    schema_version integer NOT NULL,
    purged_before  bigint  NOT NULL
);
INSERT INTO handoff_replay_mark (schema_version, purged_before) VALUES (2, 0) ON CONFLICT DO NOTHING;
UPDATE handoff_replay_mark SET schema_version = 2 WHERE schema_version = 1;

-- One handoff: who holds it from now on.
CREATE OR REPLACE FUNCTION handoff_replay_consume_v1(
    id uuid, of_scope text, by_redemption_id text, at bigint, id_seconds bigint, with_outbox boolean,
    OUT holder text, OUT holder_at bigint, OUT first boolean
) LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    -- Under any other isolation the later statements would not see what others committed meanwhile.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the transaction must be READ COMMITTED' USING ERRCODE = 'GH002';
    END IF;
    -- A commit that is answered before it is on disk could be forgotten, and the handoff replayed.
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    INSERT INTO handoff_replay_log (handoff_id, scope, redemption_id, consumed_at)
    VALUES (id, of_scope, by_redemption_id, at) ON CONFLICT DO NOTHING;
    first := FOUND;
    -- Read after the insert, by a statement of its own: a purge that removed the id has raised the mark by then.
    IF id_seconds < (SELECT purged_before FROM handoff_replay_mark) THEN
        RAISE EXCEPTION 'the handoff is older than what was purged' USING ERRCODE = 'GH001';
    END IF;
    IF first THEN
        holder := by_redemption_id;
        holder_at := at;
        IF with_outbox THEN
            INSERT INTO handoff_outbox (handoff_id, scope, redemption_id, consumed_at)
            VALUES (id, of_scope, by_redemption_id, at) ON CONFLICT DO NOTHING;
        END IF;
    ELSE
        -- By a statement of its own: only that one sees the row of a winner that was not yet committed above.
        SELECT redemption_id, consumed_at INTO STRICT holder, holder_at
        FROM handoff_replay_log WHERE handoff_id = id AND scope = of_scope;
    END IF;
END
$$;

-- Many handoffs, sorted by id: a row for each that was held already. Whatever it does not return, it has inserted.
CREATE OR REPLACE FUNCTION handoff_replay_consume_many_v1(
    ids uuid[], scopes text[], redemption_ids text[], times bigint[], oldest_seconds bigint, with_outbox boolean
) RETURNS TABLE (held_id text, held_scope text, holder text, holder_at bigint)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    inserted bigint;
    held bigint := 0;
BEGIN
    -- Each step for the same reason as above.
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE EXCEPTION 'the transaction must be READ COMMITTED' USING ERRCODE = 'GH002';
    END IF;
    IF current_setting('synchronous_commit') = 'off' THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    INSERT INTO handoff_replay_log (handoff_id, scope, redemption_id, consumed_at)
    SELECT * FROM unnest(ids, scopes, redemption_ids, times) ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS inserted = ROW_COUNT;
    IF oldest_seconds < (SELECT purged_before FROM handoff_replay_mark) THEN
        RAISE EXCEPTION 'a handoff is older than what was purged' USING ERRCODE = 'GH001';
    END IF;
    -- A row with this transaction's xmin was inserted just now.
    IF with_outbox AND inserted > 0 THEN
        INSERT INTO handoff_outbox (handoff_id, scope, redemption_id, consumed_at)
        SELECT l.handoff_id, l.scope, l.redemption_id, l.consumed_at
        FROM unnest(ids, scopes) AS w (id, of_scope)
        JOIN handoff_replay_log l ON l.handoff_id = w.id AND l.scope = w.of_scope
        WHERE l.xmin = pg_current_xact_id()::xid
        ON CONFLICT DO NOTHING;
    END IF;
    IF inserted < cardinality(ids) THEN
        RETURN QUERY
            SELECT l.handoff_id::text, l.scope, l.redemption_id, l.consumed_at
            FROM unnest(ids, scopes) AS w (id, of_scope)
            JOIN handoff_replay_log l ON l.handoff_id = w.id AND l.scope = w.of_scope
            WHERE l.xmin IS DISTINCT FROM pg_current_xact_id_if_assigned()::xid;
        GET DIAGNOSTICS held = ROW_COUNT;
    END IF;
    -- A purge can remove a row between two statements; then nothing is known, and nothing may be inserted.
    IF inserted + held <> cardinality(ids) THEN
        RAISE EXCEPTION 'an entry vanished while it was read' USING ERRCODE = 'GH003';
    END IF;
END
$$;
