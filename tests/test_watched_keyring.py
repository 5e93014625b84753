"""`WatchedKeyRing`: whole rings, the last good one, one read for a flood, under threads, asyncio, forks and mounts."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
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
from ghasi_handoff.keyfile._file import read_secret_file
from tests import watching_process
from tests.minter_and_verifier import AUDIENCE, ISSUER, STAY, TENANT, secret
from tests.own_process import OwnProcess

QUICK: Final = timedelta(milliseconds=20)
NEVER: Final = timedelta(hours=1)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's wait for a read ends because the machine is busy, if the test does not say how long it is."""
    for method in (WatchedKeyRing.refresh, WatchedKeyRing.refresh_async):
        assert method.__kwdefaults__ is not None
        monkeypatch.setitem(method.__kwdefaults__, "timeout", timedelta(seconds=60))


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing.generate("k1")


@pytest.fixture
def path(tmp_path: Path, ring: KeyRing) -> Path:
    keyfile.save(tmp_path / "keys.json", ring)
    return tmp_path / "keys.json"


class Events(list[KeyRingEvent]):
    """What the hook was told."""

    def reasons(self) -> list[str]:
        return [event.reason for event in self if isinstance(event, KeyRingReloadFailed)]


def eventually(done: Callable[[], bool]) -> None:
    """Wait until it is so; fail if it never is."""
    until = time.monotonic() + 60
    while not done():
        assert time.monotonic() < until, "never came true"
        time.sleep(0.005)


async def eventually_async(done: Callable[[], bool]) -> None:
    """As `eventually`, while the event loop goes on."""
    async with asyncio.timeout(60):
        while not done():
            await asyncio.sleep(0)


def read_three_times(keys: WatchedKeyRing) -> None:
    """Wait until the source has been read again so often, and well."""
    for _ in range(3):
        before = keys._good_at
        eventually(lambda before=before: keys._good_at != before)  # type: ignore[misc]


class Counting(WatchedKeyRing):
    """Counts those who have a read to wait for."""

    def __init__(self, source: Callable[[], KeyRing]) -> None:
        self.waiting: list[Future[None]] = []
        super().__init__(source, interval=NEVER)

    def _ask(self, kid: str | None, timeout: timedelta) -> Future[None] | None:
        asked = super()._ask(kid, timeout)
        if asked is not None:
            self.waiting.append(asked)
        return asked


class Source:
    """A function that gives rings, counts its calls, and may be held up."""

    def __init__(self, ring: KeyRing) -> None:
        self.ring = ring
        self.calls = 0
        self.started = threading.Event()
        self.free = threading.Event()
        self.free.set()
        self.broken: BaseException | None = None

    def __call__(self) -> KeyRing:
        self.calls += 1
        self.started.set()
        assert self.free.wait(60)
        if self.broken is not None:
            raise self.broken
        return self.ring

    def hold(self) -> None:
        """From now on a call starts and does not end."""
        self.started.clear()
        self.free.clear()


@pytest.fixture
def source(ring: KeyRing) -> Iterator[Source]:
    source = Source(ring)
    yield source
    source.free.set()


# Following a file


def test_a_new_ring_comes_into_use(path: Path, ring: KeyRing) -> None:
    """Within an interval the file's new ring is what minters and verifiers get, and the hook is told what is new."""
    events = Events()
    with WatchedKeyRing(path, interval=QUICK, on_event=events.append) as keys:
        assert keys() == ring
        new = ring.rotate("k2", propagation=timedelta(0)).revoke("k1")
        keyfile.save(path, new)
        eventually(lambda: keys() == new)
        eventually(lambda: len(events) == 1)
    assert events == [
        KeyRingReloaded(source=str(path), kids=("k1", "k2"), added=("k2",), removed=(), revoked=("k1",)),
    ]


