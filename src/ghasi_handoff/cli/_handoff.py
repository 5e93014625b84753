"""The group ``handoff``: what became of a handoff, which ones there are, and ending one. Reads both logs."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import click

from ghasi_handoff._signing_string import as_handoff_id, as_name, parse_body
from ghasi_handoff._times import read_clock, to_seconds
from ghasi_handoff._token import parse_token
from ghasi_handoff.cli import _options
from ghasi_handoff.cli._input import read_line
from ghasi_handoff.cli._options import LogOptions, OrderedGroup, StoreOptions, log_options, required, span
from ghasi_handoff.cli._output import Answer, Clock, answers, facts_of, iso, printable, progress_shown
from ghasi_handoff.cli._store import removed_answer, sql_answer
from ghasi_handoff.errors import InvalidHandoffInputError, MalformedTokenError, UnknownHandoffError
from ghasi_handoff.replay import Scope
from ghasi_handoff.stores._open import migration, product_of

if TYPE_CHECKING:
    from ghasi_handoff.handshake import HandoffRecord


@click.group(cls=OrderedGroup, short_help="Trace, find, revoke and maintain handoffs.")
def handoff() -> None:
    """Trace, find, revoke and maintain handoffs, from bff-consumer's handoff log and the booking side's replay store.

    URLs are those of `ghasi-handoff store`. Put a URL with a password into the environment, not on a command line.
    """


@handoff.command()
@log_options
@_options.sql
@answers
def init(clock: Clock, *, given: LogOptions, sql: bool) -> Answer:
    """Make the log's file or tables if they are missing. Safe to repeat."""
    if sql:
        return sql_answer(migration("log"))
    with given.opened(clock, new=True) as log:
        log.create_schema()
    product = product_of(required(given.log_url, "log"), "log")
    return Answer(message="ready", facts={"product": product.name})


@handoff.command()
@_options.handoff
@_options.log_url
@_options.store_url
@_options.timeout
@answers
def trace(clock: Clock, *, which: str, log_url: str | None, store_url: str | None, timeout: float) -> Answer:
    """Tell what became of a handoff: a timeline and a verdict. Changes nothing.

    ID is a handoff id, a token, or a URL with one; with `-` it is read from standard input. A token is not verified:
    only its id is used. Exit code 1 if neither the log nor the store has the handoff.

    It joins the handoff log (--log-url) with the replay store and its outbox (--store-url). One of them is enough: then
    it says what that one knows.
    """
    from ghasi_handoff.handshake._trace import trace_handoff

    handoff_id, scope = _identified(read_line(which))
    record = replay = None
    if log_url is None and store_url is None:
        raise click.UsageError("name at least one of --log-url and --store-url")
    if log_url is not None:
        with LogOptions(log_url, timeout).opened(clock) as log:
            record = log.find(handoff_id)
    if store_url is not None:
        if record is not None:
            scope = Scope(record.issuer, record.audience)
        with StoreOptions(store_url, timeout).opened(clock) as store:
            replay = store.trace(handoff_id, None if scope is None else str(scope))
        if replay is None and log_url is None:  # nobody could answer, and "never issued here" would be wrong
            raise InvalidHandoffInputError(
                "this store finds a handoff by its issuer and audience, too: give the token or its URL, or --log-url"
            )
    found = trace_handoff(record, replay, int(read_clock(clock)), log_asked=log_url is not None)
    lines = [f"{iso(moment.at)}  {moment.where:12}  {moment.what}" for moment in found.timeline]
    return Answer(
        message=found.verdict,
        facts={
            "handoff_id": handoff_id,
            "verdict": found.code,
            "text": found.verdict,
            "timeline": [facts_of(moment) for moment in found.timeline],
            "log": None if record is None else facts_of(record),
            "store": None if replay is None else facts_of(replay),
        },
        text="\n".join([f"handoff {handoff_id}", *lines, "", printable(found.verdict)]),
        problem=UnknownHandoffError.code if found.code == "unknown" else None,
    )


