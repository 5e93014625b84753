"""Minting: what is signed, what is refused, and the redirect's URL."""

from __future__ import annotations

import enum
import time
from datetime import date, timedelta
from typing import Any

import pytest

from ghasi_handoff import (
    BookingHandoff,
    ConfigurationError,
    InvalidHandoffInputError,
    KeyRing,
    KeyRingError,
    Minter,
)
from tests.minter_and_verifier import AUDIENCE, ISSUER, NOW, STAY, TENANT, MinterAndVerifier, at, key


def minter(**changes: Any) -> Minter:
    facts: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "clock": lambda: NOW + 0.25}
    return Minter(changes.pop("keys", KeyRing([key()])), **(facts | changes))


def test_a_minted_handoff_states_its_facts() -> None:
    """Token, id, tenant, payload, key and times are those that were signed."""
    minted = minter(random_bytes=lambda count: bytes(range(count))).mint(STAY, tenant=TENANT)
    assert minted.handoff_id == "01a207bd-aaba-7000-9020-304050607080"
    assert (minted.tenant, minted.payload, minted.kid) == (TENANT, STAY, "a")
    assert (minted.issued_at, minted.expires_at) == (at(NOW), at(NOW + 300))
    assert minted.token.startswith("ghasi1.a.")
    assert minted.token not in repr(minted)
    assert minted.handoff_id in repr(minted)
    with pytest.raises(AttributeError):
        minted.token = ""  # type: ignore[misc]


@pytest.mark.parametrize("fraction", [0.0, 0.0005, 0.9994, 0.9995, 0.999999])
def test_the_ids_milliseconds_stay_in_the_second_of_issue(fraction: float) -> None:
    """No rounding carries the id into the next second: its verifier would refuse it."""
    pair = MinterAndVerifier()
    pair.clock.now = NOW + fraction
    minted = pair.mint()
    assert int(minted.handoff_id.replace("-", "")[:12], 16) // 1000 == NOW
    assert pair.verifier().verify(minted.token, tenant=TENANT).handoff_id == minted.handoff_id


def test_ids_are_random_in_74_bits() -> None:
    """All bits that UUIDv7 leaves free come from the source of randomness, and no others."""
    ids = []
    for byte in (b"\x00", b"\xff"):
        ids.append(minter(random_bytes=lambda count, byte=byte: byte * count).mint(STAY, tenant=TENANT).handoff_id)
    low, high = (int(handoff_id.replace("-", ""), 16) for handoff_id in ids)
    assert bin(low ^ high).count("1") == 74
    made = [minter() for _ in range(2)]
    assert made[0].mint(STAY, tenant=TENANT).handoff_id != made[1].mint(STAY, tenant=TENANT).handoff_id


def test_one_clock_reading_chooses_key_time_and_id() -> None:
    """The clock is read once: else a token could carry a key from before its time."""
    readings = iter([NOW])
    ring = KeyRing([key("a", NOW - 10), key("b", NOW)])
    minted = minter(keys=ring, clock=lambda: next(readings)).mint(STAY, tenant=TENANT)
    assert (minted.kid, minted.issued_at) == ("b", at(NOW))
    assert next(readings, None) is None


def test_the_ring_may_change_under_a_minter() -> None:
    """A callable is asked at each mint, so that a reloaded ring counts at once."""
    rings = [KeyRing([key("a")]), KeyRing([key("b")])]
    asked = minter(keys=lambda: rings.pop(0))
    assert [asked.mint(STAY, tenant=TENANT).kid for _ in range(2)] == ["a", "b"]


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": ""}, {"issuer": "a b"}, {"audience": "x" * 65}, {"audience": None}, {"issuer": "a\nb"}, {"lifetime": timedelta(0)},
        {"lifetime": timedelta(seconds=-1)}, {"lifetime": timedelta(seconds=3601)}, {"lifetime": timedelta(milliseconds=1500)}, {"lifetime": 300},
        {"keys": None}, {"keys": "ring"},
    ],
)  # fmt: skip
def test_a_minter_that_cannot_work_is_not_made(change: dict[str, Any]) -> None:
    """A name outside the grammar, a lifetime of nothing or above the cap: an error at the line that wrote it."""
    with pytest.raises(ConfigurationError):
        minter(**change)


