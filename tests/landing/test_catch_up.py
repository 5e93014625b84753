"""A watched key ring, whose file has a new key before this process has read it: the landing reads the file again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.handshake.services import Clock

from ghasi_handoff import KeyRing, keyfile
from ghasi_handoff.handshake import HandoffRefused
from ghasi_handoff.keyfile import WatchedKeyRing
from ghasi_handoff.keyfile._file import read_secret_file

from .both_services import BothServices, both_services

NEVER = timedelta(hours=1)  # nothing is read but what is asked for


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The key file."""
    return tmp_path / "keys.json"


def rotated(ring: KeyRing, clock: Clock) -> KeyRing:
    """The ring with a key that signs at once: its file should have come earlier."""
    return ring.rotate("late", now=datetime.fromtimestamp(clock.now, UTC), propagation=timedelta(0))


@pytest.fixture
def watching(kind: str, tmp_path: Path, path: Path) -> Iterator[tuple[BothServices, WatchedKeyRing]]:
    """A booking side that follows its key file."""
    keyfile.save(path, KeyRing.generate(kid="first", now=datetime.fromtimestamp(Clock().now - 120, UTC)))
    with WatchedKeyRing(path, interval=NEVER) as keys, both_services(kind, tmp_path, "deferred", keys) as services:
        services.keys = keys()
        yield services, keys


def test_get_and_post(watching: tuple[BothServices, WatchedKeyRing], path: Path) -> None:
    """A token of a key whose file has just arrived is good on the GET and the POST, and nothing was refused."""
    services, keys = watching
    services.keys = rotated(keys(), services.clock)
    keyfile.save(path, services.keys)
    minted = services.issue()
    assert minted.kid == "late"
    guest = services.browser()
    assert guest.get(minted.token).status == 200
    assert guest.post(minted.token).status == 303
    assert not [event for event in services.events if isinstance(event, HandoffRefused)]


def test_post_alone(watching: tuple[BothServices, WatchedKeyRing], path: Path) -> None:
    """A POST at another replica, which has not been asked for the page, catches up, too."""
    services, keys = watching
    guest = services.browser()
    guest.get(services.issue().token)  # for the cookie
    services.keys = rotated(keys(), services.clock)
    keyfile.save(path, services.keys)
    assert guest.post(services.issue().token).status == 303


def test_made_up_keys_cost_one_read(
    watching: tuple[BothServices, WatchedKeyRing], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of tokens with keys that nobody has: the file is read once, and each is refused."""
    services, _ = watching
    reads = 0

    def counted(path: str, what: str) -> bytes:
        nonlocal reads
        reads += 1
        return read_secret_file(path, what)

    monkeypatch.setattr("ghasi_handoff.keyfile._open.read_secret_file", counted)
    for number in range(20):
        assert services.browser().get(f"ghasi1.nobody{number}.AAAA." + "A" * 43).status == 400
    assert reads == 1
