"""The PostgreSQL stores against a real server: schema, decisions, purges, event loops."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg_pool import AsyncConnectionPool, ConnectionPool

from ghasi_handoff import ReplayStoreError
from ghasi_handoff.replay import Consumption
from ghasi_handoff.stores._group_commit import Entry
from ghasi_handoff.stores.postgres import SCHEMA, AsyncPostgresReplayStore, PostgresReplayStore, _statements
from ghasi_handoff.stores.postgres._pool import chunk_end
from tests.servers import wait_until

from ..entries import HORIZON, NOW, SCOPE, assert_held, assert_refused, entry, handoff_id, handoff_ids, redemption_id
from .databases import PATIENCE, ask, run_async, waits_for_a_lock

# ---- schema


def test_schema_is_made_once_however_often_it_is_asked_for(pool: ConnectionPool[Any], postgres_url: str) -> None:
    """Many processes may make the schema at once, and again later: nothing fails and nothing is lost."""
    store = PostgresReplayStore(pool, timeout=PATIENCE)
    with ThreadPoolExecutor(6) as threads:
        for made in [threads.submit(store.create_schema) for _ in range(6)]:
            made.result()
    store.consume(handoff_id(NOW), **entry(1))
    store.create_schema()
    assert_held(store, [handoff_id(NOW)], 1)
    assert ask(postgres_url, "SELECT schema_version, purged_before FROM handoff_replay_mark") == [(2, 0)]
    store.close()


def test_plain_migration_makes_the_same_schema(pool: ConnectionPool[Any], postgres_url: str) -> None:
    """A team that runs the plain SQL with its own tool gets a store that works and has no hazard."""
    ask(postgres_url, SCHEMA)
    with PostgresReplayStore(pool) as store:
        assert store.consume(handoff_id(int(time.time())), **entry(1)).first
        assert store.check().ok


def test_without_a_schema_the_error_says_what_to_do(pool: ConnectionPool[Any]) -> None:
    """A database without the tables refuses, and names the command that makes them."""
    with PostgresReplayStore(pool) as store, pytest.raises(ReplayStoreError, match="store init"):
        store.consume(handoff_id(NOW), **entry(1))


def test_schema_of_another_version_is_refused(store: PostgresReplayStore, postgres_url: str) -> None:
    """A schema that a later release has changed is neither overwritten nor taken for this one's."""
    ask(postgres_url, "UPDATE handoff_replay_mark SET schema_version = 3")
    ask(postgres_url, "DROP INDEX handoff_outbox_due")  # as a later release might
    with pytest.raises(ReplayStoreError, match="version 3"):
        store.create_schema()
    assert ask(postgres_url, "SELECT to_regclass('handoff_outbox_due')") == [(None,)]
    assert "schema_version" in {hazard.code for hazard in store.check().hazards}


# ---- decisions


def test_first_holder_stays(store: PostgresReplayStore) -> None:
    """Whoever comes later, in whichever scope of their own, is told the first holder and its time."""
    assert store.consume(handoff_id(NOW), **entry(1)) == Consumption(redemption_id(1), first=True, consumed_at=NOW)
    later = store.consume(handoff_id(NOW), **entry(2, at=NOW + 5))
    assert later == Consumption(redemption_id(1), first=False, consumed_at=NOW)
    assert store.consume(handoff_id(NOW), **entry(2, scope="other\nscope")).first


def test_one_holder_among_machines(pool: ConnectionPool[Any], postgres_url: str) -> None:
    """Stores with pools of their own, as on several machines, agree on one holder for every handoff."""
    with ConnectionPool(postgres_url, min_size=2, max_size=4, open=True) as other_pool:
        stores = [PostgresReplayStore(pool, timeout=PATIENCE), PostgresReplayStore(other_pool, timeout=PATIENCE)]
        stores[0].create_schema()
        ids = handoff_ids(60)
        barrier = threading.Barrier(8)

        def redeem(number: int) -> list[Consumption]:
            barrier.wait()
            return [stores[number % 2].consume(handoff, **entry(number)) for handoff in ids]

        with ThreadPoolExecutor(8) as threads:
            answers = [told.result() for told in [threads.submit(redeem, number) for number in range(8)]]
        for store in stores:
            store.close()
    for told in zip(*answers, strict=True):
        assert len({(answer.holder, answer.consumed_at) for answer in told}) == 1
        assert sum(answer.first for answer in told) == 1


