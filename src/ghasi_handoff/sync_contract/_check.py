"""The contract of bff-consumer-service, as the platform decided it, word for word; and entries -> what breaks it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

from ghasi_handoff.sync_contract._models import (
    NOT_STATED,
    Finding,
    FutureCandidate,
    OwnedAggregate,
    Place,
    RegistryEntry,
    SyncContract,
    SyncMatrix,
)
from ghasi_handoff.sync_contract._registry import read_registry

_BETWEEN: Final = "consumer mobile and consumer web through the iam-service account, never the desktop"


def _not_replicated(name: str, reason: str, retention: str = NOT_STATED) -> OwnedAggregate:
    return OwnedAggregate(name=name, replicated=False, conflict_policy="n/a", reason=reason, retention=retention)


BFF_CONSUMER: Final = SyncContract(
    service_name="bff-consumer-service",
    aggregates=(
        _not_replicated("GuestSession", "cookie-bound, server-side only"),
        _not_replicated("SearchSession", "TTL 1 h, regenerated on demand", retention="1 h"),
        _not_replicated("Wishlist", "anonymous; phase 2 may sync to an authenticated user, never to the desktop"),
        _not_replicated("BookingHandoff", "single-use, server-side only"),
        _not_replicated("MetaPageView", "telemetry only"),
        _not_replicated("ConversionFunnelEvent", "telemetry only"),
        _not_replicated("BotScore", "security audit, server-side only"),
    ),
    reasons=(
        "no staff workflow on the consumer surface",
        "no tenant scope (the desktop protocol is keyed on tenantId, userId, deviceId, scope)",
        "no durable shared state",
        "trust boundary mismatch (the desktop's database is encrypted with a device-bound key derived through"
        " iam-service)",
    ),
    future_candidates=(
        FutureCandidate(
            name="authenticated wishlist",
            trigger="phase 2 consumer accounts",
            conflict_policy="lww+diff",
            ordered_by="addedAt",
            between=_BETWEEN,
            design="services/bff-consumer-service/_future/wishlist-auth-sync.md",
        ),
        FutureCandidate(
            name="per-user search history", trigger="phase 2", conflict_policy="lww+diff", between=_BETWEEN
        ),
    ),
)

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
