"""`keys init`: a new key file, never over an old one."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from ghasi_handoff import KeyRingError, KeyState, keyfile
from tests.minter_and_verifier import NOW, at

from .command_runner import CommandRunner, environment, forked_executable, run_forked


@pytest.fixture
def new(tmp_path: Path) -> str:
    return str(tmp_path / "new.json")


def test_a_new_key_file_can_be_used_at_once(runner: CommandRunner, new: str) -> None:
    """What `keys init` makes is a ring of one active key, in a file of its owner alone."""
    result = runner.run("keys", "init", "--keys", new, "--kid", "first")
    assert (result.exit_code, result.stderr) == (0, "")
    ring = keyfile.load(new)
    assert [key.kid for key in ring.keys] == ["first"]
    assert ring.state("first", at(NOW)) is KeyState.ACTIVE
    assert stat.S_IMODE(Path(new).stat().st_mode) == 0o600


def test_it_prints_the_kid_and_the_path(runner: CommandRunner, new: str) -> None:
    """People see which key was made, and where."""
    result = runner.run("keys", "init", "--keys", new, "--kid", "first")
    assert result.stdout == f"kid         first\nfile        {new}\nsigns from  2026-11-23T09:30:00Z\n"


def test_json_names_the_kid_and_the_path(runner: CommandRunner, new: str) -> None:
    """So do machines."""
    result = runner.run("keys", "init", "--json", "--keys", new, "--kid", "first")
    assert result.stdout.startswith(
        '{"ok": true, "code": "ok", "message": "made the key file", "kid": "first", "path": '
    )
    assert "sign_from" in result.stdout


def test_the_default_kid_begins_with_the_date(runner: CommandRunner, new: str) -> None:
    """A key without a name is named after the day."""
    assert runner.run("keys", "init", "--keys", new).stdout.startswith("kid         2026-11-23-")


@pytest.mark.parametrize("content", [b"", b"precious"])
def test_an_existing_file_is_refused_and_kept(runner: CommandRunner, content: bytes) -> None:
    """A file that is there is never overwritten, whatever is in it; the refusal has its code."""
    path = runner.file("there.json", content)
    result = runner.run("keys", "init", "--keys", path)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: key_ring: ")
    assert "exists already" in result.stderr
    assert Path(path).read_bytes() == content


def test_json_refuses_with_the_code(runner: CommandRunner) -> None:
    """The refusal to overwrite, for machines."""
    result = runner.run("keys", "init", "--json", "--keys", runner.key_file)
    assert result.exit_code == 2
    assert '"ok": false, "code": "key_ring"' in result.stdout


def test_a_link_is_not_followed(runner: CommandRunner, new: str, tmp_path: Path) -> None:
    """A symbolic link that points nowhere counts as a file that is there: no secret goes where it points."""
    elsewhere = tmp_path / "elsewhere"
    Path(new).symlink_to(elsewhere)
    assert runner.run("keys", "init", "--keys", new).exit_code == 2
    assert not elsewhere.exists()


@pytest.mark.parametrize("kid", ["", "a b", "ä", "a" * 33])
def test_a_kid_outside_the_grammar_is_refused(runner: CommandRunner, new: str, kid: str) -> None:
    """A bad kid makes no file, not even an empty one."""
    result = runner.run("keys", "init", "--keys", new, "--kid", kid)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: key_ring: ")
    assert not Path(new).exists()


def test_a_missing_folder_is_said(runner: CommandRunner, tmp_path: Path) -> None:
    """A path that cannot be made is an unusable key file."""
    result = runner.run("keys", "init", "--keys", str(tmp_path / "missing" / "keys.json"))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: key_ring: ")
    assert "No such file or directory" in result.stderr


def test_a_failed_save_leaves_no_empty_file(runner: CommandRunner, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name that was taken is free again when the ring cannot be written."""

    def fail(path: str, _ring: object, **_how: object) -> None:
        assert Path(path).stat().st_size == 0
        raise KeyRingError("no space")

    monkeypatch.setattr(keyfile, "save", fail)
    assert runner.run("keys", "init", "--keys", new).exit_code == 2
    assert not Path(new).exists()


def test_of_many_at_once_one_makes_the_file(new: str) -> None:
    """Two processes that make one file at once do not overwrite each other."""
    command = [forked_executable(), "keys", "init", "--keys", new, "--kid"]
    started = [
        subprocess.Popen([*command, f"k{number}"], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for number in range(4)
    ]
    shown = [process.communicate(timeout=60)[0] for process in started]
    codes = [process.returncode for process in started]
    assert sorted(codes) == [0, 2, 2, 2]
    (winner,) = keyfile.load(new).keys
    assert shown[codes.index(0)].startswith(f"kid         {winner.kid}\n".encode())


def test_a_path_that_is_not_text_is_shown_with_escapes(tmp_path: Path) -> None:
    """A path outside UTF-8 does its work, and does not end in a traceback."""
    path = os.fsencode(tmp_path) + b"/k\xff\x1b[31m.json"
    made = run_forked("keys", "init", "--keys", path)
    assert (made.returncode, made.stderr) == (0, b"")
    assert rb"k\udcff\x1b[31m.json" in made.stdout
    again = run_forked("keys", "init", "--keys", path)
    assert again.returncode == 2
    assert rb"k\udcff\x1b[31m.json: it exists already" in again.stderr
