"""Key files: nothing but whole rings, readable by their owner alone, and no secret in any error."""

from __future__ import annotations

import json
import os
import random
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, cast

import pytest

from ghasi_handoff import KeyRing, KeyRingError, KeyState, keyfile
from ghasi_handoff.keyfile import _file
from tests.keyfile import saving_process
from tests.keyfile.no_secret_in_errors import assert_tells_nothing_of
from tests.own_process import OwnProcess

NOW: Final = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@pytest.fixture
def ring() -> KeyRing:
    """A ring with a key of every state at `NOW`."""
    ring = KeyRing.generate(kid="retired", now=NOW - timedelta(days=3))
    ring = ring.rotate(kid="revoked", now=NOW - timedelta(days=2))
    ring = ring.rotate(kid="verify-only", now=NOW - timedelta(hours=2))
    ring = ring.rotate(kid="active", now=NOW - timedelta(minutes=30))
    return ring.rotate(kid="pending", now=NOW).revoke("revoked", now=NOW)


def write(path: Path, content: str | bytes, mode: int = 0o600) -> None:
    """Make a file of that mode."""
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    path.chmod(mode)


def refused(path: str | os.PathLike[str]) -> KeyRingError:
    """The error that loading the file ends in, without the frame that knows what was written."""
    with pytest.raises(KeyRingError) as caught:
        keyfile.load(path)
    error = caught.value
    assert error.__traceback__ is not None
    return error.with_traceback(error.__traceback__.tb_next)


def beside(path: Path) -> list[str]:
    """What else is in the file's folder."""
    return sorted(name for name in os.listdir(path.parent) if name != path.name)


# Load and save


def test_round_trip(ring: KeyRing, path: Path) -> None:
    """What is saved is loaded, to the last bit: secrets, dates, and with them every state."""
    keyfile.save(path, ring)
    loaded = keyfile.load(path)
    assert loaded == ring
    assert [key.secret for key in loaded.keys] == [key.secret for key in ring.keys]
    assert loaded.to_json() == ring.to_json()
    assert {key.kid: loaded.state(key.kid, NOW) for key in loaded.keys} == {
        "retired": KeyState.RETIRED,
        "revoked": KeyState.REVOKED,
        "verify-only": KeyState.VERIFY_ONLY,
        "active": KeyState.ACTIVE,
        "pending": KeyState.PENDING,
    }


def test_path_may_be_text_or_a_path_object(ring: KeyRing, path: Path) -> None:
    """A path object names the same file as its text."""
    keyfile.save(str(path), ring)
    assert keyfile.load(path) == keyfile.load(str(path)) == ring


def test_path_may_be_relative(ring: KeyRing, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file name alone is a file in the working directory."""
    monkeypatch.chdir(path.parent)
    keyfile.save("keys.json", ring)
    assert keyfile.load("keys.json") == keyfile.load(path) == ring


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077, 0o177], ids=oct)
def test_only_the_owner_can_read_what_was_saved(ring: KeyRing, path: Path, umask: int) -> None:
    """A saved file has the mode 0600, whatever the process gives to new files."""
    before = os.umask(umask)
    try:
        keyfile.save(path, ring)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o600


def test_saving_narrows_the_mode(ring: KeyRing, path: Path) -> None:
    """A file that others could read is private once it has been saved over."""
    write(path, "{}", 0o666)
    keyfile.save(path, ring)
    assert path.stat().st_mode & 0o7777 == 0o600
    assert keyfile.load(path) == ring


@pytest.mark.parametrize(
    ("folder_owner", "mode", "kept"),
    [(0, 0o755, True), (65534, 0o755, True), (0, 0o1777, False), (1, 0o755, False)],
    ids=["root's folder", "its own folder", "everybody's folder", "a stranger's folder"],
)
def test_root_leaves_a_file_to_its_owner(
    ring: KeyRing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder_owner: int, mode: int, kept: bool
) -> None:
    """When root changes a service's file, the service can still read it; but nobody gets a ring by putting a file there."""
    given: list[tuple[int, int]] = []
    folder = tmp_path / "folder"
    path = folder / "keys.json"
    folder.mkdir()
    keyfile.save(path, ring)
    folder.chmod(mode)
    real_lstat, real_stat = os.lstat, os.stat

    def owned(status: os.stat_result, owner: int) -> os.stat_result:
        return os.stat_result((*status[:4], owner, owner, *status[6:]))

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda _, owner, group: given.append((owner, group)))
    monkeypatch.setattr(os, "lstat", lambda one, **more: owned(real_lstat(one, **more), 65534))
    monkeypatch.setattr(
        os,
        "stat",
        lambda one, **more: (
            owned(real_stat(one, **more), folder_owner) if one == str(folder) else real_stat(one, **more)
        ),
    )
    keyfile.save(path, ring.rotate("new"))
    assert given == ([(65534, 65534)] if kept else [])
    assert path.stat().st_mode & 0o7777 == 0o600


