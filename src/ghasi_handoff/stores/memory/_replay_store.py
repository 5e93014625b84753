# Generated from _replay_store_async.py by tools/sync_twins.py. Do not edit.
"""The replay store in memory, for threads. Its lock is held for microseconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime

from ghasi_handoff._limits import DEFAULT_MEMORY_CAPACITY
from ghasi_handoff._signing_string import handoff_id_seconds
from ghasi_handoff.errors import ConfigurationError, ReplayStoreError
from ghasi_handoff.replay import Consumption, StoreGuarantees, check_entry, purge_cutoff, purge_time
from ghasi_handoff.stores._maintained import Closing


class MemoryReplayStore(Closing):
    """Entries in a dict behind a lock, for threads. When full it purges, then refuses.

    It never evicts: that would be a replay.

    Args:
        capacity: How many entries it holds at most. At 300 s of lifetime and 10 redemptions a second about 40 000 are
            alive, because a purge keeps what is younger than 64 minutes.
        clock: Returns Unix seconds; read only to purge.

    Raises:
        ConfigurationError: `capacity` is not a positive integer.
    """

    guarantees = StoreGuarantees(durable=False, shared=False, survives_failover=False, outbox=False)

    def __init__(self, *, capacity: int = DEFAULT_MEMORY_CAPACITY, clock: Callable[[], float] = time.time) -> None:
        if type(capacity) is not int or capacity < 1:
            raise ConfigurationError("capacity must be a positive integer")
        self._capacity = capacity
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, str], tuple[str, int]] = {}
        self._newest = ""
        self._purged_before = 0

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ghasi_handoff.ReplayStore.consume`.

        Raises:
            ReplayStoreError: Full, past its retention, or older than what was purged.
        """
        check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
        with self._lock:
            entry = self._entries.get((handoff_id, scope))
            if entry is not None:
                return Consumption(entry[0], first=False, consumed_at=entry[1])
            if len(self._entries) >= self._capacity:
                self._purge(purge_time(None, self._clock))
            if len(self._entries) >= self._capacity:
                raise ReplayStoreError(f"the memory store is full ({self._capacity} entries)", handoff_id=handoff_id)
            if handoff_id_seconds(handoff_id) < self._purged_before:
                raise ReplayStoreError("the handoff is older than what was purged", handoff_id=handoff_id)
            self._entries[handoff_id, scope] = (redemption_id, consumed_at)
            self._newest = max(self._newest, handoff_id)  # ids are time-ordered as text
            return Consumption(redemption_id, first=True, consumed_at=consumed_at)

    def purge(self, now: int | datetime | None = None) -> int:
        """Remove entries that no token can need any more. Returns how many.

        Args:
            now: Unix seconds or an aware datetime; by default the clock's reading.

        Raises:
            ConfigurationError: `now` or the clock's reading is no time.
        """
        seconds = purge_time(now, self._clock)
        with self._lock:
            return self._purge(seconds)

    def _purge(self, now: int) -> int:
        cutoff = purge_cutoff(now, handoff_id_seconds(self._newest)) if self._newest else 0
        if cutoff <= self._purged_before:
            return 0  # nothing new to find: a full store must not be searched again by every caller it refuses
        self._purged_before = cutoff
        old = [key for key in self._entries if handoff_id_seconds(key[0]) < cutoff]
        for key in old:
            del self._entries[key]
        return len(old)

    def __len__(self) -> int:
        return len(self._entries)
