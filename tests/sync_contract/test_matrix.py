"""The matrix builder: six services' contracts, and every way in which one can be wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ghasi_handoff.sync_contract import (
    BFF_CONSUMER,
    OwnedAggregate,
    UnreadableError,
    build_matrix,
    check_matrix,
    read_contract,
)

from .registries import AGGREGATES, FIXTURES, SERVICE

SERVICES = FIXTURES / "services"
HEAD = "# Contract\n\n## Replication scope\n\n| Aggregate owned | Replicated to desktop SQLite? | Conflict policy |\n"
GOOD = HEAD + "|---|---|---|\n| `Room` | Yes | lww+diff |\n"


@pytest.fixture
def services(tmp_path: Path) -> Path:
    """A copy of the six services that a test may change."""
    return shutil.copytree(SERVICES, tmp_path / "services")


def contract(folder: Path, text: str, service: str = "room-service") -> Path:
    path = folder / service / "SYNC_CONTRACT.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("utf-8"))
    return path


def error_of(path: Path) -> UnreadableError:
    with pytest.raises(UnreadableError) as caught:
        read_contract(path)
    assert caught.value.file == str(path)
    return caught.value


def test_own_table_is_the_data() -> None:
    """The table in bff-consumer-service's own contract says what this library says, cell by cell."""
    read = read_contract(SERVICES / SERVICE / "SYNC_CONTRACT.md")
    assert read.service_name == BFF_CONSUMER.service_name
    assert (
        tuple(
            OwnedAggregate(
                name=row.aggregate,
                replicated=row.replicated,
                conflict_policy=row.conflict_policy,
                reason=row.notes["Reason"],
                retention=row.notes["Retention"],
            )
            for row in read.aggregates
        )
        == BFF_CONSUMER.aggregates
    )


def test_matrix_of_six_services() -> None:
    """Every replicated aggregate has one row; who replicates nothing contributes none, and is named."""
    matrix = build_matrix(SERVICES)
    assert [(row.aggregate, row.service_name, row.conflict_policy) for row in matrix.rows] == [
        ("CleaningTask", "housekeeping-service", "lww+diff"),
        ("GroupBlock", "reservation-service", "lww+diff"),
        ("Property", "property-service", "n/a"),
        ("Reservation", "reservation-service", "lww+diff"),
        ("RoomStatus", "housekeeping-service", "lww+diff"),
        ("RoomType", "property-service", "n/a"),
        ("ShiftHandover", "front-desk-service", "lww+diff"),
    ]
    assert matrix.contributing_none == (SERVICE, "iam-service")
    assert check_matrix(matrix) == ()


def test_bff_consumer_contributes_zero_rows() -> None:
    """Its contract has seven aggregates, none of them replicated, so the matrix has no row of it."""
    assert len(read_contract(SERVICES / SERVICE / "SYNC_CONTRACT.md").aggregates) == 7
    assert read_contract(SERVICES / SERVICE / "SYNC_CONTRACT.md").replicated_aggregates == ()
    assert [row for row in build_matrix(SERVICES).rows if row.service_name == SERVICE] == []


def test_markdown_is_a_table_and_names_who_contributes_none() -> None:
    """The matrix as Markdown: a row for each aggregate, then the services without one."""
    lines = build_matrix(SERVICES).to_markdown().splitlines()
    assert lines[:3] == [
        "| Aggregate | Service | Conflict policy |",
        "|---|---|---|",
        "| `CleaningTask` | `housekeeping-service` | lww+diff |",
    ]
    assert lines[-1] == "Services that contribute no row: `bff-consumer-service`, `iam-service`."
    assert len(lines) == 2 + 7 + 2


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_contract_that_says_yes_is_a_finding(services: Path, aggregate: str) -> None:
    """If bff-consumer-service's own contract claims to replicate one of its seven, that is found at its row."""
    path = services / SERVICE / "SYNC_CONTRACT.md"
    lines = path.read_text("utf-8").split("\n")
    number = next(i for i, line in enumerate(lines) if f"`{aggregate}`" in line)
    lines[number] = lines[number].replace("**No**", "No").replace("| No |", "| Yes |")
    path.write_text("\n".join(lines), "utf-8")
    (finding,) = check_matrix(build_matrix(services))
    assert (finding.aggregate, finding.at.file, finding.at.line) == (aggregate, str(path), number + 1)


def test_aggregate_claimed_by_two_services_is_an_error(services: Path) -> None:
    """One aggregate has one owner: the second claim is an error at its line, which names the first."""
    path = contract(services, GOOD.replace("`Room`", "`RoomType`"), "zz-service")
    with pytest.raises(UnreadableError) as caught:
        build_matrix(services)
    assert (caught.value.file, caught.value.line) == (str(path), 7)
    assert f"{services / 'property-service' / 'SYNC_CONTRACT.md'}:7" in caught.value.reason


@pytest.mark.parametrize("claim", ["| `room` | No | n/a |", "| Room | Yes | lww+diff |"])
def test_aggregate_claimed_twice_by_one_service_is_an_error(tmp_path: Path, claim: str) -> None:
    """Not even one service claims an aggregate twice, in capitals or not, replicated or not."""
    contract(tmp_path, GOOD + claim + "\n")
    with pytest.raises(UnreadableError) as caught:
        build_matrix(tmp_path)
    assert caught.value.line == 8


