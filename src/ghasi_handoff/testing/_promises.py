"""The promises of a replay store, one test each, for both kinds of stores. A subclass says how a store is called."""

from __future__ import annotations

from typing import TypeVar

from ghasi_handoff.testing._clock_promises import ClockPromises
from ghasi_handoff.testing._entry_promises import EntryPromises
from ghasi_handoff.testing._holder_promises import HolderPromises

_S = TypeVar("_S")


class Promises(HolderPromises[_S], EntryPromises[_S], ClockPromises[_S]):
    """What both kits share; see `ReplayStoreConformance`."""
