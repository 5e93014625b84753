"""How long a store may take to answer."""

from __future__ import annotations

from datetime import timedelta

from ghasi_handoff._limits import MAX_STORE_TIMEOUT_SECONDS
from ghasi_handoff.errors import ConfigurationError


def timeout_seconds(timeout: float | timedelta) -> float:
    """A store's `timeout` in seconds.

    Raises:
        ConfigurationError: Not a number or timedelta, not positive, or over 60 s.
    """
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, (int, float))
        or not 0 < seconds <= MAX_STORE_TIMEOUT_SECONDS
    ):
        raise ConfigurationError(f"timeout must be more than 0 and at most {MAX_STORE_TIMEOUT_SECONDS:g} seconds")
    return float(seconds)
