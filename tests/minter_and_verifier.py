"""For tests of the core: one key ring, a minter and a verifier on a clock that is set by hand."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

from ghasi_handoff import BookingHandoff, KeyRing, MintedHandoff, Minter, SigningKey, Verifier

NOW = 1_795_426_200  # 2026-11-23T09:30:00Z
ISSUER = "bff-consumer"
AUDIENCE = "bff-tenant-booking"
TENANT = "tn_aurora"
STAY = BookingHandoff(
    property_id="htl_0042", check_in=date(2026, 12, 24), check_out=date(2026, 12, 27), adults=2, children_ages=(4,)
)


def at(seconds: int) -> datetime:
    """Unix seconds as an aware datetime."""
    return datetime.fromtimestamp(seconds, UTC)


def secret(label: str = "a") -> bytes:
    """32 bytes that look random and are the same in each run."""
    return sha256(f"ghasi-handoff test secret {label}".encode()).digest()


def key(
    kid: str = "a", sign_from: int = NOW - 1000, *, verify_until: int | None = None, revoked_at: int | None = None
) -> SigningKey:
    """A key with its own secret, by its kid."""
    return SigningKey(
        kid=kid,
        secret=secret(kid),
        created_at=at(sign_from),
        sign_from=at(sign_from),
        verify_until=None if verify_until is None else at(verify_until),
        revoked_at=None if revoked_at is None else at(revoked_at),
    )


def key_with(**changes: Any) -> SigningKey:
    """A key that differs from ``key("a", NOW)`` in these arguments only."""
    facts: dict[str, Any] = {"kid": "a", "secret": secret(), "created_at": at(NOW), "sign_from": at(NOW)}
    return SigningKey(**(facts | changes))


@dataclass
class Clock:
    """A clock that is set by hand."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class MinterAndVerifier:
    """Both services, sharing a ring and a clock."""

    ring: KeyRing = field(default_factory=lambda: KeyRing([key()]))
    clock: Clock = field(default_factory=Clock)
    lifetime: timedelta = timedelta(seconds=300)
    leeway: timedelta = timedelta(seconds=10)

    def minter(self) -> Minter:
        return Minter(lambda: self.ring, issuer=ISSUER, audience=AUDIENCE, lifetime=self.lifetime, clock=self.clock)

    def verifier(self) -> Verifier:
        return Verifier(lambda: self.ring, issuer=ISSUER, audience=AUDIENCE, leeway=self.leeway, clock=self.clock)

    def mint(self, tenant: str = TENANT) -> MintedHandoff:
        return self.minter().mint(STAY, tenant=tenant)
