"""The group ``sync-contract``: is anything of bff-consumer on its way to the staff desktop?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ghasi_handoff._version import __version__
from ghasi_handoff.cli._options import OrderedGroup
from ghasi_handoff.cli._output import REFUSED, UNUSABLE, Answer, Clock, answers, printable
from ghasi_handoff.errors import ConfigurationError

if TYPE_CHECKING:
    from ghasi_handoff.sync_contract import Finding, Place, UnreadableError

# Imported in the commands: the parser is an extra, and no other command needs it.


@click.group("sync-contract", cls=OrderedGroup, short_help="Check that the staff desktop gets nothing of bff-consumer.")
def sync_contract() -> None:
    """Check that nothing of bff-consumer-service reaches the staff desktop's database.

    A sync registry lists what the desktop replicates. By decision nothing of bff-consumer-service is in it.
    """


@sync_contract.command(short_help="Check sync registries.")
@click.option("--sarif", "as_sarif", is_flag=True, help="Print a SARIF 2.1.0 log, for code scanning.")
@click.argument("registries", metavar="REGISTRY...", nargs=-1, required=True)
@answers
def check(_clock: Clock, *, as_sarif: bool, registries: tuple[str, ...]) -> Answer:
    """Check sync registries for entries of bff-consumer-service.

    It needs the extra sync-contract and one or more registries, as JSON or as TypeScript source, which is parsed and
    never run. Exit code 1 if there is such an entry, 2 if a registry can't be read with certainty.
    """
    from ghasi_handoff.sync_contract import UnreadableError, check_entries, read_registry, sarif_log

    if as_sarif and click.get_current_context().params["as_json"]:
        raise click.UsageError("choose one form: --json or --sarif")
    entries: list[int] = []
    findings: list[Finding] = []
    unreadable: list[UnreadableError] = []
    for registry in registries:
        try:
            read = read_registry(registry)
        except UnreadableError as exc:
            unreadable.append(exc)
        except ModuleNotFoundError as exc:
            raise ConfigurationError(str(exc)) from exc
        else:
            entries.append(len(read))
            findings += check_entries(read)
    lines = [_line(one.at, one.rule, one.reason) for one in findings]
    lines += [_line(one, "unreadable", one.reason) for one in unreadable]
    clean = f"nothing of bff-consumer-service in {sum(entries)} entries"
    return Answer(
        message=f"{len(findings)} findings, {len(unreadable)} registries that cannot be read" if lines else clean,
        facts={
            "entries": sum(entries),
            "findings": [finding.to_json() for finding in findings],
            "unreadable": [
                {"reason": one.reason, "at": {"file": one.file, "line": one.line, "column": one.column}}
                for one in unreadable
            ],
        },
        text=json.dumps(sarif_log(findings, unreadable, version=__version__), indent=2)
        if as_sarif
        else "\n".join(lines) or clean,
        problem="unreadable" if unreadable else "findings" if findings else None,
        status=UNUSABLE if unreadable else REFUSED,
    )


@sync_contract.command(short_help="Build the platform's matrix of conflict policies.")
@click.option(
    "--policy",
    "policies",
    metavar="NAME",
    multiple=True,
    help="A word of the vocabulary; may be repeated.  [default: n/a, lww+diff]",
)
@click.argument("folder", metavar="DIR")
@answers
def matrix(_clock: Clock, *, policies: tuple[str, ...], folder: str) -> Answer:
    """Build the conflict policy of each aggregate on the desktop, as Markdown or JSON.

    It needs the folder that holds a SYNC_CONTRACT.md for each service, below a folder of the service's name. Exit code
    1 if a contract says that something of bff-consumer-service is replicated, 2 if one can't be read with certainty.
    """
    from ghasi_handoff.sync_contract import DEFAULT_POLICIES, UnreadableError, build_matrix, check_matrix

    try:
        built = build_matrix(folder, policies=policies or DEFAULT_POLICIES)
    except UnreadableError as exc:
        raise ConfigurationError(str(exc)) from exc
    findings = check_matrix(built)
    return Answer(
        message=f"{len(findings)} findings" if findings else "nothing of bff-consumer-service is replicated",
        facts={"matrix": built.to_json(), "findings": [finding.to_json() for finding in findings]},
        text="\n".join(_line(one.at, one.rule, one.reason) for one in findings) or built.to_markdown(),
        problem="findings" if findings else None,
    )


@sync_contract.command(short_help="Show the contract of bff-consumer-service.")
@answers
def show(_clock: Clock) -> Answer:
    """Show the contract of bff-consumer-service, as Markdown or JSON: its aggregates, and why none is replicated."""
    from ghasi_handoff.sync_contract import BFF_CONSUMER

    return Answer(
        message="the contract of bff-consumer-service: nothing is replicated",
        facts={"contract": BFF_CONSUMER.to_json()},
        text=BFF_CONSUMER.to_markdown(),
    )


def _line(at: Place | UnreadableError, what: str, reason: str) -> str:
    where = printable(f"{at.file}:{at.line}:{at.column}")
    return f"{where}: {click.style(what, fg='red', bold=True)}: {printable(reason)}"
