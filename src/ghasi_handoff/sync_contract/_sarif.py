"""findings, what was unreadable -> a SARIF 2.1.0 log, so that a pull request shows each at its line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import quote

from ghasi_handoff.sync_contract._check import RULES
from ghasi_handoff.sync_contract._models import Finding, UnreadableError

UNREADABLE: Final = "unreadable-registry"
_RULES: Final = {**RULES, UNREADABLE: "A registry can be read with certainty, without running it."}
_SCHEMA: Final = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def sarif_log(
    findings: Iterable[Finding], unreadable: Iterable[UnreadableError] = (), *, version: str
) -> dict[str, object]:
    """A SARIF log of one run, as GitHub code scanning and other viewers take it.

    Args:
        findings: What was found.
        unreadable: What could not be read. It is a result too: nobody may take it for "nothing found".
        version: The version of the tool, of the form 1.2.3.
    """
    unreadable = list(unreadable)
    results = [_result(one.rule, one.reason, one.at.file, one.at.line, one.at.column) for one in findings]
    results += [_result(UNREADABLE, one.reason, one.file, one.line, one.column) for one in unreadable]
    rules = [{"id": name, "shortDescription": {"text": text}} for name, text in _RULES.items()]
    driver = {"name": "ghasi-handoff sync-contract", "version": version, "rules": rules}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": not unreadable}],
        "results": results,
    }
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(rule: str, reason: str, file: str, line: int, column: int) -> dict[str, object]:
    location = {"artifactLocation": {"uri": _uri(file)}, "region": {"startLine": line, "startColumn": column}}
    return {
        "ruleId": rule,
        "ruleIndex": list(_RULES).index(rule),
        "level": "error",
        "message": {"text": reason},
        "locations": [{"physicalLocation": location}],
    }


def _uri(file: str) -> str:
    """A reference from the folder the command ran in, the root of a checkout as a rule; else a file URI."""
    path = Path(file)
    if path.is_absolute():
        try:
            path = path.relative_to(Path.cwd())
        except ValueError:
            return path.as_uri()
    # A colon in the first part would make that a scheme.
    return quote(PurePosixPath(path).as_posix(), safe="/")
