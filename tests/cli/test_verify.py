"""`verify`: accepted with all its fields, or refused with the library's code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ghasi_handoff import KeyRing, SigningKey
from tests.minter_and_verifier import at

from .command_runner import NOW, OUTCOMES, PAYLOAD, TENANT, TOKEN_FACTS, CommandRunner, only_object, vectors
from .test_inspect import forged


def test_text(runner: CommandRunner) -> None:
    """A verified token is shown, with the reminder that it is not redeemed."""
    token = runner.mint()
    result = runner.run(*runner.verify(token))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("verified: authentic, for tn_aurora, and current. It is not redeemed by this.\n")
    assert "expires at  2026-11-23T09:35:00Z  (300 s left)" in result.stdout
    assert json.loads(result.stdout.split("payload:")[1]) == PAYLOAD


def test_json(runner: CommandRunner) -> None:
    """The same as data."""
    facts = runner.facts(*runner.verify(runner.mint()))
    assert len(facts.pop("handoff_id")) == 36
    assert facts == {
        "ok": True,
        "code": "ok",
        "message": "the token is authentic, for tn_aurora, and current; it is not redeemed by this",
        "verified": True,
        **TOKEN_FACTS,
    }


def test_it_can_be_repeated(runner: CommandRunner) -> None:
    """Verifying changes nothing."""
    token = runner.mint()
    assert runner.facts(*runner.verify(token)) == runner.facts(*runner.verify(token))


@pytest.mark.parametrize("command", ["inspect", "signing-string", "verify", "redeem"])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_token_on_standard_input(runner: CommandRunner, command: str, end: bytes) -> None:
    """With - the token is read from standard input, where one end of line may follow it."""
    arguments = {"verify": runner.verify("-"), "redeem": runner.redeem("-")}.get(command, (command, "-"))
    assert runner.facts(*arguments, stdin=runner.mint().encode() + end)["ok"] is True


@pytest.mark.parametrize("command", ["inspect", "signing-string", "verify", "redeem"])
@pytest.mark.parametrize(
    "around", [b"%b\n\n", b"%b\r\n", b" %b", b"%b ", b"\n%b", b"\xef\xbb\xbf%b", b"%b\x00", b"%b\xff"]
)
def test_nothing_else_may_stand_there(runner: CommandRunner, command: str, around: bytes) -> None:
    """One end of line is all that is stripped: a token has one spelling."""
    arguments = {"verify": runner.verify("-"), "redeem": runner.redeem("-")}.get(command, (command, "-"))
    facts = runner.facts(*arguments, stdin=around % runner.mint().encode(), exit_code=1)
    assert facts["code"] == "malformed"


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe\x00", "ü".encode(), b"A" * 10_000_000])
def test_standard_input_that_is_no_token(runner: CommandRunner, content: bytes) -> None:
    """Nothing, something else than ASCII, or ten million letters: all malformed."""
    result = runner.run(*runner.verify("-"), stdin=content)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("refused: malformed: ")


def test_a_token_of_the_largest_size_is_read_whole(runner: CommandRunner) -> None:
    """4096 characters and an end of line are judged by what they say, not by their number."""
    result = runner.run("inspect", "-", stdin=b"A" * 4096 + b"\n")
    assert "parts" in result.stderr
    result = runner.run("inspect", "-", stdin=b"A" * 4097)
    assert "more than 4096 characters" in result.stderr


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("--tenant", "tn_borealis", "wrong_tenant"),
        ("--tenant", "strange host\n", "wrong_tenant"),
        ("--issuer", "another", "wrong_issuer"),
        ("--audience", "another", "wrong_audience"),
        ("--max-lifetime", "299", "lifetime_too_long"),
    ],
)
def test_a_refusal_has_its_code_and_log_fields(runner: CommandRunner, option: str, value: str, code: str) -> None:
    """Text and JSON name the code and, the MAC having matched, which handoff it was."""
    token = runner.mint()
    arguments = runner.verify(option, value, token)
    handoff_id = runner.facts("inspect", token)["handoff_id"]
    result = runner.run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    first, second = result.stderr.splitlines()
    assert first.startswith(f"refused: {code}: ")
    assert second == f"  handoff_id={handoff_id}  tenant={TENANT}  kid=2026-11"
    facts = runner.facts(*arguments, exit_code=1)
    assert first == f"refused: {code}: {facts.pop('message')}"
    assert facts == {"ok": False, "code": code, "handoff_id": handoff_id, "tenant": TENANT, "kid": "2026-11"}


def test_before_the_mac_only_the_kid_is_said(runner: CommandRunner) -> None:
    """Of a token that nobody signed, nothing is repeated but the name of the key."""
    facts = runner.facts(*runner.verify(forged(b"{}")), exit_code=1)
    assert facts.pop("message")
    assert facts == {"ok": False, "code": "unknown_key", "kid": "evil"}
    version, kid, body, _ = runner.mint().split(".")
    facts = runner.facts(*runner.verify(".".join((version, kid, body, "A" * 43))), exit_code=1)
    assert facts.pop("message")
    assert facts == {"ok": False, "code": "invalid_mac", "kid": "2026-11"}


@pytest.mark.parametrize(
    ("now", "leeway", "code"),
    [
        (NOW + 309, "10", "ok"),
        (NOW + 310, "10", "expired"),
        (NOW + 300, "0", "expired"),
        (NOW + 359, "60", "ok"),
        (NOW - 10, "10", "ok"),
        (NOW - 11, "10", "not_yet_valid"),
    ],
)
def test_leeway(runner: CommandRunner, now: int, leeway: str, code: str) -> None:
    """The leeway moves both ends, to the second."""
    token = runner.mint()
    runner.clock.now = now
    facts = runner.facts(*runner.verify("--leeway", leeway, token), exit_code=0 if code == "ok" else 1)
    assert facts["code"] == code


@pytest.mark.parametrize(
    ("option", "value"),
    [("--leeway", "61"), ("--leeway", "-1"), ("--leeway", "1.5"), ("--max-lifetime", "0"), ("--max-lifetime", "3601")],
)
def test_limits_are_usage(runner: CommandRunner, option: str, value: str) -> None:
    """What no verifier may be set to is wrong usage."""
    result = runner.run(*runner.verify(option, value, runner.mint()))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for '{option}'" in result.stderr


def test_a_token_is_needed(runner: CommandRunner) -> None:
    """Without a token there is nothing to do; standard input is not read by itself."""
    result = runner.run(*runner.verify(), stdin=runner.mint().encode())
    assert result.exit_code == 2
    assert "Missing argument 'TOKEN|-'" in result.stderr


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o666, 0o610])
def test_a_key_file_that_others_may_use(runner: CommandRunner, mode: int) -> None:
    """It is not read: exit code 2, and the way out is said."""
    token = runner.mint()
    Path(runner.key_file).chmod(mode)
    result = runner.run(*runner.verify(token))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: key_ring: key file {runner.key_file}: others than its owner may use it")
    assert "chmod 600" in result.stderr
    assert runner.facts(*runner.verify(token), exit_code=2)["code"] == "key_ring"


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"\xff", b"[" * 100_000, b'{"format": "ghasi-handoff-keys/v1", "keys": []}']
)
def test_a_key_file_that_is_none(runner: CommandRunner, content: bytes) -> None:
    """Whatever is in it, the exit code is 2 and the code key_ring."""
    token = runner.mint()
    Path(runner.key_file).write_bytes(content)
    result = runner.run(*runner.verify(token))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: key_ring: ")


def test_a_key_file_that_is_not_there(runner: CommandRunner, tmp_path: Path) -> None:
    """So too where there is no file, or a folder."""
    token = runner.mint()
    for path in (tmp_path / "missing", tmp_path):
        assert runner.facts(*runner.verify("--keys", str(path), token), exit_code=2)["code"] == "key_ring"


@pytest.mark.parametrize("expect", OUTCOMES)
def test_vectors(tmp_path: Path, expect: str) -> None:
    """The command line gives the answer of each of the specification's vectors."""
    for vector in vectors(expect):
        runner = CommandRunner(tmp_path, ring=KeyRing([_key(member) for member in vector["keys"]]))
        runner.clock.now = vector["now"]
        settings = ("--keys", runner.key_file, "--issuer", vector["issuer"], "--audience", vector["audience"])
        limits = ("--leeway", str(vector["leeway"]), "--max-lifetime", str(vector["max_lifetime"]))
        tenant = f"--tenant={vector['tenant']}"
        result = runner.run("verify", "--json", *settings, *limits, tenant, "--", vector["token"])
        if expect == "accepted":
            shown = only_object(result)
            assert {name: shown[name] for name in ("handoff_id", "payload")}.items() <= vector.items()
        else:
            assert only_object(result, 1)["code"] == expect, vector["description"]


def _key(member: dict[str, Any]) -> SigningKey:
    def optional(name: str) -> Any:
        return None if member[name] is None else at(member[name])

    return SigningKey(
        kid=member["kid"],
        secret=bytes.fromhex(member["secret_hex"]),
        created_at=at(member["sign_from"]),
        sign_from=at(member["sign_from"]),
        verify_until=optional("verify_until"),
        revoked_at=optional("revoked_at"),
    )
