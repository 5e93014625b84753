"""event -> when each key was last seen in an authentic handoff: what says that a key can go without a loss."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime

from typing_extensions import override

from ghasi_handoff._times import from_seconds, read_clock
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.handshake._events import HandoffEvent, OnEvent
from ghasi_handoff.keys import KeyRing, ring_source


class LastUse(Mapping[str, datetime]):
    """When each kid was last seen by this process: a mapping of kids to aware datetimes, and an event hook.

    Give it to whatever takes ``on_event``, and its content to `ghasi_handoff.rotation.fingerprint`. A minter, which has
    no events, calls `saw` with ``minted.kid``. It starts empty with each process; safe to share between threads.

    Only authentic handoffs count, so nobody keeps a key alive, or fills the memory, with made-up tokens.

    Args:
        keys: The ring, or a callable that returns the present one. Kids that are no longer in it are forgotten.
        then: The hook that is called next with each event: one hook may follow another.
        clock: Returns Unix seconds.

    Raises:
        ConfigurationError: An argument has the wrong type.
    """

    def __init__(
        self,
        keys: KeyRing | Callable[[], KeyRing],
        *,
        then: OnEvent | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if then is not None and not callable(then):
            raise ConfigurationError(f"then must be a callable, not {type(then).__name__}")
        self._keys = ring_source(keys)
        self._then = then
        self._clock = clock
        self._lock = threading.Lock()
        self._seen: dict[str, int] = {}

    def __call__(self, event: HandoffEvent) -> None:
        """Note the event's key, if its handoff is authentic, and pass the event on."""
        # The id is in an event only once the MAC has matched; a kid alone may be anybody's invention.
        try:
            if event.kid is not None and event.handoff_id is not None:
                self.saw(event.kid)
        finally:  # a ring that cannot be had now must not cost the next hook its event
            if self._then is not None:
                self._then(event)

    def saw(self, kid: str) -> None:
        """Note that the key was used now."""
        now = int(read_clock(self._clock))
        known = {key.kid for key in self._keys().keys}
        with self._lock:
            self._seen[kid] = max(now, self._seen.get(kid, 0))
            for gone in self._seen.keys() - known:
                del self._seen[gone]

    @override
    def __getitem__(self, kid: str) -> datetime:
        return from_seconds(self._seen[kid])

    @override
    def __iter__(self) -> Iterator[str]:
        with self._lock:
            return iter(list(self._seen))

    @override
    def __len__(self) -> int:
        return len(self._seen)

    @override
    def __repr__(self) -> str:
        return f"LastUse({dict(self)!r})"