@pytest.mark.parametrize("lifetime", [1, 3600])
def test_lifetimes_reach_from_a_second_to_an_hour(lifetime: int) -> None:
    """Both ends of the range mint."""
    minted = minter(lifetime=timedelta(seconds=lifetime)).mint(STAY, tenant=TENANT)
    assert minted.expires_at == at(NOW + lifetime)


@pytest.mark.parametrize("tenant", ["", "a b", "x" * 65, "tn\n", "é", "\ud800", None, 5, b"tn_aurora"])
def test_a_tenant_outside_the_grammar_is_refused(tenant: str) -> None:
    """A tenant that no verifier would accept is refused when minting."""
    with pytest.raises(InvalidHandoffInputError, match="tenant"):
        minter().mint(STAY, tenant=tenant)


def test_what_is_no_valid_payload_is_refused() -> None:
    """The payload is validated anew: model_copy and model_construct check nothing."""
    for wrong in (STAY.model_copy(update={"adults": 99}), {"adults": 2}, None):
        with pytest.raises(InvalidHandoffInputError):
            minter().mint(wrong, tenant=TENANT)  # type: ignore[type-var]


@pytest.mark.parametrize("reading", [float("nan"), float("inf"), -1.0, None, 253402300799])
def test_a_broken_clock_mints_nothing(reading: float) -> None:
    """No finite time, a time before 1970, or one so late that the token would end after the year 9999."""
    with pytest.raises(ConfigurationError):
        minter(clock=lambda: reading).mint(STAY, tenant=TENANT)


@pytest.mark.parametrize("random", [b"", b"x" * 9, b"x" * 11, bytearray(10), None])
def test_a_broken_source_of_randomness_mints_nothing(random: object) -> None:
    """Ten bytes or an error: a short id could repeat."""
    with pytest.raises(ConfigurationError, match="random_bytes"):
        minter(random_bytes=lambda count: random).mint(STAY, tenant=TENANT)


def test_without_a_signing_key_nothing_is_minted() -> None:
    """Every key pending, or the active one revoked: KeyRingError, never an older key."""
    for ring in (KeyRing([key("a", NOW + 1)]), KeyRing([key("a"), key("b", NOW, revoked_at=NOW)])):
        with pytest.raises(KeyRingError):
            minter(keys=ring).mint(STAY, tenant=TENANT)


def test_the_largest_token_fits() -> None:
    """The longest names and the largest payload make a token below 4096 characters, so no mint can fail by length."""
    from ghasi_handoff import HandoffPayload, Verifier

    class Note(HandoffPayload):
        text: str

    longest = "n" * 64
    ring = KeyRing([key("k" * 32)])
    minted = Minter(ring, issuer=longest, audience=longest, clock=lambda: NOW).mint(
        Note(text="x" * 2037), tenant=longest
    )
    assert len(minted.token) < 4096
    verifier = Verifier(ring, issuer=longest, audience=longest, payload_type=Note, clock=lambda: NOW)
    assert verifier.verify(minted.token, tenant=longest).payload.text == "x" * 2037


# The redirect's URL

TOKEN_FREE = [
    ("https://aurora.example/handoff", "https://aurora.example/handoff?handoff=T"),
    ("https://aurora.example", "https://aurora.example?handoff=T"),
    ("https://aurora.example/?a=1&b=", "https://aurora.example/?a=1&b=&handoff=T"),
    ("https://aurora.example/x#part?handoff=1", "https://aurora.example/x?handoff=T#part?handoff=1"),
    ("https://aurora.example:8443/x", "https://aurora.example:8443/x?handoff=T"),
    ("HTTPS://aurora.example/x", "https://aurora.example/x?handoff=T"),
    ("https://aurora.example/x?handoffs=1&Handoff=2", "https://aurora.example/x?handoffs=1&Handoff=2&handoff=T"),
    ("http://localhost:8000/x", "http://localhost:8000/x?handoff=T"),
    ("http://127.0.0.1/x", "http://127.0.0.1/x?handoff=T"),
    ("http://127.8.9.1/x", "http://127.8.9.1/x?handoff=T"),
    ("http://[::1]:8000/x", "http://[::1]:8000/x?handoff=T"),
    ("https://[2001:db8::1]/x", "https://[2001:db8::1]/x?handoff=T"),
]