def test_nothing_is_left_beside_the_file(ring: KeyRing, path: Path) -> None:
    """Saving twice leaves one file in the folder."""
    keyfile.save(path, ring)
    keyfile.save(path, ring)
    assert (path.is_file(), beside(path)) == (True, [])


# What is not loaded


@pytest.mark.parametrize(
    "mode", [0o640, 0o604, 0o660, 0o666, 0o644, 0o620, 0o602, 0o610, 0o601, 0o444, 0o1604], ids=oct
)
def test_file_that_others_may_use_is_refused(ring: KeyRing, path: Path, mode: int) -> None:
    """A key file that group or others can read, write or execute is refused, by its mode and with what to do."""
    write(path, ring.to_json(), mode)
    error = refused(path)
    assert f"mode {mode:04o}" in str(error)
    assert "chmod 600" in str(error)
    assert_tells_nothing_of(ring, error)


@pytest.mark.parametrize("mode", [0o600, 0o400], ids=oct)
def test_file_of_its_owner_alone_is_loaded(ring: KeyRing, path: Path, mode: int) -> None:
    """A key file that nobody but its owner can use is loaded."""
    write(path, ring.to_json(), mode)
    assert keyfile.load(path) == ring


# A mounted secret belongs to root, and a process that is not root has it by its group. Who, which mode, may it be read?
MOUNTED: Final = [
    ("pod with an fsGroup", 0, 2000, 0o440, True),
    ("pod with an fsGroup, by its second group", 0, 2001, 0o440, True),
    ("file of root for a group, on a machine", 0, 2000, 0o640, True),
    ("root alone", 0, 0, 0o400, True),
    ("another group", 0, 3000, 0o440, False),
    ("fsGroup, but the default mode", 0, 2000, 0o644, False),
    ("others may read", 0, 2000, 0o444, False),
    ("the group may write", 0, 2000, 0o660, False),
    ("the group may execute", 0, 2000, 0o450, False),
    ("our own file, for our group", 1000, 2000, 0o640, False),
    ("somebody else's file, for our group", 1001, 2000, 0o440, False),
]


