"""What the tests of the conformance kit stand on: hooks, a place for each test, steps and races. `Stage`."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, TypeAlias, TypeVar

import pytest

from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.testing._entries import (
    RETENTION_SECONDS,
    SCOPE,
    Entry,
    Outcome,
    Step,
    Told,
    answer_of,
    broken,
    handoff_id_at,
    held_by,
    redemption_id_of,
)

_S = TypeVar("_S")
_Test = TypeVar("_Test", bound=Callable[..., None])
# A store, and what one caller does with it, in this order.
Lane: TypeAlias = tuple[_S, Sequence[Step]]

# A race takes far less. A store that needs more hangs.
RACE_SECONDS: Final = 60.0
STRANGER: Final = "f" * 64

# The tests that need a store of some kind: what must be stated of it.
_conditions: Final[dict[str, tuple[Callable[[type[Stage[Any]]], bool], Any]]] = {}


def only_if(stated: Callable[[type[Stage[Any]]], bool]) -> Callable[[_Test], _Test]:
    """Collect a test only for stores of which this is stated. It is not skipped elsewhere: it is not there."""

    def register(test: _Test) -> _Test:
        _conditions[test.__name__] = (stated, test)
        return test

    return register


def gives(hook: str) -> Callable[[type[Stage[Any]]], bool]:
    """Whether a test class has its own method of that name."""
    return lambda kit: getattr(kit, hook) not in (None, getattr(Stage, hook))


class Stage(Generic[_S]):
    """How a test of either kit uses a store; see `ReplayStoreConformance`."""

    durable: ClassVar[bool] = True
    processes: ClassVar[bool] = True
    purges: ClassVar[bool] = True
    timeout: ClassVar[float] = 2.0

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for name, (stated, test) in _conditions.items():
            inherited = getattr(cls, name, test)
            if name in cls.__dict__ or inherited not in (None, test) or not hasattr(cls, name):
                continue  # somebody's own test of that name, or a test of the other kit
            setattr(cls, name, test if stated(cls) else None)

    # Hooks: the first is needed, the others are for stores that can do more.

    def make_store(self, place: Path) -> _S:
        """A store, not used yet. The same place means the same data, another place other data.

        Called for every store object that a test needs, also in other processes.

        Args:
            place: An empty directory at first. A store on a server takes its name, to keep the tests' data apart.
        """
        raise NotImplementedError("make_store(place) must return the store to be tested")

    def make_failing_store(self, place: Path) -> _S:
        """A store whose backend does not answer: not to be reached, or hanging until the store is closed.

        By default there is none, and its tests are not collected. Two kinds of failure are two test classes.
        """
        raise NotImplementedError

    def make_full_store(self, place: Path, capacity: int) -> _S:
        """A store that is full after about `capacity` entries. By default there is none: its test is not collected."""
        raise NotImplementedError

    def purge(self, store: Any, now: int) -> object:
        """Forget what is old, by a clock that shows `now`. By default calls ``store.purge(now=now)``."""
        return store.purge(now=now)

    def advance(self, store: Any, seconds: float) -> object:
        """Move the clock that was injected in `store`. By default there is none, and its test is not collected."""
        raise NotImplementedError

    # How a store is used.

    @contextmanager
    def stage(self, place: Path) -> Generator[None]:
        """Let one promise be tested at `place`, an empty directory; afterwards close what it opened.

        pytest does this for every test. Without pytest: ``with kit.stage(place): kit.test_scopes_are_apart()``.
        """
        self.place = place
        self.now = int(time.time())
        with ExitStack() as self._closing:
            yield

    @pytest.fixture(autouse=True)
    def _on_stage(self, tmp_path: Path) -> Generator[None]:
        place = tmp_path / "store"
        place.mkdir()
        with self.stage(place):
            yield

    def perform(self, store: _S, step: Step) -> Outcome | None:
        """One step, and what came of it. A consume that is refused has an error for its outcome."""
        raise NotImplementedError

    def race(self, lanes: Sequence[Lane[_S]], *, within: float = RACE_SECONDS) -> list[Told]:
        """All lanes at once. The outcomes of all consumes."""
        raise NotImplementedError

    def close_store(self, store: _S) -> None:
        raise NotImplementedError

    def keep(self, store: _S) -> _S:
        """Close the store after the test."""
        self._closing.callback(self.close_store, store)
        return store

    def open(self) -> _S:
        return self.keep(self.make_store(self.place))

    @contextmanager
    def using(self, store: _S) -> Generator[_S]:
        """Close the store before the test goes on."""
        try:
            yield store
        finally:
            self.close_store(store)

    def ask(self, store: _S, entry: Entry) -> Outcome:
        outcome = self.perform(store, entry)
        if outcome is None:
            broken(f"{entry.handoff_id} was answered by None, which is no Consumption")
        return outcome

    def ask_each(self, store: _S, entries: Iterable[Entry]) -> list[Told]:
        return [(entry, self.ask(store, entry)) for entry in entries]

    def entry(
        self, n: int = 0, *, caller: int = 1, at: int | None = None, scope: str = SCOPE, minted_at: int | None = None
    ) -> Entry:
        """The consume of handoff `n` by `caller`, whose clock shows `at`. Minted a few seconds ago, and valid."""
        minted = self.now - 5 if minted_at is None else minted_at
        retain_until = minted + RETENTION_SECONDS
        # Clocks of different callers differ, so that it shows whose moment was stored.
        consumed_at = minted + 5 + caller % 100 if at is None else at
        return Entry(handoff_id_at(minted, n), scope, redemption_id_of(caller), consumed_at, retain_until)

    def settle(self, store: _S, told: Sequence[Told]) -> list[Told]:
        """What was told, and what those are told who got an error and now ask again, one after the other."""
        again = self.ask_each(store, (entry for entry, outcome in told if isinstance(outcome, ReplayStoreError)))
        for entry, outcome in again:
            answer_of(entry, outcome)
        return [*told, *again]

    def check_held(self, store: _S, *entries: Entry) -> None:
        """Somebody else asks for each handoff, and is told the holder and the moment of its entry."""
        for entry in entries:
            held_by(entry, self.ask_each(store, [entry._replace(redemption_id=STRANGER)]))
