"""Verifying: configuration, facts, what errors tell. The refusals themselves are the vectors' business."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from ghasi_handoff import (
    BookingHandoff,
    ConfigurationError,
    ExpiredTokenError,
    HandoffPayload,
    InvalidMACError,
    InvalidPayloadError,
    InvalidTokenError,
    KeyRing,
    LifetimeTooLongError,
    MalformedTokenError,
    MintedHandoff,
    Minter,
    NotYetValidTokenError,
    RetiredKeyError,
    RevokedKeyError,
    UnknownKeyError,
    Verifier,
    WrongAudienceError,
    WrongIssuerError,
    WrongTenantError,
)
from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff._mac import compute_mac
from tests.minter_and_verifier import AUDIENCE, ISSUER, NOW, STAY, TENANT, Clock, MinterAndVerifier, at, key


def test_a_verified_handoff_states_its_facts() -> None:
    """Payload, id, tenant, key, addresses and times are those of the token."""
    pair = MinterAndVerifier()
    minted = pair.mint()
    verified = pair.verifier().verify(minted.token, tenant=TENANT)
    assert (verified.payload, verified.handoff_id, verified.tenant, verified.kid) == (
        STAY,
        minted.handoff_id,
        TENANT,
        "a",
    )
    assert (verified.issuer, verified.audience) == (ISSUER, AUDIENCE)
    assert (verified.issued_at, verified.expires_at) == (at(NOW), at(NOW + 300))
    assert minted.handoff_id in repr(verified)
    assert minted.token.split(".")[3] not in repr(verified)
    with pytest.raises(AttributeError):
        verified.tenant = "x"  # type: ignore[misc]


def test_verified_handoffs_compare_by_their_facts() -> None:
    """Verifying twice gives equal values; another token another one."""
    pair = MinterAndVerifier()
    first, second = pair.mint(), pair.mint()
    verifier = pair.verifier()
    once, again = (verifier.verify(first.token, tenant=TENANT) for _ in range(2))
    assert once == again
    assert hash(once) == hash(again)
    assert once != verifier.verify(second.token, tenant=TENANT)
    assert once != "handoff"


@pytest.mark.parametrize(
    "change",
    [
        {"issuer": ""}, {"audience": "a b"}, {"leeway": timedelta(seconds=-1)}, {"leeway": timedelta(seconds=61)}, {"leeway": timedelta(seconds=0.5)}, {"leeway": 10},
        {"max_lifetime": timedelta(0)}, {"max_lifetime": timedelta(seconds=3601)}, {"payload_type": dict}, {"payload_type": STAY}, {"payload_type": int}, {"keys": None},
    ],
)  # fmt: skip
def test_a_verifier_that_cannot_work_is_not_made(change: dict[str, Any]) -> None:
    """A name outside the grammar, a cap exceeded, a class that is no payload: an error at the line that wrote it."""
    facts: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE}
    with pytest.raises(ConfigurationError):
        Verifier(change.pop("keys", KeyRing([key()])), **(facts | change))


def refused(
    pair: MinterAndVerifier, minted: MintedHandoff | str, tenant: str = TENANT, **changes: Any
) -> InvalidTokenError:
    token: Any = minted.token if isinstance(minted, MintedHandoff) else minted
    facts: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "clock": pair.clock}
    with pytest.raises(InvalidTokenError) as caught:
        Verifier(lambda: pair.ring, **(facts | changes)).verify(token, tenant=tenant)
    return caught.value


def test_log_fields_before_the_mac_hold_the_kid_at_most() -> None:
    """Before the MAC has matched, the error logs nothing of the token but a well-formed kid."""
    pair = MinterAndVerifier()
    minted = pair.mint()
    assert refused(pair, "nonsense").log_fields == {}
    assert refused(pair, minted.token.replace(".a.", ".a b.")).log_fields == {}
    assert refused(pair, minted.token.replace(".a.", ".a.A")).log_fields == {"kid": "a"}
    forged = refused(pair, minted.token[:-1] + ("A" if minted.token[-1] != "A" else "B"))
    assert (type(forged), forged.log_fields) == (InvalidMACError, {"kid": "a"})
    pair.ring = KeyRing([key("b")])
    assert refused(pair, minted).log_fields == {"kid": "a"}


def test_log_fields_after_the_mac_name_the_handoff() -> None:
    """An authentic token that is refused can be found in the logs of both sides."""
    pair = MinterAndVerifier()
    minted = pair.mint()
    errors = [
        refused(pair, minted, issuer="other"),
        refused(pair, minted, audience="other"),
        refused(pair, minted, tenant="tn_borealis"),
        refused(pair, minted, max_lifetime=timedelta(seconds=299)),
        refused(pair, minted, clock=lambda: NOW - 11),
        refused(pair, minted, clock=lambda: NOW + 310),
    ]
    assert [type(error) for error in errors] == [
        WrongIssuerError, WrongAudienceError, WrongTenantError, LifetimeTooLongError, NotYetValidTokenError, ExpiredTokenError,
    ]  # fmt: skip
    for error in errors:
        assert error.log_fields == {"handoff_id": minted.handoff_id, "tenant": TENANT, "kid": "a"}
        assert "tn_borealis" not in str(error)
    assert "expired 10 s ago" in str(errors[-1])
    assert "issued 11 s ahead" in str(errors[-2])


def test_keys_are_refused_by_their_state() -> None:
    """Unknown, retired and revoked are told apart, and each is an UnknownKeyError for those who do not care."""
    pair = MinterAndVerifier()
    minted = pair.mint()
    pair.ring = KeyRing([key("a", NOW - 10, verify_until=NOW + 4000), key("b", NOW + 200)])
    pair.clock.now = NOW + 4000
    assert type(refused(pair, minted)) is RetiredKeyError
    pair.ring = KeyRing([key("a", revoked_at=NOW + 9000)])
    assert type(refused(pair, minted)) is RevokedKeyError
    pair.ring = KeyRing([key("b")])
    assert type(refused(pair, minted)) is UnknownKeyError
    assert issubclass(RetiredKeyError, UnknownKeyError)
    assert issubclass(RevokedKeyError, UnknownKeyError)


def test_the_clock_is_read_first_and_once() -> None:
    """One reading judges key and times, also when verifying takes long."""
    pair = MinterAndVerifier()
    minted = pair.mint()
    readings = iter([NOW + 309.9, NOW + 9999])
    verifier = Verifier(pair.ring, issuer=ISSUER, audience=AUDIENCE, clock=lambda: next(readings))
    assert verifier.verify(minted.token, tenant=TENANT).handoff_id == minted.handoff_id
    with pytest.raises(ConfigurationError):
        Verifier(pair.ring, issuer=ISSUER, audience=AUDIENCE, clock=lambda: float("nan")).verify("x", tenant=TENANT)


class SubText(str):
    """A str that may answer as it likes."""

    __slots__ = ()


@pytest.mark.parametrize(
    "token", [b"ghasi1.a.b.c", None, 5, ["ghasi1"], SubText("ghasi1.a.b.c"), object(), "", "x" * 5000, "\ud800" * 100]
)
def test_only_a_str_is_a_token(token: str) -> None:
    """Bytes, subclasses and everything else are malformed, not an exception of another kind."""
    assert type(refused(MinterAndVerifier(), token)) is MalformedTokenError


@pytest.mark.parametrize("tenant", [None, 5, b"tn_aurora", object(), ["tn_aurora"], "tn_aurora\n", ""])
def test_a_strange_tenant_matches_nothing(tenant: str) -> None:
    """A tenant from a strange Host header is no tenant of any token."""
    pair = MinterAndVerifier()
    assert type(refused(pair, pair.mint(), tenant)) is WrongTenantError


class Ticket(HandoffPayload):
    seat: str


def test_the_payload_class_is_the_verifiers() -> None:
    """A verifier gives its own class back, and refuses what is not one."""
    ring = KeyRing([key()])
    minter = Minter(ring, issuer=ISSUER, audience=AUDIENCE, clock=lambda: NOW)
    ticket = minter.mint(Ticket(seat="12A"), tenant=TENANT)
    verifier = Verifier(ring, issuer=ISSUER, audience=AUDIENCE, payload_type=Ticket, clock=lambda: NOW)
    assert verifier.verify(ticket.token, tenant=TENANT).payload.seat == "12A"
    error = refused(MinterAndVerifier(ring), ticket.token)
    assert type(error) is InvalidPayloadError
    assert "BookingHandoff" in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "12A" not in str(error)


def test_an_authentic_body_outside_the_grammar_is_malformed() -> None:
    """Signed with the right key, and still nothing is believed that is not in the grammar."""
    body = b"bff-consumer\nbff-tenant-booking\n"
    token = f"ghasi1.a.{b64u_encode(body)}.{compute_mac(key(), body)}"
    assert type(refused(MinterAndVerifier(), token)) is MalformedTokenError


def test_a_new_optional_member_is_safe_once_verifiers_know_it() -> None:
    """A member at its default is absent: old tokens verify with the new class, and new tokens at the default with the old one."""

    class New(BookingHandoff):
        accessible: bool = False

    pair = MinterAndVerifier()
    minter = pair.minter()
    new_verifier = Verifier(pair.ring, issuer=ISSUER, audience=AUDIENCE, payload_type=New, clock=pair.clock)
    facts = STAY.model_dump()
    old_token = minter.mint(STAY, tenant=TENANT).token
    assert new_verifier.verify(old_token, tenant=TENANT).payload == New(**facts)
    plain = minter.mint(New(**facts), tenant=TENANT).token
    assert pair.verifier().verify(plain, tenant=TENANT).payload == STAY
    used = minter.mint(New(**facts, accessible=True), tenant=TENANT).token
    assert new_verifier.verify(used, tenant=TENANT).payload.accessible
    assert type(refused(pair, used)) is InvalidPayloadError


def test_a_reloaded_ring_counts_at_once() -> None:
    """The callable is asked at each verify; verify itself never reloads anything."""
    pair = MinterAndVerifier()
    verifier = pair.verifier()
    token = pair.mint().token
    pair.ring = pair.ring.revoke("a", at(NOW))
    with pytest.raises(RevokedKeyError):
        verifier.verify(token, tenant=TENANT)
    assert not dataclasses.is_dataclass(verifier)


def test_a_verifier_tells_which_keys_and_time_it_goes_by() -> None:
    """A verifier gives its present ring, also after a reload, and its clock in whole seconds."""
    pair = MinterAndVerifier(clock=Clock(NOW + 0.9))
    verifier = pair.verifier()
    assert verifier.now() == NOW
    pair.ring = KeyRing([key("b")])
    assert verifier.key_source() is pair.ring