@pytest.mark.parametrize(("base", "expected"), TOKEN_FREE)
def test_the_url_gains_one_parameter(base: str, expected: str) -> None:
    """The token goes into the query, before a fragment, and nothing else changes."""
    minted = minter().mint(STAY, tenant=TENANT)
    assert minted.url(base) == expected.replace("=T", f"={minted.token}")


def test_the_parameter_can_be_named() -> None:
    """Another name is taken as it is."""
    minted = minter().mint(STAY, tenant=TENANT)
    assert minted.url("https://a.example/?handoff=x", param="h.1") == f"https://a.example/?handoff=x&h.1={minted.token}"


@pytest.mark.parametrize(
    "base",
    [
        "http://aurora.example/x", "http://127.0.0.1.example/x", "http://localhost.example/x", "http://0.0.0.0/x", "ftp://aurora.example", "//aurora.example/x", "/handoff", "",
        "aurora.example/x", "https://", "https:///x", "https://user@aurora.example/", "https://user:pw@aurora.example/", "https://@aurora.example/", "https://aurora.example/?handoff=1", "https://aurora.example/?a=1&handoff",
        "https://aurora.example/?h%61ndoff=1", "https://aurora.example:0/", "https://aurora.example:99999/", "https://aurora.example:x/", "https://[::1/x", "https://[x]/",
        "https://aurora.example/a b", " https://aurora.example/", "https://aurora.example/\n", "https://aurora.example\\@evil.example/", "https://aurora.ex\u00e4mple/",
        "https://aurora.example/\ud800", "javascript:alert(1)", "https:aurora.example", None, 5, b"https://aurora.example/",
    ],
)  # fmt: skip
def test_other_urls_are_refused(base: str) -> None:
    """Not https, not absolute, credentials in it, ambiguous, or with the parameter already: no URL with a token in it is made."""
    with pytest.raises(InvalidHandoffInputError):
        minter().mint(STAY, tenant=TENANT).url(base)


@pytest.mark.parametrize("param", ["", "a b", "a&b", "a=b", "é", "x" * 65, None])
def test_other_parameter_names_are_refused(param: str) -> None:
    """A name that would need escaping is refused."""
    with pytest.raises(InvalidHandoffInputError, match="param"):
        minter().mint(STAY, tenant=TENANT).url("https://a.example/", param=param)


def test_the_defaults_are_those_of_the_design() -> None:
    """A real clock, real randomness, 300 seconds."""
    before = int(time.time())
    stay = BookingHandoff(property_id="x", check_in=date(2026, 1, 1), check_out=date(2026, 1, 2), adults=1)
    minted = Minter(KeyRing.generate(), issuer=ISSUER, audience=AUDIENCE).mint(stay, tenant=TENANT)
    assert minted.expires_at - minted.issued_at == timedelta(seconds=300)
    assert before <= minted.issued_at.timestamp() <= time.time()


class Tenant(str, enum.Enum):  # noqa: UP042 - the old way is what is tested
    """Text by inheritance; formatted, it is "Tenant.AURORA"."""

    AURORA = "tn_aurora"


def test_a_tenant_is_its_own_characters() -> None:
    """A member of (str, Enum) is checked, signed and compared as the text that it is, not as the one it is formatted to."""
    pair = MinterAndVerifier()
    minted = pair.minter().mint(STAY, tenant=Tenant.AURORA)
    assert type(minted.tenant) is str
    assert minted.tenant == "tn_aurora"
    assert pair.verifier().verify(minted.token, tenant="tn_aurora").tenant == "tn_aurora"
    assert pair.verifier().verify(minted.token, tenant=Tenant.AURORA).tenant == "tn_aurora"


def test_a_minter_gives_its_present_ring() -> None:
    """Code beside a minter sees the ring that it signs with, also after a reload."""
    pair = MinterAndVerifier()
    made = pair.minter()
    pair.ring = KeyRing([key("b")])
    assert made.key_source() is pair.ring
