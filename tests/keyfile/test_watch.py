"""`WatchedKeyRing`: whole rings, the last good one while the source is bad, no revoked key that is well again."""

from __future__ import annotations

import asyncio
import json
import logging
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from ghasi_handoff import (
    ConfigurationError,
    KeyRing,
    KeyRingError,
    Minter,
    RevokedKeyError,
    UnknownKeyError,
    Verifier,
    keyfile,
)
from ghasi_handoff.keyfile import (
    KeyRingEvent,
    KeyRingReloaded,
    KeyRingReloadFailed,
    LocalKeyEncryptionKey,
    WatchedKeyRing,
    catch_up,
)
from tests.keyfile.watched import NEVER, QUICK, Events, Source, eventually, read_three_times
from tests.minter_and_verifier import AUDIENCE, ISSUER, STAY, TENANT, secret


def test_a_new_ring_comes_into_use(key_file: Path, ring: KeyRing) -> None:
    """Within an interval the file's new ring is what minters and verifiers get, and the hook is told what is new."""
    events = Events()
    with WatchedKeyRing(key_file, interval=QUICK, on_event=events.append) as keys:
        assert keys() == ring
        new = ring.rotate("k2", propagation=timedelta(0)).revoke("k1")
        keyfile.save(key_file, new)
        eventually(lambda: keys() == new)
        eventually(lambda: len(events) == 1)
    assert events == [
        KeyRingReloaded(source=str(key_file), kids=("k1", "k2"), added=("k2",), removed=(), revoked=("k1",)),
    ]


def test_a_revocation_is_in_force_within_an_interval(key_file: Path, ring: KeyRing) -> None:
    """A verifier that watches refuses a revoked key's tokens, without a restart, with the code for it."""
    with WatchedKeyRing(key_file, interval=QUICK) as keys:
        verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
        token = Minter(keys, issuer=ISSUER, audience=AUDIENCE).mint(STAY, tenant=TENANT).token
        verifier.verify(token, tenant=TENANT)
        keyfile.save(key_file, ring.revoke("k1"))
        eventually(lambda: keys().keys[0].revoked_at is not None)
        with pytest.raises(RevokedKeyError):
            verifier.verify(token, tenant=TENANT)


def test_a_service_with_a_bad_file_does_not_start(tmp_path: Path) -> None:
    """The first read must succeed: there is no last good ring yet."""
    with pytest.raises(KeyRingError, match="No such file"):
        WatchedKeyRing(tmp_path / "missing.json")


def put(key_file: Path, text: str) -> None:
    """Replace the file at one moment: a watcher that read it half written would have another reason to refuse it."""
    new = key_file.with_name("new.json")
    new.touch(0o600)
    new.write_text(text)
    new.replace(key_file)


def spoil_by_truncation(key_file: Path) -> None:
    put(key_file, key_file.read_text()[:50])


def spoil_by_mode(key_file: Path) -> None:
    key_file.chmod(0o644)


def spoil_by_duplicate(key_file: Path) -> None:
    document = json.loads(key_file.read_text())
    put(key_file, json.dumps({**document, "keys": document["keys"] * 2}))


