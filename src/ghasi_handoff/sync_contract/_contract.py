"""The contract of bff-consumer-service, word for word as the platform has decided it."""

from __future__ import annotations

from typing import Final

from ghasi_handoff.sync_contract._models import NOT_STATED, FutureCandidate, OwnedAggregate, SyncContract

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
