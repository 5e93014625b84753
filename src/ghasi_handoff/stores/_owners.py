"""Who uses a file or a pool: the replay store or the handoff log. So a failure is raised as its owner's error."""

from __future__ import annotations

from typing import Final, NamedTuple

from ghasi_handoff.errors import HandoffLogError, ReplayStoreError


class Owner(NamedTuple):
    """What messages and errors say of the user of a connection."""

    noun: str
    error: type[ReplayStoreError]
    made_by: str  # the command that makes its tables

    def wrong_version(self, product: str, found: object, needed: int) -> ReplayStoreError:
        """The tables are of another release."""
        return self.error(f"{product}: the {self.noun}'s schema has version {found}; this release needs {needed}")

    def no_file(self) -> ReplayStoreError:
        """There is no SQLite file."""
        return self.error(f"SQLite: there is no such file; `{self.made_by}` or the first use makes it")


REPLAY_STORE: Final = Owner("replay store", ReplayStoreError, "ghasi-handoff store init")
HANDOFF_LOG: Final = Owner("handoff log", HandoffLogError, "ghasi-handoff handoff init")
