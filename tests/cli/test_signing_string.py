"""`signing-string`: the exact bytes that the MAC covers, and nothing else."""

from __future__ import annotations

import hmac

from ghasi_handoff._base64url import b64u_decode, b64u_encode
from tests.minter_and_verifier import secret

from .command_runner import CommandRunner, vectors
from .test_inspect import forged


def test_the_bytes_are_the_macs_input(runner: CommandRunner) -> None:
    """Whoever has the key computes the token's MAC from what is printed, with nothing added or left out."""
    token = runner.mint()
    result = runner.run("signing-string", token)
    assert (result.exit_code, result.stderr) == (0, "")
    mac = hmac.digest(secret("2026-11"), result.stdout_bytes, "sha256")
    assert b64u_encode(mac) == token.split(".")[3]


def test_json_gives_the_length(runner: CommandRunner) -> None:
    """The same as text, in base64url, and counted."""
    token = runner.mint()
    data = runner.run("signing-string", token).stdout_bytes
    facts = runner.facts("signing-string", token)
    assert facts == {
        "ok": True,
        "code": "ok",
        "message": f"the MAC covers {len(data)} bytes; nothing was verified",
        "verified": False,
        "kid": "2026-11",
        "handoff_id": data.split(b"\n")[6].decode(),
        "length": len(data),
        "signing_string": data.decode(),
        "signing_string_b64u": b64u_encode(data),
    }


def test_bytes_that_are_no_text_are_printed_as_they_are(runner: CommandRunner) -> None:
    """A payload outside UTF-8 comes out byte for byte; in JSON there is no text then, only base64url."""
    token = forged(b"\xff\x00\r\n")
    data = runner.run("signing-string", token).stdout_bytes
    assert data.endswith(b"\n\xff\x00\r\n")
    facts = runner.facts("signing-string", token)
    assert facts["signing_string"] is None
    assert b64u_decode(facts["signing_string_b64u"]) == data


def test_help_says_what_it_is(runner: CommandRunner) -> None:
    """Help says that it holds no secret, and that it belongs in no log."""
    words = " ".join(runner.run("signing-string", "--help").stdout.split())
    assert "holds no secret and no MAC" in words
    assert "never puts it in a message or a log" in words


def test_vectors(runner: CommandRunner) -> None:
    """The specification's own signing strings."""
    for vector in vectors("accepted"):
        assert runner.run("signing-string", vector["token"]).stdout_bytes.decode() == vector["signing_string"]
