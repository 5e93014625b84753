"""What stores report: the hazards that two clocks show, and an entry that nobody purged."""

from __future__ import annotations

from datetime import timedelta

import pytest

from ghasi_handoff._limits import HORIZON_SECONDS
from ghasi_handoff._store_reports import StoreReport, clock_hazards, purge_hazards

NOW = 1_795_426_200
LEEWAY = timedelta(seconds=10)


@pytest.mark.parametrize(
    ("theirs", "newest", "codes"),
    [
        (None, None, []),
        (NOW + 10, NOW + 10, []),
        (NOW - 10, None, []),
        (NOW + 10.5, None, ["clock_differs"]),
        (NOW - 10.5, None, ["clock_differs"]),
        (NOW, NOW + 11, ["clock_behind"]),
        (NOW, NOW - 4000, []),
        (NOW + 11, NOW + 11, ["clock_differs", "clock_behind"]),
    ],
)
def test_a_clock_further_away_than_the_leeway_is_a_hazard(
    theirs: float | None, newest: int | None, codes: list[str]
) -> None:
    """A server's clock counts in both directions. An id counts only if it is ahead: old ids are no sign of anything."""
    found = clock_hazards(NOW, theirs, newest, LEEWAY)
    assert [hazard.code for hazard in found] == codes


def test_a_report_without_hazards_is_ok() -> None:
    """A report is ok if and only if it names no hazard."""
    hazards = tuple(clock_hazards(NOW, NOW + 99, None, LEEWAY))
    assert StoreReport("a server", {}, ()).ok
    assert not StoreReport("a server", {}, hazards).ok


def test_an_entry_that_a_purge_should_have_removed_a_day_ago_is_a_hazard() -> None:
    """A purge may remove an entry after the horizon. A day later it is a sign that none runs."""
    allowed = HORIZON_SECONDS + 24 * 3600
    assert purge_hazards(NOW, None) == []
    assert purge_hazards(NOW, NOW - allowed) == []
    assert [hazard.code for hazard in purge_hazards(NOW, NOW - allowed - 1)] == ["purge_overdue"]
