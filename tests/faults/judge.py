"""Answers that callers got, and a store's answers afterwards -> a tally. Every trial is judged here."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from ghasi_handoff import Consumption, ReplayStoreError

from .products import SCOPE


class Call(NamedTuple):
    """One consume, as a caller made it."""

    handoff_id: str
    redemption_id: str
    consumed_at: int
    retain_until: int


@dataclass
class Tally:
    """Sums of one or more trials.

    Attributes:
        trials: How often the fault was made.
        acknowledged: Answers that callers were given.
        in_doubt: Calls that ended in `ReplayStoreError`.
        two_holders: Handoffs for which two answers, then or afterwards, named different holders.
        forgotten: Answers that the store did not know any more afterwards.
    """

    trials: int = 0
    acknowledged: int = 0
    in_doubt: int = 0
    two_holders: int = 0
    forgotten: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(Tally)))


class Ledger:
    """The answer that each caller got. Many threads write to it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.told: list[tuple[Call, tuple[str, int] | None]] = []

    def ask(self, store: Any, call: Call) -> tuple[str, int] | None:
        """Consume, and write down what came of it; None is in doubt."""
        try:
            answer: Consumption = store.consume(
                call.handoff_id,
                scope=SCOPE,
                redemption_id=call.redemption_id,
                consumed_at=call.consumed_at,
                retain_until=call.retain_until,
            )
        except ReplayStoreError:
            self.write(call, None)
            return None
        self.write(call, (answer.holder, answer.consumed_at))
        return answer.holder, answer.consumed_at

    def write(self, call: Call, told: tuple[str, int] | None) -> None:
        """Write down what a caller was told."""
        with self._lock:
            self.told.append((call, told))

    @property
    def answers(self) -> int:
        """How many calls have come to an end, well or not."""
        return len(self.told)

    def judged(self, store: Any, *, again: Callable[[Call], bool] = lambda _: True) -> Tally:
        """Ask a sound store once more, as every caller would, and compare.

        Args:
            store: Another store object, of the same entries.
            again: Which callers ask again; those of a purged handoff cannot.
        """
        before = list(self.told)
        tally = Tally(
            trials=1,
            acknowledged=sum(told is not None for _, told in before),
            in_doubt=sum(told is None for _, told in before),
        )
        holders: dict[str, set[tuple[str, int]]] = {}
        for call, told in before:
            if told is not None:
                holders.setdefault(call.handoff_id, set()).add(told)
        # Callers that asked alike ask once. A few at once: that is what a store is fast at.
        asking = list(dict.fromkeys(call for call, _ in before if again(call)))
        after = Ledger()
        with ThreadPoolExecutor(8) as threads:
            now = dict(zip(asking, threads.map(lambda call: after.ask(store, call), asking), strict=True))
        for call, told in before:
            if call in now:
                answer = now[call]
                if answer is None:
                    raise AssertionError("the store does not answer after the fault")
                holders.setdefault(call.handoff_id, set()).add(answer)
                tally.forgotten += told is not None and answer != told
        tally.two_holders = sum(len(told) > 1 for told in holders.values())
        return tally
