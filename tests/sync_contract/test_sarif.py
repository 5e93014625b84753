"""SARIF: a log that code scanning takes, with each finding at its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from ghasi_handoff.sync_contract import Finding, Place, UnreadableError, sarif_log

SCHEMA = jsonschema_rs.Draft7Validator(
    json.loads((Path(__file__).parent / "sarif.schema.json").read_text("utf-8")), validate_formats=True
)
RULES = ["bff-consumer-aggregate", "bff-consumer-name", "bff-consumer-service", "unreadable-registry"]


def finding(file: str, rule: str = RULES[0]) -> Finding:
    at = Place(file=file, line=12, column=5)
    return Finding(rule=rule, service_name="a-service", aggregate="Wishlist", reason="because", at=at)


def log(*findings: Finding, unreadable: tuple[UnreadableError, ...] = ()) -> dict[str, Any]:
    """A log that has gone through JSON and is valid."""
    written: dict[str, Any] = json.loads(json.dumps(sarif_log(findings, unreadable, version="1.2.3")))
    SCHEMA.validate(written)
    return written


def uri(file: str) -> str:
    (run,) = log(finding(file))["runs"]
    return str(run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"])


def test_run_without_findings_is_valid() -> None:
    """No findings are an empty list, not a missing one: "looked, found nothing"."""
    (run,) = log()["runs"]
    assert run["results"] == []
    assert run["invocations"] == [{"executionSuccessful": True}]


@pytest.mark.parametrize("rule", RULES[:3])
def test_finding_is_at_its_line(rule: str) -> None:
    """A result says which rule, why, and where; the rule is described beside it."""
    (run,) = log(finding("packages/sync-protocol/registry.ts", rule))["runs"]
    (result,) = run["results"]
    assert (result["ruleId"], result["message"]["text"], result["level"]) == (rule, "because", "error")
    assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == rule
    where = result["locations"][0]["physicalLocation"]
    assert where["artifactLocation"]["uri"] == "packages/sync-protocol/registry.ts"
    assert where["region"] == {"startLine": 12, "startColumn": 5}


def test_unreadable_registry_is_a_result_too() -> None:
    """A viewer that shows only results must not show nothing when a registry could not be read."""
    (run,) = log(unreadable=(UnreadableError("registry.ts", 3, "a call", column=2),))["runs"]
    assert [(one["ruleId"], one["message"]["text"]) for one in run["results"]] == [("unreadable-registry", "a call")]
    assert run["invocations"] == [{"executionSuccessful": False}]
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == RULES


def test_paths_become_references(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the folder of the run, so that the viewer finds the file in the checkout; else as a file URI."""
    monkeypatch.chdir(tmp_path)
    assert uri(str(tmp_path / "a" / "registry.ts")) == "a/registry.ts"
    assert uri("./a/registry.ts") == "a/registry.ts"
    assert uri("a b/grün:1/re#g?.ts") == "a%20b/gr%C3%BCn%3A1/re%23g%3F.ts"
    assert uri("/elsewhere/registry.ts") == "file:///elsewhere/registry.ts"
