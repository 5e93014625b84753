"""SYNC_CONTRACT.md files -> contracts -> one row for each aggregate that the desktop holds."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from ghasi_handoff.sync_contract._models import (
    ContractRow,
    MatrixRow,
    Place,
    ServiceContract,
    SyncMatrix,
    UnreadableError,
)
from ghasi_handoff.sync_contract._registry import read_bytes
from ghasi_handoff.sync_contract._tables import plain, read_table

DEFAULT_POLICIES: Final = ("n/a", "lww+diff")
FILE_NAME: Final = "SYNC_CONTRACT.md"
HEADING: Final = "Replication scope"
AGGREGATE, REPLICATED, POLICY = COLUMNS = ("Aggregate owned", "Replicated to desktop SQLite?", "Conflict policy")

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:[._-][A-Za-z0-9]+)*")
# A remark may follow, in brackets. Anything else could take the word back: "No, but ..."
_YES_OR_NO: Final = re.compile(r"(?P<word>yes|no)(?:\s*\([^()]*\))?", re.IGNORECASE)
# Copies of other repositories, and what no one has committed.
_NOT_SEARCHED: Final = frozenset({"node_modules", ".git"})


def build_matrix(folder: str | Path, *, policies: Collection[str] = DEFAULT_POLICIES) -> SyncMatrix:
    """The conflict policy of each aggregate that the services below `folder` replicate to the desktop.

    Each service has a file ``SYNC_CONTRACT.md`` in a folder that has its name.

    Args:
        folder: Where to look. Folders ``node_modules`` and ``.git`` are passed over, links are not followed.
        policies: The vocabulary of conflict policies.

    Raises:
        UnreadableError: There is no contract at all, one can't be read, two services claim one aggregate, or a policy
            is outside the vocabulary.
    """
    contracts = [read_contract(path, policies=policies) for path in _contracts_below(str(folder))]
    _refuse_two_owners(contracts)
    rows = [
        MatrixRow(
            aggregate=row.aggregate, service_name=contract.service_name, conflict_policy=row.conflict_policy, at=row.at
        )
        for contract in contracts
        for row in contract.replicated_aggregates
    ]
    rows.sort(key=lambda row: (row.aggregate.casefold(), row.aggregate))
    none = sorted(contract.service_name for contract in contracts if not contract.replicated_aggregates)
    return SyncMatrix(rows=tuple(rows), contributing_none=tuple(none))


def read_contract(path: str | Path, *, policies: Collection[str] = DEFAULT_POLICIES) -> ServiceContract:
    """What a service says of its aggregates, in the table below "Replication scope" of its ``SYNC_CONTRACT.md``.

    Args:
        path: The file. The folder that holds it has the service's name.
        policies: The vocabulary of conflict policies.

    Raises:
        UnreadableError: It can't be read, the table is malformed, or a policy is outside the vocabulary.
    """
    file = str(path)
    table = read_table(file, read_bytes(file).decode("utf-8"), heading=HEADING, columns=COLUMNS)
    rows = tuple(_row(file, line, cells, policies) for line, cells in table)
    return ServiceContract(service_name=Path(os.path.abspath(file)).parent.name, file=file, aggregates=rows)


def _row(file: str, line: int, cells: dict[str, str], policies: Collection[str]) -> ContractRow:
    name, policy = plain(cells[AGGREGATE]), plain(cells[POLICY])
    if _NAME.fullmatch(name) is None:
        raise UnreadableError(file, line, f'"{name}" is not the name of an aggregate')
    replicated = _YES_OR_NO.fullmatch(plain(cells[REPLICATED]))
    if replicated is None:
        raise UnreadableError(
            file, line, f'"{cells[REPLICATED]}" is neither Yes nor No; a remark may follow in brackets'
        )
    if policy not in policies:
        raise UnreadableError(file, line, f'the conflict policy "{policy}" is none of {", ".join(policies)}')
    return ContractRow(
        aggregate=name,
        replicated=replicated["word"].lower() == "yes",
        conflict_policy=policy,
        notes={column: plain(cell) for column, cell in cells.items() if column not in COLUMNS},
        at=Place(file=file, line=line),
    )


def _contracts_below(folder: str) -> list[str]:
    def refuse(error: OSError) -> None:
        raise UnreadableError(error.filename or folder, 1, error.strerror or str(error)) from error

    found: list[str] = []
    for above, folders, files in os.walk(folder, onerror=refuse):
        folders[:] = sorted(set(folders) - _NOT_SEARCHED)
        if FILE_NAME in files:
            found.append(os.path.join(above, FILE_NAME))
    if not found:
        raise UnreadableError(folder, 1, f"there is no {FILE_NAME} below this folder")
    return found


def _refuse_two_owners(contracts: Iterable[ServiceContract]) -> None:
    services: dict[str, ServiceContract] = {}
    owners: dict[str, ContractRow] = {}
    for contract in contracts:
        other = services.setdefault(contract.service_name, contract)
        if other is not contract:
            raise UnreadableError(contract.file, 1, f"{contract.service_name} has another contract: {other.file}")
        for row in contract.aggregates:
            owner = owners.setdefault(row.aggregate.casefold(), row)
            if owner is not row:
                at = f"{owner.at.file}:{owner.at.line}"
                raise UnreadableError(
                    row.at.file, row.at.line, f"{row.aggregate} is claimed twice; the other claim is {at}"
                )
