"""Races with kill -9 over each store. For long (`make soak`) with a line of JSON for each round, and for a moment.

GHASI_SOAK_SECONDS is how long all of it takes, 600 by default. GHASI_SOAK_SEED repeats the order of a run.
"""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.faults.products import opened
from tests.faults.race import Round, race
from tests.servers import OwnServer, PostgresServer, RedisServer

SOAK_SECONDS = float(os.environ.get("GHASI_SOAK_SECONDS", "600"))
STORES = ("SQLite", "PostgreSQL", "Redis")


@contextmanager
def place_of(store: str, folder: Path, *, in_memory: bool) -> Generator[tuple[str, OwnServer | None]]:
    """The store's URL or path, and its server."""
    if store == "SQLite":
        yield str(folder / "replay.db"), None
    elif store == "PostgreSQL":
        with PostgresServer(in_memory=in_memory) as postgres:
            with opened(postgres.url) as made:
                made.create_schema()
            yield postgres.url, postgres
    else:
        with RedisServer({"appendfsync": "always"}, in_memory=in_memory) as redis:
            yield redis.url, redis


def run(store: str, folder: Path, *, seed: int, seconds: float, in_memory: bool) -> list[Round]:
    """Race; each round is told at once, so that an end in the middle leaves the seed."""
    rounds = []
    with place_of(store, folder, in_memory=in_memory) as (url, server):
        for number, one in enumerate(race(url, server, seed=seed, seconds=seconds)):
            rounds.append(one)
            print(json.dumps({"seed": seed, "store": store, "round": number, **asdict(one)}), flush=True)
            assert (one.double_holders, one.forgotten) == (0, 0), (seed, one)
    return rounds


@pytest.mark.thorough
@pytest.mark.parametrize("store", STORES)
def test_a_race_with_kills_makes_no_second_holder(store: str, tmp_path: Path) -> None:
    """Processes race and are killed, and the server, too: each handoff has one holder, and no answer is forgotten."""
    (one,) = run(store, tmp_path, seed=secrets.randbelow(2**32), seconds=0, in_memory=True)
    assert one.handoffs > 0 and one.answers > one.handoffs and one.replays > 0
    assert one.client_kills + one.server_kills > 0


@pytest.mark.soak
@pytest.mark.parametrize("store", STORES)
def test_a_long_race_with_kills_makes_no_second_holder(
    store: str, tmp_path_factory: pytest.TempPathFactory, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the short one, round after round, on a real disk."""
    seed = int(os.environ.get("GHASI_SOAK_SEED", secrets.randbelow(2**32)))
    seconds = SOAK_SECONDS / len(STORES)
    with capsys.disabled():
        sys.stdout.write("\n")
        rounds = run(store, tmp_path_factory.mktemp("soak"), seed=seed, seconds=seconds, in_memory=False)
    assert sum(one.client_kills for one in rounds) > 0