@pytest.mark.parametrize(
    ("owner", "group", "mode", "allowed"), [row[1:] for row in MOUNTED], ids=[r[0] for r in MOUNTED]
)
def test_a_file_of_root_may_be_readable_by_our_group(
    monkeypatch: pytest.MonkeyPatch, owner: int, group: int, mode: int, allowed: bool
) -> None:
    """Only a file of root, for a group of a process that is not root, may be read by that group, and by nobody else."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 2000)
    monkeypatch.setattr(os, "getgroups", lambda: [2001])
    status = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, group, 0, 0, 0, 0))
    assert _file._others_may_use(status) is not allowed


def test_root_is_not_let_off_by_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root can read its file without any group: there, the group is somebody else."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getegid", lambda: 0)
    for group in (0, 2000):
        assert _file._others_may_use(os.stat_result((stat.S_IFREG | 0o440, 0, 0, 1, 0, group, 0, 0, 0, 0)))


def test_a_pod_reads_its_mounted_secret(ring: KeyRing) -> None:
    """A process with another user and group than root reads what Kubernetes mounts for its fsGroup, and not for another."""
    folder = Path(tempfile.mkdtemp(prefix="ghasi-keys-"))
    try:
        folder.chmod(0o755)
        path = folder / "keys.json"
        keyfile.save(path, ring)
        if os.geteuid() == 0:
            os.chown(path, 0, 65534)
        path.chmod(0o440)
        expected = "loaded" if os.geteuid() == 0 else f"refused: key file {path}: others than its owner"
        assert said(saving_process.load_as_nobody, str(path)).startswith(expected)
        path.chmod(0o444)
        assert said(saving_process.load_as_nobody, str(path)).startswith(
            f"refused: key file {path}: others than its owner"
        )
    finally:
        shutil.rmtree(folder)


def test_what_is_checked_is_the_file_that_is_read(
    ring: KeyRing, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that others can read is refused, even if its name leads to a private file by the time it is checked.

    And a private one is read, even if its name leads to a file of theirs by then: it is the first one's ring.
    """
    theirs, private = tmp_path / "theirs.json", tmp_path / "private.json"
    really_open = os.open

    def opened_just_before(swap: Path) -> Callable[..., int]:
        def swapping(name: str | os.PathLike[str], *how: int, **more: int) -> int:
            descriptor = really_open(name, *how, **more)
            os.replace(swap, name)
            return descriptor

        return swapping

    for first, second in ((theirs, private), (private, theirs)):
        write(theirs, KeyRing.generate("theirs").to_json(), 0o644)
        write(private, ring.to_json())
        os.replace(first, path)
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", opened_just_before(second))
            if first is theirs:
                assert "mode 0644" in str(refused(path))
            else:
                assert keyfile.load(path) == ring


def test_link_to_a_good_file_is_loaded(ring: KeyRing, path: Path, tmp_path: Path) -> None:
    """A symbolic link is followed: secrets are often mounted that way. What counts is the file it leads to."""
    target = tmp_path / "mounted" / "keys.json"
    target.parent.mkdir()
    keyfile.save(target, ring)
    path.symlink_to(target)
    assert keyfile.load(path) == ring
    target.chmod(0o640)
    assert "mode 0640" in str(refused(path))


@pytest.mark.parametrize("kind", ["missing", "folder", "FIFO", "device", "dangling link", "circular link"])
def test_what_is_no_regular_file_is_refused(path: Path, kind: str) -> None:
    """What is not there, or is no regular file, is refused at once, without waiting for somebody to write into it."""
    if kind == "folder":
        path.mkdir(mode=0o700)
    elif kind == "FIFO":
        os.mkfifo(path, 0o600)
    elif kind == "device":
        path.symlink_to("/dev/null")
    elif kind == "dangling link":
        path.symlink_to(path.with_name("nothing"))
    elif kind == "circular link":
        path.symlink_to(path)
    # Should it wait for a writer, one comes; too late.
    came = threading.Event()

    def come() -> None:
        came.set()
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))

    writer = threading.Timer(30, come)
    if kind == "FIFO":
        writer.start()
    assert str(path) in str(refused(path))
    writer.cancel()
    assert not came.is_set(), "it waited for a writer"


