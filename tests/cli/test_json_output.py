"""`--json`, of every command: one object, as its schema in the documentation says, whatever the command came to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import jsonschema_rs
import pytest

from .command_runner import run_here
from .every_command import ALSO_WORKS, REFUSED, WORKS, command_names, prepared

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "cli-schemas.json"
SCHEMAS: Final[dict[str, Any]] = json.loads(PAGE.read_text("utf-8"))
# The demo takes seconds.
each_that_works: Final = pytest.mark.parametrize(
    ("command", "arguments"),
    [
        pytest.param(name, arguments, marks=[pytest.mark.thorough] if name == "demo" else [])
        for name, arguments in [*((name, how) for name, (how, _) in WORKS.items()), *ALSO_WORKS.items()]
    ],
)


def valid(command: str, facts: dict[str, Any]) -> bool:
    """Whether the command's schema allows this object."""
    schema = {**SCHEMAS, "$ref": f"#/$defs/{command.replace(' ', '-')}"}
    return jsonschema_rs.Draft202012Validator(schema).is_valid(facts)


def answer(folder: Path, command: str, arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code and the one object that a command printed, which is as its schema says."""
    names = prepared(folder)
    done = run_here(*command.split(), *arguments.format(**names).split(), "--json")
    assert done.stderr == ""
    assert done.stdout.isascii()
    (line,) = done.stdout.splitlines()
    facts = json.loads(line)
    assert list(facts)[:3] == ["ok", "code", "message"]
    assert valid(command, facts), line
    return done.returncode, facts


def test_every_command_has_a_schema() -> None:
    """A command whose object nobody has described fails here."""
    named = {name.replace(" ", "-") for name in command_names()}
    assert named <= set(SCHEMAS["$defs"])
    jsonschema_rs.meta.validate(SCHEMAS)


@each_that_works
def test_success(tmp_path: Path, command: str, arguments: str) -> None:
    """What worked is ok, and has the code ok."""
    status, facts = answer(tmp_path, command, arguments)
    assert (status, facts["ok"], facts["code"]) == (0, True, "ok")


@pytest.mark.parametrize(("command", "arguments", "code"), REFUSED)
def test_refusal(tmp_path: Path, command: str, arguments: str, code: str) -> None:
    """What was refused, or is wrong, has a stable code of its own, and an exit code that is not 0."""
    status, facts = answer(tmp_path, command, arguments)
    assert (facts["ok"], facts["code"]) == (False, code)
    assert status == (2 if code in ("configuration", "key_ring", "unreadable") else 1)


@pytest.mark.parametrize("command", command_names())
def test_wrong_usage(tmp_path: Path, command: str) -> None:
    """So is wrong usage, which no command's own code has seen."""
    status, facts = answer(tmp_path, command, "--nonsense")
    assert (status, facts["ok"], facts["code"]) == (2, False, "usage")
    assert "--nonsense" in facts["message"]


@pytest.mark.parametrize(
    "arguments", [["--json"], ["keys", "--json"], ["nonsense", "--json"], ["store", "x", "--json"]]
)
def test_wrong_usage_of_a_group(arguments: list[str]) -> None:
    """Where there is no command, --json is understood all the same."""
    done = run_here(*arguments)
    assert (done.returncode, done.stderr, json.loads(done.stdout)["code"]) == (2, "", "usage")


def test_json_that_is_no_option() -> None:
    """What comes after -- is an argument: wrong usage is then for people."""
    done = run_here("inspect", "a", "--", "--json")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: ")


@each_that_works
def test_a_schema_is_no_rubber_stamp(tmp_path: Path, command: str, arguments: str) -> None:
    """A missing member, one too many, or one of another type is not allowed, at any depth."""
    _, facts = answer(tmp_path, command, arguments)
    for wrong in [*spoilt(facts), {**facts, "more": 1}, {**facts, "ok": False}]:
        assert not valid(command, wrong), wrong


def spoilt(value: Any) -> Iterator[Any]:
    """The value, each time with one of its members missing or of another type. Free maps and payloads stay as they are."""
    if isinstance(value, dict):
        for name, member in value.items():
            others = {other: kept for other, kept in value.items() if other != name}
            yield others
            yield {**others, name: 1.5}
            if name not in ("settings", "last_used_at", "payload", "steps"):
                yield from ({**others, name: bad} for bad in spoilt(member))
    elif isinstance(value, list) and value:
        yield from ([bad, *value[1:]] for bad in spoilt(value[0]))
