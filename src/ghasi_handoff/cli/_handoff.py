"""The group ``handoff``: what became of a handoff, which ones there are, and ending one. Reads both logs."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlsplit

import click

from ghasi_handoff._scope import Scope
from ghasi_handoff._signing_string import as_handoff_id, as_name, parse_body
from ghasi_handoff._times import from_seconds, read_clock, to_seconds
from ghasi_handoff._token import parse_token
from ghasi_handoff.cli._databases import LOG_VARIABLE, STORE_VARIABLE, opened_log, opened_store
from ghasi_handoff.cli._databases import log_url as named_log
from ghasi_handoff.cli._databases import timeout as timeout_option
from ghasi_handoff.cli._input import read_line
from ghasi_handoff.cli._output import REFUSED, Answer, answers, iso, printable
from ghasi_handoff.cli._progress import progress_shown
from ghasi_handoff.errors import InvalidHandoffInputError, MalformedTokenError
from ghasi_handoff.stores._open import migration, product_of

if TYPE_CHECKING:
    from ghasi_handoff.cli._output import Clock
    from ghasi_handoff.handshake import HandoffRecord
    from ghasi_handoff.replay import ReplayTrace

_is_span: Final = re.compile(r"([1-9][0-9]{0,5})([smhd])").fullmatch
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}

log_url: Final = click.option(
    "--log-url",
    metavar="URL",
    help=f"The handoff log: sqlite:///… or postgresql://…. Without it, {LOG_VARIABLE}.",
)
store_url: Final = click.option(
    "--store-url",
    metavar="URL",
    help=f"The replay store: sqlite:///…, postgresql://… or redis://…. Without it, {STORE_VARIABLE}.",
)


@click.group(short_help="Trace, find, revoke and maintain handoffs.")
def handoff() -> None:
    """Trace, find, revoke and maintain handoffs, from bff-consumer's handoff log and the booking side's replay store.

    URLs are those of `ghasi-handoff store`. A password belongs into the environment, not on a command line.
    """


@handoff.command()
@log_url
@click.option("--sql", is_flag=True, help="PostgreSQL: print the migration as plain SQL, and connect to nothing.")
@timeout_option
@answers
def init(clock: Clock, *, log_url: str | None, sql: bool, timeout: float) -> Answer:
    """Make the log's file or tables, where they are not there yet. Safe to repeat."""
    if sql:
        schema = migration("log")
        return Answer(facts={"sql": schema}, text=schema.rstrip("\n"))
    with opened_log(log_url, clock, timeout, new=True) as log:
        log.create_schema()
    return Answer(facts={"ok": True, "product": product_of(named_log(log_url), "log").name}, text="ready")


@handoff.command()
@click.argument("which", metavar="ID|-")
@log_url
@store_url
@timeout_option
@answers
def trace(clock: Clock, *, which: str, log_url: str | None, store_url: str | None, timeout: float) -> Answer:
    """Tell what became of a handoff: a timeline and a verdict. Changes nothing.

    ID is a handoff id, a token, or a URL with one; with `-` it is read from standard input. A token is not verified:
    only its id is taken. Exit code 1 if neither log has the handoff.

    It joins the handoff log (--log-url), the replay store and its outbox (--store-url). With only one of them it says
    what that one knows.
    """
    from ghasi_handoff.handshake._trace import trace_handoff

    handoff_id, scope = _identified(read_line(which))
    record: HandoffRecord | None = None
    replay: ReplayTrace | None = None
    log_asked = bool(log_url or _set(LOG_VARIABLE))
    store_asked = bool(store_url or _set(STORE_VARIABLE))
    if not log_asked and not store_asked:
        raise click.UsageError(f"Name at least one of --log-url ({LOG_VARIABLE}) and --store-url ({STORE_VARIABLE}).")
    if log_asked:
        with opened_log(log_url, clock, timeout) as log:
            record = log.find(handoff_id)
    if store_asked:
        if record is not None:
            scope = Scope(record.issuer, record.audience)
        with opened_store(store_url, clock, timeout) as store:
            replay = store.trace(handoff_id, None if scope is None else str(scope))
        if replay is None and not log_asked:  # nobody could answer, and "never issued here" would be wrong
            raise InvalidHandoffInputError(
                "this store finds a handoff by its issuer and audience, too: give the token or its URL, or --log-url"
            )
    found = trace_handoff(record, replay, int(read_clock(clock)), log_asked=log_asked)
    lines = [f"{iso(from_seconds(moment.at))}  {moment.where:12}  {moment.what}" for moment in found.timeline]
    text = "\n".join([f"handoff {handoff_id}", *lines, "", printable(found.verdict)])
    facts: dict[str, Any] = {
        "handoff_id": handoff_id,
        "verdict": found.code,
        "text": found.verdict,
        "timeline": [{**asdict(moment), "at": iso(from_seconds(moment.at))} for moment in found.timeline],
        "log": None if record is None else asdict(record),
        "store": None if replay is None else asdict(replay),
    }
    return Answer(facts=facts, text=text, status=REFUSED if found.code == "unknown" else 0)


