"""What the tests of the stores consume: handoff ids of a chosen time, redemption ids, whole entries."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Final, Protocol, TypedDict

import pytest

from ghasi_handoff import Consumption, ReplayStoreError

NOW: Final = 1_800_000_000
# The design's number (section 5), not the code's: a purge keeps ids that are younger than this.
HORIZON: Final = 3840
SCOPE: Final = "bff-consumer\nbff-tenant-booking"
# For whatever has to end "within its timeout": what a busy machine may need on top, in seconds.
SLACK: Final = 10.0


class Entry(TypedDict):
    """What a store is told beside the handoff id."""

    scope: str
    redemption_id: str
    consumed_at: int
    retain_until: int


class Store(Protocol):
    """What every store can do, once the asynchronous ones are made to wait for the answer."""

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption: ...

    def purge(self, now: int | datetime | None = None) -> int: ...

    def close(self) -> None: ...


class OpenStore(Protocol):
    """Opens a store of the kind that the test runs for."""

    def __call__(self, *, clock: Callable[[], float] = ...) -> Store: ...


def handoff_id(seconds: int, number: int = 0, *, milliseconds: int = 0) -> str:
    """A UUIDv7 of that time. Different numbers make different ids."""
    stamp = f"{seconds * 1000 + milliseconds:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7000-8000-{number:012x}"


def handoff_ids(count: int, *, seconds: int = NOW, start: int = 0) -> list[str]:
    """Different ids of one second."""
    return [handoff_id(seconds, number) for number in range(start, start + count)]


def redemption_id(number: int) -> str:
    """One browser's redemption id. Easy to find in a text that should not hold it."""
    return f"{number:x}".rjust(64, "e")


def entry(number: int = 1, *, scope: str = SCOPE, at: int = NOW, until: int | None = None) -> Entry:
    """The entry of the browser `number`, kept for 440 s: a token of 300 s, verified with a leeway of 10 s."""
    return Entry(
        scope=scope,
        redemption_id=redemption_id(number),
        consumed_at=at,
        retain_until=at + 440 if until is None else until,
    )


def assert_refused(store: Store, handoff: str, told: Entry) -> ReplayStoreError:
    """The store refuses the entry, and says so in a way that may be logged."""
    with pytest.raises(ReplayStoreError) as caught:
        store.consume(handoff, **told)
    assert told["redemption_id"] not in f"{caught.value} {caught.value!r} {caught.value.log_fields}"
    assert set(caught.value.log_fields) <= {"handoff_id"}
    assert set(caught.value.log_fields.values()) <= {handoff}
    return caught.value


def assert_held(store: Store, ids: Iterable[str], number: int, *, by_another: int = 999) -> None:
    """Every one of `ids` belongs to the browser `number`: `by_another` is told so when it tries."""
    for handoff in ids:
        answer = store.consume(handoff, **entry(by_another))
        assert (answer.holder, answer.first) == (redemption_id(number), False)
