"""`mint`: a token or a URL, alone on standard output."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ghasi_handoff import BookingHandoff, KeyRing, Verifier
from tests.minter_and_verifier import key

from .command_runner import (
    AUDIENCE,
    ISSUER,
    NOW,
    PAYLOAD,
    STAY_OPTIONS,
    TENANT,
    TOKEN_FACTS,
    CommandRunner,
    only_object,
)

BASE = "https://aurora.example/handoff?x=1"


def verified(runner: CommandRunner, token: str) -> BookingHandoff:
    verifier = Verifier(runner.ring, issuer=ISSUER, audience=AUDIENCE, clock=runner.clock)
    return verifier.verify(token, tenant=TENANT).payload


def test_the_token_stands_alone(runner: CommandRunner) -> None:
    """Standard output is the token and one end of line, so that it can be piped."""
    result = runner.run("mint", *runner.parties, *STAY_OPTIONS)
    assert (result.exit_code, result.stderr) == (0, "")
    token = result.stdout.removesuffix("\n")
    assert result.stdout == token + "\n"
    assert verified(runner, token) == BookingHandoff.from_input(PAYLOAD)


def test_only_what_a_stay_needs(runner: CommandRunner) -> None:
    """Everything but the four options of a stay is optional."""
    result = runner.run("mint", *runner.parties, *STAY_OPTIONS[:8])
    assert verified(runner, result.stdout.strip()).adults == 2


def test_json_has_all_public_fields(runner: CommandRunner) -> None:
    """The object has the token and what it says, always under the same names."""
    facts = runner.facts("mint", *runner.parties, *STAY_OPTIONS)
    token, handoff_id = facts.pop("token"), facts.pop("handoff_id")
    assert verified(runner, token) == BookingHandoff.from_input(PAYLOAD)
    assert len(handoff_id) == 36
    assert facts == {
        "ok": True,
        "code": "ok",
        "message": "minted a token for tn_aurora, valid for 300 s",
        "url": None,
        **TOKEN_FACTS,
    }


def test_url_prints_the_url_alone(runner: CommandRunner) -> None:
    """With --url it is the redirect's URL that stands alone."""
    result = runner.run("mint", *runner.parties, *STAY_OPTIONS, "--url", BASE)
    query = parse_qs(urlsplit(result.stdout.removesuffix("\n")).query)
    assert query["x"] == ["1"]
    assert verified(runner, query["handoff"][0]).adults == 2


def test_param_names_the_parameter(runner: CommandRunner) -> None:
    """The parameter's name can be another."""
    facts = runner.facts("mint", *runner.parties, *STAY_OPTIONS, "--url", BASE, "--param", "t")
    assert facts["url"] == f"{BASE}&t={facts['token']}"


def test_lifetime(runner: CommandRunner) -> None:
    """The lifetime is as asked."""
    facts = runner.facts("mint", *runner.parties, *STAY_OPTIONS, "--lifetime", "3600")
    assert facts["expires_at"] == "2026-11-23T10:30:00Z"


def test_a_payload_file(runner: CommandRunner) -> None:
    """What is handed over may come from a JSON file, written as anybody likes."""
    path = runner.file("stay.json", json.dumps(PAYLOAD, indent=4).encode())
    assert runner.facts("mint", *runner.parties, "--payload", path)["payload"] == PAYLOAD


def test_a_payload_on_standard_input(runner: CommandRunner) -> None:
    """Or from standard input."""
    facts = runner.facts("mint", *runner.parties, "--payload", "-", stdin=json.dumps(PAYLOAD).encode())
    assert facts["payload"] == PAYLOAD


def test_the_environment_names_file_and_services(runner: CommandRunner) -> None:
    """Key file, issuer and audience may come from the environment."""
    variables = {
        "GHASI_HANDOFF_KEYS_FILE": runner.key_file,
        "GHASI_HANDOFF_ISSUER": ISSUER,
        "GHASI_HANDOFF_AUDIENCE": AUDIENCE,
    }
    result = runner.run("mint", "--tenant", TENANT, *STAY_OPTIONS, env=variables)
    assert verified(runner, result.stdout.strip()).adults == 2


def test_an_option_wins_over_the_environment(runner: CommandRunner) -> None:
    """What is said on the command line counts."""
    result = runner.run("mint", *runner.parties, *STAY_OPTIONS, env={"GHASI_HANDOFF_ISSUER": "another"})
    assert verified(runner, result.stdout.strip()).adults == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"adults":2,"adults":3}', "stands twice"),
        (b'{"adults":' + b"9" * 5000 + b"}", "too long"),
        (b'{"adults":' + b"9" * 4000 + b"}", "adults"),
        (b"\xff\xfe", "not UTF-8"),
        (b'\xef\xbb\xbf{"adults":2}', "not JSON"),
        (b"[" * 60_000, "nested too deep"),
        (b'{"property_id":' + b"[" * 700 + b"]" * 700 + b"}", ""),
        (b" " * 65_537, "more than 65536 bytes"),
        (b"[]", "mapping"),
        (b"null", "mapping"),
        (b'{"adults":NaN}', "adults"),
        (b'{"adults":2.0}', "adults"),
        (b'{"secret_name":1}', "does not have"),
        (json.dumps(PAYLOAD | {"adults": 31}).encode(), "adults"),
        (json.dumps(PAYLOAD | {"property_id": "\ud800"}).encode(), ""),
    ],
)
def test_a_bad_payload_is_refused(runner: CommandRunner, content: bytes, words: str) -> None:
    """A payload that is none is refused by its code; nothing is minted, and none of it is quoted."""
    for arguments in (["--payload", "-"], ["--payload", runner.file("stay.json", content)]):
        result = runner.run("mint", *runner.parties, *arguments, stdin=content)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("refused: invalid_input: ")
        assert words in result.stderr
        assert "secret_name" not in result.stderr


