"""`keys seal`, and sealed key files in the other commands."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ghasi_handoff import keyfile
from tests.minter_and_verifier import NOW

from .command_runner import STAY_OPTIONS, CommandRunner
from .keys_commands import run


def test_a_sealed_file_goes_through_its_whole_life(runner: CommandRunner, tmp_path: Path) -> None:
    """Made sealed, listed, rotated, revoked and pruned: the file stays sealed, under its key and purpose."""
    sealed, kek = str(tmp_path / "sealed.json"), tmp_path / "kek"
    kek.touch(0o600)
    kek.write_bytes(os.urandom(32))
    how = ["--keys", sealed, "--kek-file", str(kek), "--purpose", "test"]
    for command in (
        ("init", "--kid", "k1"),
        ("list",),
        ("rotate", "--kid", "k2"),
        ("revoke", "k1"),
        ("prune",),
        ("fingerprint",),
        ("doctor",),
    ):
        result = runner.run("keys", *command, *how)
        assert result.exit_code == (1 if command == ("doctor",) else 0), result.output
        assert '"ghasi-handoff-sealed-keys/v1"' in Path(sealed).read_text()
    wrong = runner.run("keys", "list", *how[:-1], "other")
    assert (wrong.exit_code, "another purpose" in wrong.stderr) == (2, True)
    bare = runner.run("keys", "list", "--keys", sealed)
    assert (bare.exit_code, "it is sealed; give its key-encryption key" in bare.stderr) == (2, True)


def test_seal_makes_a_key_and_seals_in_place(runner: CommandRunner, tmp_path: Path) -> None:
    """One command from a file in the clear to a sealed one: the same ring, under a new key of its own file."""
    ring, kek = keyfile.load(runner.key_file), str(tmp_path / "kek")
    assert (
        run(runner, "seal", "--kek-file", kek, "--make-kek") == f"sealed   {runner.key_file}\npurpose  ghasi-handoff\n"
    )
    opener = keyfile.LocalKeyEncryptionKey.from_file(kek)
    assert keyfile.load(runner.key_file, kek=opener) == ring
    again = runner.run("keys", "seal", "--keys", runner.key_file, "--kek-file", kek, "--make-kek")
    twice = runner.run("keys", "seal", "--keys", runner.key_file, "--kek-file", kek)
    for refused in (again, twice):
        assert (refused.exit_code, "it is sealed already" in refused.stderr) == (2, True)
        assert "--new-kek-file FILE" in refused.stderr


def test_seal_overwrites_no_key_and_leaves_none_behind(runner: CommandRunner, tmp_path: Path) -> None:
    """--make-kek makes a key only for a file that can be sealed; a key that exists is kept, with what to do."""
    kek = tmp_path / "kek"
    bad = runner.file("bad.json", b"{}")
    result = runner.run("keys", "seal", "--keys", bad, "--kek-file", str(kek), "--make-kek")
    assert (result.exit_code, kek.exists()) == (2, False)
    kek.write_bytes(b"mine")
    result = runner.run("keys", "seal", "--keys", runner.key_file, "--kek-file", str(kek), "--make-kek")
    assert (result.exit_code, "leave out --make-kek to use it" in result.stderr) == (2, True)
    assert kek.read_bytes() == b"mine"


def test_seal_changes_the_key_encryption_key(runner: CommandRunner, tmp_path: Path) -> None:
    """--new-kek-file takes a sealed file from one key to another; the first opens it no more."""
    ring, old, new = keyfile.load(runner.key_file), tmp_path / "old", tmp_path / "new"
    run(runner, "seal", "--kek-file", str(old), "--make-kek")
    new.touch(0o600)
    new.write_bytes(os.urandom(32))
    run(runner, "seal", "--kek-file", str(old), "--new-kek-file", str(new))
    assert keyfile.load(runner.key_file, kek=keyfile.LocalKeyEncryptionKey.from_file(new)) == ring
    result = runner.run("keys", "list", "--keys", runner.key_file, "--kek-file", str(old))
    assert (result.exit_code, "another key-encryption key" in result.stderr) == (2, True)


def test_seal_into_another_file(runner: CommandRunner, tmp_path: Path) -> None:
    """With --out the file in the clear stays, and the sealed one is new."""
    before = Path(runner.key_file).read_bytes()
    out = tmp_path / "sealed.json"
    run(runner, "seal", "--kek-file", str(tmp_path / "kek"), "--make-kek", "--out", str(out))
    assert Path(runner.key_file).read_bytes() == before
    assert "sealed-keys" in out.read_text()


@pytest.mark.parametrize("arguments", [[], ["--make-kek"]], ids=str)
def test_seal_needs_its_key(runner: CommandRunner, arguments: list[str]) -> None:
    """Without a key-encryption key there is nothing to seal with: wrong usage, and the file stays."""
    before = Path(runner.key_file).read_bytes()
    assert runner.run("keys", "seal", "--keys", runner.key_file, *arguments).exit_code == 2
    assert Path(runner.key_file).read_bytes() == before


def test_other_commands_open_sealed_files_by_the_environment(runner: CommandRunner, tmp_path: Path) -> None:
    """Mint and verify find the key-encryption key where the services find it."""
    run(runner, "seal", "--kek-file", str(tmp_path / "kek"), "--make-kek")
    env = {"GHASI_HANDOFF_KEK_FILE": str(tmp_path / "kek")}
    minted = runner.run("mint", *runner.parties, *STAY_OPTIONS, env=env)
    assert minted.exit_code == 0, minted.output
    assert runner.run(*runner.verify("-"), stdin=minted.stdout.encode(), env=env).exit_code == 0
    assert runner.run("mint", *runner.parties, *STAY_OPTIONS).exit_code == 2


def test_a_rotation_loses_no_token(runner: CommandRunner) -> None:
    """A token minted before the rotation, by the command line, verifies through all of it."""
    token = runner.mint("--lifetime", "3600")
    run(runner, "rotate", "--kid", "2026-12")
    for later in (0, 899, 900, 3599):
        runner.clock.now = NOW + later
        result = runner.run(*runner.verify("--max-lifetime", "3600", "-"), stdin=token.encode())
        assert result.exit_code == 0, (later, result.output)
