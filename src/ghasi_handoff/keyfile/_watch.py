"""key file, every few seconds -> the current `KeyRing`. One thread reads; whoever verifies only looks.

1. A call gives the ring in use: one attribute, no lock, no I/O. A ring is exchanged whole.
2. One daemon thread per process reads, every interval and when it is asked. So there is never more than one read.
3. What cannot be used changes nothing: the last good ring stays, and every try that fails says so.
4. A revoked key stays revoked: a ring in which it is not is refused, as an old copy that arrived late. That holds for
   the life of the process, also if a ring without that key was in use in between.
5. A fork has a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from datetime import timedelta
from typing import NoReturn, Self, SupportsIndex

from typing_extensions import override

from ghasi_handoff._limits import (
    DEFAULT_REFRESH_TIMEOUT,
    DEFAULT_WATCH_INTERVAL,
    MAX_WATCH_INTERVAL,
    MIN_WATCH_INTERVAL,
)
from ghasi_handoff.errors import ConfigurationError, KeyRingError
from ghasi_handoff.keyfile._events import KeyRingReloaded, KeyRingReloadFailed, OnKeyRingEvent, report
from ghasi_handoff.keyfile._kek import KeyEncryptionKey
from ghasi_handoff.keyfile._open import FileSource, FunctionSource, Source, from_env, whereabouts
from ghasi_handoff.keyfile._reader import Reader
from ghasi_handoff.keyfile._seal import DEFAULT_PURPOSE
from ghasi_handoff.keys import KeyRing


class WatchedKeyRing:
    """The current ring of a key file, for a minter or verifier: ``Verifier(WatchedKeyRing("keys.json"), …)``.

    The file is read at once, so that a service with a bad file does not start; then every `interval`, in a thread of
    its own. While the file is gone or bad the last good ring stays in use, and the logger ``ghasi_handoff`` and
    `on_event` say so. A new revocation is in force one `interval` after the file is here.

    It works under threads, under asyncio and across forks, and follows a mounted secret of Kubernetes (not a
    ``subPath``, which Kubernetes never updates).

    Args:
        source: The key file's path; or a function that returns a ring, called without arguments in the watching thread.
        interval: How often the source is read, at most an hour.
        kek: Opens a sealed file. It is asked only when the file has changed.
        purpose: What the file was sealed for.
        on_event: Gets each `KeyRingReloaded` and `KeyRingReloadFailed`, in the watching thread. It must be quick.

    Raises:
        KeyRingError: The source cannot be used now.
        ConfigurationError: An argument has the wrong type or is out of range.
    """

    def __init__(
        self,
        source: str | os.PathLike[str] | Callable[[], KeyRing],
        *,
        interval: timedelta = DEFAULT_WATCH_INTERVAL,
        kek: KeyEncryptionKey | None = None,
        purpose: str = DEFAULT_PURPOSE,
        on_event: OnKeyRingEvent | None = None,
    ) -> None:
        if not isinstance(interval, timedelta) or not MIN_WATCH_INTERVAL <= interval <= MAX_WATCH_INTERVAL:
            raise ConfigurationError("interval must be a timedelta from 10 ms to an hour")
        if on_event is not None and not callable(on_event):
            raise ConfigurationError(f"on_event must be a callable, not {type(on_event).__name__}")
        if callable(source):
            self._source: Source = FunctionSource(source)
        elif isinstance(source, (str, os.PathLike)):
            if kek is not None and not isinstance(kek, KeyEncryptionKey):
                raise ConfigurationError(f"kek must have wrap and unwrap, not be {type(kek).__name__}")
            self._source = FileSource(source, kek, purpose)
        else:
            raise ConfigurationError(f"source must be a path or a function, not {type(source).__name__}")
        self._on_event = on_event
        self._found = self._source.read(None)
        self._ring = self._found.ring
        self._revoked = _revoked(self._ring)
        self._good_at = time.monotonic()
        self._reader = Reader(self._read, interval.total_seconds())

    @classmethod
    def from_env(
        cls,
        environ: Mapping[str, str] | None = None,
        *,
        interval: timedelta = DEFAULT_WATCH_INTERVAL,
        kek: KeyEncryptionKey | None = None,
        purpose: str | None = None,
        on_event: OnKeyRingEvent | None = None,
    ) -> Self:
        """As `ghasi_handoff.keyfile.from_env`, following the file. A ring in the environment itself never changes.

        Raises:
            KeyRingError: As `from_env` does.
            ConfigurationError: An argument has the wrong type.
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

    def refresh(self, kid: str | None = None, *, timeout: timedelta = DEFAULT_REFRESH_TIMEOUT) -> bool:
        """Read the source now, because a token names a key that the ring does not have. For threads.

        At most once per interval, however many ask: a flood of made-up kids costs one read. Callers that come while
        a read is under way wait for it.

        Args:
            kid: The missing key. If the ring in use has it already, nothing is read.
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

    async def refresh_async(self, kid: str | None = None, *, timeout: timedelta = DEFAULT_REFRESH_TIMEOUT) -> bool:
        """As `refresh`, from a coroutine: nothing blocks, and no thread of a pool is taken."""
        before = self._ring
        asked = self._ask(kid, timeout)
        if asked is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.wrap_future(asked), timeout.total_seconds())
        return self._is_worth_it(kid, before)

    def close(self) -> None:
        """Stop reading. The ring in use stays what it is."""
        self._reader.close()

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
        """The read to wait for; None where there is none."""
        return None if kid is not None and kid in self._ring else self._reader.ask(timeout.total_seconds())

    def _is_worth_it(self, kid: str | None, before: KeyRing) -> bool:
        return self._ring is not before if kid is None else kid in self._ring

    def _read(self) -> None:
        """Read the source and put its ring in use, in the reader's thread. Never raises."""
        try:
            found = self._source.read(self._found)
            if found.ring != self._ring:
                self._exchange(found.ring)
            self._found = found  # not where the ring was refused: each later try must say so again
            self._good_at = time.monotonic()
        except KeyRingError as exc:
            self._failed(str(exc))
        except BaseException as exc:
            # SystemExit or a compiled client's panic, too: the thread must live, or no revocation ever arrives again.
            self._failed(f"{self._source.name}: unexpected {type(exc).__name__}")

    def _failed(self, reason: str) -> None:
        since = int(time.monotonic() - self._good_at)
        report(KeyRingReloadFailed(source=self._source.name, reason=reason, since_seconds=since), self._on_event)

    def _exchange(self, new: KeyRing) -> None:
        revoked, before = _revoked(new), self._ring
        # By what was ever seen revoked, not by the ring before: a prune, or a new ring, may have taken the key away.
        healed = [key.kid for key in new.keys if key.kid in self._revoked - revoked]
        if healed:
            raise KeyRingError(
                f"{self._source.name}: key {healed[0]} was revoked and no longer is: an older copy of the file arrived"
                " late; bring the newest (if the revocation was a mistake, restart this process)"
            )
        self._ring = new
        self._revoked |= revoked
        kids = tuple(key.kid for key in new.keys)
        added = tuple(kid for kid in kids if kid not in before)
        removed = tuple(key.kid for key in before.keys if key.kid not in new)
        fresh = tuple(kid for kid in kids if kid in revoked - _revoked(before))
        name = self._source.name
        report(KeyRingReloaded(source=name, kids=kids, added=added, removed=removed, revoked=fresh), self._on_event)


def _revoked(ring: KeyRing) -> set[str]:
    return {key.kid for key in ring.keys if key.revoked_at is not None}


async def catch_up(keys: object, kid: str | None) -> None:
    """Read a watched ring again before verifying a token that names a key that the ring does not have.

    For integrations, which do not know whether their keys are watched. Verifying itself never reads a file.

    Args:
        keys: What the verifier was given: a ring, a callable or a `WatchedKeyRing`.
        kid: The key that the token names, its grammar checked; None where it names none.
    """
    if isinstance(keys, WatchedKeyRing) and kid is not None:
        await keys.refresh_async(kid)