def test_a_batch_mixes_new_and_held(postgres_url: str) -> None:
    """Many consumes at once, of new handoffs and of held ones, each get their own answer."""

    async def main(store: AsyncPostgresReplayStore) -> None:
        ids = handoff_ids(40)
        for handoff in ids[::2]:
            await store.consume(handoff, **entry(1))
        answers = await asyncio.gather(*(store.consume(handoff, **entry(2)) for handoff in ids))
        assert [answer.holder for answer in answers] == [redemption_id(1), redemption_id(2)] * 20
        assert [answer.first for answer in answers] == [False, True] * 20

    run_async(postgres_url, main)


def test_outbox_is_written_with_the_winner(pool: ConnectionPool[Any], postgres_url: str) -> None:
    """With an outbox each winner has its row there, alone or in a batch; a loser never."""
    with PostgresReplayStore(pool, outbox=True) as store:
        store.create_schema()
        store.consume(handoff_id(NOW), **entry(1))
        store.consume(handoff_id(NOW), **entry(2))

    async def main(many: AsyncPostgresReplayStore) -> None:
        await asyncio.gather(*(many.consume(handoff, **entry(3)) for handoff in handoff_ids(20)))

    run_async(postgres_url, main, outbox=True)
    rows = ask(postgres_url, "SELECT handoff_id::text, redemption_id FROM handoff_outbox ORDER BY handoff_id")
    assert rows == [(handoff_id(NOW), redemption_id(1))] + [(other, redemption_id(3)) for other in handoff_ids(20)[1:]]


def test_outbox_of_a_mixed_batch_has_the_winners_only(postgres_url: str) -> None:
    """A handoff that was held before the batch gets no outbox row from it."""

    async def before(store: AsyncPostgresReplayStore) -> None:
        await asyncio.gather(*(store.consume(handoff, **entry(1)) for handoff in handoff_ids(10)))

    async def after(store: AsyncPostgresReplayStore) -> None:
        await asyncio.gather(*(store.consume(handoff, **entry(2)) for handoff in handoff_ids(20)))

    run_async(postgres_url, before)
    run_async(postgres_url, after, outbox=True)
    rows = ask(postgres_url, "SELECT handoff_id::text, redemption_id FROM handoff_outbox ORDER BY handoff_id")
    assert rows == [(handoff, redemption_id(2)) for handoff in handoff_ids(20)[10:]]


def test_one_call_of_the_function_tells_every_held_row(store: PostgresReplayStore, postgres_url: str) -> None:
    """The function for batches returns, in one call, the holder of each handoff that was held, and of no other scope."""
    ids = handoff_ids(4)
    store.consume(ids[0], **entry(1, scope="a"))
    store.consume(ids[1], **entry(1, scope="b"))
    call = "SELECT * FROM handoff_replay_consume_many_v1(%s::uuid[], %s, %s, %s::bigint[], %s, false)"
    rows = ask(postgres_url, call, ids, ["a"] * 4, ["stranger"] * 4, [NOW + 1] * 4, NOW)
    assert rows == [(ids[0], "a", redemption_id(1), NOW)]
    assert ask(postgres_url, "SELECT count(*) FROM handoff_replay_log WHERE redemption_id = 'stranger'") == [(3,)]


def test_refused_replays_are_noted(store: PostgresReplayStore, postgres_url: str) -> None:
    """For support: who else tried, at most eight for a handoff, and never its holder."""
    for number in range(1, 15):
        store.consume(handoff_id(NOW), **entry(number, at=NOW + number))
    noted = ask(postgres_url, "SELECT redemption_id, refused_at FROM handoff_replay_refused ORDER BY refused_at")
    assert noted == [(redemption_id(number), NOW + number) for number in range(2, 10)]


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)))
def test_array_literal_is_read_back(values: list[str]) -> None:
    """Whatever texts are put in an array literal, PostgreSQL's grammar for it gives them back."""
    literal, found, position = _statements.array(values), [], 1
    while literal[position] == '"':
        text, position = "", position + 1
        while literal[position] != '"':
            position += literal[position] == "\\"
            text, position = text + literal[position], position + 1
        found.append(text)
        position += 1 + (literal[position + 1] == ",")
    assert found == values
    assert literal[position:] == "}"


