"""mint -> verify: what goes in comes out."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ghasi_handoff import (
    BookingHandoff,
    ExpiredTokenError,
    HandoffPayload,
    InvalidHandoffInputError,
    KeyRing,
    LifetimeTooLongError,
    Minter,
    NotYetValidTokenError,
    Verifier,
)
from ghasi_handoff.testing.strategies import payloads

from . import oracle
from .strategies import (
    NOW,
    SITE,
    STAY,
    Site,
    Words,
    any_payloads,
    aware,
    integers,
    names,
    other_payloads,
    readings,
    share,
    sites,
)


def milliseconds_of(handoff_id: str) -> int:
    """The first 48 bits."""
    return int(handoff_id.replace("-", "")[:12], 16)


@share(2)
@given(site=sites, payload=payloads())
def test_booking_survives(site: Site, payload: BookingHandoff) -> None:
    """A minted booking verifies to an equal booking."""
    minted = site.minter().mint(payload, tenant=site.tenant)
    verified = site.verifier().verify(minted.token, tenant=site.tenant)
    assert minted.payload == verified.payload == payload
    assert type(verified.payload) is BookingHandoff


@share(2)
@given(site=sites, payload=other_payloads)
def test_any_payload_survives(site: Site, payload: HandoffPayload) -> None:
    """A minted payload of any class verifies to an equal payload of that class."""
    minted = site.minter().mint(payload, tenant=site.tenant)
    verified = site.verifier_of(type(payload)).verify(minted.token, tenant=site.tenant)
    assert minted.payload == verified.payload == payload
    assert type(verified.payload) is type(payload)
    # 1 == True == Stars(1) for Python: the JSON says which it is.
    assert oracle.canonical_json(oracle.json_value(verified.payload)) == oracle.canonical_json(
        oracle.json_value(payload)
    )


@given(site=sites)
def test_both_sides_tell_the_same_facts(site: Site) -> None:
    """Id, tenant, kid and times are the same where the handoff is minted and where it is verified."""
    minted = site.minter().mint(STAY, tenant=site.tenant)
    verified = site.verifier().verify(minted.token, tenant=site.tenant)
    expected = (site.tenant, site.kid, aware(int(site.reading)), aware(int(site.reading) + site.lifetime))
    assert (minted.tenant, minted.kid, minted.issued_at, minted.expires_at) == expected
    assert (verified.tenant, verified.kid, verified.issued_at, verified.expires_at) == expected
    assert verified.handoff_id == minted.handoff_id
    assert (verified.issuer, verified.audience) == (site.issuer, site.audience)


@given(site=sites)
def test_verifying_twice_tells_the_same(site: Site) -> None:
    """Verifying changes nothing: the second time gives an equal handoff with an equal hash."""
    minted = site.minter().mint(STAY, tenant=site.tenant)
    verifier = site.verifier()
    first, second = (verifier.verify(minted.token, tenant=site.tenant) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)


@given(site=sites, payload=any_payloads)
def test_token_is_short_ascii(site: Site, payload: HandoffPayload) -> None:
    """A token is at most 4096 ASCII characters in four parts, whatever it carries."""
    token = site.minter().mint(payload, tenant=site.tenant).token
    assert len(token) <= 4096
    assert token.isascii()
    assert token.count(".") == 3


@given(fill=st.sampled_from(["a", '"', "\x00", "é", "\U0001f600"]), extra=st.integers(-2, 2))
def test_payload_of_2048_bytes_is_the_largest(fill: str, extra: int) -> None:
    """2048 bytes of payload mint and verify, with the longest names; 2049 do not mint."""
    long = "n" * 64
    site = Site("K" * 32, SITE.secret, long, long, long, 3600, 60, oracle.MAX_SECONDS - 3600)
    size = len(oracle.canonical_json({"text": fill})) - len(oracle.canonical_json({"text": ""}))
    filled, rest = divmod(2048 + extra - len(oracle.canonical_json({"text": ""})), size)
    payload = Words(text=fill * filled + "a" * rest)
    if extra > 0:
        with pytest.raises(InvalidHandoffInputError):
            site.minter().mint(payload, tenant=long)
    else:
        token = site.minter().mint(payload, tenant=long).token
        assert len(oracle.payload_of(token)) == 2048 + extra
        assert len(token) <= 4096
        assert site.verifier_of(Words).verify(token, tenant=long).payload == payload


@share(2)
@given(site=sites)
@example(site=replace(SITE, reading=NOW + 0.9995))  # rounded to milliseconds, it would be in the next second
def test_id_tells_the_issue_time(site: Site) -> None:
    """The id's milliseconds, floored to seconds, are issued-at, and are the clock's own to a millisecond."""
    minted = site.minter().mint(STAY, tenant=site.tenant)
    milliseconds = milliseconds_of(minted.handoff_id)
    assert minted.issued_at == datetime.fromtimestamp(milliseconds // 1000, UTC)
    assert abs(milliseconds - site.reading * 1000) <= 1


@given(reading=readings, randomness=st.binary(min_size=10, max_size=10), tenant=names)
def test_id_is_a_uuid_v7_with_74_random_bits(reading: float, randomness: bytes, tenant: str) -> None:
    """Version and variant stand where RFC 9562 has them, and each of 74 random bits reaches the id, each in its own place."""

    def id_of(random: bytes) -> int:
        minter = Minter(
            SITE_RING, issuer="i", audience="a", clock=lambda: reading, random_bytes=lambda size: random[:size]
        )
        handoff_id = minter.mint(STAY, tenant=tenant).handoff_id
        assert (handoff_id[8], handoff_id[13], handoff_id[18], handoff_id[23]) == ("-", "-", "-", "-")
        return int(handoff_id.replace("-", ""), 16)

    value = id_of(randomness)
    assert value >> 76 & 0xF == 7
    assert value >> 62 & 0b11 == 0b10
    number = int.from_bytes(randomness, "big")
    changed = [value ^ id_of((number ^ 1 << bit).to_bytes(10, "big")) for bit in range(80)]
    assert sorted(change for change in changed if change) == [1 << bit for bit in [*range(62), *range(64, 76)]]


SITE_RING = KeyRing.generate(kid="k", now=aware(0))


@given(site=sites, offset=integers)
def test_accepted_exactly_from_leeway_before_issue_to_leeway_after_expiry(site: Site, offset: int) -> None:
    """A token is current from issued-at - leeway, to the second before expires-at + leeway."""
    minted = site.minter().mint(STAY, tenant=site.tenant)
    first = int(site.reading) - site.leeway
    end = int(site.reading) + site.lifetime + site.leeway
    edges = [first - 1, first, end - 1, end, first + offset % (end - first), end + offset % 10**6]
    for reading in [*edges, *(edge + 0.9375 for edge in edges)]:
        if 0 <= reading <= oracle.MAX_SECONDS:
            assert accepts(site.verifier(reading), minted.token, site.tenant) is (first <= int(reading) < end)


def accepts(verifier: Verifier, token: str, tenant: str) -> bool:
    """Whether the verifier takes the token; a refusal must be one about time."""
    try:
        verifier.verify(token, tenant=tenant)
    except (NotYetValidTokenError, ExpiredTokenError):
        return False
    return True


@given(site=sites, other=sites)
def test_longest_lifetime_is_the_verifiers_to_say(site: Site, other: Site) -> None:
    """A verifier accepts a lifetime up to its own max_lifetime and refuses a longer one."""
    minted = site.minter().mint(STAY, tenant=site.tenant)
    verifier = Verifier(
        site.ring,
        issuer=site.issuer,
        audience=site.audience,
        max_lifetime=timedelta(seconds=other.lifetime),
        clock=lambda: site.reading,
    )
    if site.lifetime > other.lifetime:
        with pytest.raises(LifetimeTooLongError):
            verifier.verify(minted.token, tenant=site.tenant)
    else:
        assert verifier.verify(minted.token, tenant=site.tenant).payload == STAY
