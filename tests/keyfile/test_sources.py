"""Where a watched ring comes from: files, sealed or mounted, and functions; what counts as a change."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from ghasi_handoff import KeyRing, KeyRingError, keyfile
from ghasi_handoff.keyfile import LocalKeyEncryptionKey, WatchedKeyRing
from ghasi_handoff.keyfile._file import read_secret_file
from tests.keyfile import watching_process
from tests.keyfile.watched import QUICK, Events, Source, eventually, read_three_times
from tests.minter_and_verifier import secret
from tests.own_process import OwnProcess


def test_an_unchanged_file_changes_nothing(key_file: Path) -> None:
    """While the file stays the same, the very same ring object stays in use, and nothing is said."""
    events = Events()
    with WatchedKeyRing(key_file, interval=QUICK, on_event=events.append) as keys:
        before = keys()
        read_three_times(keys)
        assert keys() is before
    assert events == []


def test_a_change_that_leaves_size_and_date_alone_is_seen(key_file: Path) -> None:
    """What counts is the content: a copy that keeps dates, or a coarse clock, hides nothing."""
    status = key_file.stat()
    with WatchedKeyRing(key_file, interval=QUICK) as keys:
        new = KeyRing.generate("k9", now=keys().keys[0].created_at)
        key_file.write_text(new.to_json())
        os.utime(key_file, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert key_file.stat().st_size == status.st_size
        eventually(lambda: keys() == new)


def test_a_sealed_file_is_followed_and_its_kms_asked_only_for_what_is_new(key_file: Path, ring: KeyRing) -> None:
    """Unsealing costs a call of the KMS, so it happens once per content, not once per interval."""
    asked: list[bytes] = []

    class Asked(LocalKeyEncryptionKey):
        def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
            asked.append(wrapped)
            return super().unwrap(wrapped, context)

    kek = Asked(secret("kek"))
    keyfile.save(key_file, ring, kek=kek)
    with WatchedKeyRing(key_file, kek=kek, interval=QUICK) as keys:
        read_three_times(keys)
        assert len(asked) == 1
        new = ring.rotate("k2")
        keyfile.save(key_file, new, kek=kek)
        eventually(lambda: keys() == new)
        read_three_times(keys)
        assert len(asked) == 2


def test_a_secrets_managers_error_is_said_by_its_class(source: Source) -> None:
    """Whatever the function raises keeps the last good ring, and is named by its class: its text may hold anything."""
    events = Events()
    with WatchedKeyRing(source, interval=QUICK, on_event=events.append) as keys:
        before = keys()
        source.broken = ConnectionError("token=hunter2")
        eventually(lambda: bool(events.reasons()))
        assert keys() is before
    assert "raised ConnectionError" in events.reasons()[0]
    assert "hunter2" not in events.reasons()[0]


def test_a_function_must_return_a_ring() -> None:
    """Anything else is refused at once, and not repeated."""
    with pytest.raises(KeyRingError, match="must return a KeyRing, not str"):
        WatchedKeyRing(lambda: "secret")  # type: ignore[arg-type,return-value]


def publish(mount: Path, number: int, ring: KeyRing) -> None:
    """As kubelet's AtomicWriter does it: a folder with a date, a link beside it, renamed over `..data`, the old folder removed."""
    folder = mount / f"..2026_11_26_23_04_{number:06d}"
    folder.mkdir()
    keyfile.save(folder / "keys.json", ring)
    old = mount / os.readlink(mount / "..data") if (mount / "..data").exists() else None
    (mount / "..data_tmp").symlink_to(folder.name)
    os.rename(mount / "..data_tmp", mount / "..data")
    if old is None:
        (mount / "keys.json").symlink_to("..data/keys.json")
    else:
        shutil.rmtree(old)


def test_a_mounted_secret_is_swapped_under_concurrent_readers(tmp_path: Path, ring: KeyRing) -> None:
    """While Kubernetes swaps a mounted secret again and again, each reader has whole rings only, follows, and raises no alarm."""
    mount = tmp_path / "mount"
    mount.mkdir()
    publish(mount, 0, ring)
    kids = [",".join(key.kid for key in ring.keys)]
    with ExitStack() as stack:
        watch = watching_process.read_while_swapped
        readers = [stack.enter_context(OwnProcess(watch, str(mount / "keys.json"))) for _ in range(3)]
        for reader in readers:
            assert reader.hear() == "watching"
        seen: list[set[str]] = [set() for _ in readers]
        for number in range(1, 61):
            ring = ring.rotate(f"r{number}", propagation=timedelta(0)) if number < 40 else ring
            publish(mount, number, ring)
            kids.append(",".join(key.kid for key in ring.keys))
            if number % 6 == 0:  # between swaps that nobody waits for, one that each follows
                for reader, found in zip(readers, seen, strict=True):
                    while kids[-1] not in found:
                        found.add(reader.hear())
        for reader, found in zip(readers, seen, strict=True):
            assert found <= set(kids)
            reader.tell("enough")
            assert reader.hear() == []


def test_a_file_that_is_gone_for_a_moment_is_looked_for_twice(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moment in which a link leads to a folder that is gone is no alarm; a file that stays away is."""
    gone = KeyRingError("gone")
    gone.__cause__ = FileNotFoundError()
    looks = 0

    def away_every_other_time(where: str, what: str) -> bytes:
        nonlocal looks
        looks += 1
        if looks % 2:
            raise gone
        return read_secret_file(where, what)

    events = Events()
    with WatchedKeyRing(key_file, interval=QUICK, on_event=events.append):
        monkeypatch.setattr("ghasi_handoff.keyfile._open.read_secret_file", away_every_other_time)
        eventually(lambda: looks >= 6)
        assert events == []
        key_file.unlink()
        eventually(lambda: len(events.reasons()) > 0)
