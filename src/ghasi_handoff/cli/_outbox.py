"""The group ``outbox``: what bff-consumer is still to be told, listed, and delivered by hand."""

from __future__ import annotations

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

import click

from ghasi_handoff._times import from_seconds, read_clock
from ghasi_handoff.cli._databases import STORE_VARIABLE, opened_outbox
from ghasi_handoff.cli._databases import timeout as timeout_option
from ghasi_handoff.cli._input import read_ring
from ghasi_handoff.cli._options import keys_file
from ghasi_handoff.cli._output import REFUSED, Answer, answers, iso
from ghasi_handoff.cli._progress import progress_shown
from ghasi_handoff.errors import ReplayedTokenError
from ghasi_handoff.stores._open import require_extra

if TYPE_CHECKING:
    from ghasi_handoff.cli._output import Clock
    from ghasi_handoff.handshake import HandoffEvent
    from ghasi_handoff.replay import OutboxEntry

_LISTED: Final = 100
_nowhere: Final = logging.NullHandler()
store_url: Final = click.option(
    "--store-url",
    metavar="URL",
    help=f"The replay store: sqlite:///… or postgresql://…. Without it, {STORE_VARIABLE}.",
)


@click.group(short_help="List and deliver what bff-consumer is still to be told.")
def outbox() -> None:
    """List and deliver what bff-consumer is still to be told, from the outbox of a SQLite or PostgreSQL store.

    The service's own worker does this all the time; these commands are for when it could not.
    """


@outbox.command("list")
@click.option(
    "--limit", metavar="N", type=click.IntRange(1, 10_000), default=_LISTED, show_default=True, help="At most."
)
@store_url
@timeout_option
@answers
def list_(clock: Clock, *, limit: int, store_url: str | None, timeout: float) -> Answer:
    """List what waits: what was given up first, then the oldest. Changes nothing.

    Exit code 1 if anything was given up.
    """
    with opened_outbox(store_url, clock, timeout) as (_, waiting):
        stats = waiting.stats()
        entries = waiting.entries(limit=limit)
    now = int(read_clock(clock))
    rows = [_row(entry, now) for entry in entries]
    oldest = stats.oldest_consumed_at
    age = "" if oldest is None else f", the oldest {max(0, now - oldest)} s old"
    rows.append(f"{stats.pending} waiting{age}; {stats.dead} given up")
    facts: dict[str, Any] = {"ok": stats.dead == 0, **asdict(stats), "entries": [asdict(entry) for entry in entries]}
    return Answer(facts=facts, text="\n".join(rows), status=0 if stats.dead == 0 else REFUSED)


@outbox.command()
@click.option(
    "--consumer-url", metavar="URL", required=True, envvar="GHASI_HANDOFF_CONSUMER_URL", show_envvar=True,
    help="Where bff-consumer is.",
)  # fmt: skip
@click.option("--dead", is_flag=True, help="Also what was given up.")
@click.option("--allow-http", is_flag=True, help="Plain http to another machine, where a mesh encrypts.")
@click.option("--now", "at_once", is_flag=True, help="Also what is not due yet.")
@keys_file
@store_url
@timeout_option
@answers
def drain(
    clock: Clock,
    *,
    consumer_url: str,
    allow_http: bool,
    dead: bool,
    at_once: bool,
    keys_file: str | None,
    store_url: str | None,
    timeout: float,
) -> Answer:
    """Deliver what waits, until nothing is due any more or bff-consumer does not answer.

    Exit code 1 if something could not be delivered.

    Safe beside the service's own workers: a redemption that is reported twice gets the same answer.
    """
    require_extra("calling bff-consumer", driver="httpx2", extra="client")
    from ghasi_handoff.handshake import ConsumeClient, Deliveries, DeliveryRefused, LocalRowLost, OutboxWorker

    # Without a handler, logging prints the bare names of the events; here they are part of the answer.
    logging.getLogger("ghasi_handoff").addHandler(_nowhere)
    refusals: list[dict[str, str | None]] = []

    def note(event: HandoffEvent) -> None:
        if isinstance(event, (DeliveryRefused, LocalRowLost)):
            code = event.code if isinstance(event, DeliveryRefused) else ReplayedTokenError.code
            refusals.append({"handoff_id": event.handoff_id, "code": code})

    ring = read_ring(keys_file)
    total = Deliveries()
    with (
        ConsumeClient(consumer_url, keys=ring, allow_http=allow_http, clock=clock) as client,
        opened_outbox(store_url, clock, timeout) as (store, waiting),
        progress_shown("{} tried ...") as progress,
    ):
        left = waiting.stats().pending
        if dead:
            left += waiting.revive()
        # In this mode a delivery is no alarm: who drains by hand knows that it comes late.
        worker = OutboxWorker(store, client, mode="deferred", on_event=note, clock=clock)
        while left > 0:
            done = worker.deliver(whether_due=not at_once)
            total = _sum(total, done)
            left -= done.total
            if progress is not None:
                progress(total.total)
            if done.delivered + done.refused == 0:
                break  # nothing is due, or nobody answers
        stats = waiting.stats()
    facts: dict[str, Any] = {"ok": total.postponed + total.given_up == 0, **asdict(total), **asdict(stats)}
    facts["refusals"] = refusals
    rows = [f"{refusal['handoff_id']}  refused: {refusal['code']}" for refusal in refusals]
    rows.append(
        f"{total.delivered} delivered, {total.refused} refused for good, {total.postponed} to be tried again,"
        f" {total.given_up} given up; {stats.pending} waiting"
    )
    return Answer(facts=facts, text="\n".join(rows), status=0 if facts["ok"] else REFUSED)


def _sum(one: Any, other: Any) -> Any:
    return type(one)(**{name: count + asdict(other)[name] for name, count in asdict(one).items()})


def _row(entry: OutboxEntry, now: int) -> str:
    if entry.dead_at is not None:
        state = f"given up {iso(from_seconds(entry.dead_at))}: {entry.outcome}"
    elif entry.attempts:
        state = (
            f"{entry.attempts} tries, the last: {entry.outcome or 'under way'}; next in {max(0, entry.due_at - now)} s"
        )
    else:
        state = "not tried yet"
    return f"{entry.handoff_id}  redeemed {iso(from_seconds(entry.consumed_at))}  {state}"
