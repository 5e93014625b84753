"""A clock that a test moves -> `clock=` of everything that takes one."""

from __future__ import annotations

import time
from datetime import datetime

from ghasi_handoff._times import from_seconds, to_seconds
from ghasi_handoff.errors import ConfigurationError


class FrozenClock:
    """A clock that stands still until a test moves it. Give the same one to both services and to the browser.

    Args:
        at: Aware datetime at which it stands, floored to whole seconds; by default the present.

    Raises:
        ConfigurationError: `at` is naive, or no datetime.

    >>> from datetime import UTC, datetime
    >>> clock = FrozenClock(datetime(2026, 11, 23, 9, 30, tzinfo=UTC))
    >>> clock()
    1795426200.0
    >>> clock.forward(300)
    >>> clock.now.isoformat()
    '2026-11-23T09:35:00+00:00'
    """

    def __init__(self, at: datetime | None = None) -> None:
        self._reading = float(int(time.time()) if at is None else to_seconds(at, name="at", error=ConfigurationError))

    def __call__(self) -> float:
        """Unix seconds."""
        return self._reading

    @property
    def now(self) -> datetime:
        """The same as an aware datetime in whole seconds: the ``now=`` of `KeyRing.generate`, say."""
        return from_seconds(int(self._reading))

    def forward(self, seconds: float) -> None:
        """Move the clock ahead.

        Args:
            seconds: By how much; a fraction counts.

        Raises:
            ConfigurationError: `seconds` is negative, or no finite number.
        """
        # The comparison is false for NaN, too.
        if type(seconds) not in (float, int) or not 0 <= seconds < float("inf"):
            raise ConfigurationError("a clock is moved by a number of seconds, 0 or more")
        self._reading += seconds
