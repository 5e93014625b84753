"""entries -> findings: what of bff-consumer-service the desktop would get, and why it must not."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ghasi_handoff.sync_contract._contract import BFF_CONSUMER
from ghasi_handoff.sync_contract._models import Finding, Place, RegistryEntry, SyncMatrix
from ghasi_handoff.sync_contract._registry import read_registry

# Without the difference of capitals: an entry that only a capital sets apart is still the one that was meant.
_REASONS: Final = {aggregate.name.casefold(): aggregate.reason for aggregate in BFF_CONSUMER.aggregates}
_SERVICES: Final = frozenset({BFF_CONSUMER.service_name, BFF_CONSUMER.service_name.removesuffix("-service")})
_SERVICE: Final = BFF_CONSUMER.service_name
_WHY: Final = "; ".join(BFF_CONSUMER.reasons)

RULES: Final = {
    "bff-consumer-aggregate": f"No aggregate of {_SERVICE} is replicated to the desktop.",
    "bff-consumer-name": "No aggregate that is named bff-consumer.* is replicated to the desktop.",
    "bff-consumer-service": f"Nothing of {_SERVICE} is replicated to the desktop.",
}


def check_registry(path: str | Path) -> tuple[Finding, ...]:
    """What a sync registry has of bff-consumer-service: nothing, if all is well.

    Args:
        path: A registry as `read_registry` takes it.

    Raises:
        UnreadableError: It cannot be read with certainty.
    """
    return check_entries(read_registry(path))


def check_entries(entries: Iterable[RegistryEntry]) -> tuple[Finding, ...]:
    """What of bff-consumer-service is among the entries of a registry, one finding an entry at most."""
    return _findings((one.service_name, one.aggregate, one.service_at, one.aggregate_at) for one in entries)


def check_matrix(matrix: SyncMatrix) -> tuple[Finding, ...]:
    """What of bff-consumer-service is among the aggregates that services' contracts say are replicated."""
    return _findings((row.service_name, row.aggregate, row.at, row.at) for row in matrix.rows)


def _findings(claims: Iterable[tuple[str, str, Place, Place]]) -> tuple[Finding, ...]:
    return tuple(finding for claim in claims if (finding := _judge(*claim)) is not None)


def _judge(service: str, aggregate: str, service_at: Place, aggregate_at: Place) -> Finding | None:
    name = aggregate.casefold()
    if name in _REASONS:
        rule, at = "bff-consumer-aggregate", aggregate_at
        reason = f"{aggregate} belongs to {_SERVICE} and is never replicated to the desktop: {_REASONS[name]}"
    elif name.split(".", 1)[0] in _SERVICES:
        rule, at = "bff-consumer-name", aggregate_at
        reason = f"{aggregate} is named as one of {_SERVICE}, which the desktop never consumes: {_WHY}"
    elif service.casefold() in _SERVICES:
        rule, at = "bff-consumer-service", service_at
        reason = f"{service} is never consumed by the desktop: {_WHY}"
    else:
        return None
    return Finding(rule=rule, service_name=service, aggregate=aggregate, reason=reason, at=at)
