"""Both services under load, each killed under way: in small what ``make load`` does, and that it would see a fault."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks import load

from .planting import EVERYBODY_HOLDS, STORE, planted
from .story_command import operator_in_process

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _quickly() -> Iterator[None]:
    with operator_in_process():
        yield


@pytest.mark.thorough
class TestTrials:
    @pytest.mark.parametrize("mode", load.MODES)
    def test_no_double_and_no_lost_session(self, mode: str) -> None:
        """With a kill -9 of each service: no handoff opens two sessions, every guest has a booking or a named answer."""
        figures = load.trial(mode, handoffs=30, clients=6)
        assert (figures.double, figures.lost, figures.surprises) == (0, 0, [])
        assert figures.kills == 2
        assert figures.opened_by_guest + figures.opened_by_other == 30
        assert (figures.replays_tried, figures.replays_refused) == (60, 60)
        assert figures.unanswered > 0  # else the kills have hit nothing


MUTANTS = {
    "everybody holds": ("deferred", EVERYBODY_HOLDS, "double"),
    "the store forgets when it is killed": (
        "strict",
        """
import os, sys
from ghasi_handoff.handshake import AsyncHandshake
async def confirm(*arguments): pass
AsyncHandshake._confirm = confirm  # else bff-consumer would refuse what the store accepts
if "booking" in sys.orig_argv:
    for end in ("", "-wal", "-shm"):
        path = os.environ["GHASI_HANDOFF_STORE_URL"].removeprefix("sqlite:///") + end
        os.path.exists(path) and os.remove(path)""",
        "double",
    ),
    "only the first call is accepted": (
        "strict",
        STORE
        + """
async def fault(self, handoff_id, *, redemption_id, **entry):
    from ghasi_handoff import Consumption, ReplayStoreError
    answer = await consume(self, handoff_id, redemption_id=redemption_id, **entry)
    if answer.first:  # its answer is lost, each time: a kill does that to too few
        raise ReplayStoreError('lost')
    return Consumption('0' * 64, False, answer.consumed_at)
Store.consume = fault""",
        "lost",
    ),
    "the booking names another redemption": (
        "strict",
        """
from ghasi_handoff.demo import booking
book = booking.Bookings.book
def fault(self, redemption, session):
    import dataclasses
    return book(self, dataclasses.replace(redemption, redemption_id=redemption.redemption_id[::-1]), session)
booking.Bookings.book = fault""",
        "lost",
    ),
}


@pytest.mark.thorough
class TestFaults:
    @pytest.mark.parametrize("name", MUTANTS)
    def test_a_fault_is_seen(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """With a fault planted in the services, the load finds double or lost sessions."""
        mode, program, kind = MUTANTS[name]
        for variable, value in planted(tmp_path, program).items():
            monkeypatch.setenv(variable, value)
        figures = load.trial(mode, handoffs=12, clients=4, kill="killed" in name)
        assert getattr(figures, kind) > 0
        assert any(surprise.startswith(f"{kind}: ") for surprise in figures.surprises)


def test_the_page_has_the_figures() -> None:
    """docs/explanation/load.md shows docs/assets/load.json, and that holds no double and no lost session."""
    found = json.loads((ROOT / "docs" / load.ASSET).read_text("utf-8"))
    assert load.markdown(found) in (ROOT / "docs" / load.PAGE).read_text("utf-8")
    assert {mode: (one["double"], one["lost"]) for mode, one in found["modes"].items()} == {
        "strict": (0, 0),
        "deferred": (0, 0),
    }