@handoff.command()
@click.option("--tenant", metavar="NAME", help="Only handoffs to this hotel.")
@click.option("--since", metavar="TIME", help="Issued since: 90s, 30m, 2h, 1d, or 2026-11-23T09:30Z.")
@click.option("--until", metavar="TIME", help="Issued before.")
@click.option("--state", type=click.Choice(["issued", "consumed", "revoked"]), help="Only in this state.")
@click.option("--limit", metavar="N", type=click.IntRange(1, 10_000), default=100, show_default=True, help="At most.")
@log_url
@timeout_option
@answers
def find(
    clock: Clock,
    *,
    tenant: str | None,
    since: str | None,
    until: str | None,
    state: str | None,
    limit: int,
    log_url: str | None,
    timeout: float,
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
    with opened_log(log_url, clock, timeout) as log:
        records = log.search(query)
    rows = [
        f"{record.handoff_id}  {iso(from_seconds(record.issued_at))}  {record.tenant:20}  {_state(record)}"
        for record in records
    ]
    if len(records) == limit:
        rows.append(f"... only the newest {limit}; see --limit")
    return Answer(
        facts={"handoffs": [asdict(record) for record in records], "limited": len(records) == limit},
        text="\n".join(rows) if rows else "none",
    )


@handoff.command()
@click.argument("which", metavar="ID|-")
@log_url
@timeout_option
@answers
def revoke(clock: Clock, *, which: str, log_url: str | None, timeout: float) -> Answer:
    """Cancel a handoff that was not redeemed yet. Exit code 1 if it was: a booking is ended elsewhere.

    In strict mode the guest is refused from now on. In deferred mode a guest who redeemed it already has gone on.
    """
    handoff_id, _ = _identified(read_line(which))
    with opened_log(log_url, clock, timeout) as log:
        record = log.revoke(handoff_id)
    revoked = record.state.value == "revoked"
    facts = {"ok": revoked, "handoff_id": handoff_id, "state": record.state.value}
    text = f"revoked: handoff {handoff_id}" if revoked else f"not revoked: handoff {handoff_id} is {_state(record)}"
    return Answer(facts=facts, text=text, status=0 if revoked else REFUSED)


@handoff.command()
@click.option("--quiet", is_flag=True, help="Print nothing when all went well, as a cron job should.")
@log_url
@timeout_option
@answers
def maintain(clock: Clock, *, quiet: bool, log_url: str | None, timeout: float) -> Answer:
    """Remove rows of the log whose token ended more than 48 hours ago. For a cron job: daily is enough.

    Safe to repeat, to interrupt, and to run twice at once. The service goes on meanwhile.
    """
    with opened_log(log_url, clock, timeout) as log, progress_shown("removed {} ...", quiet=quiet) as progress:
        removed = log.purge(progress=progress)
    return Answer(facts={"removed": removed}, text=b"" if quiet else f"removed {removed:,} rows")


def _identified(text: str) -> tuple[str, Scope | None]:
    """The handoff id, and the scope where a token says it. Nothing of a token is quoted, nothing of it is trusted."""
    if as_handoff_id(text.strip().lower()) is not None:
        return text.strip().lower(), None
    for candidate in (text, *_parameters(text)):
        try:
            _, body_bytes, _ = parse_token(candidate)
        except MalformedTokenError:
            continue
        body = parse_body(body_bytes)
        if body is not None:
            return body.handoff_id, Scope(body.issuer, body.audience)
    raise InvalidHandoffInputError("this is no handoff id, no token, and no URL with one")


def _parameters(text: str) -> list[str]:
    try:
        return [value for _, value in parse_qsl(urlsplit(text).query)]
    except ValueError:
        return []


def _moment(text: str | None, now: int, option: str) -> int | None:
    if text is None:
        return None
    span = _is_span(text)
    if span is not None:
        return max(0, now - int(span[1]) * _SECONDS[span[2]])
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidHandoffInputError(f"{option} must be such as 90s, 30m, 2h, 1d or 2026-11-23T09:30Z") from None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return to_seconds(aware, name=option, error=InvalidHandoffInputError)


def _state(record: HandoffRecord) -> str:
    at = record.consumed_at if record.consumed_at is not None else record.revoked_at
    return record.state.value if at is None else f"{record.state.value} {iso(from_seconds(at))}"


def _set(variable: str) -> bool:
    return bool(os.environ.get(variable))
