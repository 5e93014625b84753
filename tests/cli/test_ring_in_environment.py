"""The ring in the environment: for a service whose secrets come to it that way."""

from __future__ import annotations

from ghasi_handoff import KeyRing
from tests.minter_and_verifier import key, secret

from .command_runner import CommandRunner


def test_the_ring_may_stand_in_the_environment(runner: CommandRunner) -> None:
    """Without a key file, GHASI_HANDOFF_KEYS holds the ring as JSON."""
    ring = {"GHASI_HANDOFF_KEYS": KeyRing([key()]).to_json()}
    names = ("--issuer", "a", "--audience", "b", "--tenant", "t")
    stay = ("--property-id", "x", "--check-in", "2026-12-24", "--check-out", "2026-12-27", "--adults", "2")
    minted = runner.run("mint", *names, *stay, env=ring)
    assert minted.exit_code == 0, minted.stderr
    assert runner.run("verify", *names, "-", stdin=minted.stdout.encode(), env=ring).exit_code == 0


def test_a_key_file_wins(runner: CommandRunner) -> None:
    """What is said on the command line is not overruled by the environment."""
    assert runner.run(*runner.verify(runner.mint()), env={"GHASI_HANDOFF_KEYS": "not a ring"}).exit_code == 0


def test_without_any_ring_it_says_where_one_may_come_from(runner: CommandRunner) -> None:
    """Wrong usage: 2, and all three ways are named."""
    result = runner.run("verify", "--issuer", "a", "--audience", "b", "--tenant", "t", "token")
    assert result.exit_code == 2
    for name in ("--keys", "GHASI_HANDOFF_KEYS_FILE", "GHASI_HANDOFF_KEYS."):
        assert name.rstrip(".") in result.stderr


def test_a_broken_ring_is_not_shown(runner: CommandRunner) -> None:
    """The message says that it is no ring, and quotes nothing of it."""
    text = KeyRing([key()]).to_json()
    ring = {"GHASI_HANDOFF_KEYS": text.replace("keys/v1", "keys/v9")}
    result = runner.run("verify", "--issuer", "a", "--audience", "b", "--tenant", "t", "token", env=ring)
    assert result.exit_code == 2
    assert "key_ring" in result.stderr
    assert secret("a").hex()[:16] not in result.output
    assert '"secret"' not in result.output
