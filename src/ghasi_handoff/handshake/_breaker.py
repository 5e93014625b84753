"""Outcomes of calls -> whether to make the next one. No I/O but a look at the clock."""

from __future__ import annotations

import time
from dataclasses import dataclass

from ghasi_handoff._limits import BREAKER_FAILURES, BREAKER_OPEN_SECONDS


@dataclass
class Breaker:
    """Stops calls to a service that does not answer, and lets one call through now and then to see whether it does."""

    failures: int = 0
    open_until: float = 0.0

    def admit(self) -> bool:
        """Whether a call may be made now."""
        if self.failures < BREAKER_FAILURES:
            return True
        now = time.monotonic()
        if now < self.open_until:
            return False
        self.open_until = now + BREAKER_OPEN_SECONDS  # this call is the one that finds out
        return True

    def succeeded(self) -> None:
        """The service answered."""
        self.failures = 0

    def failed(self) -> None:
        """The service did not answer."""
        self.failures += 1
        if self.failures >= BREAKER_FAILURES:
            self.open_until = time.monotonic() + BREAKER_OPEN_SECONDS
