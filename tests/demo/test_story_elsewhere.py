"""`demo` as data, with keys and folders that were given, deferred, and on other stores."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ghasi_handoff import KeyRing, keyfile

from .planting import planted
from .story_command import TITLES, operator_in_process, run, steps

pytestmark = pytest.mark.thorough

# What waits in the outbox is due at once, and the worker looks for it often.
HASTE = """
from ghasi_handoff import replay
replay.OUTBOX_DELAY_SECONDS = 0
from ghasi_handoff.handshake import _outbox
_outbox.OUTBOX_POLL_SECONDS = 0.05"""


@pytest.fixture
def _quickly() -> Iterator[None]:
    with operator_in_process():
        yield


@pytest.mark.usefixtures("_quickly")
def test_json_has_the_facts(tmp_path: Path) -> None:
    """As data, each step has its words, its status, and the code behind it.

    With --keys both services have that ring, whose active key signs; with --data the files stay.
    """
    ring = KeyRing.generate(kid="given").rotate(kid="next", propagation=timedelta(minutes=15))
    keyfile.save(tmp_path / "keys.json", ring)
    folder = tmp_path / "new" / "data"
    told = steps("--keys", str(tmp_path / "keys.json"), "--data", str(folder))
    assert list(told) == TITLES
    assert all(step[name] for step in told.values() for name in ("number", "why", "call", "happened"))
    found = {title: (step["status"], step["code"]) for title, step in told.items() if "code" in step}
    assert found == {
        "Another browser": (409, "replayed"),
        "A tampered token": (400, "invalid_mac"),
        "A token for another hotel": (400, "wrong_tenant"),
        "A form on another site": (403, "cross_origin"),
        "A cancelled handoff": (410, "revoked_handoff"),
    }
    assert (told["bff-consumer dies"]["status"], told["bff-consumer is back"]["status"]) == (503, 303)
    assert told["Somebody else's booking"]["status"] == 404
    assert told["What became of it"]["verdict"] == "redeemed"
    assert len(told["Another browser"]["reference"]) == 8
    assert "handoff=ghasi1.given." in told["Book"]["location"]
    names = {path.name for path in folder.iterdir()}
    assert {"handoff-log.db", "replay.db", "bookings.db", "bff-consumer.log", "bff-tenant-booking.log"} <= names


@pytest.mark.usefixtures("_quickly")
def test_deferred(tmp_path: Path) -> None:
    """In deferred mode the guest goes on at once; bff-consumer hears of it when it is back."""
    told = steps("--mode", "deferred", env=planted(tmp_path, HASTE))
    assert told["bff-consumer dies"]["status"] == 303
    assert told["A cancelled handoff"]["verdict"] == "redeemed_and_revoked"
    assert told["bff-consumer is back"]["verdict"] == "redeemed"


@pytest.mark.usefixtures("_quickly")
def test_on_postgresql_and_data_is_found_again(postgres_url: str, tmp_path: Path) -> None:
    """On PostgreSQL, whose tables it makes first; a story in a folder where one was told before goes on with its keys."""
    keyfile.save(tmp_path / "keys.json", KeyRing.generate(kid="kept"))
    result = run("--log-url", postgres_url, "--store-url", postgres_url, "--data", str(tmp_path))
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    assert "handoff=ghasi1.kept." in result.stdout
    assert "verdict: redeemed" in result.stdout
    assert f"everything is kept in {tmp_path}" in result.stdout.replace("\n", " ")


@pytest.mark.usefixtures("_quickly")
def test_deferred_on_postgresql(postgres_url: str, tmp_path: Path) -> None:
    """On PostgreSQL, deferred."""
    urls = ("--log-url", postgres_url, "--store-url", postgres_url)
    told = steps(*urls, "--mode", "deferred", env=planted(tmp_path, HASTE))
    assert told["What became of it"]["verdict"] == "redeemed"
    assert told["bff-consumer is back"]["verdict"] == "redeemed"


def test_on_redis(redis_url: str) -> None:
    """The replay store on Redis, which has no outbox. Here the operator's commands are processes of their own, as told."""
    told = steps("--store-url", redis_url)
    assert told["What became of it"]["verdict"] == "redeemed"
    result = run("--store-url", redis_url, "--mode", "deferred")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "a redis store has no outbox" in result.stderr
