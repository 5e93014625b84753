"""key file, every few seconds -> the current `KeyRing`. One thread reads; whoever verifies only looks.

1. A call gives the ring in use: one attribute, no lock, no I/O. A ring is exchanged whole.
2. One daemon thread per process reads, every interval and when it is asked. So there is never more than one read.
3. What cannot be used changes nothing: the last good ring stays, and every try that fails says so.
4. A ring never goes back: one in which a revoked key is well again is refused, as an old copy that arrived late. That
   holds as long as the process lives, also if a ring without that key came between.
5. A fork has a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import timedelta
from hashlib import sha256
from typing import Final, NoReturn, Self, SupportsIndex

from typing_extensions import override

from ghasi_handoff.errors import ConfigurationError, KeyRingError
from ghasi_handoff.keyfile._environment import from_env, whereabouts
from ghasi_handoff.keyfile._events import KeyRingReloaded, KeyRingReloadFailed, OnKeyRingEvent, report
from ghasi_handoff.keyfile._file import read_secret_file
from ghasi_handoff.keyfile._kek import KeyEncryptionKey
from ghasi_handoff.keyfile._open import located, opened
from ghasi_handoff.keyfile._seal import DEFAULT_PURPOSE
from ghasi_handoff.keys import KeyRing

DEFAULT_INTERVAL: Final = timedelta(seconds=10)
LEAST_INTERVAL: Final = timedelta(milliseconds=10)
MOST_INTERVAL: Final = timedelta(hours=1)
DEFAULT_TIMEOUT: Final = timedelta(seconds=2)
# A mounted secret is exchanged under its readers: for a moment the link leads to a folder that is gone.
_SECOND_TRY_SECONDS: Final = 0.05


class WatchedKeyRing:
    """The current ring of a key file, for a minter or verifier: ``Verifier(WatchedKeyRing("keys.json"), …)``.

    The file is read at once, so that a service with a bad file does not start; then every `interval`, in a thread of
    its own. While the file is gone or bad the last good ring stays in use, and the logger ``ghasi_handoff`` and
    `on_event` say so. A new revocation is in force one `interval` after the file is here.

    It works under threads, under asyncio and across forks, and follows a mounted secret of Kubernetes (not a
    ``subPath``, which Kubernetes never updates).

    Args:
        source: The key file's path; or a function without arguments that returns a ring, from a secrets manager say. It
            is called in the watching thread.
        interval: How often the source is read, at most an hour.
        kek: Opens a sealed file. It is asked only when the file has changed.
        purpose: What the file was sealed for.
        on_event: Gets each `KeyRingReloaded` and `KeyRingReloadFailed`, in the watching thread. It must be quick.

    Raises:
        KeyRingError: The source cannot be used now.
        ConfigurationError: An argument is something else.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Callable[[], KeyRing],
        *,
        interval: timedelta = DEFAULT_INTERVAL,
        kek: KeyEncryptionKey | None = None,
        purpose: str = DEFAULT_PURPOSE,
        on_event: OnKeyRingEvent | None = None,
    ) -> None:
        if not isinstance(interval, timedelta) or not LEAST_INTERVAL <= interval <= MOST_INTERVAL:
            raise ConfigurationError("interval must be a timedelta from 10 ms to an hour")
        if on_event is not None and not callable(on_event):
            raise ConfigurationError(f"on_event must be a callable, not {type(on_event).__name__}")
        if callable(source):
            self._source: _Source = _Function(source)
        elif isinstance(source, (str, os.PathLike)):
            if kek is not None and not isinstance(kek, KeyEncryptionKey):
                raise ConfigurationError(f"kek must have wrap and unwrap, not be {type(kek).__name__}")
            self._source = _File(source, kek, purpose)
        else:
            raise ConfigurationError(f"source must be a path or a function, not {type(source).__name__}")
        self._interval = interval.total_seconds()
        self._on_event = on_event
        self._ring = self._source.read()
        self._source.accept()
        self._revoked = _revoked(self._ring)
        self._good_at = time.monotonic()
        self._asked_at = -float("inf")
        self._closed = False
        self._start()
        _watched.add(self)

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        interval: timedelta = DEFAULT_INTERVAL,
        kek: KeyEncryptionKey | None = None,
        purpose: str | None = None,
        on_event: OnKeyRingEvent | None = None,
    ) -> Self:
        """As `ghasi_handoff.keyfile.from_env`, following the file. A ring in the environment itself never changes.

        Raises:
            KeyRingError: As `from_env` does.
            ConfigurationError: An argument is something else.
        """
        variables = os.environ if environ is None else environ
        try:
            path, opener, meant_for = whereabouts(variables, kek, purpose)
            if path is not None:
                return cls(path, interval=interval, kek=opener, purpose=meant_for, on_event=on_event)
            ring = from_env(variables, kek=opener, purpose=meant_for)
            return cls(lambda: ring, interval=interval, on_event=on_event)
        finally:
            del environ, variables  # a traceback that shows local variables must not show the environment

    def __call__(self) -> KeyRing:
        """The ring in use."""
        return self._ring

    def refresh(self, kid: str | None = None, *, timeout: timedelta = DEFAULT_TIMEOUT) -> bool:
        """Read the source now, for a token that names a key which the ring has not; from a thread.

        At most once per interval, whoever asks: a flood of made-up kids costs one read. Callers that come while a
        read is under way wait for that one.

        Args:
            kid: The key that is missed. If the ring in use has it already, nothing is read.
            timeout: How long to wait for the read.

        Returns:
            Whether another try is worth it: the ring now has `kid`; or, without a kid, it is another one than before.
        """
        before = self._ring
        asked = self._ask(kid, timeout)
        if asked is not None:
            with contextlib.suppress(TimeoutError):
                asked.result(timeout.total_seconds())
        return self._is_worth_it(kid, before)

    async def refresh_async(self, kid: str | None = None, *, timeout: timedelta = DEFAULT_TIMEOUT) -> bool:
        """As `refresh`, from a coroutine: nothing blocks, and no thread of a pool is taken."""
        before = self._ring
        asked = self._ask(kid, timeout)
        if asked is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(asked), timeout.total_seconds())
        return self._is_worth_it(kid, before)

    def close(self) -> None:
        """Stop reading. The ring in use stays what it is."""
        self._closed = True
        self._state.wake.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @override
    def __repr__(self) -> str:
        return f"WatchedKeyRing({self._source.name!r}, kids={[key.kid for key in self._ring.keys]})"

    @override
    def __reduce_ex__(self, protocol: SupportsIndex) -> NoReturn:
        raise KeyRingError("a watched key ring is not pickled, its secrets would travel; make one in each process")

    def _ask(self, kid: str | None, timeout: timedelta) -> Future[None] | None:
        """The read to wait for, or None where there is none."""
        state = self._state
        with state.lock:
            if self._closed or (kid is not None and _has(self._ring, kid)):
                return None
            now = time.monotonic()
            if state.asked is None:
                if now - self._asked_at < self._interval:
                    return None
                self._asked_at = now
                state.asked = Future()
                # From now on it cannot be cancelled: a guest who goes must not end the others' wait.
                state.asked.set_running_or_notify_cancel()
                state.wake.set()
            elif now - self._asked_at >= timeout.total_seconds():
                # It hangs: who came first has waited in vain, and a flood must not pile up behind it.
                return None
            return state.asked

    def _is_worth_it(self, kid: str | None, before: KeyRing) -> bool:
        return self._ring is not before if kid is None else _has(self._ring, kid)

    def _start(self) -> None:
        """A thread of this process. It holds no reference to the ring, so that a forgotten one ends."""
        self._state = _State()
        state, interval = self._state, self._interval
        weak = weakref.ref(self, lambda _: state.wake.set())

        def watch() -> None:
            while True:
                state.wake.wait(interval)
                state.wake.clear()
                watched = weak()
                if watched is None or watched._closed:
                    state.settle(state.asked)
                    return
                watched._read()
                del watched

        threading.Thread(target=watch, name="ghasi-handoff-keys", daemon=True).start()

    def _read(self) -> None:
        state = self._state
        with state.lock:
            asked = state.asked  # who asks from now on may mean a file that this read has missed
        try:
            new = self._source.read_again(self._ring)
            if new != self._ring:
                self._exchange(new)
            self._source.accept()
            self._good_at = time.monotonic()
        except KeyRingError as exc:
            self._failed(str(exc))
        except BaseException as exc:
            # SystemExit or a compiled client's panic, too: the thread must live, or no revocation ever arrives again.
            self._failed(f"{self._source.name}: unexpected {type(exc).__name__}")
        finally:
            state.settle(asked)

    def _failed(self, reason: str) -> None:
        since = int(time.monotonic() - self._good_at)
        report(KeyRingReloadFailed(source=self._source.name, reason=reason, since_seconds=since), self._on_event)

    def _exchange(self, new: KeyRing) -> None:
        before = {key.kid: key for key in self._ring.keys}
        # By what was ever seen revoked, not by the ring before: a prune, or a new ring, may have taken the key away.
        healed = [key.kid for key in new.keys if key.revoked_at is None and key.kid in self._revoked]
        if healed:
            raise KeyRingError(
                f"{self._source.name}: key {healed[0]} was revoked and is not any more: an older copy of the file has"
                " come late; bring the newest (if the revocation was a mistake, restart this process)"
            )
        self._ring = new
        self._revoked |= _revoked(new)
        report(
            KeyRingReloaded(
                source=self._source.name,
                kids=tuple(key.kid for key in new.keys),
                added=tuple(key.kid for key in new.keys if key.kid not in before),
                removed=tuple(kid for kid in before if not _has(new, kid)),
                revoked=tuple(
                    key.kid
                    for key in new.keys
                    if key.revoked_at is not None and (key.kid not in before or before[key.kid].revoked_at is None)
                ),
            ),
            self._on_event,
        )