@handoff.command()
@click.option("--tenant", metavar="NAME", help="Only handoffs to this hotel.")
@click.option("--since", metavar="TIME", help="Issued since: 90s, 30m, 2h, 1d, or 2026-11-23T09:30Z.")
@click.option("--until", metavar="TIME", help="Issued before.")
@click.option("--state", type=click.Choice(["issued", "consumed", "revoked"]), help="Only in this state.")
@_options.limit
@log_options
@answers
def find(
    clock: Clock,
    *,
    tenant: str | None,
    since: str | None,
    until: str | None,
    state: str | None,
    limit: int,
    given: LogOptions,
) -> Answer:
    """List handoffs from the log, the newest first. Changes nothing."""
    from ghasi_handoff.handshake import HandoffQuery, HandoffState

    if tenant is not None and as_name(tenant) is None:
        raise InvalidHandoffInputError("--tenant must be 1 to 64 characters of A-Z a-z 0-9 . _ : / -")
    now = int(read_clock(clock))
    query = HandoffQuery(
        tenant=tenant,
        since=_moment(since, now, "--since"),
        until=_moment(until, now, "--until"),
        state=None if state is None else HandoffState(state),
        limit=limit,
    )
    with given.opened(clock) as log:
        records = log.search(query)
    rows = [f"{record.handoff_id}  {iso(record.issued_at)}  {record.tenant:20}  {_state(record)}" for record in records]
    limited = len(records) == limit
    if limited:
        rows.append(f"... only the newest {limit}; see --limit")
    return Answer(
        message=f"{len(records)} handoffs" + (", only the newest" if limited else ""),
        facts={"handoffs": [facts_of(record) for record in records], "limited": limited},
        text="\n".join(rows) if rows else "none",
    )


@handoff.command()
@_options.handoff
@log_options
@answers
def revoke(clock: Clock, *, which: str, given: LogOptions) -> Answer:
    """Cancel a handoff that was not redeemed yet. Exit code 1 if it was: cancel the booking instead.

    In strict mode the guest is refused from now on. In deferred mode a guest who redeemed it already has gone on.
    """
    handoff_id, _ = _identified(read_line(which))
    with given.opened(clock) as log:
        record = log.revoke(handoff_id)
    revoked = record.state.value == "revoked"
    message = f"revoked: handoff {handoff_id}" if revoked else f"not revoked: handoff {handoff_id} is {_state(record)}"
    facts = {"handoff_id": handoff_id, "state": record.state.value}
    return Answer(message=message, facts=facts, problem=None if revoked else "not_revoked")


@handoff.command()
@log_options
@_options.quiet
@answers
def maintain(clock: Clock, *, given: LogOptions, quiet: bool) -> Answer:
    """Remove rows of the log whose token ended more than 48 hours ago. For a cron job: daily is enough.

    Safe to repeat, to interrupt, and to run twice at once, while the service runs.
    """
    with given.opened(clock) as log, progress_shown("removed {} ...", quiet=quiet) as progress:
        removed = log.purge(progress=progress)
    return removed_answer(removed, "rows", quiet=quiet)


def _identified(text: str) -> tuple[str, Scope | None]:
    """The handoff id, and the scope where a token says it. Nothing of a token is quoted, nothing of it is trusted."""
    if as_handoff_id(text.strip().lower()) is not None:
        return text.strip().lower(), None
    candidates = [text]
    with suppress(ValueError):  # no URL
        candidates += [value for _, value in parse_qsl(urlsplit(text).query)]
    for candidate in candidates:
        with suppress(MalformedTokenError):
            body = parse_body(parse_token(candidate).body)
            if body is not None:
                return body.handoff_id, Scope(body.issuer, body.audience)
    raise InvalidHandoffInputError("this is no handoff id, no token, and no URL with one")


def _moment(text: str | None, now: int, option: str) -> int | None:
    """Unix seconds of a duration before `now`, or of an ISO date."""
    if text is None:
        return None
    ago = span(text)
    if ago is not None:
        return max(0, now - int(ago.total_seconds()))
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidHandoffInputError(f"{option} must be such as 90s, 30m, 2h, 1d or 2026-11-23T09:30Z") from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return to_seconds(aware, name=option, error=InvalidHandoffInputError)


def _state(record: HandoffRecord) -> str:
    at = record.consumed_at if record.consumed_at is not None else record.revoked_at
    return record.state.value if at is None else f"{record.state.value} {iso(at)}"
