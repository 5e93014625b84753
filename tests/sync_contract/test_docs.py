"""What the pages and the hook say of the contract is what the data says."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from ghasi_handoff.sync_contract import BFF_CONSUMER, check_registry
from ghasi_handoff.sync_contract._check import RULES

from ..cli.command_runner import CommandRunner
from .pages import PAGE, generated, written
from .registries import AGGREGATES, FIXTURES, SERVICE, entry, module, write

ROOT = Path(__file__).parents[2]
(HOOK,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))


def test_reference_has_the_generated_contract() -> None:
    """The table in the reference is the data; after a change: python -m tests.sync_contract.pages."""
    assert written() == generated()
    rows = re.findall(r"^\| `(\w+)` \| No \| n/a \| (.+) \| (.+) \|$", written(), re.M)
    assert rows == [(one.name, one.reason, one.retention) for one in BFF_CONSUMER.aggregates]
    assert len(rows) == 7


def test_reference_has_the_rules() -> None:
    """Each rule is explained, and no other."""
    assert re.findall(r"^\| `(bff-[\w-]+)` \|", PAGE.read_text("utf-8"), re.M) == list(RULES)


def test_own_contract_file_has_the_reasons() -> None:
    """The fixture of the service's own contract gives the four reasons word for word."""
    text = (FIXTURES / "services" / SERVICE / "SYNC_CONTRACT.md").read_text("utf-8")
    assert re.findall(r"^\d\. (.+)$", text, re.M) == list(BFF_CONSUMER.reasons)


def test_hook_runs_the_check(tmp_path: Path) -> None:
    """The hook's command, with the file that pre-commit adds, fails on a finding and passes without one."""
    program, *arguments = shlex.split(HOOK["entry"])
    assert program == "ghasi-handoff"
    runner = CommandRunner(tmp_path)
    assert runner.run(*arguments, str(write(tmp_path, module()))).exit_code == 0
    assert runner.run(*arguments, str(write(tmp_path, module(entry(SERVICE, "X"))))).exit_code == 1


def test_hook_installs_the_extra() -> None:
    """The hook brings its own parser, by an extra that the package has."""
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert HOOK["additional_dependencies"] == [".[sync-contract]"]
    needed = " ".join(project["optional-dependencies"]["sync-contract"])
    assert all(name in needed for name in ("click", "tree-sitter>", "tree-sitter-typescript"))


@pytest.mark.parametrize(
    ("path", "matches"),
    [
        ("packages/sync-protocol/registry.ts", True),
        ("packages/sync-protocol/src/registry.ts", True),
        ("sync-protocol/registry.json", True),
        ("packages/sync-protocol/registry.spec.ts", False),
        ("packages/other/registry.ts", False),
    ],
)
def test_hook_finds_the_registry(path: str, matches: bool) -> None:
    """It runs where the platform keeps its registry, and for no other file."""
    assert (re.search(HOOK["files"], path) is not None) is matches


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_no_fixture_is_a_finding_by_chance(aggregate: str) -> None:
    """The realistic registry names the aggregates in comments, and still passes."""
    assert check_registry(FIXTURES / "registry.ts") == ()
    assert aggregate not in {row.aggregate for row in check_registry(FIXTURES / "registry.json")}
