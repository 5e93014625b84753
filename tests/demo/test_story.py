"""`demo`: the story between two real services is told, true, and readable; where they do something else, it says so."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ghasi_handoff import KeyRing, keyfile
from ghasi_handoff.cli import _demo, main
from ghasi_handoff.demo import story

TITLES = [
    "Two services",
    "Book",
    "The landing page",
    "Redeemed",
    "The booking",
    "A refresh and a double click",
    "Another browser",
    "Somebody else's booking",
    "A tampered token",
    "A token for another hotel",
    "A form on another site",
    "A cancelled handoff",
    "bff-consumer dies",
    "bff-consumer is back",
    "What became of it",
    "What the logs do not say",
]


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Run the command in this process; its services are processes in any case."""
    return CliRunner().invoke(main, ["demo", *arguments], env=env or {}, catch_exceptions=False)


def steps(*arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """The story as data, by title."""
    result = run("--json", *arguments, env=env)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    facts = json.loads(result.stdout)
    assert facts["ok"] is True
    return {step["title"]: step for step in facts["steps"]}


@pytest.fixture(scope="module")
def told() -> str:
    """The story, told where variables of a real service would lead it astray."""
    astray = {
        "GHASI_HANDOFF_KEYS": "nonsense",
        "GHASI_HANDOFF_KEYS_FILE": "/nowhere/keys.json",
        "GHASI_HANDOFF_ISSUER": "somebody",
        "GHASI_HANDOFF_LOG_URL": "postgresql://nobody@127.0.0.1:1/log",
        "GHASI_HANDOFF_STORE_URL": "redis://127.0.0.1:1/0",
        "HTTP_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }
    result = run(env=astray)
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


def test_the_steps_come_in_order(told: str) -> None:
    """Sixteen numbered steps, always the same; the environment's keys and databases are left alone."""
    assert re.findall(r"^ ?(\d+)  (.+)$", told, re.MULTILINE) == [(str(n), title) for n, title in enumerate(TITLES, 1)]
    assert "All 16 steps behaved as told, and the temporary folder is gone." in told


def test_each_step_says_why_and_what(told: str) -> None:
    """After its title, each step has a sentence, what is asked, and what came of it."""
    for paragraph in re.split(r"^ ?\d+  ", told, flags=re.MULTILINE)[1:]:
        lines = paragraph.splitlines()
        assert lines[1].endswith(".")
        assert lines[2].startswith("    > ")
        assert lines[3].startswith("    ")


def test_it_is_readable(told: str) -> None:
    """ASCII, at most 100 columns, no white space at the end of a line; each reason needs one line."""
    assert told.isascii()
    for line in told.splitlines():
        assert len(line) <= 100
        assert line == line.rstrip()
    for step in story.STEPS:
        assert len(step.why) <= 96


def test_nothing_secret_is_shown(told: str) -> None:
    """No whole token, no MAC, no cookie, no redemption id in full: nothing but ids is as long as one."""
    assert "__Host-" not in told
    ids = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    assert not re.findall(r"[A-Za-z0-9_-]{40,}", re.sub(ids, "", told))
    assert re.findall(r"ghasi1\.\S+", told)  # the beginning of one is
    assert not re.findall(r"ghasi1\.[^.\s]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", told)


def test_both_services_are_heard(told: str) -> None:
    """What each has logged stands below what was asked."""
    redeemed = told[told.index("  Redeemed\n") : told.index("  The booking\n")]
    assert "bff-consumer | consume_call " in redeemed
    assert "bff-tenant-booking | redeemed " in redeemed


def test_json_has_the_facts() -> None:
    """As data, each step has its words, its status, and the code behind it."""
    told = steps()
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


def test_deferred() -> None:
    """In deferred mode the guest goes on at once; bff-consumer hears of it when it is back."""
    told = steps("--mode", "deferred")
    assert told["bff-consumer dies"]["status"] == 303
    assert told["A cancelled handoff"]["verdict"] == "redeemed_and_revoked"
    assert told["bff-consumer is back"]["verdict"] == "redeemed"


@pytest.mark.parametrize("mode", ["strict", "deferred"])
def test_on_postgresql(postgres_url: str, mode: str) -> None:
    """On PostgreSQL, whose tables it makes first."""
    told = steps("--log-url", postgres_url, "--store-url", postgres_url, "--mode", mode)
    assert told["What became of it"]["verdict"] == "redeemed"


def test_on_redis(redis_url: str) -> None:
    """The replay store on Redis, which has no outbox."""
    told = steps("--store-url", redis_url)
    assert told["What became of it"]["verdict"] == "redeemed"
    result = run("--store-url", redis_url, "--mode", "deferred")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Redis has no outbox" in result.stderr


# One line each, run in each service before it starts.
STORE = "from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore as Store; consume = Store.consume\n"
FAULTS = {
    (1, "no room"): "from ghasi_handoff.demo import hotels; hotels.HOTELS['aurora'].rooms.pop('aurora-double')",
    (2, "not logged"): """
from ghasi_handoff.handshake import AsyncSQLiteHandoffLog
async def record(self, *arguments, **options): pass
AsyncSQLiteHandoffLog.record = record""",
    (3, "no cookie"): """
from ghasi_handoff.integrations.fastapi import _landing
_landing.set_cookie = lambda secret: 'a=b'""",
    (6, "second booking"): """
from ghasi_handoff.demo import booking
book = booking.Bookings.book
def fault(self, redemption, session):
    import dataclasses, secrets
    return book(self, dataclasses.replace(redemption, redemption_id=secrets.token_hex(32)), session)
booking.Bookings.book = fault""",
    # In strict mode the other browser is still refused, by bff-consumer: until that is down.
    (13, "everybody holds"): STORE
    + """
async def fault(self, handoff_id, *, redemption_id, **entry):
    from ghasi_handoff import Consumption
    answer = await consume(self, handoff_id, redemption_id=redemption_id, **entry)
    return Consumption(redemption_id, answer.first, answer.consumed_at)
Store.consume = fault""",
    (8, "anybody's booking"): """
from ghasi_handoff.demo import booking
booking._digest = lambda session: 'one'""",
    (9, "any MAC"): "from ghasi_handoff import _verify; _verify.is_mac = lambda *arguments: True",
    (10, "any tenant"): """
from ghasi_handoff import Verifier
verify_at = Verifier._verify_at
Verifier._verify_at = lambda self, token, tenant, *rest: verify_at(self, token, 'tn_aurora', *rest)""",
    (11, "any origin"): """
from ghasi_handoff.integrations.fastapi import _landing
_landing.is_same_origin = lambda *arguments: True""",
    (16, "access log"): """
from ghasi_handoff.integrations.fastapi import AccessLogFilter
AccessLogFilter.filter = lambda *arguments: True""",
}


def planted(folder: Path, program: str) -> dict[str, str]:
    """An environment in which every Python process first runs `program`."""
    (folder / "sitecustomize.py").write_text(program, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize(("number", "name"), FAULTS)
def test_a_fault_is_caught_where_it_is(tmp_path: Path, number: int, name: str) -> None:
    """With a fault planted in the services, the demo exits with 1 and names the step."""
    result = run(env=planted(tmp_path, FAULTS[number, name]))
    assert result.exit_code == 1, result.stdout
    assert result.stderr.startswith(f'failed: step {number} ("{TITLES[number - 1]}") did not behave as told: ')
    assert result.stderr.count("\n") == 1
    assert "behaved as told." not in result.stdout


def test_strictness_is_checked(tmp_path: Path) -> None:
    """A booking side that does not wait for bff-consumer is not taken for a strict one; as JSON, the same is said."""
    lenient = "from ghasi_handoff.handshake import AsyncHandshake as H; H._confirm = lambda *arguments: iter(())"
    result = run("--json", env=planted(tmp_path, lenient))
    assert (result.exit_code, result.stderr) == (1, "")
    facts = json.loads(result.stdout)
    assert (facts["ok"], facts["code"]) == (False, "demo_failed")
    assert facts["step"] in (4, 12)  # told late by the outbox, or not in time to be cancelled
    assert [step["title"] for step in facts["steps"]] == TITLES[: facts["step"] - 1]


def test_a_service_that_does_not_start(tmp_path: Path) -> None:
    """It says which one, and what that said last."""
    broken = "import uvicorn; uvicorn.Server.run = lambda *a, **b: 1/0"
    result = run(env=planted(tmp_path, broken))
    assert result.exit_code == 1
    assert "bff-consumer has ended with status 1; it said: ZeroDivisionError: division by zero" in result.stderr


def test_a_password_is_not_shown() -> None:
    """A database that cannot be reached is named without its password."""
    url = "postgresql://demo:hunter2hunter2@127.0.0.1:1/demo?connect_timeout=2"
    result = run("--log-url", url)
    assert result.exit_code == 1
    assert "ghasi-handoff handoff init" in result.stderr
    assert "hunter2" not in result.output


def test_given_keys_and_data(tmp_path: Path) -> None:
    """With --keys both services have that ring, whose active key signs; with --data the files stay."""
    ring = KeyRing.generate(kid="given").rotate(kid="next", propagation=timedelta(minutes=15))
    keyfile.save(tmp_path / "keys.json", ring)
    folder = tmp_path / "new" / "data"
    told = steps("--keys", str(tmp_path / "keys.json"), "--data", str(folder))
    assert "handoff=ghasi1.given." in told["Book"]["location"]
    names = {path.name for path in folder.iterdir()}
    assert {"handoff-log.db", "replay.db", "bookings.db", "bff-consumer.log", "bff-tenant-booking.log"} <= names


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    """No file, or no key that signs: said before anything runs, with exit code 2."""
    ring = KeyRing.generate(kid="given")
    keyfile.save(tmp_path / "keys.json", ring.revoke("given"))
    for name, reason in (("missing.json", "key_ring: "), ("keys.json", "no key can sign")):
        result = run("--keys", str(tmp_path / name))
        assert (result.exit_code, result.stdout) == (2, "")
        assert reason in result.stderr


def test_data_is_found_again(tmp_path: Path) -> None:
    """A second story goes on with the folder's keys."""
    keyfile.save(tmp_path / "keys.json", KeyRing.generate(kid="kept"))
    result = run("--data", str(tmp_path))
    assert "handoff=ghasi1.kept." in result.stdout
    assert f"everything is kept in {tmp_path}" in result.stdout.replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--serve", "--json"], "nothing for --json"),
        (["--in-process", "--serve"], "leave out --serve"),
        (["--in-process", "--keys", "a", "--mode", "strict"], "leave out --keys, --mode"),
        (["--in-process", "--data", "a"], "leave out --data"),
        (["--consumer-port", "0"], "1<=x<=65535"),
        (["--mode", "lenient"], "'strict', 'deferred'"),
    ],
)
def test_wrong_usage(arguments: list[str], reason: str) -> None:
    """Options that contradict each other are refused, with exit code 2."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("option", "url", "reason"),
    [
        ("--log-url", "redis://127.0.0.1/0", "the log's URL must begin with"),
        ("--store-url", "mysql://127.0.0.1/0", "the store's URL must begin with"),
        ("--data", "/dev/null/x", "no folder /dev/null/x can be made"),
    ],
)
def test_what_cannot_be_used(option: str, url: str, reason: str) -> None:
    """A URL or folder that cannot be used is a configuration error, in JSON too."""
    result = run(option, url)
    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in result.stderr
    assert json.loads(run("--json", option, url).stdout)["code"] == "configuration"


def test_without_the_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where FastAPI or the HTTP client is missing, the story in one process is told, with a hint; --serve cannot."""
    monkeypatch.setattr(_demo, "find_spec", lambda name: None)
    result = run()
    assert result.exit_code == 0
    assert result.stderr == "hint: for the story between two real services, install ghasi-handoff[client,fastapi]\n"
    assert "All 13 steps behaved as told" in result.stdout
    assert run("--in-process").stderr == ""
    result = run("--serve")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "the services need fastapi, httpx2, pydantic_settings, uvicorn" in result.stderr