def test_a_revocation_is_in_force_within_an_interval(path: Path, ring: KeyRing) -> None:
    """A verifier that watches refuses a revoked key's tokens, without a restart, with the code for it."""
    with WatchedKeyRing(path, interval=QUICK) as keys:
        verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
        token = Minter(keys, issuer=ISSUER, audience=AUDIENCE).mint(STAY, tenant=TENANT).token
        verifier.verify(token, tenant=TENANT)
        keyfile.save(path, ring.revoke("k1"))
        eventually(lambda: keys().keys[0].revoked_at is not None)
        with pytest.raises(RevokedKeyError):
            verifier.verify(token, tenant=TENANT)


def test_an_unchanged_file_changes_nothing(path: Path) -> None:
    """While the file stays the same, the very same ring object stays in use, and nothing is said."""
    events = Events()
    with WatchedKeyRing(path, interval=QUICK, on_event=events.append) as keys:
        before = keys()
        read_three_times(keys)
        assert keys() is before
    assert events == []


def test_a_change_that_leaves_size_and_date_alone_is_seen(path: Path) -> None:
    """What counts is the content: a copy that keeps dates, or a coarse clock, hides nothing."""
    status = path.stat()
    with WatchedKeyRing(path, interval=QUICK) as keys:
        new = KeyRing.generate("k9", now=keys().keys[0].created_at)
        path.write_text(new.to_json())
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert path.stat().st_size == status.st_size
        eventually(lambda: keys() == new)


def test_a_service_with_a_bad_file_does_not_start(tmp_path: Path) -> None:
    """The first read must succeed: there is no last good ring yet."""
    with pytest.raises(KeyRingError, match="No such file"):
        WatchedKeyRing(tmp_path / "missing.json")


def put(path: Path, text: str) -> None:
    """Replace the file at one moment: a watcher that read it half written would have another reason to refuse it."""
    new = path.with_name("new.json")
    new.touch(0o600)
    new.write_text(text)
    new.replace(path)


def spoil_by_truncation(path: Path) -> None:
    put(path, path.read_text()[:50])


def spoil_by_mode(path: Path) -> None:
    path.chmod(0o644)


def spoil_by_duplicate(path: Path) -> None:
    document = json.loads(path.read_text())
    put(path, json.dumps({**document, "keys": document["keys"] * 2}))


BAD: Final[dict[str, tuple[Callable[[Path], object], str]]] = {
    "gone": (lambda path: path.unlink(), "No such file"),
    "truncated": (spoil_by_truncation, "not JSON"),
    "empty": (lambda path: put(path, ""), "not JSON"),
    "world-readable": (spoil_by_mode, "chmod 600"),
    "duplicate kid": (spoil_by_duplicate, "two keys have this kid"),
    "no keys": (lambda path: put(path, '{"format": "ghasi-handoff-keys/v1", "keys": []}'), "at least one key"),
    "future version": (lambda path: put(path, path.read_text().replace("/v1", "/v2")), "ghasi-handoff-keys/v1"),
}