def test_any_scope_is_kept_as_it_is(store: PostgresReplayStore, postgres_url: str) -> None:
    """Quotes, braces, backslashes and NULL in a scope are characters like any other, in a batch as well."""
    scopes = ['a"b', "{x,y}", "back\\slash", "NULL", "ü\n'"]

    async def main(many: AsyncPostgresReplayStore) -> None:
        answers = await asyncio.gather(*(many.consume(handoff_id(NOW), **entry(1, scope=scope)) for scope in scopes))
        assert all(answer.first for answer in answers)

    run_async(postgres_url, main)
    assert {scope for (scope,) in ask(postgres_url, "SELECT scope FROM handoff_replay_log")} == set(scopes)
    assert not store.consume(handoff_id(NOW), **entry(2, scope=scopes[0])).first


def test_entry_that_is_neither_written_nor_found_is_refused(postgres_url: str) -> None:
    """An entry that the table swallows is not taken for consumed; the others of its batch, and later ones, are."""
    swallowed, *others = handoff_ids(5)

    async def main(store: AsyncPostgresReplayStore) -> list[Consumption | BaseException]:
        ask(
            postgres_url,
            "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
            "CREATE TRIGGER swallow BEFORE INSERT ON handoff_replay_log FOR EACH ROW"
            f" WHEN (NEW.handoff_id = '{swallowed}') EXECUTE FUNCTION swallow()",
        )
        batch = [Entry(handoff, SCOPE, redemption_id(1), NOW) for handoff in [swallowed, *others]]
        whole = await store._run(batch, asyncio.get_running_loop().time() + 60)
        assert isinstance(whole, ReplayStoreError) and "GH003" in str(whole)
        asking = (store.consume(handoff, **entry(1)) for handoff in [swallowed, *others])
        told = await asyncio.gather(*asking, return_exceptions=True)
        ask(postgres_url, "DROP TRIGGER swallow ON handoff_replay_log")
        assert (await store.consume(swallowed, **entry(2))).first
        return told

    refused, *answers = run_async(postgres_url, main)
    assert isinstance(refused, ReplayStoreError)
    assert all(isinstance(answer, Consumption) and answer.first for answer in answers)
    held = ask(postgres_url, "SELECT handoff_id::text, redemption_id FROM handoff_replay_log ORDER BY handoff_id")
    assert held == [(swallowed, redemption_id(2)), *((handoff, redemption_id(1)) for handoff in others)]


# ---- purge


def test_purge_forgets_only_what_no_token_can_need(store: PostgresReplayStore, postgres_url: str) -> None:
    """What is older than the horizon behind the newest id goes, its id is refused from then on, the rest stays held."""
    old, young = handoff_ids(30, seconds=NOW - HORIZON - 1), handoff_ids(30, seconds=NOW - HORIZON + 1)
    for handoff in [*old, *young, handoff_id(NOW)]:
        store.consume(handoff, **entry(1))
    assert store.purge(NOW + 10**6) == 30
    assert store.purge(NOW + 10**6) == 0
    assert_refused(store, old[0], entry(2))
    assert_held(store, [*young, handoff_id(NOW)], 1)
    assert ask(postgres_url, "SELECT purged_before FROM handoff_replay_mark") == [(NOW - HORIZON,)]
    assert store.stats().entries == 31


def test_purge_runs_in_chunks_and_tells(store: PostgresReplayStore, postgres_url: str) -> None:
    """A large purge takes several transactions and reports its progress after each."""
    ask(
        postgres_url,
        "INSERT INTO handoff_replay_log SELECT ('01000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'a', 'b', 1"
        " FROM generate_series(1, 5000) AS n",
    )
    store.consume(handoff_id(NOW), **entry(1))
    told: list[int] = []
    assert store.purge(NOW, progress=told.append) == 5000
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1] == 5000


def test_no_statement_of_a_purge_reads_the_whole_table(store: PostgresReplayStore, postgres_url: str) -> None:
    """Newest and oldest id, the end of a chunk and its removal are found by the primary key, however many entries there are."""
    ask(
        postgres_url,
        "INSERT INTO handoff_replay_log SELECT ('01000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'a', 'b', 1"
        " FROM generate_series(1, 20000) AS n",
    )
    ask(postgres_url, "ANALYZE handoff_replay_log")
    low, high = handoff_id(0), "01000000-0000-7000-8000-000000000010"
    for statement, arguments in (
        (_statements.SQL.newest, ()),
        (_statements.SQL.oldest, ()),
        (chunk_end("handoff_replay_log"), (low, high, 10)),
        (_statements.PURGE, (low, high)),
    ):
        plan = "\n".join(line for (line,) in ask(postgres_url, f"EXPLAIN {statement}", *arguments))
        assert "Seq Scan" not in plan, plan


