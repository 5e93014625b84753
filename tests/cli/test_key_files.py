"""The key file of `keys …`: where it is written, by whom, and what makes it unusable."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from pathlib import Path

import click
import pytest

from ghasi_handoff import KeyRing, keyfile
from ghasi_handoff.cli._keys import keys
from tests.minter_and_verifier import key

from .command_runner import CommandRunner, environment, executable, forked_executable
from .keys_commands import facts, kids, run

COMMANDS = ("list", "rotate", "revoke", "prune", "fingerprint", "doctor", "seal")


@pytest.mark.parametrize("command", [("rotate", "--kid", "new"), ("revoke", "2026-11"), ("prune",)], ids=str)
def test_a_read_only_file_is_changed_into_another(
    runner: CommandRunner, tmp_path: Path, command: tuple[str, ...]
) -> None:
    """With --out the new ring goes into a new file of mode 0600, and the mounted one is not touched."""
    before = Path(runner.key_file).read_bytes()
    new = tmp_path / "new.json"
    shown = run(runner, *command, "--out", str(new))
    assert f"file     {new}\n" in shown
    assert Path(runner.key_file).read_bytes() == before
    assert new.stat().st_mode & 0o7777 == 0o600
    assert keyfile.load(new).keys
    result = runner.run("keys", *command, "--keys", runner.key_file, "--out", str(new))
    assert (result.exit_code, "exists already" in result.stderr) == (2, True)


@pytest.mark.parametrize(
    "command",
    [("rotate",), ("rotate", "--emergency"), ("revoke", "2026-11"), ("revoke", "--all", "--replace"), ("prune",)],
    ids=" ".join,
)
@pytest.mark.parametrize("more", [[], ["--out"]], ids=["in place", "out"])
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_a_dry_run_writes_nothing(
    runner: CommandRunner, tmp_path: Path, command: tuple[str, ...], more: list[str], as_json: bool
) -> None:
    """With --dry-run the key file stays to the byte, and with --out no new one is made."""
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    how = ["--dry-run", *(part for option in more for part in (option, str(tmp_path / "new.json")))]
    if as_json:
        found = facts(runner, *command, *how)
        assert (found["dry_run"], found["path"]) == (True, None)
    else:
        assert "dry run  nothing was written\n" in run(runner, *command, *how)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_every_command_with_a_dry_run_and_another_file_is_tested() -> None:
    """A command that gets both options belongs into the test above."""
    assert isinstance(keys, click.Group)
    both = {
        name
        for name, command in keys.commands.items()
        if {"--dry-run", "--out"} <= {option for parameter in command.params for option in parameter.opts}
    }
    assert both == {"rotate", "revoke", "prune"}


@pytest.mark.parametrize(
    "command", [("rotate",), ("revoke", "2026-11"), ("seal", "--make-kek", "--kek-file", "kek")], ids=str
)
def test_behind_a_link_the_file_itself_is_changed(
    runner: CommandRunner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    """Services may read the master by its own name: it is replaced there, and the link goes on leading to it."""
    monkeypatch.chdir(tmp_path)
    link = tmp_path / "link.json"
    link.symlink_to(runner.key_file)
    before = Path(runner.key_file).read_bytes()
    result = runner.run("keys", *command, "--keys", str(link))
    assert (result.exit_code, runner.key_file in result.stdout) == (0, True)
    assert link.is_symlink()
    assert link.read_bytes() == Path(runner.key_file).read_bytes() != before


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES])
def test_where_nothing_can_be_written_out_is_named(
    runner: CommandRunner, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A file that is mounted read-only cannot be changed where it is: the refusal names the option for that."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("ghasi_handoff.keyfile._file.os.replace", refuse)
    result = runner.run("keys", "rotate", "--keys", runner.key_file)
    assert (result.exit_code, "to write the new ring to another file: --out FILE" in result.stderr) == (2, True)


def test_a_folder_without_locks_is_said(runner: CommandRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not every network file system has locks: that is said as it is, not as a command that nobody has started."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("ghasi_handoff.cli._key_files.fcntl.flock", refuse)
    result = runner.run("keys", "rotate", "--keys", runner.key_file)
    assert (result.exit_code, "cannot be locked" in result.stderr, "--out FILE" in result.stderr) == (2, True, True)


def test_a_file_in_a_read_only_folder_says_what_to_do(runner: CommandRunner) -> None:
    """Where the folder takes no new file, the refusal is an error with a code, and the file is as it was."""
    folder = runner.folder / "mount"
    folder.mkdir()
    ring = KeyRing([key("m")])
    keyfile.save(folder / "keys.json", ring)
    command = [executable(), "keys", "rotate", "--keys", str(folder / "keys.json"), "--propagation", "2h"]
    if os.geteuid() == 0:  # root writes where it likes, unless it gives that up
        command = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", *command]
    folder.chmod(0o500)
    done = subprocess.run(command, env=environment(), capture_output=True, timeout=60, check=False)
    folder.chmod(0o700)
    assert (done.returncode, b"key_ring" in done.stderr) == (2, True)
    assert keyfile.load(folder / "keys.json") == ring


def test_of_many_rotations_at_once_one_is_done(runner: CommandRunner) -> None:
    """Two people who rotate at the same moment do not lose each other's key: one is refused, and says why."""
    ring = KeyRing.generate("old")
    keyfile.save(runner.key_file, ring)
    command = [forked_executable(), "keys", "rotate", "--keys", runner.key_file]
    started = [
        subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(4)
    ]
    said = [b"".join(process.communicate(timeout=60)) for process in started]
    codes = sorted(process.returncode for process in started)
    assert codes[0] == 0
    assert codes.count(0) == 1
    assert len(kids(runner)) == 2
    assert all(
        b"another command is changing it" in text or b"pending_key" in text or b"new key" in text for text in said
    )


@pytest.mark.parametrize("command", [("rotate",), ("revoke", "2026-11"), ("prune",), ("seal", "--make-kek")], ids=str)
def test_while_one_command_changes_the_file_no_other_does(runner: CommandRunner, command: tuple[str, ...]) -> None:
    """Whoever comes second is refused, with what to look at; a dry run, which changes nothing, is not."""
    before = Path(runner.key_file).read_bytes()
    more = ["--kek-file", str(runner.folder / "kek")] if command[0] == "seal" else []
    folder = os.open(runner.folder, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        result = runner.run("keys", *command, "--keys", runner.key_file, *more)
        assert (result.exit_code, "another command is changing it" in result.stderr) == (2, True)
        assert "keys list" in result.stderr
        run(runner, "rotate", "--dry-run")
    finally:
        os.close(folder)
    assert Path(runner.key_file).read_bytes() == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_bad_key_file_ends_with_2(runner: CommandRunner, command: str, as_json: bool) -> None:
    """Each command of the group refuses a file that cannot be used, with the code, in both forms."""
    Path(runner.key_file).chmod(0o644)
    more = (
        ["2026-11"]
        if command == "revoke"
        else ["--kek-file", runner.file("kek", bytes(range(32)))]
        if command == "seal"
        else []
    )
    if command == "seal":
        Path(more[1]).chmod(0o600)
    result = runner.run("keys", command, *more, "--keys", runner.key_file, *(["--json"] if as_json else []))
    assert result.exit_code == 2
    shown = result.stdout if as_json else result.stderr
    assert ('"code": "key_ring"' if as_json else "error: key_ring: ") in shown
    assert "chmod 600" in shown