def spoilt(ring: KeyRing) -> dict[str, bytes]:
    """Files that are almost the ring's."""
    text = ring.to_json()
    document = json.loads(text)
    key = document["keys"][0]

    def with_key(**changed: object) -> str:
        return json.dumps({**document, "keys": [{**key, **changed}, *document["keys"][1:]]})

    contents = {
        "empty": "",
        "truncated": text[: len(text) // 2],
        "cut in a secret": text[: text.rindex('"created_at"') - 20],
        "followed by more": text + text,
        "with a byte order mark": "\ufeff" + text,
        "another format": text.replace("keys/v1", "keys/v2"),
        "one member more": json.dumps({**document, "comment": "ours"}),
        "no format": json.dumps({"keys": document["keys"]}),
        "list of keys": json.dumps(document["keys"]),
        "keys that are a key": json.dumps({**document, "keys": key}),
        "keys that are text": json.dumps({**document, "keys": text}),
        "key twice": json.dumps({**document, "keys": [*document["keys"], key]}),
        "member twice": text.replace('"kid"', '"kid": "again", "kid"', 1),
        "kid with a space": with_key(kid="a b"),
        "kid that is the secret": with_key(kid=key["secret"]),
        "no date": with_key(created_at="yesterday"),
        "date that is the secret": with_key(created_at=key["secret"]),
        "thirtieth of February": with_key(sign_from="2026-02-30T00:00:00Z"),
        "no sign_from": with_key(sign_from=None),
        "key with one member more": with_key(comment="ours"),
        "padded secret": with_key(secret=key["secret"] + "="),
        "short secret": with_key(secret=key["secret"][:40]),
        "secret in a list": with_key(secret=[key["secret"]]),
        "nested deeply": "[" * 200_000 + text,
    }
    return {
        **{name: content.encode("utf-8") for name, content in contents.items()},
        "not UTF-8": text.encode("utf-8") + b"\xff",
        "UTF-16": text.encode("utf-16"),
        "bare secret": ring.keys[0].secret,
        "more than a ring": text.encode("utf-8") + b" " * 2_000_000,
    }


@pytest.mark.parametrize("name", spoilt(KeyRing.generate()))
def test_spoilt_file_is_refused(ring: KeyRing, path: Path, name: str) -> None:
    """What is not exactly a saved ring is refused, and neither the error nor what caused it quotes anything of it.

    Nor does a traceback that shows local variables, as error reporters make them.
    """
    write(path, spoilt(ring)[name])
    # A secret that stands where a name or date belongs is taken for one, so it may be among the local variables.
    assert_tells_nothing_of(ring, refused(path), locals_too="that is the secret" not in name)


# What is not saved


@pytest.mark.parametrize("no_ring", [None, "{}", {}, b"A" * 32])
def test_what_is_no_ring_is_not_saved(path: Path, no_ring: object) -> None:
    """Only a ring is saved; the error does not repeat what was given instead."""
    with pytest.raises(KeyRingError, match="must be a KeyRing") as caught:
        keyfile.save(path, cast("KeyRing", no_ring))
    assert "AAAA" not in str(caught.value)
    assert not path.exists()
    assert beside(path) == []


def test_saving_into_a_missing_folder_is_refused(ring: KeyRing, tmp_path: Path) -> None:
    """A folder is not made: its rights are the operator's to choose."""
    with pytest.raises(KeyRingError, match="No such file") as caught:
        keyfile.save(tmp_path / "missing" / "keys.json", ring)
    assert_tells_nothing_of(ring, caught.value, locals_too=False)
    assert list(tmp_path.iterdir()) == []


def test_saving_over_a_folder_is_refused(ring: KeyRing, path: Path) -> None:
    """A folder stays, and nothing is left beside it."""
    path.mkdir()
    with pytest.raises(KeyRingError):
        keyfile.save(path, ring)
    assert (path.is_dir(), beside(path)) == (True, [])


def test_saving_over_a_link_replaces_the_link(ring: KeyRing, path: Path) -> None:
    """A symbolic link becomes a file with the ring; where it led to stays as it was. The two must not be confused."""
    target = path.with_name("target.json")
    old = KeyRing.generate()
    keyfile.save(target, old)
    path.symlink_to(target)
    keyfile.save(path, ring)
    assert not path.is_symlink()
    assert (keyfile.load(path), keyfile.load(target)) == (ring, old)


# Crashes, rights, full disks


def said(function: Callable[..., None], *arguments: str | int) -> str:
    """What a function of saving_process.py says, in a process of its own."""
    with OwnProcess(function, *arguments) as process:
        answer: str = process.hear()
        assert process.end() == 0
        return answer


def test_what_was_saved_outlives_a_power_cut(ring: KeyRing, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole new file is on disk before it takes the old one's name, and the folder with that name before `save` returns.

    A power cut cannot be had here: what counts is the order in which the kernel is asked.
    """
    keyfile.save(path, KeyRing.generate())
    asked: list[tuple[str, int | str]] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        asked.append(("sync folder", status.st_ino) if stat.S_ISDIR(status.st_mode) else ("sync", status.st_size))
        fsync(descriptor)

    def noted_replace(source: str, target: str) -> None:
        asked.append(("replace", target))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    keyfile.save(path, ring)
    assert asked == [
        ("sync", len(ring.to_json().encode())), ("replace", str(path)), ("sync folder", path.parent.stat().st_ino),
    ]  # fmt: skip


def test_killed_while_saving_leaves_a_whole_file(ring: KeyRing, path: Path, tmp_path: Path) -> None:
    """Whenever a process that saves is killed, the file holds one ring or the other, whole, and nobody else can read it."""
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    keyfile.save(one, ring)
    keyfile.save(other, KeyRing.generate())
    chance = random.Random(7)
    for _ in range(6):
        keyfile.save(path, ring)
        with OwnProcess(saving_process.save_again_and_again, str(path), str(one), str(other)) as process:
            assert process.hear() == "saving"
            time.sleep(chance.uniform(0, 0.05))
        assert keyfile.load(path) in (ring, keyfile.load(other))
        assert {file.stat().st_mode & 0o7777 for file in tmp_path.iterdir()} == {0o600}


def test_a_reader_sees_whole_files_only(ring: KeyRing, path: Path, tmp_path: Path) -> None:
    """While one process saves again and again, another that loads always gets one ring or the other."""
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    keyfile.save(one, ring)
    keyfile.save(other, KeyRing.generate())
    keyfile.save(path, ring)
    rings = (ring, keyfile.load(other))
    seen: set[int] = set()
    with OwnProcess(saving_process.save_again_and_again, str(path), str(one), str(other)):
        until = time.monotonic() + 60
        while len(seen) < 2 and time.monotonic() < until:
            seen.add(rings.index(keyfile.load(path)))
        for _ in range(300):
            seen.add(rings.index(keyfile.load(path)))
    assert seen == {0, 1}


def test_a_full_disk_leaves_the_old_file(ring: KeyRing, path: Path, tmp_path: Path) -> None:
    """Where the new file does not fit, the old one is still there, whole, and nothing beside it."""
    old = KeyRing.generate()
    keyfile.save(path, old)
    source = tmp_path / "source.json"
    keyfile.save(source, ring)
    answer = said(saving_process.save_to_a_full_disk, str(path), str(source), 100)
    assert answer.startswith(f"refused: key file {path}: ")
    assert keyfile.load(path) == old
    assert beside(path) == ["source.json"]
    assert said(saving_process.save_to_a_full_disk, str(path), str(source), 1_000_000) == "saved"
    assert keyfile.load(path) == ring


def test_a_folder_without_rights_leaves_the_old_file(ring: KeyRing) -> None:
    """A process that may not write to the folder is told so; the old file is still there, and nothing beside it."""
    folder = Path(tempfile.mkdtemp(prefix="ghasi-keys-"))
    path, source = folder / "read-only" / "keys.json", folder / "source.json"
    try:
        path.parent.mkdir()
        folder.chmod(0o755)
        keyfile.save(path, KeyRing.generate())
        keyfile.save(source, ring)
        before = path.read_bytes()
        path.parent.chmod(0o555)
        answer = said(saving_process.save_as_nobody, str(path), str(source))
        assert answer.startswith(f"refused: key file {path}: ")
        assert path.read_bytes() == before
        assert beside(path) == []
    finally:
        path.parent.chmod(0o700)
        shutil.rmtree(folder)
