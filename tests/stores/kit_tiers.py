"""The conformance kit's tests in two tiers: most of them in the fast one, those that take seconds in the thorough one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from ghasi_handoff.testing._promises import Promises

_Kit = TypeVar("_Kit", bound=type[Promises[Any]])

# Each starts three interpreters.
PROCESSES: Final = frozenset({"test_one_holder_among_processes"})
# Starts one. Stores of a kind put what they are told in the same place: one of them shows it in the fast tier.
CRASH: Final = frozenset({"test_crash_after_commit_is_found_again"})
# Waits for the clock, for up to two seconds. What a store of SQL or in memory keeps, it keeps until a purge.
RETENTION: Final = frozenset({"test_entry_is_held_until_its_retention_ends"})
# Races for more than half a second. That purges never reopen a handoff has other tests, too.
PURGE_RACE: Final = frozenset({"test_purge_in_the_middle_of_a_race"})


def without(names: frozenset[str]) -> Callable[[_Kit], _Kit]:
    """A class decorator: the kit but these tests."""
    return _left_out(lambda name: name in names, names)


def only(names: frozenset[str]) -> Callable[[_Kit], _Kit]:
    """A class decorator: these tests of the kit, and no others."""
    return _left_out(lambda name: name not in names, names)


def _left_out(leave_out: Callable[[str], bool], names: frozenset[str]) -> Callable[[_Kit], _Kit]:
    def decorate(kit: _Kit) -> _Kit:
        tests = {name for name in dir(kit) if name.startswith("test_") and getattr(kit, name) is not None}
        if not names <= tests:
            raise ValueError(f"{kit.__name__} has no {', '.join(sorted(names - tests))}")
        for name in filter(leave_out, tests):
            setattr(kit, name, None)
        return kit

    return decorate
