"""``ghasi-handoff sync-contract``: check, matrix and show, their forms and their exit codes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ghasi_handoff.sync_contract import BFF_CONSUMER, SyncMatrix, build_matrix

from ..sync_contract.registries import AGGREGATES, FIXTURES, SERVICE, entry, module, write
from ..sync_contract.test_sarif import SCHEMA
from .command_runner import CommandRunner, only_object

CLEAN = [str(FIXTURES / "registry.ts"), str(FIXTURES / "registry.json")]
GROUP = "sync-contract"


def planted(folder: Path) -> str:
    return str(write(folder, module(entry(SERVICE, "Wishlist")), "planted.ts"))


def unreadable(folder: Path) -> str:
    return str(write(folder, module("...more()"), "unreadable.ts"))


def test_clean_registries_end_with_0(runner: CommandRunner) -> None:
    """Nothing found in all that was read: one line, which says how much that was."""
    result = runner.run(GROUP, "check", *CLEAN)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "nothing of bff-consumer-service in 12 entries\n"
    facts = only_object(runner.run(GROUP, "check", "--json", *CLEAN))
    assert (facts["ok"], facts["entries"], facts["findings"], facts["unreadable"]) == (True, 12, [], [])


def test_finding_ends_with_1_and_shows_file_line_and_reason(runner: CommandRunner) -> None:
    """One line a finding, as editors and people read it."""
    path = planted(runner.folder)
    result = runner.run(GROUP, "check", *CLEAN, path)
    assert result.exit_code == 1
    (line,) = result.stdout.splitlines()
    assert line.startswith(f"{path}:3:")
    assert "bff-consumer-aggregate: Wishlist belongs to bff-consumer-service" in line
    facts = only_object(runner.run(GROUP, "check", "--json", path), 1)
    assert facts["ok"] is False
    (finding,) = facts["findings"]
    assert (finding["serviceName"], finding["aggregate"], finding["at"]["line"]) == (SERVICE, "Wishlist", 3)


def test_unreadable_registry_ends_with_2(runner: CommandRunner) -> None:
    """It is never "nothing found", whatever else was found, and in whichever order."""
    broken, bad = unreadable(runner.folder), planted(runner.folder)
    for paths in ([broken], [broken, bad], [bad, broken], [*CLEAN, broken], [str(runner.folder / "missing.ts")]):
        result = runner.run(GROUP, "check", *paths)
        assert result.exit_code == 2
        assert "nothing of" not in result.stdout
        facts = only_object(runner.run(GROUP, "check", "--json", *paths), 2)
        assert facts["ok"] is False
        assert len(facts["unreadable"]) == 1
        assert len(facts["findings"]) == (bad in paths)
    assert runner.run(GROUP, "check", broken).stdout.startswith(f"{broken}:3:6: unreadable: ")


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_sarif_is_valid_and_keeps_the_exit_code(runner: CommandRunner, aggregate: str) -> None:
    """For code scanning: the same findings, the same exit codes, as a SARIF log."""
    path = str(write(runner.folder, module(entry("guest-service", aggregate))))
    for paths, status in ((CLEAN, 0), ([path], 1), ([path, unreadable(runner.folder)], 2)):
        result = runner.run(GROUP, "check", "--sarif", *paths)
        assert (result.exit_code, result.stderr) == (status, "")
        log = json.loads(result.stdout)
        SCHEMA.validate(log)
        assert len(log["runs"][0]["results"]) == status


def test_two_forms_at_once_are_wrong_usage(runner: CommandRunner) -> None:
    """Neither form would be the whole output."""
    assert runner.run(GROUP, "check", "--json", "--sarif", *CLEAN).exit_code == 2


def test_no_registry_is_wrong_usage(runner: CommandRunner) -> None:
    """A check of nothing is a mistake, not a success."""
    assert runner.run(GROUP, "check").exit_code == 2


def test_matrix_is_markdown_or_json(runner: CommandRunner) -> None:
    """The same matrix in both forms, as the library builds it."""
    built = build_matrix(FIXTURES / "services")
    result = runner.run(GROUP, "matrix", str(FIXTURES / "services"))
    assert (result.exit_code, result.stdout) == (0, built.to_markdown() + "\n")
    facts = only_object(runner.run(GROUP, "matrix", "--json", str(FIXTURES / "services")))
    assert SyncMatrix.model_validate_json(json.dumps(facts["matrix"])) == built
    assert facts["matrix"]["contributingNone"] == [SERVICE, "iam-service"]


def test_matrix_with_bff_consumer_in_it_ends_with_1(runner: CommandRunner) -> None:
    """A contract that says that something of bff-consumer-service is replicated is a finding."""
    path = runner.folder / SERVICE / "SYNC_CONTRACT.md"
    path.parent.mkdir()
    text = (FIXTURES / "services" / SERVICE / "SYNC_CONTRACT.md").read_text("utf-8")
    path.write_text(text.replace("`BotScore` | No", "`BotScore` | Yes"), "utf-8")
    result = runner.run(GROUP, "matrix", str(runner.folder))
    assert result.exit_code == 1
    assert result.stdout.startswith(f"{path}:15:1: bff-consumer-aggregate: BotScore")
    assert only_object(runner.run(GROUP, "matrix", "--json", str(runner.folder)), 1)["ok"] is False


def test_matrix_of_an_unreadable_contract_ends_with_2(runner: CommandRunner) -> None:
    """File and line are on standard error; nothing that could be taken for a matrix is on standard output."""
    path = runner.folder / "room-service" / "SYNC_CONTRACT.md"
    path.parent.mkdir()
    path.write_text("# Replication scope\n\nNone.\n", "utf-8")
    result = runner.run(GROUP, "matrix", str(runner.folder))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"{path}:1: there is no table" in result.stderr
    assert only_object(runner.run(GROUP, "matrix", "--json", str(runner.folder)), 2)["code"] == "configuration"


def test_matrix_takes_a_vocabulary(runner: CommandRunner) -> None:
    """--policy, once for each word, is the whole vocabulary."""
    services = str(FIXTURES / "services")
    assert runner.run(GROUP, "matrix", "--policy", "n/a", "--policy", "lww+diff", services).exit_code == 0
    assert runner.run(GROUP, "matrix", "--policy", "n/a", services).exit_code == 2


def test_show_is_the_contract(runner: CommandRunner) -> None:
    """Markdown for people, and JSON for the sync engine and audit tooling."""
    assert runner.run(GROUP, "show").stdout == BFF_CONSUMER.to_markdown() + "\n"
    facts = only_object(runner.run(GROUP, "show", "--json"))
    assert facts["contract"]["serviceName"] == SERVICE
    assert [one["name"] for one in facts["contract"]["aggregates"]] == AGGREGATES


def test_other_commands_do_not_load_the_room() -> None:
    """Who mints or verifies does not pay for a parser of TypeScript, nor need it."""
    program = (
        "import sys; from ghasi_handoff.cli import main; main(['keys', '--help'], standalone_mode=False);"
        " sys.exit(bool({'ghasi_handoff.sync_contract', 'tree_sitter'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_missing_parser_is_said() -> None:
    """Without the extra, the command says what to install; show and matrix need no parser."""
    program = (
        "import json, sys\nsys.modules['tree_sitter'] = None\nfrom ghasi_handoff.cli import main\n"
        "for arguments in json.loads(sys.argv[1]):\n"
        "    try: main(arguments, 'ghasi-handoff')\n"
        "    except SystemExit as exc: print(f'ended with {exc.code}')"
    )
    commands = [[GROUP, "check", *CLEAN], [GROUP, "show"], [GROUP, "matrix", str(FIXTURES / "services")]]
    command = [sys.executable, "-c", program, json.dumps(commands)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert re.findall(r"^ended with (.+)$", done.stdout, re.M) == ["2", "0", "0"]
    assert done.stderr.count("install ghasi-handoff[sync-contract]") == 1
    assert "Traceback" not in done.stderr
