"""Commands that may take long show how far they are: on a terminal, and nowhere else."""

from __future__ import annotations

import json
import sqlite3
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ghasi_handoff import KeyRing, keyfile
from ghasi_handoff.handshake import SQLiteHandoffLog
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from ..handshake.services import issue
from ..stores.entries import entry, handoff_id, handoff_ids
from .command_runner import run_here, run_in_terminal

AGE_SECONDS = 4 * 24 * 3600  # old enough for each command
# The exit code, how the line grows, and the answer.
ANSWERS = {
    "store maintain": (0, ["removed 500 ...", "removed 700 ..."], "removed 700 entries"),
    "handoff maintain": (0, ["removed 2 ..."], "removed 2 rows"),
    "outbox drain": (1, ["1 tried ..."], "0 delivered, 0 refused for good, 1 to be tried again, 0 given up; 1 waiting"),
}
each_command = pytest.mark.parametrize("command", ANSWERS)


def something_to_do(command: str, folder: Path) -> list[str]:
    """The command's arguments, and files on which it has something to do; the store more than a chunk of it."""
    now = int(time.time())
    replay, log = folder / "replay.db", folder / "log.db"
    if command == "handoff maintain":
        ring = KeyRing.generate(now=datetime.now(UTC) - timedelta(days=9))
        with SQLiteHandoffLog(log) as opened:
            for age in (0, AGE_SECONDS, AGE_SECONDS + 1):
                issue(ring, opened, lambda age=age: now - age)  # type: ignore[misc]
        return ["handoff", "maintain", "--log-url", f"sqlite:///{log}"]
    with SQLiteReplayStore(replay, outbox=command == "outbox drain") as store:
        store.consume(handoff_id(now), **entry(1, at=now))
    if command == "outbox drain":
        keyfile.save(folder / "keys.json", KeyRing.generate())
        how = ["--keys", str(folder / "keys.json"), "--consumer-url", "http://127.0.0.1:9", "--now"]
        return ["outbox", "drain", "--store-url", f"sqlite:///{replay}", *how]
    with closing(sqlite3.connect(replay)) as connection, connection:
        rows = [(old, "scope", "0" * 64, 1) for old in handoff_ids(700, seconds=now - AGE_SECONDS)]
        connection.executemany("INSERT INTO handoff_replay_log VALUES (?, ?, ?, ?)", rows)
    return ["store", "maintain", "--store-url", f"sqlite:///{replay}"]


@each_command
def test_a_terminal_shows_how_far_it_is(command: str, tmp_path: Path) -> None:
    """One line grows while the command works; it is wiped before the answer is shown in its place."""
    status, line, answer = ANSWERS[command]
    code, shown = run_in_terminal(something_to_do(command, tmp_path))
    wiped = " " * len(line[-1])
    assert shown.decode("ascii") == "".join(f"\r{text}" for text in line) + f"\r{wiped}\r{answer}\r\n"
    assert code == status


@each_command
def test_json_is_all_that_a_terminal_shows(command: str, tmp_path: Path) -> None:
    """With --json there is no line beside the object, not even where standard error is a terminal."""
    code, shown = run_in_terminal([*something_to_do(command, tmp_path), "--json"])
    assert shown.startswith(b"{")
    assert json.loads(shown)["ok"] is (code == 0)
    assert (code, shown.count(b"\r")) == (ANSWERS[command][0], 1)


@each_command
def test_a_pipe_has_the_answer_alone(command: str, tmp_path: Path) -> None:
    """Where standard error is no terminal, as in a cron job, nothing is written to it."""
    status, _, answer = ANSWERS[command]
    assert run_here(*something_to_do(command, tmp_path)) == (status, f"{answer}\n", "")


@pytest.mark.parametrize("command", ["store maintain", "handoff maintain"])
def test_quiet_is_quiet_on_a_terminal(command: str, tmp_path: Path) -> None:
    """--quiet shows nothing at all."""
    assert run_in_terminal([*something_to_do(command, tmp_path), "--quiet"]) == (0, b"")
