"""The contract of bff-consumer-service: the platform's decision as data, word for word."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from ghasi_handoff.sync_contract import BFF_CONSUMER, SyncContract

DECIDED = {
    "GuestSession": "cookie-bound, server-side only",
    "SearchSession": "TTL 1 h, regenerated on demand",
    "Wishlist": "anonymous; phase 2 may sync to an authenticated user, never to the desktop",
    "BookingHandoff": "single-use, server-side only",
    "MetaPageView": "telemetry only",
    "ConversionFunnelEvent": "telemetry only",
    "BotScore": "security audit, server-side only",
}


def test_seven_aggregates_with_their_reasons() -> None:
    """Each aggregate has the reason that was decided, and a retention only where one was stated."""
    assert BFF_CONSUMER.service_name == "bff-consumer-service"
    assert [(one.name, one.reason) for one in BFF_CONSUMER.aggregates] == list(DECIDED.items())
    retentions = {one.name: one.retention for one in BFF_CONSUMER.aggregates}
    assert retentions == {**dict.fromkeys(DECIDED, "not stated"), "SearchSession": "1 h"}


def test_nothing_is_replicated() -> None:
    """None of them is on the desktop, so none has a conflict policy."""
    assert BFF_CONSUMER.replicated_aggregates == ()
    assert {(one.replicated, one.conflict_policy) for one in BFF_CONSUMER.aggregates} == {(False, "n/a")}


def test_four_reasons() -> None:
    """The service is out of scope for four reasons."""
    assert BFF_CONSUMER.reasons == (
        "no staff workflow on the consumer surface",
        "no tenant scope (the desktop protocol is keyed on tenantId, userId, deviceId, scope)",
        "no durable shared state",
        "trust boundary mismatch (the desktop's database is encrypted with a device-bound key derived through iam-service)",
    )


def test_future_candidates_never_reach_the_desktop() -> None:
    """Two are deferred, each between the guest's own devices; what was not stated about them is not made up."""
    wishlist, history = BFF_CONSUMER.future_candidates
    assert (wishlist.name, wishlist.trigger) == ("authenticated wishlist", "phase 2 consumer accounts")
    assert (wishlist.conflict_policy, wishlist.ordered_by) == ("lww+diff", "addedAt")
    assert wishlist.design == "services/bff-consumer-service/_future/wishlist-auth-sync.md"
    assert (history.name, history.trigger, history.conflict_policy) == (
        "per-user search history",
        "phase 2",
        "lww+diff",
    )
    assert (history.ordered_by, history.design) == ("not stated", "not stated")
    for candidate in BFF_CONSUMER.future_candidates:
        assert candidate.between == (
            "consumer mobile and consumer web through the iam-service account, never the desktop"
        )


def test_contract_is_frozen_and_strict() -> None:
    """A decision is not changed at run time, and has no members of anybody's invention."""
    with pytest.raises(ValidationError):
        BFF_CONSUMER.service_name = "other"
    with pytest.raises(ValidationError):
        SyncContract.model_validate({**BFF_CONSUMER.model_dump(), "more": 1})


def test_json_has_the_platforms_names_and_reads_back() -> None:
    """The sync engine reads the same contract from JSON, with the names of its own TypeScript."""
    data = BFF_CONSUMER.to_json()
    assert set(data) == {"serviceName", "aggregates", "reasons", "futureCandidates"}
    assert SyncContract.model_validate_json(BFF_CONSUMER.model_dump_json(by_alias=True)) == BFF_CONSUMER