BAD: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "gone": (lambda key_file: key_file.unlink(), "No such file"),
    "truncated": (spoil_by_truncation, "not JSON"),
    "empty": (lambda key_file: put(key_file, ""), "not JSON"),
    "world-readable": (spoil_by_mode, "chmod 600"),
    "duplicate kid": (spoil_by_duplicate, "two keys have this kid"),
    "no keys": (lambda key_file: put(key_file, '{"format": "ghasi-handoff-keys/v1", "keys": []}'), "at least one key"),
    "future version": (
        lambda key_file: put(key_file, key_file.read_text().replace("/v1", "/v2")),
        "ghasi-handoff-keys/v1",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_the_last_good_ring_stays_and_that_is_said(
    key_file: Path, ring: KeyRing, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever becomes of the file, the ring stays in use; the hook and the log say why, at each try; a good file ends it."""
    spoil, reason = BAD[name]
    events = Events()
    with (
        caplog.at_level(logging.INFO, "ghasi_handoff"),
        WatchedKeyRing(key_file, interval=QUICK, on_event=events.append) as keys,
    ):
        before = keys()
        spoil(key_file)
        eventually(lambda: len(events.reasons()) >= 2)
        assert keys() is before
        assert all(reason in said and str(key_file) in said for said in events.reasons())
        new = ring.rotate("k2")
        keyfile.save(key_file, new)
        eventually(lambda: keys() == new)
    failed = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert failed
    assert reason in failed[0].getMessage()
    assert "last good ring stays in use" in failed[0].getMessage()
    assert failed[0].__dict__["handoff_event"] == "key_ring_reload_failed"


def test_a_failure_says_since_when(key_file: Path, ring: KeyRing) -> None:
    """How many seconds the last good read is ago, whole seconds: what tells a hiccup from a mount that is gone."""
    events = Events()

    def said() -> list[int]:
        return [event.since_seconds for event in events if isinstance(event, KeyRingReloadFailed)]

    with WatchedKeyRing(key_file, interval=QUICK, on_event=events.append) as keys:
        key_file.unlink()
        eventually(lambda: len(said()) > 0)
        assert said()[0] < 90
        keys._good_at -= 90
        eventually(lambda: said()[-1] >= 90)
        assert said()[-1] < 180
        keyfile.save(key_file, ring)
        good_at = keys._good_at
        eventually(lambda: keys._good_at > good_at)
        events.clear()
        key_file.unlink()
        eventually(lambda: len(said()) > 0)
        assert said()[0] < 90


def test_an_old_copy_does_not_heal_a_revoked_key(key_file: Path, ring: KeyRing) -> None:
    """A copy from before a revocation that arrives late is refused, again and again, and said; the newest one is taken."""
    events = Events()
    before = ring.rotate("k2")
    keyfile.save(key_file, before.revoke("k1"))
    with WatchedKeyRing(key_file, interval=QUICK, on_event=events.append) as keys:
        keyfile.save(key_file, before)
        eventually(lambda: len(events.reasons()) >= 2)
        assert keys().keys[0].revoked_at is not None
        assert "key k1 was revoked and no longer is" in events.reasons()[0]
        assert "bring the newest" in events.reasons()[0]
        newest = before.revoke("k1").rotate("k3")
        keyfile.save(key_file, newest)
        eventually(lambda: keys() == newest)
        said = len(events.reasons())
        keyfile.save(key_file, before)
        eventually(lambda: len(events.reasons()) > said)


def test_a_revoked_key_stays_revoked_when_it_has_left_the_file(key_file: Path, ring: KeyRing) -> None:
    """A prune or a new ring takes a revoked key away; an old copy that comes after that does not bring it back."""
    events = Events()
    old, newest = ring.rotate("k2"), KeyRing.generate("k3")
    keyfile.save(key_file, old.revoke("k1"))
    with WatchedKeyRing(key_file, interval=QUICK, on_event=events.append) as keys:
        keyfile.save(key_file, newest)
        eventually(lambda: keys() == newest)
        keyfile.save(key_file, old)
        eventually(lambda: bool(events.reasons()))
        assert keys() == newest
        assert "key k1 was revoked and no longer is" in events.reasons()[0]


def test_a_hook_that_fails_stops_nothing(key_file: Path, ring: KeyRing, caplog: pytest.LogCaptureFixture) -> None:
    """What the application's hook raises is logged; files go on being read."""

    def fail(_event: KeyRingEvent) -> None:
        raise ZeroDivisionError

    with WatchedKeyRing(key_file, interval=QUICK, on_event=fail) as keys:
        for number in (2, 3):
            new = ring.rotate(f"k{number}")
            keyfile.save(key_file, new)
            eventually(lambda new=new: keys() == new)  # type: ignore[misc]
    assert "the event hook failed" in caplog.text


@pytest.mark.parametrize("where", ["the hook", "a log handler", "the source"])
def test_nothing_ends_the_watching(ring: KeyRing, where: str) -> None:
    """Not a hook that calls sys.exit, a log handler that raises, or a client that panics: the next revocation still arrives."""
    source = Source(ring)
    panics = SystemExit(where)

    def panic(_: object) -> None:
        raise panics

    class Panics(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            panic(record)

    handler = Panics() if where == "a log handler" else logging.NullHandler()
    logging.getLogger("ghasi_handoff").addHandler(handler)
    try:
        with WatchedKeyRing(source, interval=QUICK, on_event=panic if where == "the hook" else None) as keys:
            source.broken = panics if where == "the source" else ZeroDivisionError()
            seen = source.calls
            eventually(lambda: source.calls > seen + 2)
            source.broken = None
            source.ring = ring.revoke("k1")
            eventually(lambda: keys().keys[0].revoked_at is not None)
    finally:
        logging.getLogger("ghasi_handoff").removeHandler(handler)


def test_an_unforeseen_error_does_not_end_the_watching(
    key_file: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug, or no memory: it is said, and the next read happens all the same. A dead thread would keep revocations out."""
    events = Events()
    with WatchedKeyRing(key_file, interval=QUICK, on_event=events.append) as keys:
        with monkeypatch.context() as patch:
            patch.setattr("ghasi_handoff.keyfile._open.read_secret_file", lambda *_: 1 // 0)
            eventually(lambda: len(events.reasons()) >= 2)
        assert "unexpected ZeroDivisionError" in events.reasons()[0]
        keyfile.save(key_file, ring.revoke("k1"))
        eventually(lambda: keys().keys[0].revoked_at is not None)


def test_the_environment_names_the_file_to_follow(key_file: Path, ring: KeyRing, tmp_path: Path) -> None:
    """From the environment: a file is followed, sealed or not; a ring that stands there itself stays."""
    kek = tmp_path / "kek"
    kek.touch(0o600)
    kek.write_bytes(secret("kek"))
    keyfile.save(key_file, ring, kek=LocalKeyEncryptionKey(secret("kek")), purpose="test")
    sealed = {"GHASI_HANDOFF_KEK_FILE": str(kek), "GHASI_HANDOFF_KEYS_PURPOSE": "test"}
    new = ring.rotate("k2")
    with WatchedKeyRing.from_env({**sealed, "GHASI_HANDOFF_KEYS_FILE": str(key_file)}, interval=QUICK) as keys:
        assert keys() == ring
        keyfile.save(key_file, new, kek=LocalKeyEncryptionKey(secret("kek")), purpose="test")
        eventually(lambda: keys() == new)
    with WatchedKeyRing.from_env({"GHASI_HANDOFF_KEYS": ring.to_json()}, interval=QUICK) as keys:
        read_three_times(keys)
        assert keys() == ring
    with pytest.raises(KeyRingError, match="GHASI_HANDOFF_KEYS_FILE"):
        WatchedKeyRing.from_env({})


def test_verify_never_reads(key_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier looks at the ring in use, and asks for nothing: reading is the integration's to await."""
    with WatchedKeyRing(key_file, interval=NEVER) as keys:
        foreign = Minter(KeyRing.generate("other"), issuer=ISSUER, audience=AUDIENCE).mint(STAY, tenant=TENANT)
        verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
        monkeypatch.setattr("ghasi_handoff.keyfile._open.read_secret_file", lambda *_: 1 // 0)
        monkeypatch.setattr(keys, "_ask", lambda *_: 1 // 0)
        with pytest.raises(UnknownKeyError):
            verifier.verify(foreign.token, tenant=TENANT)


def test_integrations_catch_up_before_they_verify(key_file: Path, ring: KeyRing) -> None:
    """A token's unknown key is read for, of a watched ring; with any other keys nothing happens."""
    with WatchedKeyRing(key_file, interval=NEVER) as keys:
        keyfile.save(key_file, ring.rotate("k2"))
        asyncio.run(catch_up(keys, None))
        assert len(keys().keys) == 1
        asyncio.run(catch_up(keys, "k2"))
        assert len(keys().keys) == 2
    for other in (ring, lambda: ring, None):
        asyncio.run(catch_up(other, "k2"))


def test_a_key_that_is_there_is_not_caught_up_with(source: Source) -> None:
    """A key that the ring has, retired or revoked perhaps, comes back by no reading: so nothing is read."""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        asyncio.run(catch_up(keys, "k1"))
    assert source.calls == 1


@pytest.mark.parametrize(
    "wrong",
    [{"interval": 5}, {"interval": timedelta(0)}, {"interval": timedelta(days=1)}, {"on_event": 5}, {"kek": b"k" * 32}],
    ids=str,
)
def test_wrong_arguments_are_refused(key_file: Path, wrong: dict[str, object]) -> None:
    """What cannot work is refused when the ring is made, by its name."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        WatchedKeyRing(key_file, **wrong)  # type: ignore[arg-type]


def test_the_source_must_be_a_path_or_a_function() -> None:
    """A number is a file descriptor to Python's open; here it is a mistake."""
    with pytest.raises(ConfigurationError, match="path or a function, not int"):
        WatchedKeyRing(0)  # type: ignore[arg-type]


def test_it_shows_no_secret(key_file: Path) -> None:
    """Its repr names the kids; it refuses to be pickled."""
    with WatchedKeyRing(key_file) as keys:
        assert repr(keys) == f"WatchedKeyRing({str(key_file)!r}, kids=['k1'])"
        with pytest.raises(KeyRingError, match="not pickled"):
            pickle.dumps(keys)