@pytest.mark.parametrize("name", BAD)
def test_the_last_good_ring_stays_and_that_is_said(
    path: Path, ring: KeyRing, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever becomes of the file, the ring stays in use; the hook and the log say why, at each try; a good file ends it."""
    spoil, reason = BAD[name]
    events = Events()
    with (
        caplog.at_level(logging.INFO, "ghasi_handoff"),
        WatchedKeyRing(path, interval=QUICK, on_event=events.append) as keys,
    ):
        before = keys()
        spoil(path)
        eventually(lambda: len(events.reasons()) >= 2)
        assert keys() is before
        assert all(reason in said and str(path) in said for said in events.reasons())
        new = ring.rotate("k2")
        keyfile.save(path, new)
        eventually(lambda: keys() == new)
    failed = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert failed
    assert reason in failed[0].getMessage()
    assert "last good ring stays in use" in failed[0].getMessage()
    assert failed[0].__dict__["handoff_event"] == "key_ring_reload_failed"


def test_a_failure_says_since_when(path: Path, ring: KeyRing) -> None:
    """How many seconds the last good read is ago, whole seconds: what tells a hiccup from a mount that is gone."""
    events = Events()

    def said() -> list[int]:
        return [event.since_seconds for event in events if isinstance(event, KeyRingReloadFailed)]

    with WatchedKeyRing(path, interval=QUICK, on_event=events.append) as keys:
        path.unlink()
        eventually(lambda: len(said()) > 0)
        assert said()[0] < 90
        keys._good_at -= 90
        eventually(lambda: said()[-1] >= 90)
        assert said()[-1] < 180
        keyfile.save(path, ring)
        good_at = keys._good_at
        eventually(lambda: keys._good_at > good_at)
        events.clear()
        path.unlink()
        eventually(lambda: len(said()) > 0)
        assert said()[0] < 90


def test_an_old_copy_does_not_heal_a_revoked_key(path: Path, ring: KeyRing) -> None:
    """A copy from before a revocation that arrives late is refused, again and again, and said; the newest one is taken."""
    events = Events()
    before = ring.rotate("k2")
    keyfile.save(path, before.revoke("k1"))
    with WatchedKeyRing(path, interval=QUICK, on_event=events.append) as keys:
        keyfile.save(path, before)
        eventually(lambda: len(events.reasons()) >= 2)
        assert keys().keys[0].revoked_at is not None
        assert "key k1 was revoked and is not any more" in events.reasons()[0]
        assert "bring the newest" in events.reasons()[0]
        newest = before.revoke("k1").rotate("k3")
        keyfile.save(path, newest)
        eventually(lambda: keys() == newest)
        said = len(events.reasons())
        keyfile.save(path, before)
        eventually(lambda: len(events.reasons()) > said)


def test_a_revoked_key_stays_revoked_when_it_has_left_the_file(path: Path, ring: KeyRing) -> None:
    """A prune or a new ring takes a revoked key away; an old copy that comes after that does not bring it back."""
    events = Events()
    old, newest = ring.rotate("k2"), KeyRing.generate("k3")
    keyfile.save(path, old.revoke("k1"))
    with WatchedKeyRing(path, interval=QUICK, on_event=events.append) as keys:
        keyfile.save(path, newest)
        eventually(lambda: keys() == newest)
        keyfile.save(path, old)
        eventually(lambda: bool(events.reasons()))
        assert keys() == newest
        assert "key k1 was revoked and is not any more" in events.reasons()[0]


def test_a_hook_that_fails_stops_nothing(path: Path, ring: KeyRing, caplog: pytest.LogCaptureFixture) -> None:
    """What the application's hook raises is logged; files go on being read."""

    def fail(_event: KeyRingEvent) -> None:
        raise ZeroDivisionError

    with WatchedKeyRing(path, interval=QUICK, on_event=fail) as keys:
        for number in (2, 3):
            new = ring.rotate(f"k{number}")
            keyfile.save(path, new)
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
    path: Path, ring: KeyRing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug, or no memory: it is said, and the next read happens all the same. A dead thread would keep revocations out."""
    events = Events()
    with WatchedKeyRing(path, interval=QUICK, on_event=events.append) as keys:
        with monkeypatch.context() as patch:
            patch.setattr("ghasi_handoff.keyfile._sources.read_secret_file", lambda *_: 1 // 0)
            eventually(lambda: len(events.reasons()) >= 2)
        assert "unexpected ZeroDivisionError" in events.reasons()[0]
        keyfile.save(path, ring.revoke("k1"))
        eventually(lambda: keys().keys[0].revoked_at is not None)


def test_a_sealed_file_is_followed_and_its_kms_asked_only_for_what_is_new(path: Path, ring: KeyRing) -> None:
    """Unsealing costs a call of the KMS, so it happens once per content, not once per interval."""
    asked: list[bytes] = []

    class Asked(LocalKeyEncryptionKey):
        def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
            asked.append(wrapped)
            return super().unwrap(wrapped, context)

    kek = Asked(secret("kek"))
    keyfile.save(path, ring, kek=kek)
    with WatchedKeyRing(path, kek=kek, interval=QUICK) as keys:
        read_three_times(keys)
        assert len(asked) == 1
        new = ring.rotate("k2")
        keyfile.save(path, new, kek=kek)
        eventually(lambda: keys() == new)
        read_three_times(keys)
        assert len(asked) == 2


def test_the_environment_names_the_file_to_follow(path: Path, ring: KeyRing, tmp_path: Path) -> None:
    """From the environment: a file is followed, sealed or not; a ring that stands there itself stays."""
    kek = tmp_path / "kek"
    kek.touch(0o600)
    kek.write_bytes(secret("kek"))
    keyfile.save(path, ring, kek=LocalKeyEncryptionKey(secret("kek")), purpose="test")
    sealed = {"GHASI_HANDOFF_KEK_FILE": str(kek), "GHASI_HANDOFF_KEYS_PURPOSE": "test"}
    new = ring.rotate("k2")
    with WatchedKeyRing.from_env({**sealed, "GHASI_HANDOFF_KEYS_FILE": str(path)}, interval=QUICK) as keys:
        assert keys() == ring
        keyfile.save(path, new, kek=LocalKeyEncryptionKey(secret("kek")), purpose="test")
        eventually(lambda: keys() == new)
    with WatchedKeyRing.from_env({"GHASI_HANDOFF_KEYS": ring.to_json()}, interval=QUICK) as keys:
        read_three_times(keys)
        assert keys() == ring
    with pytest.raises(KeyRingError, match="GHASI_HANDOFF_KEYS_FILE"):
        WatchedKeyRing.from_env({})


# Refreshing on an unknown kid


def test_refresh_brings_a_key_that_has_just_arrived(path: Path, ring: KeyRing) -> None:
    """A kid that the ring has not, and the file has, is worth another try at once, long before the interval is over."""
    with WatchedKeyRing(path, interval=NEVER) as keys:
        keyfile.save(path, ring.rotate("k2"))
        assert keys.refresh("k2") is True
        assert [key.kid for key in keys().keys] == ["k1", "k2"]


def test_refresh_of_a_made_up_kid_is_not_worth_another_try(path: Path) -> None:
    """A kid that nobody has stays unknown."""
    with WatchedKeyRing(path, interval=NEVER) as keys:
        assert keys.refresh("nobody") is False


def test_a_flood_of_made_up_kids_costs_one_read_per_interval(source: Source) -> None:
    """Whoever sends tokens with made-up kids cannot make the service read again and again (CVE-2026-48524)."""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        assert not any(keys.refresh(f"made-up-{number}") for number in range(1000))
        assert source.calls == 2  # at the start, and once for all of them


def test_the_right_to_refresh_comes_back_after_an_interval(source: Source, ring: KeyRing) -> None:
    """One refresh an interval, not one for ever."""
    with WatchedKeyRing(source, interval=timedelta(milliseconds=300)) as keys:
        assert keys.refresh("k2") is False
        source.ring = ring.rotate("k2")
        eventually(lambda: keys.refresh("k2"))


def test_an_interval_after_a_refresh_the_next_one_reads_again(source: Source, ring: KeyRing) -> None:
    """A read that is over is nobody's answer any more: whoever misses a key later gets a read of their own."""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        for number in (2, 3, 4):
            source.ring = ring = ring.rotate(f"k{number}")
            assert keys.refresh(f"k{number}") is True
            assert source.calls == number
            keys._reader._asked_at -= NEVER.total_seconds()


def test_a_key_that_is_there_costs_no_read(source: Source) -> None:
    """Between a refusal and the refresh the ring may have come by itself: then it is worth another try, without a read."""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        assert keys.refresh("k1") is True
        assert source.calls == 1


def test_refresh_without_a_kid_says_whether_the_ring_is_another(source: Source, ring: KeyRing) -> None:
    """For an operator's signal: read now, and was there anything new?"""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        source.ring = ring.rotate("k2")
        assert keys.refresh() is True
        assert keys.refresh() is False


def test_single_flight_under_threads(source: Source, ring: KeyRing) -> None:
    """Fifty threads that miss one key at once wait for one read, and all of them get its answer."""
    with Counting(source) as keys, ThreadPoolExecutor(50) as pool:
        source.hold()
        source.ring = ring.rotate("k2")
        waiting = [pool.submit(keys.refresh, "k2") for _ in range(50)]
        assert source.started.wait(60)
        eventually(lambda: len(keys.waiting) == 50)
        assert not any(future.done() for future in waiting)
        source.free.set()
        assert all(future.result(60) for future in waiting)
    assert source.calls == 2


def test_single_flight_under_asyncio(source: Source, ring: KeyRing) -> None:
    """A thousand coroutines that miss one key at once wait for one read; the event loop goes on meanwhile."""

    async def main() -> None:
        with Counting(source) as keys:
            source.hold()
            source.ring = ring.rotate("k2")
            waiting = [
                asyncio.ensure_future(keys.refresh_async("k2", timeout=timedelta(seconds=60))) for _ in range(1000)
            ]
            await eventually_async(lambda: len(keys.waiting) == 1000)  # were the loop blocked, it would not come back
            assert not any(task.done() for task in waiting)
            source.free.set()
            assert all(await asyncio.gather(*waiting))

    asyncio.run(main())
    assert source.calls == 2


def test_threads_and_two_event_loops_share_one_read(source: Source, ring: KeyRing) -> None:
    """The one read is awaited from wherever somebody misses the key."""
    with Counting(source) as keys, ThreadPoolExecutor(6) as pool:
        source.hold()
        source.ring = ring.rotate("k2")
        waiting = [pool.submit(keys.refresh, "k2") for _ in range(2)]
        waiting += [pool.submit(lambda: asyncio.run(keys.refresh_async("k2"))) for _ in range(2)]
        assert source.started.wait(60)
        eventually(lambda: len(keys.waiting) == 4)
        source.free.set()
        assert all(future.result(60) for future in waiting)
    assert source.calls == 2


def test_a_guest_who_goes_does_not_end_the_others_wait(source: Source, ring: KeyRing) -> None:
    """Cancelling one of those who wait cancels neither the read nor the others."""

    async def main() -> None:
        with Counting(source) as keys:
            source.hold()
            source.ring = ring.rotate("k2")
            one, other = (
                asyncio.ensure_future(keys.refresh_async("k2", timeout=timedelta(seconds=60))) for _ in range(2)
            )
            await eventually_async(lambda: len(keys.waiting) == 2)
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
            source.free.set()
            assert await other is True

    asyncio.run(main())


def test_a_slow_source_holds_nobody_longer_than_the_timeout(source: Source) -> None:
    """A KMS or disk that hangs costs a guest the time-out, not the request."""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        source.hold()
        began = time.monotonic()
        assert keys.refresh("k2", timeout=timedelta(milliseconds=100)) is False
        assert asyncio.run(keys.refresh_async("k2", timeout=timedelta(milliseconds=100))) is False
        assert time.monotonic() - began < 30
        source.free.set()


def test_a_flood_does_not_pile_up_behind_a_source_that_hangs(source: Source) -> None:
    """Once a read has outlasted the time-out nobody waits for it any more: neither guests nor memory pay for a KMS that hangs."""
    with WatchedKeyRing(source, interval=NEVER) as keys:
        source.hold()
        assert keys.refresh("k2", timeout=timedelta(milliseconds=50)) is False
        began = time.monotonic()
        for _ in range(200):
            assert keys.refresh("k2", timeout=timedelta(milliseconds=50)) is False
        assert time.monotonic() - began < 5
        source.free.set()


def test_verify_never_reads(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier looks at the ring in use, and asks for nothing: reading is the integration's to await."""
    with WatchedKeyRing(path, interval=NEVER) as keys:
        foreign = Minter(KeyRing.generate("other"), issuer=ISSUER, audience=AUDIENCE).mint(STAY, tenant=TENANT)
        verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
        monkeypatch.setattr("ghasi_handoff.keyfile._sources.read_secret_file", lambda *_: 1 // 0)
        monkeypatch.setattr(keys, "_ask", lambda *_: 1 // 0)
        with pytest.raises(UnknownKeyError):
            verifier.verify(foreign.token, tenant=TENANT)


def test_integrations_catch_up_before_they_verify(path: Path, ring: KeyRing) -> None:
    """A token's unknown key is read for, of a watched ring; with any other keys nothing happens."""
    with WatchedKeyRing(path, interval=NEVER) as keys:
        keyfile.save(path, ring.rotate("k2"))
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


# A function as the source


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


@pytest.mark.parametrize(
    "wrong",
    [{"interval": 5}, {"interval": timedelta(0)}, {"interval": timedelta(days=1)}, {"on_event": 5}, {"kek": b"k" * 32}],
    ids=str,
)
def test_wrong_arguments_are_refused(path: Path, wrong: dict[str, object]) -> None:
    """What cannot work is refused when the ring is made, by its name."""
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        WatchedKeyRing(path, **wrong)  # type: ignore[arg-type]


def test_the_source_must_be_a_path_or_a_function() -> None:
    """A number is a file descriptor to Python's open; here it is a mistake."""
    with pytest.raises(ConfigurationError, match="path or a function, not int"):
        WatchedKeyRing(0)  # type: ignore[arg-type]


# Life and death


def test_a_closed_ring_stays_what_it_is(path: Path, ring: KeyRing) -> None:
    """After close nothing is read any more, nobody waits, and the ring in use stays."""
    before = set(threading.enumerate())
    keys = WatchedKeyRing(path, interval=QUICK)
    (thread,) = set(threading.enumerate()) - before
    keys.close()
    eventually(lambda: not thread.is_alive())
    keyfile.save(path, ring.rotate("k2"))
    assert keys() == ring
    assert keys.refresh("k2") is False


@pytest.mark.parametrize("has_read", [False, True], ids=["at once", "after a read"])
def test_a_forgotten_ring_ends_its_thread(path: Path, has_read: bool) -> None:
    """Nobody has to close: when the last reference goes, the thread goes, too."""
    before = set(threading.enumerate())  # other tests' rings may still be on their way out
    keys = WatchedKeyRing(path, interval=NEVER)
    if has_read:
        good_at = keys._good_at
        keys.refresh()
        assert keys._good_at > good_at
    (thread,) = set(threading.enumerate()) - before
    assert thread.name == "ghasi-handoff-keys"
    del keys
    gc.collect()
    eventually(lambda: not thread.is_alive())


def test_it_shows_no_secret(path: Path) -> None:
    """Its repr names the kids; it refuses to be pickled."""
    with WatchedKeyRing(path) as keys:
        assert repr(keys) == f"WatchedKeyRing({str(path)!r}, kids=['k1'])"
        with pytest.raises(KeyRingError, match="not pickled"):
            pickle.dumps(keys)


def test_a_forked_child_follows_the_file(path: Path, ring: KeyRing) -> None:
    """A server that loads the application and then forks its workers: each worker reads for itself."""
    with OwnProcess(watching_process.fork_and_follow, str(path)) as process:
        assert process.hear() == "forked"
        keyfile.save(path, ring.rotate("k2"))
        assert process.hear() == "k1,k2"


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


def test_a_file_that_is_gone_for_a_moment_is_looked_for_twice(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    with WatchedKeyRing(path, interval=QUICK, on_event=events.append):
        monkeypatch.setattr("ghasi_handoff.keyfile._sources.read_secret_file", away_every_other_time)
        eventually(lambda: looks >= 6)
        assert events == []
        path.unlink()
        eventually(lambda: len(events.reasons()) > 0)
