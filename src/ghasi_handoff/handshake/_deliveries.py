"""When bff-consumer is told: before the guest goes on, or after, by a worker; how it waits, and what it counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from ghasi_handoff._limits import DELIVERY_FIRST_WAIT_SECONDS, DELIVERY_LONGEST_WAIT_SECONDS
from ghasi_handoff.errors import ConfigurationError

# The guest goes on after bff-consumer has confirmed, or before.
Mode: TypeAlias = Literal["strict", "deferred"]


def require_mode(mode: object) -> None:
    """Refuse any other mode with a `ConfigurationError`."""
    if mode not in ("strict", "deferred"):
        raise ConfigurationError('mode must be "strict" or "deferred"')


@dataclass(frozen=True, slots=True)
class Deliveries:
    """What a worker did.

    Attributes:
        delivered: Entries that bff-consumer confirmed.
        refused: Entries that it refused for good: revoked, too late, or another's.
        postponed: Entries to be tried again later.
        given_up: Entries that are kept, but tried no more.
    """

    delivered: int = 0
    refused: int = 0
    postponed: int = 0
    given_up: int = 0

    @property
    def total(self) -> int:
        """How many entries were taken."""
        return self.delivered + self.refused + self.postponed + self.given_up


def next_try(now: int, attempts: int, randbelow: Callable[[int], int]) -> int:
    """When to try again, Unix seconds: full jitter, from 1 s to at most 5 min as the attempts go on.

    Full jitter: after an outage a thousand entries must not come back in the same second.
    """
    longest = min(DELIVERY_LONGEST_WAIT_SECONDS, DELIVERY_FIRST_WAIT_SECONDS * 2 ** min(attempts, 16))
    return now + DELIVERY_FIRST_WAIT_SECONDS + randbelow(longest)
