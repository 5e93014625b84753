"""Anything at all ends in one of the errors of the tree, or in a result."""

from __future__ import annotations

from collections.abc import Collection, Generator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghasi_handoff import BookingHandoff, ConfigurationError, HandoffError, Redeemer, Redemption, VerifiedHandoff
from ghasi_handoff.stores.memory import MemoryReplayStore

from . import oracle
from .booking_texts import booking_texts
from .hostile import LARGE_TEXTS, Boxed, any_texts, bodies, hostile_objects, known_objects, near_tokens
from .strategies import NOW, SITE, STAY, share

TOKEN = SITE.minter().mint(STAY, tenant=SITE.tenant).token
signed_tokens = bodies(booking_texts).map(lambda body: oracle.signed(SITE.kid, SITE.secret, body))
texts = st.one_of(any_texts, near_tokens(), signed_tokens, st.just(TOKEN), st.sampled_from(LARGE_TEXTS))
boxed_texts = texts.map(lambda text: Boxed("a text", lambda: text))


@contextmanager
def refusals(leaves: Collection[type[HandoffError]]) -> Generator[list[str]]:
    """The code of a refusal, if the block ends in one of `leaves`. Any other error gets through."""
    codes: list[str] = []
    try:
        yield codes
    except HandoffError as exc:
        if type(exc) not in leaves:
            raise
        codes.append(exc.code)


def verified(token: Any, tenant: Any) -> str:
    """The code of the refusal, or nothing. Any error that is no leaf below `InvalidTokenError` fails the test."""
    with refusals(oracle.TOKEN_LEAVES) as codes:
        result = SITE.verifier().verify(token, tenant=tenant)
        assert type(result) is VerifiedHandoff
        assert type(result.payload) is BookingHandoff
    return "".join(codes)


def redeemed(token: Any, tenant: Any, **secret: Any) -> str:
    """The code of the refusal, or nothing. Any error that is no leaf fails the test."""
    redeemer = Redeemer(SITE.verifier(), MemoryReplayStore(clock=lambda: NOW))
    with refusals(oracle.LEAVES) as codes:
        result = redeemer.redeem(token, tenant=tenant, **secret)
        assert type(result) is Redemption
        assert type(result.handoff) is VerifiedHandoff
    return "".join(codes)


def test_the_leaves_are_those_of_the_design() -> None:
    """Each leaf has a code of its own, and the two inner nodes are never raised."""
    codes = sorted(error.code for error in oracle.LEAVES)
    assert codes == sorted(
        [
            *(
                "configuration",
                "key_ring",
                "invalid_input",
                "store_unavailable",
                "log_unavailable",
                "confirmation_unavailable",
                "malformed",
            ),
            *(
                "unknown_key",
                "retired_key",
                "revoked_key",
                "invalid_mac",
                "wrong_issuer",
                "wrong_audience",
                "wrong_tenant",
            ),
            *("not_yet_valid", "expired", "lifetime_too_long", "invalid_payload", "replayed", "revoked_handoff"),
            "unknown_handoff",
        ]
    )


@pytest.mark.parametrize("place", range(len(known_objects(TOKEN))), ids=lambda place: known_objects("")[place].name)
def test_objects_that_do_harm(place: int) -> None:
    """In every run, each object that lies or raises when touched is no token, no other tenant's name and no browser secret."""
    token, tenant = known_objects(TOKEN)[place], known_objects("tn_other")[place]
    assert verified(token.open(), SITE.tenant) == "malformed"
    assert redeemed(token.open(), SITE.tenant, browser_secret=b"s" * 32) == "malformed"
    # One that is a str, and of the right text, may be taken for what it is.
    assert verified(TOKEN, tenant.open()) in (
        {"", "wrong_tenant"} if tenant.name == "enum member" else {"wrong_tenant"}
    )
    assert redeemed(TOKEN, SITE.tenant, browser_secret=tenant.open()) == "configuration"


@pytest.mark.parametrize("text", LARGE_TEXTS, ids=lambda text: ascii(text[:13]))
def test_texts_of_two_million_characters(text: str) -> None:
    """In every run, a text that is far too large is refused as token and as tenant."""
    assert verified(text, SITE.tenant) == "malformed"
    assert redeemed(TOKEN, text) == "wrong_tenant"


@share(4)
@given(token=texts)
def test_any_text_as_token(token: str) -> None:
    """Any text as a token ends verify and redeem in a leaf or a result."""
    verified(token, SITE.tenant)
    redeemed(token, SITE.tenant, browser_secret=b"s" * 32)


@share(3)
@given(token=hostile_objects(TOKEN))
def test_any_object_as_token(token: Boxed) -> None:
    """Any object but a plain str as a token is malformed."""
    assert verified(token.open(), SITE.tenant) == "malformed"
    assert redeemed(token.open(), SITE.tenant, browser_secret=b"s" * 32) == "malformed"


@share(2)
@given(tenant=texts)
def test_any_text_as_tenant(tenant: str) -> None:
    """Any text but the token's own tenant is the wrong tenant."""
    expected = "" if tenant == SITE.tenant else "wrong_tenant"
    assert verified(TOKEN, tenant) == expected
    assert redeemed(TOKEN, tenant) == expected


@share(3)
@given(tenant=hostile_objects("tn_other"))
def test_any_object_as_tenant(tenant: Boxed) -> None:
    """Any object that is not the tenant's text is the wrong tenant, whatever it says when it is asked."""
    # One that is a str, and of the right text, may be taken for what it is.
    expected = {"", "wrong_tenant"} if tenant.name == "enum member" else {"wrong_tenant"}
    assert verified(TOKEN, tenant.open()) in expected
    assert redeemed(TOKEN, tenant.open()) in expected


@share(3)
@given(
    secret=hostile_objects("s" * 32)
    | boxed_texts
    | st.binary(max_size=40).map(lambda data: Boxed(repr(data), lambda: data))
)
def test_any_object_as_browser_secret(secret: Boxed) -> None:
    """Anything but 32 bytes as browser secret is the caller's mistake, whatever the token."""
    value = secret.open()
    expected = "" if type(value) is bytes and len(value) == 32 else "configuration"
    assert redeemed(TOKEN, SITE.tenant, browser_secret=secret.open()) == expected
    if expected:
        assert redeemed("no token", SITE.tenant, browser_secret=secret.open()) == expected


anything = boxed_texts | hostile_objects(TOKEN)


@share(3)
@given(token=anything, tenant=anything, secret=anything)
def test_anything_for_all_three(token: Boxed, tenant: Boxed, secret: Boxed) -> None:
    """Anything at all as token, tenant and browser secret at once ends in a leaf or a result."""
    verified(token.open(), tenant.open())
    redeemed(token.open(), tenant.open())
    redeemed(token.open(), tenant.open(), browser_secret=secret.open())


@given(reading=st.floats() | st.integers())
def test_any_number_from_the_clock(reading: float) -> None:
    """Verify and redeem end in an error of the tree for any reading of the clock. An impossible one is a configuration error."""
    is_time = 0 <= reading <= oracle.MAX_SECONDS
    redeemer = Redeemer(SITE.verifier(reading), MemoryReplayStore(clock=lambda: NOW))
    expected = oracle.TOKEN_LEAVES if is_time else {ConfigurationError}
    for judge in (SITE.verifier(reading).verify, redeemer.redeem):
        try:
            judge(TOKEN, tenant=SITE.tenant)
        except HandoffError as exc:
            if type(exc) not in expected:
                raise
        else:
            assert is_time