def test_id_below_the_mark_is_refused_without_a_trace(store: PostgresReplayStore, postgres_url: str) -> None:
    """Neither alone nor in a batch is an id below the mark accepted, and its batch does not suffer."""
    ask(postgres_url, "UPDATE handoff_replay_mark SET purged_before = %s", NOW)
    old = handoff_id(NOW - 1)
    assert_refused(store, old, entry(1))

    async def main(many: AsyncPostgresReplayStore) -> list[Any]:
        calls = [many.consume(handoff, **entry(1)) for handoff in [old, *handoff_ids(10)]]
        return await asyncio.gather(*calls, return_exceptions=True)

    refused, *answers = run_async(postgres_url, main)
    assert isinstance(refused, ReplayStoreError)
    assert all(answer.first for answer in answers)
    assert ask(postgres_url, "SELECT count(*) FROM handoff_replay_log") == [(10,)]


def test_consume_waits_for_a_purge_in_progress_and_then_sees_its_mark(
    store: PostgresReplayStore, postgres_url: str
) -> None:
    """An id that a purge is removing at this moment is not taken for a new one."""
    old = handoff_id(NOW - HORIZON - 10)
    store.consume(old, **entry(1))
    store.consume(handoff_id(NOW), **entry(1))
    with psycopg.connect(postgres_url) as purging, ThreadPoolExecutor(1) as thread:
        purging.execute("UPDATE handoff_replay_mark SET purged_before = %s", (NOW - HORIZON,))
        purging.execute("DELETE FROM handoff_replay_log WHERE handoff_id = %s", (old,))
        stranger = thread.submit(store.consume, old, **entry(2))
        wait_until(lambda: waits_for_a_lock(postgres_url), "for the consume to wait")
        assert not stranger.done()
        purging.commit()
        with pytest.raises(ReplayStoreError):
            stranger.result()
    assert ask(postgres_url, "SELECT count(*) FROM handoff_replay_log") == [(1,)]


# ---- asyncio


def test_cancelled_callers_leave_the_truth_to_a_retry(postgres_url: str) -> None:
    """Consumes cancelled at any moment: a retry by the same redemption id is answered, by another it is a replay or a win."""

    async def main(store: AsyncPostgresReplayStore) -> None:
        for round_number in range(20):
            ids = handoff_ids(5, start=round_number * 5)
            calls = [asyncio.create_task(store.consume(handoff, **entry(1))) for handoff in ids]
            await asyncio.sleep(round_number * 0.0004)
            for call in calls:
                call.cancel()
            told = await asyncio.gather(*calls, return_exceptions=True)
            for handoff, answer in zip(ids, told, strict=True):
                other = await store.consume(handoff, **entry(2))
                if isinstance(answer, Consumption):
                    assert other.holder == redemption_id(1)
                assert (await store.consume(handoff, **entry(1))).holder == other.holder

    run_async(postgres_url, main)


def test_store_made_at_import_works_in_a_loop_of_later(postgres_url: str) -> None:
    """Made outside any event loop, a store serves the loop in which its pool is opened later."""
    pool = AsyncConnectionPool(postgres_url, min_size=1, max_size=2, open=False)
    store = AsyncPostgresReplayStore(pool)

    async def main() -> Consumption:
        async with pool, store:
            await store.create_schema()
            return await store.consume(handoff_id(NOW), **entry(1))

    assert asyncio.run(main()).first


def test_two_event_loops_at_once_are_both_answered(postgres_url: str) -> None:
    """Two loops with a store each race for the same handoffs and agree."""

    def in_a_loop(number: int) -> list[Consumption]:
        async def main(store: AsyncPostgresReplayStore) -> list[Consumption]:
            return await asyncio.gather(*(store.consume(handoff, **entry(number)) for handoff in handoff_ids(50)))

        return run_async(postgres_url, main, timeout=PATIENCE)

    with ThreadPoolExecutor(2) as threads:
        told = [answers.result() for answers in [threads.submit(in_a_loop, number) for number in (1, 2)]]
    assert [answer.holder for answer in told[0]] == [answer.holder for answer in told[1]]
    assert all(one.first is not other.first for one, other in zip(*told, strict=True))


def test_closed_store_refuses(store: PostgresReplayStore, postgres_url: str) -> None:
    """A closed store refuses, and its pool is still the application's to use."""
    store.close()
    assert_refused(store, handoff_id(NOW), entry(1))
    with store._pool._pool.connection() as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
