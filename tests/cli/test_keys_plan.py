"""`keys list`, `rotate`, `revoke`, `prune`: what they do, what they say of the future, and what they refuse."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest

from ghasi_handoff import KeyRing, KeyState, keyfile
from ghasi_handoff.cli._keys import keys
from tests.minter_and_verifier import NOW, at, key

from .command_runner import STAY_OPTIONS, CommandRunner, environment, executable, forked_executable, only_object

COMMANDS = ("list", "rotate", "revoke", "prune", "fingerprint", "doctor", "seal")


def kids(runner: CommandRunner) -> list[str]:
    return [one.kid for one in keyfile.load(runner.key_file).keys]


def run(runner: CommandRunner, *arguments: str, exit_code: int = 0) -> str:
    """What `keys …` prints, with the runner's key file."""
    result = runner.run("keys", *arguments, "--keys", runner.key_file)
    assert (result.exit_code, result.stderr) == (exit_code, ""), result.output
    return result.stdout


def facts(runner: CommandRunner, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    """The same for machines."""
    return only_object(runner.run("keys", *arguments, "--keys", runner.key_file, "--json"), exit_code)


# List


def test_list_shows_states_dates_and_a_timeline(runner: CommandRunner) -> None:
    """A table of keys, then one line a key: what it may do from now on, with the time of each change."""
    run(runner, "rotate", "--kid", "2026-12")
    assert run(runner, "list") == (
        "kid      state        signs from            verifies until\n"
        "2026-11  active       2026-11-23T09:13:20Z  2026-11-23T10:47:00Z\n"
        "2026-12  pending      2026-11-23T09:45:00Z  no end yet\n"
        "\n"
        "         now             23 Nov 09:45    23 Nov 10:47\n"
        "         |               |               |\n"
        "2026-11  ================----------------\n"
        "2026-12  ................================================\n"
        "\n"
        "= active: signs, verifies  . pending: verifies already  - verify-only  x revoked\n"
    )


def test_a_long_timeline_goes_on_below(runner: CommandRunner) -> None:
    """In a terminal of 80 characters no line of a list wraps: more changes than fit beside each other go on below."""
    ring = KeyRing.generate(now=at(NOW - 1000))
    for start in (0, 901, 1802):
        ring = ring.rotate(now=at(NOW + start))
    keyfile.save(runner.key_file, ring)
    shown = run(runner, "list").splitlines()
    assert max(map(len, shown)) <= 80
    assert sum(line.lstrip().startswith("|") for line in shown) == 3
    changes = {one["at"][11:16] for one in facts(runner, "list")["changes"]}
    assert len(changes) == 6
    assert all(any(time in line for line in shown if "Nov" in line) for time in changes)


def test_list_for_machines(runner: CommandRunner) -> None:
    """One object: the signer, the keys with states and dates, and every change to come."""
    run(runner, "rotate", "--kid", "2026-12")
    shown = facts(runner, "list")
    assert (shown["ok"], shown["at"], shown["signer"]) == (True, "2026-11-23T09:30:00Z", "2026-11")
    assert [(one["kid"], one["state"]) for one in shown["keys"]] == [("2026-11", "active"), ("2026-12", "pending")]
    assert shown["keys"][0] == {
        "kid": "2026-11",
        "state": "active",
        "created_at": "2026-11-23T09:13:20Z",
        "sign_from": "2026-11-23T09:13:20Z",
        "verify_until": "2026-11-23T10:47:00Z",
        "revoked_at": None,
    }
    assert shown["changes"] == [
        {"at": "2026-11-23T09:45:00Z", "kid": "2026-11", "state": "verify-only"},
        {"at": "2026-11-23T09:45:00Z", "kid": "2026-12", "state": "active"},
        {"at": "2026-11-23T10:47:00Z", "kid": "2026-11", "state": "retired"},
    ]


def test_list_shows_a_revoked_key(runner: CommandRunner) -> None:
    """A revoked key stands in the table with its date, and in the timeline as crosses."""
    run(runner, "revoke", "2026-11")
    shown = run(runner, "list")
    assert "2026-11  revoked      2026-11-23T09:13:20Z  revoked 2026-11-23T09:30:00Z\n" in shown
    assert "2026-11  xxxx" in shown


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


# Files


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


# Sealed


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
