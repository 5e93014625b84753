"""The group ``store``: replay stores, made, examined, counted and purged by whoever runs them."""

from __future__ import annotations

from datetime import timedelta

import click

from ghasi_handoff._limits import DEFAULT_LEEWAY, MAX_LEEWAY_SECONDS
from ghasi_handoff.cli import _options
from ghasi_handoff.cli._options import OrderedGroup, StoreOptions, store_options
from ghasi_handoff.cli._output import Answer, Clock, answers, facts_of, iso, printable, progress_shown, table
from ghasi_handoff.replay import StoreReport
from ghasi_handoff.stores._open import migration


@click.group(cls=OrderedGroup, short_help="Make, check, count and maintain a replay store.")
def store() -> None:
    """Make, check, count and maintain a replay store.

    \b
    --store-url is one of
      sqlite:///replay.db            a file, from the current folder
      sqlite:////var/lib/replay.db   a file, by its whole path
      postgresql://user@host/db      the tables in a database
      redis://host:6379/0            a server (rediss:// with TLS, unix:// by path)

    Put a URL with a password into GHASI_HANDOFF_STORE_URL, not on a command line.
    """  # noqa: D301 - \b is click's mark of lines that stay as they are


@store.command()
@store_options
@_options.sql
@answers
def init(clock: Clock, *, given: StoreOptions, sql: bool) -> Answer:
    """Make the file or the tables if they are missing. Safe to repeat."""
    if sql:
        return sql_answer(migration("store"))
    with given.opened(clock, new=True) as opened:
        opened.create_schema()
        report = opened.check()
    return _reported(report, {"store": "ready"})


@store.command()
@store_options
@_options.seconds(
    "--leeway", 0, MAX_LEEWAY_SECONDS, DEFAULT_LEEWAY, "How far the store's clock may be from this machine's."
)
@answers
def check(clock: Clock, *, given: StoreOptions, leeway: int) -> Answer:
    """Ask the live store for everything that could break its promises. Exit code 1 if anything could.

    Run it where the service runs, after each change of the server, and from monitoring.
    """
    with given.opened(clock) as opened:
        report = opened.check(leeway=timedelta(seconds=leeway))
    return _reported(report, {})


@store.command()
@store_options
@answers
def stats(clock: Clock, *, given: StoreOptions) -> Answer:
    """Count what the store holds."""
    with given.opened(clock) as opened:
        found = opened.stats()
    purged_before = iso(found.purged_before) if found.purged_before else None  # 0: nothing was purged yet
    facts = {**facts_of(found), "purged_before": purged_before}
    rows = [
        (name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
        for name, value in facts.items()
        if value is not None
    ]
    entries = "an unknown number of" if found.entries is None else f"{found.entries:,}"
    return Answer(message=f"{entries} entries", facts=facts, text=table(rows))


@store.command()
@store_options
@_options.quiet
@answers
def maintain(clock: Clock, *, given: StoreOptions, quiet: bool) -> Answer:
    """Remove entries that no token can need any more. For a cron job: hourly is enough.

    Safe to repeat, to interrupt, and to run twice at once, while the service runs. In Redis entries expire by
    themselves, and there is nothing to do.
    """
    with given.opened(clock) as opened, progress_shown("removed {} ...", quiet=quiet) as progress:
        removed = opened.purge(progress=progress)
    return removed_answer(removed, "entries", quiet=quiet)


def sql_answer(sql: str) -> Answer:
    """A migration, printed as it is."""
    return Answer(message="PostgreSQL's migration; nothing was connected", facts={"sql": sql}, text=sql.rstrip("\n"))


def removed_answer(removed: int, what: str, *, quiet: bool) -> Answer:
    """How much a purge removed; for people nothing if `quiet`."""
    return Answer(message=f"removed {removed:,} {what}", facts={"removed": removed}, text=b"" if quiet else None)


def _reported(report: StoreReport, facts: dict[str, str]) -> Answer:
    lines = [table([("server", report.server), *facts.items(), *report.settings.items()])]
    for hazard in report.hazards:
        name = click.style(hazard.code, fg="red", bold=True)
        lines.append(f"\n{name}: {printable(hazard.text)}\n  {printable(hazard.remedy)}")
    if report.ok:
        lines.append("\nno hazards")
    return Answer(
        message="no hazards" if report.ok else f"{report.hazards[0].code}: {report.hazards[0].text}",
        facts={**facts, **facts_of(report)},
        text="\n".join(lines),
        problem=None if report.ok else "hazards",
    )
