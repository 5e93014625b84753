"""``ghasi-handoff store``: init, check, stats and maintain, on real stores."""

from __future__ import annotations

import json
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from ..stores.entries import entry, handoff_id, handoff_ids
from .command_runner import Done, run_here

HORIZON = 3840


def run(command: str, url: str | None = None, *more: str, **environment: str) -> Done:
    """A command of the group."""
    named = () if url is None else ("--store-url", url)
    return run_here("store", command, *named, *more, **environment)


def answer(command: str, url: str | None = None, *more: str, status: int = 0, **environment: str) -> dict[str, Any]:
    """What the command says with --json."""
    done = run(command, url, *more, "--json", **environment)
    assert done.returncode == status, done.stdout + done.stderr
    assert done.stderr == ""
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


@pytest.fixture(params=["sqlite", "postgresql", "redis"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store of each product."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/replay.db"
    return str(request.getfixturevalue("postgres_url" if request.param == "postgresql" else "redis_url"))


def test_a_store_is_made_checked_counted_and_maintained(url: str) -> None:
    """From an empty place to a purged store with four commands, each of which may be repeated."""
    for _ in range(2):
        assert answer("init", url)["ok"] is True
    report = answer("check", url)
    assert report["hazards"] == []
    assert report["server"].split()[0] in ("SQLite", "PostgreSQL", "Redis")
    assert answer("stats", url)["entries"] == 0
    for _ in range(2):
        assert answer("maintain", url) == {"ok": True, "code": "ok", "message": "removed 0 entries", "removed": 0}


def test_people_are_told_the_same(url: str) -> None:
    """Without --json each command prints text for people, with no error beside it."""
    for command, told in (("init", "server"), ("check", "no hazards"), ("stats", "entries"), ("maintain", "removed 0")):
        done = run(command, url)
        assert (done.returncode, done.stderr) == (0, "")
        assert told in done.stdout


def test_url_may_come_from_the_environment(tmp_path: Path) -> None:
    """A URL with a password need not be on a command line."""
    assert answer("init", GHASI_HANDOFF_STORE_URL=f"sqlite:///{tmp_path}/replay.db")["ok"] is True
    assert answer("init", status=2)["code"] == "configuration"


def test_maintain_purges_what_is_old(tmp_path: Path) -> None:
    """What no token can need any more goes; the rest stays, and --quiet says nothing."""
    path, now = str(tmp_path / "replay.db"), int(time.time())
    with SQLiteReplayStore(path) as store:
        for handoff in [*handoff_ids(7, seconds=now - HORIZON - 60), handoff_id(now)]:
            store.consume(handoff, **entry(1))
    assert answer("maintain", f"sqlite:///{path}")["removed"] == 7
    assert answer("stats", f"sqlite:///{path}")["entries"] == 1
    done = run("maintain", f"sqlite:///{path}", "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_hazard_is_shown_with_its_remedy_and_ends_with_1(postgres_url: str) -> None:
    """A hazard of a live server is an exit code for monitoring, and a text for whoever is called."""
    answer("init", postgres_url)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {connection.info.dbname} SET synchronous_commit = off".encode())
    report = answer("check", postgres_url, status=1)
    assert (report["ok"], report["code"]) == (False, "hazards")
    assert [hazard["code"] for hazard in report["hazards"]] == ["synchronous_commit_off"]
    done = run("check", postgres_url)
    assert done.returncode == 1
    assert "synchronous_commit_off: " in done.stdout
    assert report["hazards"][0]["remedy"] in done.stdout


def test_migration_is_printed_as_it_is(postgres_url: str) -> None:
    """The printed SQL, run by any other tool, makes a store without a hazard."""
    done = run("init", None, "--sql")
    assert done.returncode == 0
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(done.stdout.encode())
    assert answer("check", postgres_url)["hazards"] == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://guest:open-sesame-of-this-hotel@127.0.0.1:1/db",
        "redis://:open-sesame-of-this-hotel@127.0.0.1:1/0",
        "postgresql://guest:open-sesame-of-this-hotel@[::1/db",
        "redis://:open-sesame-of-this-hotel@host:port/0",
        "mysql://guest:open-sesame-of-this-hotel@127.0.0.1/db",
    ],
)
def test_no_password_shows_and_no_server_is_an_error_in_time(url: str) -> None:
    """A server that is not there, or a URL that is none, ends soon, in one line, without the password."""
    began = time.monotonic()
    for arguments in ((), ("--json",)):
        done = run("check", url, "--timeout", "0.2", *arguments)
        assert done.returncode in (1, 2)
        assert "sesame" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 20


def test_looking_makes_no_file(tmp_path: Path) -> None:
    """Check and stats of a file that is not there say so, and leave nothing behind."""
    for command in ("check", "stats"):
        refused = answer(command, f"sqlite:///{tmp_path}/none.db", status=1)
        assert refused["code"] == "store_unavailable"
    assert list(tmp_path.iterdir()) == []


def test_missing_driver_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the command says what to install."""
    monkeypatch.setattr(
        "ghasi_handoff.stores._open.find_spec",
        lambda name: None if name in ("redis", "psycopg_pool") else find_spec(name),
    )
    for url, extra in (("redis://127.0.0.1/0", "redis"), ("postgresql://127.0.0.1/db", "postgres")):
        refused = answer("check", url, status=2)
        assert f"ghasi-handoff[{extra}]" in refused["message"]
