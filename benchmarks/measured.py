"""Work, the same number of times in each run -> pytest-benchmark. What every suite is measured by.

Counts are fixed, so that tables and queues are as full in one run as in the next. The garbage collector is off, and
what is measured has been tried before: the suites check it outside the timed part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Protocol, TypeVar

_T = TypeVar("_T")

# Calls before the first that counts: caches fill, connections open.
WARM_UP: Final = 20


class Benchmark(Protocol):
    """What pytest-benchmark's fixture is to these suites; it has no types of its own."""

    group: str | None
    enabled: bool

    def pedantic(
        self, target: Callable[[], object], *, rounds: int, iterations: int = 1, warmup_rounds: int = 0
    ) -> object:
        """Time `rounds` times `iterations` calls; where benchmarks are disabled, call once."""
        ...


def measure(benchmark: Benchmark, work: Callable[[], object], *, rounds: int, iterations: int = 1) -> None:
    """The same work again and again. What is short needs many iterations a round, so that the clock costs nothing."""
    warm_up = max(1, WARM_UP // iterations)
    benchmark.pedantic(work, rounds=rounds, iterations=iterations, warmup_rounds=warm_up)


def measure_each(
    benchmark: Benchmark,
    work: Callable[[_T], object],
    things: Callable[[int], Iterable[_T]],
    *,
    rounds: int,
    iterations: int = 1,
) -> None:
    """Work on another thing in each call. `things` makes that many, before the clock is started."""
    warm_up = max(1, WARM_UP // iterations)
    # One more: after rounds of several iterations pytest-benchmark calls once for the result.
    needed = (warm_up + rounds) * iterations + 1 if benchmark.enabled else 1
    left = iter(list(things(needed)))
    benchmark.pedantic(lambda: work(next(left)), rounds=rounds, iterations=iterations, warmup_rounds=warm_up)