def test_policy_outside_the_vocabulary_is_an_error(tmp_path: Path) -> None:
    """A policy that is not configured is an error at its line; one that is configured is read."""
    path = contract(tmp_path, GOOD.replace("lww+diff", "crdt"))
    assert error_of(path).line == 7
    assert read_contract(path, policies=["n/a", "crdt"]).aggregates[0].conflict_policy == "crdt"
    with pytest.raises(UnreadableError):
        build_matrix(tmp_path)
    assert build_matrix(tmp_path, policies={"crdt"}).rows[0].conflict_policy == "crdt"


DELIMITER = "|---|---|---|\n"
MALFORMED = {
    "empty file": (1, ""),
    "no heading": (1, GOOD.replace("## Replication scope", "## Scope")),
    "heading in a fence": (1, "```text\n" + GOOD + "```\n"),
    "heading in a comment": (1, "<!--\n" + GOOD + "-->\n"),
    "no table": (3, "# Contract\n\n## Replication scope\n\nNothing.\n"),
    "table below another heading": (3, GOOD.replace("## Replication scope\n", "## Replication scope\n\n## Other\n")),
    "table in a fence": (3, GOOD.replace("scope\n", "scope\n```text", 1) + "```\n"),
    "no line of dashes": (5, HEAD + "| Room | Yes | lww+diff |\n"),
    "dashes for too few columns": (6, HEAD + "|---|---|\n| Room | Yes | lww+diff |\n"),
    "broken dashes": (5, HEAD + "|---|--x|---|\n| Room | Yes | lww+diff |\n"),
    "too few cells": (7, HEAD + DELIMITER + "| Room | Yes |\n"),
    "too many cells": (7, HEAD + DELIMITER + "| Room | Yes | lww+diff | x |\n"),
    "bar in a cell": (7, HEAD + DELIMITER + "| Room | Yes | lww+diff (a | b) |\n"),
    "no bar at the end": (7, HEAD + DELIMITER + "| Room | Yes | lww+diff\n"),
    "no bar at the beginning": (7, HEAD + DELIMITER + "Room | Yes | lww+diff |\n"),
    "row after a gap": (9, GOOD + "\n| Bed | Yes | lww+diff |\n"),
    "second table": (9, GOOD + "\n" + GOOD.split("\n\n")[2]),
    "second heading": (9, GOOD + "\n### Replication scope\n"),
    "column missing": (5, GOOD.replace("Conflict policy", "Policy")),
    "column twice": (5, GOOD.replace("Conflict policy", "Aggregate owned")),
    "another column twice": (5, GOOD.replace("policy |", "policy | Note | Note |").replace("---|\n", "---|---|---|\n")),
    "column without a name": (5, GOOD.replace("policy |", "policy | |").replace("---|\n", "---|---|\n")),
    "no name": (7, GOOD.replace("`Room`", "")),
    "two names": (7, GOOD.replace("`Room`", "`Room`, `Bed`")),
    "name with a link": (7, GOOD.replace("`Room`", "[Room](room.md)")),
    "maybe": (7, GOOD.replace("Yes", "Maybe")),
    "yes and no": (7, GOOD.replace("Yes", "Yes/No")),
    "no, but": (7, GOOD.replace("Yes", "No, except the open ones")),
    "nothing": (7, GOOD.replace("Yes", "")),
    "tick": (7, GOOD.replace("Yes", "✓")),
    "no policy": (7, GOOD.replace("lww+diff", "")),
    "policy in capitals": (7, GOOD.replace("lww+diff", "LWW+diff")),
    "fence without an end": (9, GOOD + "\n```text\n"),
    "comment without an end": (10, GOOD + "\n\n<!-- \n"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_contract_is_an_error(tmp_path: Path, name: str) -> None:
    """A contract that Markdown would show somehow, but that does not say one thing clearly, is an error at its line."""
    line, text = MALFORMED[name]
    error = error_of(contract(tmp_path, text))
    assert (error.line, bool(error.reason)) == (line, True)


@pytest.mark.parametrize(
    "text", [GOOD.replace("\n", "\r\n"), "\ufeff" + GOOD, GOOD + "\nA remark with `a | b` in it.\n"]
)
def test_harmless_differences_are_read(tmp_path: Path, text: str) -> None:
    """Line ends of Windows, a byte order mark, and prose below the table change nothing."""
    (row,) = read_contract(contract(tmp_path, text)).aggregates
    assert (row.aggregate, row.replicated, row.conflict_policy, row.at.line) == ("Room", True, "lww+diff", 7)


def test_service_without_aggregates_is_read(tmp_path: Path) -> None:
    """A table without rows says that a service owns nothing; it contributes none."""
    contract(tmp_path, HEAD + DELIMITER)
    assert build_matrix(tmp_path).contributing_none == ("room-service",)


def test_folder_without_a_contract_is_an_error(tmp_path: Path) -> None:
    """A mistyped folder is not a platform that replicates nothing."""
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UnreadableError):
            build_matrix(folder)


def test_two_contracts_of_one_service_are_an_error(tmp_path: Path) -> None:
    """Which of the two would hold?"""
    contract(tmp_path / "a", GOOD)
    second = contract(tmp_path / "b", GOOD.replace("Room", "Bed"))
    with pytest.raises(UnreadableError) as caught:
        build_matrix(tmp_path)
    assert caught.value.file == str(second)


def test_copies_in_node_modules_do_not_count(tmp_path: Path) -> None:
    """What a package manager has put there is no service of this tree."""
    contract(tmp_path, GOOD)
    contract(tmp_path / "node_modules", GOOD)
    assert len(build_matrix(tmp_path).rows) == 1
