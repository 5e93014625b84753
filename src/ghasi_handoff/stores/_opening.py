"""Whose a file or a pool is, and how it is to be opened: what `_open` passes on to a product."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from ghasi_handoff._limits import DEFAULT_STORE_TIMEOUT_SECONDS
from ghasi_handoff.errors import HandoffLogError, ReplayStoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a store or a handoff log is to be opened.

    Attributes:
        create: Make a file that is not there. Otherwise a mistyped path is an error. The tables of a server are always
            the operator's to make.
        outbox: Write outbox entries, if the product has an outbox.
        timeout: Seconds that an operation may take.
        clock: Returns Unix seconds.
    """

    create: bool = False
    outbox: bool = False
    timeout: float = DEFAULT_STORE_TIMEOUT_SECONDS
    clock: Callable[[], float] = time.time


class Owner(NamedTuple):
    """Who uses a file or a pool: the replay store or the handoff log. Failures are raised as its error."""

    noun: str
    error: type[ReplayStoreError]
    made_by: str  # the command that makes its tables

    def wrong_version(self, product: str, found: object, needed: int) -> ReplayStoreError:
        """The tables are of another release."""
        return self.error(f"{product}: the {self.noun}'s schema has version {found}; this release needs {needed}")

    def closed(self, handoff_id: str | None = None) -> ReplayStoreError:
        """It was closed, and is used all the same."""
        return self.error(f"the {self.noun} is closed", handoff_id=handoff_id)

    def no_file(self) -> ReplayStoreError:
        """There is no SQLite file."""
        return self.error(f"SQLite: there is no such file; `{self.made_by}` or the first use makes it")


REPLAY_STORE: Final = Owner("replay store", ReplayStoreError, "ghasi-handoff store init")
HANDOFF_LOG: Final = Owner("handoff log", HandoffLogError, "ghasi-handoff handoff init")
