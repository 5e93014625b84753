"""What the tests of watched rings share: a source that can be held up, and waiting without sleeping for a fixed time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta
from typing import Final

from ghasi_handoff import KeyRing
from ghasi_handoff.keyfile import KeyRingEvent, KeyRingReloadFailed, WatchedKeyRing

QUICK: Final = timedelta(milliseconds=20)
NEVER: Final = timedelta(hours=1)


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