def test_a_payload_of_the_largest_file_is_read(runner: CommandRunner) -> None:
    """65536 bytes are not too many, if what they say is short enough."""
    content = json.dumps(PAYLOAD).encode().ljust(65_536)
    assert runner.facts("mint", *runner.parties, "--payload", "-", stdin=content)["payload"] == PAYLOAD


def test_a_payload_file_that_cannot_be_read(runner: CommandRunner, tmp_path: Path) -> None:
    """That is a mistake in the command, not in the payload."""
    for path, words in ((tmp_path / "missing", "No such file"), (tmp_path, "Is a directory")):
        result = runner.run("mint", *runner.parties, "--payload", str(path))
        assert result.exit_code == 2
        assert result.stderr.startswith("error: configuration: payload file ")
        assert words in result.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "--property-id, --check-in, --check-out, --adults"),
        (["--adults", "2", "--check-in", "2026-12-24"], "--property-id, --check-out"),
        (["--payload", "-", "--adults", "2"], "not from both"),
        (["--payload", "-", "--child-age", "0"], "not from both"),
        ([*STAY_OPTIONS, "--param", "t"], "--url"),
        ([*STAY_OPTIONS, "--adults", "two"], "--adults"),
        ([*STAY_OPTIONS, "--check-in", "24.12.2026"], "2026-12-24"),
        ([*STAY_OPTIONS, "--check-in", "1798070400"], "2026-12-24"),
        ([*STAY_OPTIONS, "--check-in", "2026-02-30"], "2026-12-24"),
        ([*STAY_OPTIONS, "--check-in", "٢٠٢٦-12-24"], "2026-12-24"),
        ([*STAY_OPTIONS, "--lifetime", "0"], "--lifetime"),
        ([*STAY_OPTIONS, "--lifetime", "3601"], "--lifetime"),
    ],
)
def test_wrong_usage(runner: CommandRunner, options: list[str], words: str) -> None:
    """What the command cannot make sense of is wrong usage, and says what to do."""
    result = runner.run("mint", *runner.parties, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: ghasi-handoff mint ")
    assert words in result.stderr


@pytest.mark.parametrize("option", ["--keys", "--issuer", "--audience", "--tenant"])
def test_a_missing_option_is_named(runner: CommandRunner, option: str) -> None:
    """Each of the four is needed."""
    position = runner.parties.index(option)
    arguments = [*runner.parties[:position], *runner.parties[position + 2 :]]
    result = runner.run("mint", *arguments, *STAY_OPTIONS)
    assert result.exit_code == 2
    assert f"Missing option '{option}'" in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "code", "exit_code"),
    [
        ("--tenant", "a b", "invalid_input", 1),
        ("--tenant", "", "invalid_input", 1),
        ("--issuer", "a b", "configuration", 2),
        ("--audience", "ä", "configuration", 2),
        ("--url", "http://aurora.example/", "invalid_input", 1),
        ("--url", "", "invalid_input", 1),
        ("--currency", "euro", "invalid_input", 1),
        ("--property-id", "", "invalid_input", 1),
        ("--child-age", "18", "invalid_input", 1),
        ("--check-out", "2026-12-24", "invalid_input", 1),
    ],
)
def test_what_the_library_refuses(runner: CommandRunner, option: str, value: str, code: str, exit_code: int) -> None:
    """A value of the right kind that cannot be is refused with the library's code, in text and in JSON."""
    arguments = ("mint", *runner.parties, *STAY_OPTIONS, option, value)
    result = runner.run(*arguments)
    word = "refused" if exit_code == 1 else "error"
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert result.stderr.startswith(f"{word}: {code}: ")
    facts = runner.facts(*arguments, exit_code=exit_code)
    assert (facts["ok"], facts["code"]) == (False, code)
    assert result.stderr == f"{word}: {code}: {facts['message']}\n"


def test_a_parameter_name_that_needs_escaping_is_refused(runner: CommandRunner) -> None:
    """The parameter's name is checked, too."""
    result = runner.run("mint", *runner.parties, *STAY_OPTIONS, "--url", BASE, "--param", "")
    assert result.stderr.startswith("refused: invalid_input: ")


def test_no_key_signs(runner: CommandRunner) -> None:
    """A ring whose key is still to come mints nothing: exit code 2, because the ring is at fault."""
    runner.clock.now = NOW - 2000
    result = runner.run("mint", *runner.parties, *STAY_OPTIONS)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: key_ring: no key can sign yet")


def test_the_newest_key_signs(tmp_path: Path) -> None:
    """The ring decides which key signs, by the clock."""
    ring = KeyRing([key("old", NOW - 5000, verify_until=NOW + 5000), key("new", NOW)])
    runner = CommandRunner(tmp_path, ring=ring)
    assert runner.mint().split(".")[1] == "new"
    runner.clock.now = NOW - 1
    assert runner.mint().split(".")[1] == "old"


def test_ids_follow_the_clock(runner: CommandRunner) -> None:
    """Two tokens differ, though all else is the same."""
    assert runner.mint() != runner.mint()
    runner.clock.now += timedelta(seconds=1).total_seconds()
    result = runner.run("mint", "--json", *runner.parties, *STAY_OPTIONS)
    assert only_object(result)["issued_at"] == "2026-11-23T09:30:01Z"
