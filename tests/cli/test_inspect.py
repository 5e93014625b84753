"""`inspect`: what a token says, loudly unverified."""

from __future__ import annotations

import json

import pytest

from ghasi_handoff._base64url import b64u_encode

from .command_runner import (
    AUDIENCE,
    ISSUER,
    NOW,
    OUTCOMES,
    PAYLOAD,
    TENANT,
    TOKEN_FACTS,
    CommandRunner,
    only_object,
    vectors,
)

HANDOFF_ID = "01a207bd-aac0-7c3a-9f12-5b6e0d4a8c71"  # its time is NOW


def forged(payload: bytes, *, expires_at: int = NOW + 300) -> str:
    """A token that nobody signed."""
    lines = f"{ISSUER}\n{AUDIENCE}\n{TENANT}\n{HANDOFF_ID}\n{NOW}\n{expires_at}\n"
    return f"ghasi1.evil.{b64u_encode(lines.encode() + payload)}.{'A' * 43}"


def test_text_says_first_that_nothing_is_verified(runner: CommandRunner) -> None:
    """The first words are the warning; then come the lines, the times as distances, and the payload."""
    token = runner.mint()
    handoff_id = runner.facts("inspect", token)["handoff_id"]
    runner.clock.now += 12
    result = runner.run("inspect", token)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("NOT VERIFIED: anybody can write a token that says this.")
    lines = result.stdout.splitlines()
    assert lines[2:9] == [
        "kid         2026-11",
        "issuer      bff-consumer",
        "audience    bff-tenant-booking",
        "tenant      tn_aurora",
        f"handoff id  {handoff_id}",
        "issued at   2026-11-23T09:30:00Z  (12 s ago)",
        "expires at  2026-11-23T09:35:00Z  (288 s left)",
    ]
    assert json.loads(result.stdout.split("payload:")[1]) == PAYLOAD


@pytest.mark.parametrize(
    ("now", "issued", "expires"),
    [(NOW - 5, "5 s ahead", "305 s left"), (NOW + 300, "300 s ago", "0 s ago"), (NOW + 400, "400 s ago", "100 s ago")],
)
def test_times_have_a_direction(runner: CommandRunner, now: int, issued: str, expires: str) -> None:
    """Ahead, left or ago: the clock decides, at the second."""
    token = runner.mint()
    runner.clock.now = now
    shown = runner.run("inspect", token).stdout
    assert f"({issued})" in shown
    assert f"({expires})" in shown


def test_json_says_verified_false(runner: CommandRunner) -> None:
    """Machines are told, too."""
    token = runner.mint()
    runner.clock.now += 12.9
    facts = runner.facts("inspect", token)
    assert len(facts.pop("handoff_id")) == 36
    assert facts == {
        "ok": True,
        "code": "ok",
        "message": "not verified: anybody can write a token that says this",
        "verified": False,
        **TOKEN_FACTS,
        "seconds_since_issue": 12,
        "seconds_left": 288,
        "payload_is_canonical": True,
    }


def test_no_keys_are_needed(runner: CommandRunner) -> None:
    """A token that nobody signed is shown just as well, which is why nothing of it is to be relied on."""
    assert runner.facts("inspect", forged(b"{}"))["kid"] == "evil"


@pytest.mark.parametrize("payload", [b"", b"{", b"\xff", b'{ "a":1}', b"[]", b"null", b'{"a":1.0}'])
def test_a_payload_that_is_not_canonical_is_said_to_be(runner: CommandRunner, payload: bytes) -> None:
    """It is counted and not shown, and does not stop the rest."""
    facts = runner.facts("inspect", forged(payload))
    assert (facts["payload"], facts["payload_is_canonical"]) == (None, False)
    assert f"payload: {len(payload)} bytes that are not canonical JSON" in runner.run("inspect", forged(payload)).stdout


def test_an_unverified_payload_cannot_steer_the_terminal(runner: CommandRunner) -> None:
    """Control characters and direction marks of a forged payload arrive as escapes, in text and in JSON."""
    payload = '{"a":"\\u001b[2J\u009b31m\u202e\u2066"}'.encode()
    for result in (runner.run("inspect", forged(payload)), runner.run("inspect", "--json", forged(payload))):
        assert result.exit_code == 0
        assert result.stdout.isascii()
        assert "\x1b" not in result.stdout
        assert "\\u202e" in result.stdout


@pytest.mark.parametrize("command", ["inspect", "signing-string"])
@pytest.mark.parametrize(
    "token",
    [
        "",
        "x",
        "ghasi2.a.b.c",
        "ghasi1.a.b.c.d",
        "ghasi1.ä.YQ." + "A" * 43,
        "ghasi1.a.YQ." + "A" * 43,
        "ghasi1.a.YR." + "A" * 43,
        "ghasi1.a.YQ." + "A" * 42,
        "\ud800",
        "a\x00b",
        "A" * 5000,
        forged(b"{}", expires_at=NOW),
        forged(b"{}", expires_at=NOW - 1),
    ],
)
def test_a_malformed_token_is_refused(runner: CommandRunner, command: str, token: str) -> None:
    """What verify would call malformed is refused with that code."""
    result = runner.run(command, "--", token)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("refused: malformed: ")
    facts = runner.facts(command, "--", token, exit_code=1)
    assert (facts["ok"], facts["code"]) == (False, "malformed")


@pytest.mark.parametrize("expect", OUTCOMES)
def test_vectors(runner: CommandRunner, expect: str) -> None:
    """Of the specification's vectors, inspect refuses the malformed ones, and shows the accepted ones truly."""
    for vector in vectors(expect):
        result = runner.run("inspect", "--json", "--", vector["token"])
        if expect == "malformed":
            assert only_object(result, 1)["code"] == "malformed", vector["description"]
        elif expect == "accepted":
            shown = only_object(result)
            assert {name: shown[name] for name in ("handoff_id", "payload")}.items() <= vector.items()
        else:  # a MAC that is wrong may stand on a body that is no body
            assert only_object(result, result.exit_code)["code"] in ("ok", "malformed"), vector["description"]
