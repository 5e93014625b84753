"""A ring, its key file, and a source that can be held up, for the tests of key files."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from ghasi_handoff import KeyRing, keyfile
from ghasi_handoff.keyfile import LocalKeyEncryptionKey, WatchedKeyRing
from tests.keyfile.key_encryption import KEK
from tests.keyfile.watched import Source


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's wait for a read ends because the machine is busy, if the test does not say how long it is."""
    for method in (WatchedKeyRing.refresh, WatchedKeyRing.refresh_async):
        assert method.__kwdefaults__ is not None
        monkeypatch.setitem(method.__kwdefaults__, "timeout", timedelta(seconds=60))


@pytest.fixture
def ring() -> KeyRing:
    """A ring of one key."""
    return KeyRing.generate("k1")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a key file may be saved."""
    return tmp_path / "keys.json"


@pytest.fixture
def key_file(path: Path, ring: KeyRing) -> Path:
    """The ring's key file."""
    keyfile.save(path, ring)
    return path


@pytest.fixture
def source(ring: KeyRing) -> Iterator[Source]:
    """A function that gives the ring, and that a test can hold up."""
    source = Source(ring)
    yield source
    source.free.set()


@pytest.fixture
def kek() -> LocalKeyEncryptionKey:
    """What seals and opens."""
    return LocalKeyEncryptionKey(KEK)