async def catch_up(keys: object, kid: str | None) -> None:
    """Read a watched ring again before a token is verified that names a key which it has not.

    For integrations, which must not know whether their keys are watched: anything else than a `WatchedKeyRing` has
    nothing to catch up with. Verifying itself never reads anything.

    Args:
        keys: What the verifier was given: a ring, a callable or a `WatchedKeyRing`.
        kid: The key that the token names, its grammar checked; None where it names none.
    """
    if isinstance(keys, WatchedKeyRing) and kid is not None:
        await keys.refresh_async(kid)


class _State:
    """What a process's watching thread and those who ask share. Not inherited by a fork: a lock may be held there."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.wake = threading.Event()
        self.asked: Future[None] | None = None

    def settle(self, asked: Future[None] | None) -> None:
        """Tell those who wait for this read, if anybody does, that it is over."""
        if asked is not None:
            with self.lock:
                self.asked = None
            asked.set_result(None)


class _Source:
    """Where a ring comes from."""

    name: str

    def read(self) -> KeyRing:
        """The ring."""
        raise NotImplementedError

    def read_again(self, current: KeyRing) -> KeyRing:
        """The ring, which may be `current` itself."""
        raise NotImplementedError

    def accept(self) -> None:
        """What was read last is in use now."""


class _File(_Source):
    def __init__(self, path: str | os.PathLike[str], kek: KeyEncryptionKey | None, purpose: str) -> None:
        self.name = os.fspath(path)
        self._kek = kek
        self._purpose = purpose
        self._read_last = self._accepted = b""

    @override
    def read(self) -> KeyRing:
        data = b""
        try:
            data = read_secret_file(self.name, "key file")
            ring = opened(data, self._kek, self._purpose)
            # By content, not by date and inode: nothing that a copy, a mount or a coarse clock does can hide a change.
            self._read_last = sha256(data).digest()
        except KeyRingError as exc:
            raise located(exc, f"key file {self.name}") from exc.__cause__
        finally:
            del data
        return ring

    @override
    def read_again(self, current: KeyRing) -> KeyRing:
        try:
            return self._read_if_changed(current)
        except KeyRingError as exc:
            if not isinstance(exc.__cause__, FileNotFoundError):
                raise
            time.sleep(_SECOND_TRY_SECONDS)
            return self._read_if_changed(current)

    def _read_if_changed(self, current: KeyRing) -> KeyRing:
        # A KMS is asked, and paid, only for what is new.
        self._read_last = sha256(read_secret_file(self.name, "key file")).digest()
        return current if self._read_last == self._accepted else self.read()

    @override
    def accept(self) -> None:
        self._accepted = self._read_last


class _Function(_Source):
    def __init__(self, function: Callable[[], KeyRing]) -> None:
        self.name = getattr(function, "__qualname__", type(function).__name__)
        self._function = function

    @override
    def read(self) -> KeyRing:
        try:
            ring = self._function()
        except KeyRingError:
            raise
        except Exception as exc:  # a client of a secrets manager raises what it likes
            raise KeyRingError(f"{self.name} raised {type(exc).__name__}; can the secrets manager be reached?") from exc
        if not isinstance(ring, KeyRing):
            raise KeyRingError(f"{self.name} must return a KeyRing, not {type(ring).__name__}")
        return ring

    @override
    def read_again(self, current: KeyRing) -> KeyRing:
        return self.read()


def _revoked(ring: KeyRing) -> set[str]:
    return {key.kid for key in ring.keys if key.revoked_at is not None}


def _has(ring: KeyRing, kid: str) -> bool:
    return kid in ring


# Those that are alive, for a fork: the child has none of its parent's threads.
_watched: Final[weakref.WeakSet[WatchedKeyRing]] = weakref.WeakSet()


def _after_fork() -> None:
    for watched in list(_watched):
        if not watched._closed:
            watched._start()


os.register_at_fork(after_in_child=_after_fork)
