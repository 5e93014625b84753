"""`demo`: the story between two real services is told, true, and readable; what cannot be told is said at once.

Other stores and modes are in test_story_elsewhere.py, planted faults in test_story_faults.py.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ghasi_handoff import KeyRing, keyfile
from ghasi_handoff.cli import _demo
from ghasi_handoff.demo.services import Services
from ghasi_handoff.demo.steps import STEPS

from .planting import planted
from .story_command import TITLES, check_no_secret, operator_in_process, run


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
    with operator_in_process():
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
    for step in STEPS:
        assert len(step.why) <= 96


def test_nothing_secret_is_shown(told: str) -> None:
    """No whole token, no MAC, no cookie, no redemption id in full: nothing but ids is as long as one."""
    check_no_secret(told)
    assert re.findall(r"ghasi1\.\S+", told)  # the beginning of one is


def test_both_services_are_heard(told: str) -> None:
    """What each has logged stands below what was asked."""
    redeemed = told[told.index("  Redeemed\n") : told.index("  The booking\n")]
    assert "bff-consumer | consume_call " in redeemed
    assert "bff-tenant-booking | redeemed " in redeemed


def test_a_service_that_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command names the service and shows its last line; the temporary folder is gone after a failure too."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    broken = "import uvicorn; uvicorn.Server.run = lambda *a, **b: 1/0"
    result = run(env=planted(tmp_path, broken))
    assert result.exit_code == 1
    assert list(temporary.iterdir()) == []
    assert "bff-consumer has ended with status 1; it said: ZeroDivisionError: division by zero" in result.stderr


def test_a_password_is_not_shown() -> None:
    """A database that cannot be reached is named without its password."""
    url = "postgresql://demo:hunter2hunter2@127.0.0.1:1/demo?connect_timeout=2"
    with operator_in_process(handoff={"init": {"timeout": 0.3}}):
        result = run("--log-url", url)
    assert result.exit_code == 1
    assert "ghasi-handoff handoff init" in result.stderr
    assert "hunter2" not in result.output


def test_keys_that_cannot_be_used(tmp_path: Path) -> None:
    """No file, or no key that signs: said before anything runs, with exit code 2."""
    ring = KeyRing.generate(kid="given")
    keyfile.save(tmp_path / "keys.json", ring.revoke("given"))
    for name, reason in (("missing.json", "key_ring: "), ("keys.json", "no key can sign")):
        result = run("--keys", str(tmp_path / name))
        assert (result.exit_code, result.stdout) == (2, "")
        assert reason in result.stderr


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--consumer-port", "0"], "1<=x<=65535"),
        (["--mode", "lenient"], "'strict', 'deferred'"),
    ],
)
def test_wrong_usage(arguments: list[str], reason: str) -> None:
    """An option that cannot be used is refused, with exit code 2."""
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert reason in " ".join(result.stderr.split())


def test_serving_has_nothing_for_json() -> None:
    """``--serve`` beside ``--json`` is refused with exit code 2, and the refusal is a JSON object."""
    result = run("--serve", "--json")
    assert result.exit_code == 2
    assert "nothing for --json" in json.loads(result.stdout)["message"]


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


def test_no_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no folder can be made, it says so and exits with 2."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    result = run()
    assert result.exit_code == 2
    assert result.stderr.startswith("error: configuration: no temporary folder can be made: ")


@pytest.mark.parametrize("option", [[], ["--serve"]])
def test_without_the_extras(monkeypatch: pytest.MonkeyPatch, option: list[str]) -> None:
    """Where FastAPI or the HTTP client is missing, it says what to install and exits with 2."""
    monkeypatch.setattr(_demo, "find_spec", lambda name: None)
    result = run(*option)
    assert (result.exit_code, result.stdout) == (2, "")
    needed = "the demo needs fastapi, httpx2, pydantic_settings, uvicorn: install ghasi-handoff[all]"
    assert result.stderr == f"error: configuration: {needed}\n"


def test_each_service_is_told_of_its_own_database_only(tmp_path: Path) -> None:
    """bff-consumer runs without the booking side's store, and the reverse; neither gets the other's password."""
    with Services(
        tmp_path, quiet=True, log_url="postgresql://log:one@h/l", store_url="redis://store:two@h"
    ) as services:
        held = [
            {name for name in ("one@", "two@") if any(name in value for value in service.environment.values())}
            for service in services.both
        ]
    assert held == [{"one@"}, {"two@"}]
