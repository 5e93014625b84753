"""registry, contracts -> entries, rows -> findings, matrix. The platform's sync contract, as far as bff-consumer goes.

The staff desktop works offline on a copy of what a sync registry lists. Nothing of bff-consumer-service is in it, by
decision. Here that decision is data, and a check. This room uses no other room of the package, and only the command
line uses it: a handoff is not a sync.
"""

from __future__ import annotations

from ghasi_handoff.sync_contract._check import BFF_CONSUMER, check_entries, check_matrix, check_registry
from ghasi_handoff.sync_contract._matrix import DEFAULT_POLICIES, build_matrix, read_contract
from ghasi_handoff.sync_contract._models import (
    ContractRow,
    Finding,
    FutureCandidate,
    MatrixRow,
    OwnedAggregate,
    Place,
    RegistryEntry,
    ServiceContract,
    SyncContract,
    SyncMatrix,
    UnreadableError,
)
from ghasi_handoff.sync_contract._registry import read_registry
from ghasi_handoff.sync_contract._sarif import sarif_log

__all__ = [
    "BFF_CONSUMER",
    "DEFAULT_POLICIES",
    "ContractRow",
    "Finding",
    "FutureCandidate",
    "MatrixRow",
    "OwnedAggregate",
    "Place",
    "RegistryEntry",
    "ServiceContract",
    "SyncContract",
    "SyncMatrix",
    "UnreadableError",
    "build_matrix",
    "check_entries",
    "check_matrix",
    "check_registry",
    "read_contract",
    "read_registry",
    "sarif_log",
]
