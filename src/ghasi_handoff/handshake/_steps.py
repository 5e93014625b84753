"""Where a handshake may die: every point between two of its lasting acts, by name.

Each step is passed once something has happened that outlives the process, or just before it does. A test kills a
process at each of them, and fails when one of them has no such test.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum


class Step(StrEnum):
    """A point in the course of a handoff."""

    ISSUE_MINTED = "issue.minted"  # the token is signed; the handoff log does not have it yet, and nobody has the token
    ISSUE_LOGGED = "issue.logged"  # the handoff log has it; the token is not returned yet
    REDEEM_VERIFIED = "redeem.verified"  # the token is verified; nothing is stored
    REDEEM_CONSUMED = "redeem.consumed"  # the replay store has committed, with its outbox entry; nobody has been called
    CALL_CHECKED = "call.checked"  # at bff-consumer: the call is authentic; the log is unchanged
    CALL_RECORDED = "call.recorded"  # at bff-consumer: the log says consumed; the answer is not sent
    REDEEM_CONFIRMED = "redeem.confirmed"  # bff-consumer has answered 200; the outbox entry is still there
    REDEEM_SETTLED = "redeem.settled"  # the outbox entry is gone; the guest has not been let through
    DELIVERY_LEASED = "delivery.leased"  # a worker has taken entries; it has delivered none
    DELIVERY_ANSWERED = "delivery.answered"  # bff-consumer has answered the worker; the entry is still there
    DELIVERY_SETTLED = "delivery.settled"  # the entry is gone; the worker has not told anybody


watchers: list[Callable[[Step], None]] = []


def reached(step: Step) -> None:
    """Tell the watchers, which only tests have, that `step` is reached."""
    for watcher in watchers:
        watcher(step)
