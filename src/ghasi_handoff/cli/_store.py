"""The group ``store``: replay stores, made, examined, counted and purged by whoever runs them."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click

from ghasi_handoff._limits import DEFAULT_LEEWAY, MAX_LEEWAY_SECONDS
from ghasi_handoff._times import from_seconds
from ghasi_handoff.cli._databases import opened_store
from ghasi_handoff.cli._databases import timeout as timeout_option
from ghasi_handoff.cli._output import REFUSED, Answer, answers, iso, printable, table
from ghasi_handoff.cli._progress import progress_shown
from ghasi_handoff.stores._open import migration

if TYPE_CHECKING:
    from ghasi_handoff.cli._output import Clock
    from ghasi_handoff.replay import StoreReport

_url: Final = click.argument("url", metavar="[URL]", required=False, default=None)
_HELP: Final = """Make, check, count and maintain a replay store.

\b
URL is one of
  sqlite:///replay.db            a file, from the current folder
  sqlite:////var/lib/replay.db   a file, by its whole path
  postgresql://user@host/db      the tables in a database
  redis://host:6379/0            a server (rediss:// with TLS, unix:// by path)

Without it, GHASI_HANDOFF_STORE_URL must hold it: a password belongs there, not on a command line.
"""


@click.group(help=_HELP, short_help="Make, check, count and maintain a replay store.")
def store() -> None:
    """Only a group."""


@store.command()
@_url
@click.option("--sql", is_flag=True, help="PostgreSQL: print the migration as plain SQL, and connect to nothing.")
@timeout_option
@answers
def init(clock: Clock, *, url: str | None, sql: bool, timeout: float) -> Answer:
    """Make the file or the tables, where they are not there yet. Safe to repeat."""
    if sql:
        schema = migration("store")
        return Answer(facts={"sql": schema}, text=schema.rstrip("\n"))
    with opened_store(url, clock, timeout, new=True) as opened:
        opened.create_schema()
        report = opened.check()
    return _reported(report, {"store": "ready"})


@store.command()
@_url
@click.option(
    "--leeway",
    metavar="SECONDS",
    type=click.IntRange(0, MAX_LEEWAY_SECONDS),
    default=int(DEFAULT_LEEWAY.total_seconds()),
    show_default=True,
    help="How far the store's clock may be from this machine's.",
)
@timeout_option
@answers
def check(clock: Clock, *, url: str | None, leeway: int, timeout: float) -> Answer:
    """Ask the live store for everything that could break its promises. Exit code 1 if anything could.

    Run it where the service runs, after each change of the server, and from monitoring.
    """
    with opened_store(url, clock, timeout) as opened:
        report = opened.check(leeway=timedelta(seconds=leeway))
    return _reported(report, {})


@store.command()
@_url
@timeout_option
@answers
def stats(clock: Clock, *, url: str | None, timeout: float) -> Answer:
    """Count what the store holds."""
    with opened_store(url, clock, timeout) as opened:
        found = opened.stats()
    moments = ("oldest_at", "newest_at", "purged_before")
    facts = {name: value for name, value in asdict(found).items() if value is not None}
    rows = [
        (name.replace("_", " "), iso(from_seconds(value)) if name in moments else f"{value:,}")
        for name, value in facts.items()
        if not (name == "purged_before" and value == 0)
    ]
    return Answer(facts=facts, text=table(rows))


@store.command()
@_url
@click.option("--quiet", is_flag=True, help="Print nothing when all went well, as a cron job should.")
@timeout_option
@answers
def maintain(clock: Clock, *, url: str | None, quiet: bool, timeout: float) -> Answer:
    """Remove entries that no token can need any more. For a cron job: hourly is enough.

    Safe to repeat, to interrupt, and to run twice at once. The service goes on meanwhile. In Redis entries expire by
    themselves, and there is nothing to do.
    """
    with (
        opened_store(url, clock, timeout) as opened,
        progress_shown("removed {} ...", quiet=quiet) as progress,
    ):
        removed = opened.purge(progress=progress)
    return Answer(facts={"removed": removed}, text=b"" if quiet else f"removed {removed:,} entries")


def _reported(report: StoreReport, facts: dict[str, str]) -> Answer:
    lines = [table([("server", report.server), *facts.items(), *report.settings.items()])]
    for hazard in report.hazards:
        name = click.style(hazard.code, fg="red", bold=True)
        lines.append(f"\n{name}: {printable(hazard.text)}\n  {printable(hazard.remedy)}")
    if report.ok:
        lines.append("\nno hazards")
    return Answer(
        facts={
            "ok": report.ok,
            "server": report.server,
            **facts,
            "settings": report.settings,
            "hazards": [asdict(hazard) for hazard in report.hazards],
        },
        text="\n".join(lines),
        status=0 if report.ok else REFUSED,
    )
