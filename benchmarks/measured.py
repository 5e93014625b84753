"""Work and its yardstick, in turns -> pytest-benchmark, and the yardstick's own time. What every suite measures with.

A yardstick is the least that could stand in for the work, and no part of the library. The two take turns in one
process, round by round, so that whatever else the machine does meets both. What is compared later is their ratio, by
the fastest tenth of the rounds of each: on a busy machine the median call waits for a processor or the disk, and two
calls that wait look alike, however different their work is. A
round is one call, or as many as it takes to make the clock's own cost nothing: then its time is that of all of them. It
is kept under half a millisecond: a longer one is interrupted for somebody else's work more often than its yardstick is.

The number of rounds is fixed, so that tables are as full in one run as in the next. The garbage collector is off, and
the suites have tried both sides before.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any, Final, Protocol, TypeVar

from benchmarks import surroundings

_T = TypeVar("_T")

# Rounds before the first that counts: caches fill, connections open.
WARM_UP_ROUNDS: Final = 10
# The share of the rounds that are at least so fast.
FASTEST: Final = 0.1


class Benchmark(Protocol):
    """What pytest-benchmark's fixture is to these suites; it has no types of its own."""

    group: str | None
    enabled: bool
    extra_info: dict[str, Any]

    def pedantic(
        self, target: Callable[..., object], *, setup: Callable[[], object], rounds: int, warmup_rounds: int
    ) -> object:
        """Time `target` with the arguments that `setup` gives, so often; once where benchmarks are disabled."""
        ...


def measure(
    benchmark: Benchmark,
    work: Callable[[], object],
    yardstick: Callable[[], object],
    *,
    rounds: int,
    calls: int = 1,
) -> None:
    """The same work again and again."""
    measure_each(
        benchmark, lambda _: work(), lambda _: yardstick(), lambda count: [None] * count, rounds=rounds, calls=calls
    )


def measure_each(
    benchmark: Benchmark,
    work: Callable[[_T], object],
    yardstick: Callable[[_T], object],
    things: Callable[[int], Iterable[_T]],
    *,
    rounds: int,
    calls: int = 1,
) -> None:
    """Another thing in each call, of those that `things` makes beforehand; the yardstick gets the same."""
    needed = calls * (WARM_UP_ROUNDS + rounds if benchmark.enabled else 1)
    left = iter(list(things(needed)))
    took: list[float] = []

    def measure_yardstick() -> tuple[tuple[list[_T]], dict[str, Any]]:
        batch = list(islice(left, calls))
        gc.disable()
        start = time.perf_counter()
        for thing in batch:
            yardstick(thing)
        took.append(time.perf_counter() - start)
        gc.enable()
        return (batch,), {}

    def round_of_work(batch: list[_T]) -> None:
        for thing in batch:
            work(thing)

    benchmark.pedantic(round_of_work, setup=measure_yardstick, rounds=rounds, warmup_rounds=WARM_UP_ROUNDS)
    benchmark.extra_info["calls"] = calls
    benchmark.extra_info["yardstick"] = surroundings.percentile(took[-rounds:], FASTEST)
