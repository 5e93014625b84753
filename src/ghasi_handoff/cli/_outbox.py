"""The group ``outbox``: what bff-consumer is still to be told, listed, and delivered by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ghasi_handoff._times import read_clock
from ghasi_handoff.cli import _options
from ghasi_handoff.cli._input import read_ring
from ghasi_handoff.cli._options import OrderedGroup, StoreOptions, store_options
from ghasi_handoff.cli._output import Answer, Clock, answers, facts_of, iso, progress_shown
from ghasi_handoff.errors import ReplayedTokenError
from ghasi_handoff.replay import OutboxEntry
from ghasi_handoff.stores._open import require_extra

if TYPE_CHECKING:
    from ghasi_handoff.handshake import HandoffEvent


@click.group(cls=OrderedGroup, short_help="List and deliver what bff-consumer is still to be told.")
def outbox() -> None:
    """List and deliver what bff-consumer is still to be told, from the outbox of a SQLite or PostgreSQL store.

    The service's own worker does this all the time; these commands are for when it could not.
    """


@outbox.command("list")
@store_options
@_options.limit
@answers
def list_(clock: Clock, *, given: StoreOptions, limit: int) -> Answer:
    """List what waits: first what was given up, then the oldest. Changes nothing.

    Exit code 1 if anything was given up.
    """
    with given.opened_outbox(clock) as (_, waiting):
        stats = waiting.stats()
        entries = waiting.entries(limit=limit)
    now = int(read_clock(clock))
    oldest = stats.oldest_consumed_at
    age = "" if oldest is None else f", the oldest {max(0, now - oldest)} s old"
    message = f"{stats.pending} waiting{age}; {stats.dead} given up"
    return Answer(
        message=message,
        facts={**facts_of(stats), "entries": [facts_of(entry) for entry in entries]},
        text="\n".join([*(_row(entry, now) for entry in entries), message]),
        problem="given_up" if stats.dead else None,
    )


@outbox.command(short_help="Deliver what waits.")
@store_options
@_options.keys_file
@_options.setting("--consumer-url", "GHASI_HANDOFF_CONSUMER_URL", "URL", "Where bff-consumer is.", required=True)
@click.option("--allow-http", is_flag=True, help="Allow plain http to another machine, where a mesh encrypts.")
@click.option("--now", "at_once", is_flag=True, help="Also what is not due yet.")
@click.option("--dead", is_flag=True, help="Also what was given up.")
@answers
def drain(
    clock: Clock,
    *,
    given: StoreOptions,
    keys_file: str | None,
    consumer_url: str,
    allow_http: bool,
    at_once: bool,
    dead: bool,
) -> Answer:
    """Deliver what waits, until nothing is due any more or bff-consumer does not answer.

    Exit code 1 if something could not be delivered.

    Safe beside the service's own workers: a redemption that is reported twice gets the same answer.
    """
    require_extra("calling bff-consumer", driver="httpx2", extra="client")
    from ghasi_handoff.handshake import ConsumeClient, Deliveries, DeliveryRefused, LocalRowLost, OutboxWorker

    refusals: list[dict[str, str | None]] = []

    def note(event: HandoffEvent) -> None:
        if isinstance(event, (DeliveryRefused, LocalRowLost)):
            code = event.code if isinstance(event, DeliveryRefused) else ReplayedTokenError.code
            refusals.append({"handoff_id": event.handoff_id, "code": code})

    ring = read_ring(keys_file)
    total = Deliveries()
    with (
        ConsumeClient(consumer_url, keys=ring, allow_http=allow_http, clock=clock) as client,
        given.opened_outbox(clock) as (store, waiting),
        progress_shown("{} tried ...") as progress,
    ):
        left = waiting.stats().pending
        if dead:
            left += waiting.revive()
        # In this mode a delivery is no alarm: who drains by hand knows that it comes late.
        worker = OutboxWorker(store, client, mode="deferred", on_event=note, clock=clock)
        while left > 0:
            done = worker.deliver(whether_due=not at_once)
            total = Deliveries(
                total.delivered + done.delivered,
                total.refused + done.refused,
                total.postponed + done.postponed,
                total.given_up + done.given_up,
            )
            left -= done.total
            if progress is not None:
                progress(total.total)
            if done.delivered + done.refused == 0:
                break  # nothing is due, or nobody answers
        stats = waiting.stats()
    message = (
        f"{total.delivered} delivered, {total.refused} refused for good, {total.postponed} to be tried again,"
        f" {total.given_up} given up; {stats.pending} waiting"
    )
    rows = [f"{refusal['handoff_id']}  refused: {refusal['code']}" for refusal in refusals]
    return Answer(
        message=message,
        facts={**facts_of(total), **facts_of(stats), "refusals": refusals},
        text="\n".join([*rows, message]),
        problem="undelivered" if total.postponed + total.given_up else None,
    )


def _row(entry: OutboxEntry, now: int) -> str:
    if entry.dead_at is not None:
        state = f"given up {iso(entry.dead_at)}: {entry.outcome}"
    elif entry.attempts:
        wait = max(0, entry.due_at - now)
        state = f"{entry.attempts} tries, the last: {entry.outcome or 'under way'}; next in {wait} s"
    else:
        state = "not tried yet"
    return f"{entry.handoff_id}  redeemed {iso(entry.consumed_at)}  {state}"
