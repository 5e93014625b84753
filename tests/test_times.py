"""Clock readings, datetimes and durations, as whole Unix seconds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from ghasi_handoff import ConfigurationError
from ghasi_handoff._times import from_seconds, iso_text, read_clock, to_seconds, whole_seconds


@pytest.mark.parametrize(
    "reading", [float("nan"), float("inf"), -float("inf"), -1, -0.5, 253402300800, 1e300, "5", None, True]
)
def test_a_broken_clock_is_refused(reading: object) -> None:
    """A clock that does not give Unix seconds between 1970 and 9999 is an error, not a time."""
    with pytest.raises(ConfigurationError):
        read_clock(lambda: reading)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("reading", [0, 0.0, 5, 5.9, 253402300799])
def test_a_clock_may_give_fractions(reading: float) -> None:
    """Whole and fractional readings are both fine."""
    assert read_clock(lambda: reading) == reading


def test_datetimes_are_floored_exactly() -> None:
    """The last microsecond of a second belongs to it, in any time zone, without floating-point error."""
    late = datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
    assert to_seconds(late, name="x", error=ConfigurationError) == 253402300799
    east = datetime(2026, 11, 23, 11, 30, 0, 999999, timezone(timedelta(hours=2)))
    assert to_seconds(east, name="x", error=ConfigurationError) == 1795426200
    assert from_seconds(1795426200) == datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment", [datetime(2026, 11, 23), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), 5, None, "2026-11-23"]
)
def test_a_moment_must_be_an_aware_datetime(moment: object) -> None:
    """A naive datetime, one before 1970 or another type is refused, by name."""
    with pytest.raises(ConfigurationError, match="^sign_from must"):
        to_seconds(moment, name="sign_from", error=ConfigurationError)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "duration", [timedelta(0), timedelta(seconds=-1), timedelta(seconds=61), timedelta(seconds=1.5), 5, None]
)
def test_a_duration_must_be_whole_seconds_within_bounds(duration: object) -> None:
    """Zero, negative, over the cap, fractional or no timedelta: refused, by name."""
    with pytest.raises(ConfigurationError, match="^leeway must"):
        whole_seconds(duration, name="leeway", least=1, most=60, error=ConfigurationError)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "1970-01-01T00:00:00Z"), (1795426200, "2026-11-23T09:30:00Z"), (253402300799, "9999-12-31T23:59:59Z")],
)
def test_a_time_is_written_in_utc_to_the_second(seconds: int, text: str) -> None:
    """The text is ISO 8601 in UTC, without fractions, and reads back as the same second."""
    assert iso_text(seconds) == text
    assert to_seconds(datetime.fromisoformat(text), name="x", error=ConfigurationError) == seconds
