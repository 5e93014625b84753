"""What the conformance kit must catch: stores that each break one promise, and what they were made from, which breaks none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ghasi_handoff.testing._promises import Promises
from tests.stores.kit_tiers import CRASH, PROCESSES, RETENTION

from . import mutants
from .test_conformance import promises_of

pytestmark = pytest.mark.thorough


def broken_promises(
    kit: type[Promises[Any]], folder: Path, leave_out: frozenset[str] = frozenset()
) -> dict[str, Exception]:
    """Run every test of a kit but those left out. The ones that fail, by name, and why."""

    def run(name: str) -> Exception | None:
        stage = kit()
        (folder / name).mkdir()
        with stage.stage(folder / name):
            try:
                getattr(stage, name)()
            except Exception as exc:
                return exc
        return None

    names = [name for name in promises_of(kit) if name not in leave_out]
    # Side by side: most of the time they wait.
    with ThreadPoolExecutor(8) as threads:
        return {name: exc for name, exc in zip(names, threads.map(run, names), strict=True) if exc is not None}


@pytest.fixture(autouse=True)
def _switch_interval() -> Iterator[None]:
    """Races that run side by side cannot each put it back."""
    before = sys.getswitchinterval()
    yield
    sys.setswitchinterval(before)


class TestReferences:
    @pytest.mark.parametrize("kit", mutants.REFERENCES, ids=lambda kit: kit.__name__)
    def test_reference_keeps_every_promise(self, kit: type[Promises[Any]], tmp_path: Path) -> None:
        """What the mutants are made from is correct: what the kit finds in them is their own."""
        assert broken_promises(kit, tmp_path) == {}


class TestMutants:
    @pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda mutant: mutant.kit.__name__)
    def test_mutant_is_caught(self, mutant: mutants.Mutant, tmp_path: Path) -> None:
        """Each planted mutant breaks the promise that it was made to break, by a failed promise and not by some error."""
        # Tests that wait for the clock or start interpreters are left to the mutants that they are there for.
        found = broken_promises(mutant.kit, tmp_path, leave_out=(RETENTION | PROCESSES | CRASH) - {mutant.caught_by})
        assert isinstance(found.get(mutant.caught_by), AssertionError), found
        assert set(found) <= {mutant.caught_by, *mutant.also}
