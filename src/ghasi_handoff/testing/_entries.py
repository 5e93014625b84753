"""What a store is asked in tests, what it answers, and whether the answers can all be true."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, NamedTuple, NoReturn, TypeAlias

from ghasi_handoff.errors import ConfigurationError, HandoffError, ReplayStoreError
from ghasi_handoff.replay import Consumption

SCOPE: Final = "bff-consumer\nbff-tenant-booking"
# A token of 300 s, verified with a leeway of 10 s: 300 + 2 * 10 + 120.
RETENTION_SECONDS: Final = 440


class Entry(NamedTuple):
    """One consume: the arguments, in their order."""

    handoff_id: str
    scope: str
    redemption_id: str
    consumed_at: int
    retain_until: int

    @property
    def arguments(self) -> dict[str, Any]:
        """Those of ``consume`` that are given by name."""
        return {name: value for name, value in self._asdict().items() if name != "handoff_id"}


class Purge(NamedTuple):
    """One purge, by a clock that shows `now`."""

    now: int


class Pause(NamedTuple):
    """Nothing, for some seconds."""

    seconds: float


class Advance(NamedTuple):
    """The store's own clock is moved by some seconds."""

    seconds: float


Step: TypeAlias = Entry | Purge | Pause | Advance
Outcome: TypeAlias = Consumption | HandoffError
Told: TypeAlias = tuple[Entry, Outcome]


def handoff_id_at(seconds: int, n: int = 0) -> str:
    """A handoff id (UUIDv7) of that time.

    Args:
        seconds: Unix seconds, before the year 10889: the id has 48 bits for its milliseconds.
        n: 0 to 2**48 - 1. Another number makes another id of the same millisecond.

    Raises:
        ConfigurationError: An argument does not fit into the id.
    """
    if not 0 <= seconds < 2**48 // 1000 or not 0 <= n < 2**48:
        raise ConfigurationError("seconds and n must fit into 48 bits of a UUIDv7, seconds as milliseconds")
    stamp = f"{seconds * 1000:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-7000-8000-{n:012x}"


def redemption_id_of(n: int) -> str:
    """The redemption id of caller `n`: 64 hexadecimal digits that end with the number."""
    return f"{n:x}".rjust(64, "e")


def broken(what: str) -> NoReturn:
    """Fail: a promise is not kept. Not by `assert`, which does nothing under ``python -O``."""
    raise AssertionError(what)


def answer_of(entry: Entry, outcome: Outcome) -> Consumption:
    """The outcome; fail unless it is an answer."""
    if isinstance(outcome, HandoffError):
        broken(f"{entry.handoff_id} was refused, but the store has to answer: {outcome!r}")
    if not isinstance(outcome, Consumption):
        broken(f"{entry.handoff_id} was answered by {outcome!r}, which is no Consumption")
    return outcome


def agree(told: Iterable[Told]) -> None:
    """Fail unless all answers can be true together: each handoff has one holder at most, since one moment."""
    by_key: dict[tuple[str, str], list[Told]] = {}
    for entry, outcome in told:
        by_key.setdefault((entry.handoff_id, entry.scope), []).append((entry, outcome))
    for (handoff_id, _), about in by_key.items():
        answers = [
            (entry, answer_of(entry, outcome)) for entry, outcome in about if not isinstance(outcome, ReplayStoreError)
        ]
        named = {(answer.holder, answer.consumed_at) for _, answer in answers}
        if len(named) > 1:
            broken(f"{handoff_id} has more than one holder, or one since several moments: {sorted(named)}")
        # An error may hide a consume that won, so whoever asked can be the holder, also without an answer.
        if not named <= {(entry.redemption_id, entry.consumed_at) for entry, _ in about}:
            broken(f"{handoff_id} is held as nobody asked for it: {sorted(named)}")
        firsts = [(entry.redemption_id, entry.consumed_at) for entry, answer in answers if answer.first]
        if len(firsts) > 1:
            broken(f"{handoff_id} was consumed first {len(firsts)} times: {firsts}")
        if not named.issuperset(firsts):
            broken(f"{handoff_id} was consumed first by {firsts}, and is held by {sorted(named)}")


def held_by(entry: Entry, told: Iterable[Told]) -> None:
    """Fail unless every outcome is an answer that names the holder and the moment of `entry`."""
    for asked, outcome in told:
        answer = answer_of(asked, outcome)
        if (answer.holder, answer.consumed_at) != (entry.redemption_id, entry.consumed_at):
            broken(
                f"{entry.handoff_id} is held by {entry.redemption_id} since {entry.consumed_at}, "
                f"but {asked.redemption_id} was told {answer}"
            )


def refused(told: Iterable[Told]) -> None:
    """Fail if an outcome is an answer."""
    for entry, outcome in told:
        if not isinstance(outcome, HandoffError):
            broken(f"{entry} must be refused, but was answered: {outcome}")
