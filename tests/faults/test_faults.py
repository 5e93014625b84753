"""The short form: every fault of every store once. The long form is ``make faults``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ghasi_handoff.stores.memory import MemoryReplayStore
from ghasi_handoff.stores.redis import RedisReplayStore

from .judge import Ledger, Tally
from .trials import FAULTS, LOSSY, Servers, call, servers


@pytest.fixture(scope="module")
def on() -> Iterator[Servers]:
    """Servers to make faults on."""
    with servers(in_memory=True) as made:
        yield made


@pytest.mark.thorough
@pytest.mark.parametrize(("fault", "store"), FAULTS)
def test_no_fault_makes_two_holders_or_forgets(fault: str, store: str, on: Servers) -> None:
    """After each fault every handoff has one holder, and what was acknowledged is still held, as guaranteed."""
    tally = FAULTS[fault, store](on)
    assert tally.acknowledged > 0
    if fault == LOSSY:
        # What a failover loses was never promised: it shows here, and in the guarantees.
        assert tally.forgotten == 50
        assert not RedisReplayStore.guarantees.survives_failover
    else:
        assert (tally.two_holders, tally.forgotten) == (0, 0), tally


@pytest.mark.parametrize("forget", [True, False])
def test_judge_sees_a_store_that_forgets(forget: bool) -> None:
    """The judge reports an entry that is gone, and two holders if somebody else got it meanwhile."""
    store, ledger = MemoryReplayStore(), Ledger()
    for number in range(5):
        ledger.ask(store, call(number, 1))
    if forget:
        del store._entries[next(iter(store._entries))]
        ledger.ask(store, call(0, 2))
    tally = ledger.judged(store)
    assert (tally.two_holders, tally.forgotten) == ((1, 1) if forget else (0, 0))
    assert tally + Tally(trials=1) == Tally(2, tally.acknowledged, 0, tally.two_holders, tally.forgotten)
