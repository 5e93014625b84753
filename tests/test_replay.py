"""The rules that all replay stores share: the protocol, the entries that are refused, and how far a purge goes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from ghasi_handoff import (
    AsyncReplayStore,
    ConfigurationError,
    InvalidHandoffInputError,
    ReplayStore,
    ReplayStoreError,
)
from ghasi_handoff.replay import Scope, check_entry, purge_cutoff, purge_time, timeout_seconds
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore
from tests.minter_and_verifier import at


def test_stores_satisfy_the_protocol_at_run_time() -> None:
    """Isinstance works for whoever wants to ask."""
    assert isinstance(MemoryReplayStore(), ReplayStore)
    assert isinstance(AsyncMemoryReplayStore(), AsyncReplayStore)


ENTRY: dict[str, Any] = {
    "handoff_id": "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71",
    "scope": "a\nb",
    "redemption_id": "0" * 64,
    "consumed_at": 5,
    "retain_until": 6,
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"handoff_id": "x"}, {"handoff_id": None}, {"scope": ""}, {"scope": None}, {"redemption_id": ""}, {"redemption_id": 5}, {"consumed_at": -1},
        {"consumed_at": 5.0}, {"consumed_at": True}, {"retain_until": 2**60}, {"retain_until": "6"},
    ],
)  # fmt: skip
def test_an_entry_of_another_type_is_refused(wrong: dict[str, Any]) -> None:
    """Every argument has its type and grammar, and an id is a UUIDv7."""
    check_entry(**ENTRY)
    with pytest.raises(InvalidHandoffInputError):
        check_entry(**(ENTRY | wrong))


@pytest.mark.parametrize("consumed_at", [6, 7])
def test_an_entry_past_its_retention_is_refused(consumed_at: int) -> None:
    """A purge might have removed it already, so it cannot be known whether it is new."""
    with pytest.raises(ReplayStoreError, match="past the entry's retention"):
        check_entry(**(ENTRY | {"consumed_at": consumed_at}))


def test_the_time_of_a_purge() -> None:
    """Unix seconds, an aware datetime, or the clock; the horizon is counted from the older of clock and newest id."""
    assert purge_time(None, lambda: 5.9) == 5
    assert purge_time(7, lambda: 5) == 7
    assert purge_time(at(9), lambda: 5) == 9
    for wrong in (at(9).replace(tzinfo=None), "9", float("nan"), -1):
        with pytest.raises(ConfigurationError):
            purge_time(wrong, lambda: 5)  # type: ignore[arg-type]
    assert [purge_cutoff(10_000, 9_000), purge_cutoff(9_000, 10_000), purge_cutoff(10_000, 5)] == [5160, 5160, 0]


@pytest.mark.parametrize(("issuer", "audience"), [("bff-consumer", "bff-tenant-booking"), ("a", "b"), ("a.b:c/d", "_")])
def test_a_scope_is_read_back_from_its_text(issuer: str, audience: str) -> None:
    """The text names the issuer first, then the audience; reading it gives the same scope."""
    scope = Scope(issuer, audience)
    assert str(scope) == issuer + "\n" + audience
    assert Scope.parse(str(scope)) == scope


def test_two_scopes_have_two_texts() -> None:
    """What is issued from a to b is not what is issued from b to a."""
    assert str(Scope("a", "b")) != str(Scope("b", "a"))


@pytest.mark.parametrize("text", ["", "bff-consumer"])
def test_a_text_that_is_no_scope_names_no_audience(text: str) -> None:
    """A row that something else has written is read without an error; nobody can sign a call for an empty audience."""
    assert Scope.parse(text) == Scope(text, "")


@pytest.mark.parametrize(
    ("timeout", "seconds"), [(2, 2.0), (0.5, 0.5), (60, 60.0), (timedelta(milliseconds=250), 0.25)]
)
def test_a_timeout_is_seconds_or_a_timedelta(timeout: float | timedelta, seconds: float) -> None:
    """Both are taken, up to a minute."""
    assert timeout_seconds(timeout) == seconds


@pytest.mark.parametrize("timeout", [0, -1, 60.5, float("nan"), float("inf"), True, "2", None, timedelta(0)])
def test_a_timeout_out_of_bounds_is_refused(timeout: Any) -> None:
    """Nothing waits for ever, or for no time at all."""
    with pytest.raises(ConfigurationError, match="timeout must be more than 0 and at most 60 seconds"):
        timeout_seconds(timeout)
