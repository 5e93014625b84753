"""The makers of bad tokens against the real verifier: each is refused, for its own reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ghasi_handoff import (
    BookingHandoff,
    ConfigurationError,
    Consumption,
    HandoffError,
    InvalidHandoffInputError,
    KeyRing,
    KeyRingError,
    Minter,
    Redeemer,
    Verifier,
)
from ghasi_handoff import testing as kit
from ghasi_handoff._limits import MAX_LEEWAY_SECONDS, MAX_LIFETIME_SECONDS, MAX_SECONDS
from ghasi_handoff._mac import compute_mac
from ghasi_handoff._token import build_token, parse_token
from ghasi_handoff.testing import FrozenClock
from tests.minter_and_verifier import AUDIENCE, ISSUER, STAY, TENANT, secret

MAKERS = {
    kit.expired_token: "expired",
    kit.foreign_token: "invalid_mac",
    kit.malformed_token: "malformed",
    kit.not_yet_valid_token: "not_yet_valid",
    kit.tampered_token: "invalid_mac",
    kit.unknown_key_token: "unknown_key",
    kit.wrong_audience_token: "wrong_audience",
    kit.wrong_issuer_token: "wrong_issuer",
    kit.wrong_tenant_token: "wrong_tenant",
}
Maker = Callable[..., str]
every_maker = pytest.mark.parametrize(
    ("make", "code"), MAKERS.items(), ids=lambda value: getattr(value, "__name__", "")
)


def services(clock: FrozenClock, lifetime: int = 300, leeway: int = 10) -> tuple[Minter, Verifier[BookingHandoff]]:
    """Both sides, with a ring that is as young as can be."""
    keys = KeyRing.generate(now=clock.now)
    minter = Minter(keys, issuer=ISSUER, audience=AUDIENCE, lifetime=timedelta(seconds=lifetime), clock=clock)
    return minter, Verifier(
        keys,
        issuer=ISSUER,
        audience=AUDIENCE,
        leeway=timedelta(seconds=leeway),
        max_lifetime=timedelta(seconds=max(600, lifetime)),
        clock=clock,
    )


def code_of(verifier: Verifier[BookingHandoff], token: str, tenant: str = TENANT) -> str:
    with pytest.raises(HandoffError) as caught:
        verifier.verify(token, tenant=tenant)
    return caught.value.code


def test_every_maker_is_tested() -> None:
    """Whatever is exported as a maker of tokens has its code here."""
    assert sorted(make.__name__ for make in MAKERS) == [name for name in kit.__all__ if name.endswith("_token")]


@every_maker
@pytest.mark.parametrize(("lifetime", "leeway"), [(300, 10), (1, 0), (MAX_LIFETIME_SECONDS, MAX_LEEWAY_SECONDS)])
def test_each_token_has_its_code(make: Maker, code: str, lifetime: int, leeway: int) -> None:
    """By whatever lifetime and leeway, and right after the ring was made."""
    minter, verifier = services(FrozenClock(), lifetime, leeway)
    assert code_of(verifier, make(minter, STAY, tenant=TENANT)) == code


class NoStore:
    """A store that must not be asked."""

    def consume(self, handoff_id: str, **entry: Any) -> Consumption:
        raise AssertionError(handoff_id)


@every_maker
def test_no_token_reaches_a_store(make: Maker, code: str) -> None:
    """A redeemer has the same codes. An expired token is too old for a repetition, too, which would ask the store."""
    minter, verifier = services(FrozenClock(), leeway=MAX_LEEWAY_SECONDS)
    redeemer = Redeemer(verifier, NoStore())
    with pytest.raises(HandoffError) as caught:
        redeemer.redeem(make(minter, STAY, tenant=TENANT), tenant=TENANT, browser_secret=secret())
    assert caught.value.code == code


@every_maker
def test_after_a_rotation_the_key_that_signs_is_taken(make: Maker, code: str) -> None:
    """The codes are the same in a ring of several keys, and while another one verifies only."""
    clock = FrozenClock()
    keys = KeyRing.generate(kid="old", now=clock.now).rotate(kid="new", now=clock.now)
    clock.forward(16 * 60)
    minter = Minter(lambda: keys, issuer=ISSUER, audience=AUDIENCE, clock=clock)
    verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE, clock=clock)
    token = make(minter, STAY, tenant=TENANT)
    assert code_of(verifier, token) == code
    assert code == "unknown_key" or token.split(".")[1] == "new"


def test_only_the_mac_of_a_tampered_token_is_wrong() -> None:
    """Its body alone would be believed: a good handoff of this tenant, of now, with an id of its own."""
    clock = FrozenClock()
    minter, verifier = services(clock)
    kid, body, mac_text = parse_token(kit.tampered_token(minter, STAY, tenant=TENANT))
    key = minter.key_source().verifying_key(kid, int(clock()))
    assert compute_mac(key, body) != mac_text
    assert verifier.verify(build_token(kid, body, compute_mac(key, body)), tenant=TENANT).payload == STAY


def test_a_tenant_may_have_any_name() -> None:
    """Also the one that the token for another tenant would be for."""
    minter, verifier = services(FrozenClock())
    for tenant in ("another", "yet-another"):
        assert code_of(verifier, kit.wrong_tenant_token(minter, STAY, tenant=tenant), tenant) == "wrong_tenant"


@pytest.mark.parametrize(("make", "seconds"), [(kit.expired_token, 100), (kit.not_yet_valid_token, MAX_SECONDS - 1000)])
def test_no_token_is_made_outside_the_calendar(make: Maker, seconds: int) -> None:
    """A clock too close to 1970, or to the end of the year 9999, is an error: the token would have another code."""
    minter, _ = services(FrozenClock(datetime.fromtimestamp(seconds, UTC)))
    with pytest.raises(ConfigurationError):
        make(minter, STAY, tenant=TENANT)


@every_maker
def test_wrong_arguments_are_the_minters_errors(make: Maker, code: str) -> None:
    """No minter, a ring that cannot sign, no payload: said as elsewhere."""
    clock = FrozenClock()
    minter, _ = services(clock)
    no_minter: Any = minter.key_source()
    no_payload: Any = {"adults": 2}
    revoked = minter.key_source().revoke(minter.key_source().keys[0].kid, now=clock.now)
    with pytest.raises(ConfigurationError):
        make(no_minter, STAY, tenant=TENANT)
    with pytest.raises(KeyRingError):
        make(Minter(revoked, issuer=ISSUER, audience=AUDIENCE, clock=clock), STAY, tenant=TENANT)
    with pytest.raises(InvalidHandoffInputError):
        make(minter, no_payload, tenant=TENANT)


def test_the_clock_stands_still_until_it_is_moved() -> None:
    """Then it is ahead by what was said, for all who have it."""
    clock = FrozenClock()
    before = clock()
    assert clock() == before == int(before) == clock.now.timestamp()
    clock.forward(1.5)
    assert clock() == before + 1.5
    assert clock.now.timestamp() == before + 1


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "1", True, None])
def test_the_clock_only_goes_forward(seconds: Any) -> None:
    """By a finite number, so that it stays a clock."""
    with pytest.raises(ConfigurationError):
        FrozenClock().forward(seconds)


@pytest.mark.parametrize("at", [1795426200, "2026-11-23", FrozenClock().now.replace(tzinfo=None)])
def test_the_clock_stands_at_an_aware_datetime(at: Any) -> None:
    """Nothing else says one moment."""
    with pytest.raises(ConfigurationError):
        FrozenClock(at)
