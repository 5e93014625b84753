"""Clock readings, aware datetimes and durations <-> whole Unix seconds."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from ghasi_handoff._limits import MAX_SECONDS
from ghasi_handoff.errors import ConfigurationError, HandoffError

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


def read_clock(clock: Callable[[], float]) -> float:
    """One reading of `clock`, in Unix seconds with their fraction. Floor it before comparing."""
    reading = clock()
    # The comparison is false for NaN too. bool is an int; a clock that says True is no clock.
    if type(reading) not in (float, int) or not 0 <= reading <= MAX_SECONDS:
        raise ConfigurationError("the clock must return Unix seconds: a finite number between 1970 and 9999")
    return reading


def to_seconds(moment: datetime, *, name: str, error: type[HandoffError]) -> int:
    """An aware datetime to Unix seconds, floored."""
    if not isinstance(moment, datetime):
        raise error(f"{name} must be a datetime, not {type(moment).__name__}")
    if moment.utcoffset() is None:
        raise error(f"{name} must be an aware datetime: say which time zone it is in, for example datetime.now(UTC)")
    seconds = (moment - _EPOCH) // _SECOND
    if not 0 <= seconds <= MAX_SECONDS:
        raise error(f"{name} must lie between 1970 and 9999")
    return seconds


def from_seconds(seconds: int) -> datetime:
    """Unix seconds to an aware datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def whole_seconds(
    duration: timedelta, *, name: str, least: int, most: int, error: type[HandoffError] = ConfigurationError
) -> int:
    """A timedelta to seconds."""
    if not isinstance(duration, timedelta):
        raise error(f"{name} must be a timedelta, not {type(duration).__name__}")
    seconds, rest = divmod(duration, _SECOND)
    if rest:
        raise error(f"{name} must be a whole number of seconds")
    if not least <= seconds <= most:
        raise error(f"{name} must be from {least} to {most} seconds, not {seconds}")
    return seconds


def iso_text(seconds: int) -> str:
    """Unix seconds as ``2026-11-23T09:30:00Z``."""
    return iso(from_seconds(seconds))


def iso(moment: datetime) -> str:
    """An aware datetime as ``2026-11-23T09:30:00Z``, in UTC and whole seconds."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
