"""`keys init`, `rotate`, `revoke` and `prune`: what they do, what they say of the future, and what they refuse."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from ghasi_handoff import KeyRingError, KeyState, keyfile
from tests.minter_and_verifier import NOW, at

from .command_runner import (
    CommandRunner,
    environment,
    forked_executable,
    run_forked,
)
from .keys_commands import facts, kids, run


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


# Rotate


def test_rotate_adds_a_key_and_says_what_happens_when(runner: CommandRunner) -> None:
    """The new key is in the file, pending; what it will do, and what becomes of the old one, is said with dates."""
    shown = run(runner, "rotate", "--kid", "2026-12")
    ring = keyfile.load(runner.key_file)
    assert [ring.state(one, at(NOW)) for one in ("2026-11", "2026-12")] == [KeyState.ACTIVE, KeyState.PENDING]
    assert shown == (
        "new key  2026-12\n"
        f"file     {runner.key_file}\n"
        "\n"
        "Bring the file to every process of both services before 2026-11-23T09:45:00Z.\n"
        "\n"
        "2026-11-23T09:45:00Z   in 15 min  2026-11 signs no more, still verifies\n"
        "2026-11-23T09:45:00Z   in 15 min  2026-12 signs from now on\n"
        "2026-11-23T10:47:00Z   in 77 min  2026-11 is retired: `keys prune` may remove it some time after\n"
    )


def test_a_dry_run_says_the_same_and_writes_nothing(runner: CommandRunner) -> None:
    """--dry-run prints what would happen when, and the file stays as it is, to the byte."""
    before = Path(runner.key_file).read_bytes()
    dry = run(runner, "rotate", "--kid", "2026-12", "--dry-run")
    assert Path(runner.key_file).read_bytes() == before
    assert "dry run  nothing was written\n" in dry
    assert dry.split("\n\n", 1)[1] == run(runner, "rotate", "--kid", "2026-12").split("\n\n", 1)[1]
    machine = facts(runner, "prune", "--dry-run")
    assert (machine["dry_run"], machine["path"]) == (True, None)


def test_the_propagation_may_be_longer(runner: CommandRunner) -> None:
    """--propagation says how long a roll-out takes; the new key signs after that."""
    assert facts(runner, "rotate", "--propagation", "2h")["sign_from"] == "2026-11-23T11:30:00Z"


@pytest.mark.parametrize("wrong", ["soon", "15", "1.5h", "-1m", "15 m", "1w"])
def test_a_propagation_has_a_unit(runner: CommandRunner, wrong: str) -> None:
    """What is no duration is wrong usage, and nothing is written."""
    result = runner.run("keys", "rotate", "--keys", runner.key_file, f"--propagation={wrong}")
    assert (result.exit_code, kids(runner)) == (2, ["2026-11"])
    assert "90s, 15m, 2h or 1d" in result.stderr


def test_a_rotation_waits_for_the_one_before(runner: CommandRunner) -> None:
    """While a key is pending, a copy of its file may still be on its way: refused, with the time to wait for."""
    run(runner, "rotate", "--kid", "2026-12")
    before = Path(runner.key_file).read_bytes()
    shown = run(runner, "rotate", exit_code=1)
    assert shown.startswith("refused: pending_key: key 2026-12 does not sign before 2026-11-23T09:45:00Z: ")
    assert "wait until then, or take that rotation back with: keys revoke 2026-12\n" in shown
    refused = facts(runner, "rotate", exit_code=1)
    assert (refused["ok"], refused["code"]) == (False, "pending_key")
    assert refused["wait_until"] == "2026-11-23T09:45:00Z"
    assert Path(runner.key_file).read_bytes() == before
    runner.clock.now = NOW + 900
    run(runner, "rotate", "--kid", "2027-01")
    assert kids(runner) == ["2026-11", "2026-12", "2027-01"]


def test_a_rotation_by_a_clock_that_is_behind_is_refused(runner: CommandRunner) -> None:
    """A key from the future means that this clock is behind: the new key would sign before the others have it."""
    runner.clock.now = NOW - 3600
    shown = run(runner, "rotate", exit_code=1)
    assert shown.startswith("refused: clock_behind: key 2026-11 was made or revoked at 2026-11-23T09:13:20Z, and this")
    assert "set the clock" in shown


@pytest.mark.parametrize("short", ["0s", "119s", "1m"])
def test_add_and_use_at_once_is_refused(runner: CommandRunner, short: str) -> None:
    """A key that signs sooner than clocks agree is refused, and it is said what is enough."""
    shown = run(runner, "rotate", "--propagation", short, exit_code=1)
    assert "refused: short_propagation: " in shown
    assert "less than 120 s" in shown
    assert facts(runner, "rotate", "--propagation", short, exit_code=1)["wait_until"] is None
    assert kids(runner) == ["2026-11"]


def test_every_reason_is_said_at_once(runner: CommandRunner) -> None:
    """Who must wait for two things learns of both, and when the last is over; time does not help a short propagation."""
    run(runner, "rotate", "--kid", "2026-12")
    runner.clock.now = NOW - 3600
    refused = facts(runner, "rotate", exit_code=1)
    assert [one["code"] for one in refused["reasons"]] == ["clock_behind", "pending_key"]
    assert refused["wait_until"] == "2026-11-23T09:45:00Z"
    assert facts(runner, "rotate", "--propagation", "0s", exit_code=1)["wait_until"] is None


def test_an_emergency_asks_for_nothing(runner: CommandRunner) -> None:
    """--emergency signs with the new key at once, whatever speaks against it, and says who gets the file first."""
    shown = run(runner, "rotate", "--kid", "now", "--emergency")
    assert keyfile.load(runner.key_file).state("now", at(NOW)) is KeyState.ACTIVE
    assert "Bring the file to the verifiers first, then to the minters, now: now signs already." in shown


def test_a_rotation_while_nothing_signs_says_so(runner: CommandRunner) -> None:
    """After a revocation without replacement, a rotation in peace would leave nothing signing for a quarter of an hour."""
    run(runner, "revoke", "2026-11")
    assert "use --emergency" in run(runner, "rotate", exit_code=1)
    runner.clock.now = NOW + 900
    said = "Until then no key signs, and nothing is minted; to sign at once: keys "
    assert said + "rotate --emergency\n" in run(runner, "rotate", "--kid", "2026-12", "--dry-run")
    assert said + "revoke 2026-12 --replace\n" in run(runner, "rotate", "--kid", "2026-12")


def test_an_emergency_beside_a_pending_key_says_what_signs_at_once(runner: CommandRunner) -> None:
    """A new key never signs before one that is pending: that is said, with the command that does sign at once, and it does."""
    run(runner, "rotate", "--kid", "pending")
    shown = run(runner, "rotate", "--kid", "new", "--emergency", "--dry-run")
    assert "It signs after the key that is pending; to sign at once: keys revoke pending --replace\n" in shown
    assert "then: keys revoke pending --replace\n" in run(runner, "revoke", "2026-11")
    assert (
        "to sign at once: keys revoke pending --replace" in facts(runner, "doctor", exit_code=1)["findings"][0]["text"]
    )
    run(runner, "revoke", "pending", "--replace", "--kid", "now")
    runner.clock.now = NOW + 1
    assert facts(runner, "list")["signer"] == "now"


# Revoke


def test_revoke_takes_a_key_out_of_use(runner: CommandRunner) -> None:
    """The key is revoked in the file; that nothing signs now is said, and what to do about it."""
    shown = run(runner, "revoke", "2026-11")
    assert keyfile.load(runner.key_file).state("2026-11", at(NOW)) is KeyState.REVOKED
    assert shown == (
        f"revoked  2026-11\nfile     {runner.key_file}\n\n"
        "No key signs: minting stops. Bring the file to the verifiers, then: keys rotate --emergency\n"
    )
    assert facts(runner, "list")["signer"] is None


def test_revoke_and_replace_is_one_step(runner: CommandRunner) -> None:
    """--replace also revokes what is pending, and a new key signs at once: the whole emergency in one command."""
    run(runner, "rotate", "--kid", "2026-12")
    shown = run(runner, "revoke", "2026-11", "--replace", "--kid", "fresh")
    ring = keyfile.load(runner.key_file)
    states = {one.kid: ring.state(one.kid, at(NOW)).value for one in ring.keys}
    assert states == {"2026-11": "revoked", "2026-12": "revoked", "fresh": "active"}
    assert "revoked  2026-11, 2026-12\nnew key  fresh\n" in shown
    assert "fresh signs. Bring the file to the verifiers first, then to the minters.\n" in shown


def test_revoke_all_is_for_a_leaked_file(runner: CommandRunner) -> None:
    """--all revokes every key; with --replace only the new one is left in use."""
    runner.clock.now = NOW - 900
    run(runner, "rotate", "--kid", "2026-12", "--emergency")
    runner.clock.now = NOW
    found = facts(runner, "revoke", "--all", "--replace", "--kid", "fresh")
    assert (found["revoked"], found["new_kid"], found["signer"]) == (["2026-11", "2026-12"], "fresh", "fresh")


def test_revoking_twice_changes_nothing(runner: CommandRunner) -> None:
    """A key that is revoked stays as it is, and the file too: safe to repeat at 3 a.m."""
    run(runner, "revoke", "2026-11")
    before = Path(runner.key_file).read_bytes()
    runner.clock.now = NOW + 60
    assert "revoked  nothing: it was already\nfile     unchanged\n" in run(runner, "revoke", "2026-11")
    assert Path(runner.key_file).read_bytes() == before


def test_an_unknown_kid_is_said(runner: CommandRunner) -> None:
    """A kid that is not in the ring is an error with code 2, and nothing is written."""
    before = Path(runner.key_file).read_bytes()
    result = runner.run("keys", "revoke", "2026-10", "--keys", runner.key_file)
    assert (result.exit_code, result.stderr) == (2, "error: key_ring: the ring has no key 2026-10\n")
    assert Path(runner.key_file).read_bytes() == before


@pytest.mark.parametrize("arguments", [[], ["2026-11", "--all"], ["2026-11", "--kid", "x"]], ids=str)
def test_revoke_must_be_told_what(runner: CommandRunner, arguments: list[str]) -> None:
    """Neither keys nor --all, or both, or a name for a new key that is not asked for: wrong usage."""
    assert runner.run("keys", "revoke", *arguments, "--keys", runner.key_file).exit_code == 2


# Prune


def test_prune_removes_what_is_over(runner: CommandRunner) -> None:
    """Before its end nothing is removed; after it the old key is, and it is named."""
    run(runner, "rotate", "--kid", "2026-12")
    assert run(runner, "prune") == "removed  nothing\nfile     unchanged\n"
    runner.clock.now = NOW + 900 + 3720
    assert run(runner, "prune") == f"removed  2026-11\nfile     {runner.key_file}\n"
    assert kids(runner) == ["2026-12"]
