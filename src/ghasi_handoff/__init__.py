"""Signed, short-lived, single-use handoff tokens: mint on one service, verify and redeem on the other.

>>> from datetime import date
>>> from ghasi_handoff import BookingHandoff, KeyRing, Minter, Verifier
>>> keys = KeyRing.generate()
>>> minter = Minter(keys, issuer="bff-consumer", audience="bff-tenant-booking")
>>> stay = BookingHandoff(property_id="htl_0042", check_in=date(2026, 12, 24), check_out=date(2026, 12, 27), adults=2)
>>> minted = minter.mint(stay, tenant="tn_aurora")
>>> verifier = Verifier(keys, issuer="bff-consumer", audience="bff-tenant-booking")
>>> verifier.verify(minted.token, tenant="tn_aurora").payload == stay
True
"""

from ghasi_handoff._mint import MintedHandoff, Minter
from ghasi_handoff._redeem import AsyncRedeemer, Redeemer, Redemption
from ghasi_handoff._signing_string import signing_string
from ghasi_handoff._verify import VerifiedHandoff, Verifier
from ghasi_handoff._version import __version__
from ghasi_handoff.errors import (
    ConfigurationError,
    ConfirmationUnavailableError,
    ExpiredTokenError,
    HandoffError,
    HandoffLogError,
    InvalidHandoffInputError,
    InvalidMACError,
    InvalidPayloadError,
    InvalidTokenError,
    KeyRingError,
    LifetimeTooLongError,
    MalformedTokenError,
    NotYetValidTokenError,
    ReplayedTokenError,
    ReplayStoreError,
    RetiredKeyError,
    RevokedHandoffError,
    RevokedKeyError,
    UnknownHandoffError,
    UnknownKeyError,
    WrongAudienceError,
    WrongIssuerError,
    WrongTenantError,
)
from ghasi_handoff.keys import KeyRing, KeyState, SigningKey
from ghasi_handoff.payload import BookingHandoff, HandoffPayload
from ghasi_handoff.replay import AsyncReplayStore, Consumption, ReplayStore, StoreGuarantees

__all__ = [
    "AsyncRedeemer",
    "AsyncReplayStore",
    "BookingHandoff",
    "ConfigurationError",
    "ConfirmationUnavailableError",
    "Consumption",
    "ExpiredTokenError",
    "HandoffError",
    "HandoffLogError",
    "HandoffPayload",
    "InvalidHandoffInputError",
    "InvalidMACError",
    "InvalidPayloadError",
    "InvalidTokenError",
    "KeyRing",
    "KeyRingError",
    "KeyState",
    "LifetimeTooLongError",
    "MalformedTokenError",
    "MintedHandoff",
    "Minter",
    "NotYetValidTokenError",
    "Redeemer",
    "Redemption",
    "ReplayStore",
    "ReplayStoreError",
    "ReplayedTokenError",
    "RetiredKeyError",
    "RevokedHandoffError",
    "RevokedKeyError",
    "SigningKey",
    "StoreGuarantees",
    "UnknownHandoffError",
    "UnknownKeyError",
    "VerifiedHandoff",
    "Verifier",
    "WrongAudienceError",
    "WrongIssuerError",
    "WrongTenantError",
    "__version__",
    "signing_string",
]
