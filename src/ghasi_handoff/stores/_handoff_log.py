"""A handoff at its issuer: issued, then consumed or revoked. The values of handoff logs. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, NamedTuple

from ghasi_handoff._limits import DEFAULT_FOUND_ROWS
from ghasi_handoff._signing_string import as_handoff_id
from ghasi_handoff.errors import UnknownHandoffError


class HandoffState(StrEnum):
    """What the issuer knows of a handoff."""

    ISSUED = "issued"
    CONSUMED = "consumed"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffRecord:
    """A row of the handoff log.

    Attributes:
        handoff_id: The token's unique id.
        issuer: The service that minted it.
        audience: The service that it is for.
        tenant: The hotel that it is for.
        kid: The key that signed.
        issued_at: Unix seconds.
        expires_at: Unix seconds.
        state: Issued, consumed or revoked. It changes once.
        redemption_id: Who redeemed; None unless consumed.
        consumed_at: When the booking side recorded the redemption, Unix seconds by its clock; None unless consumed.
        recorded_at: When this log was told, Unix seconds by our clock; None unless consumed.
        revoked_at: Unix seconds; None unless revoked.
    """

    handoff_id: str
    issuer: str
    audience: str
    tenant: str
    kid: str
    issued_at: int
    expires_at: int
    state: HandoffState = HandoffState.ISSUED
    redemption_id: str | None = None
    consumed_at: int | None = None
    recorded_at: int | None = None
    revoked_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffQuery:
    """Which rows `search` finds. What is None does not narrow it.

    Attributes:
        tenant: The hotel.
        since: Issued at or after, Unix seconds.
        until: Issued before, Unix seconds.
        state: In this state.
        limit: At most so many, the newest first.
    """

    tenant: str | None = None
    since: int | None = None
    until: int | None = None
    state: HandoffState | None = None
    limit: int = DEFAULT_FOUND_ROWS


class ConsumeCall(NamedTuple):
    """What the booking side reports: this handoff was redeemed, by whom and when.

    Attributes:
        issuer: The service that minted it, and is called.
        audience: The service that redeemed it, and calls.
        handoff_id: The handoff.
        redemption_id: Who redeemed: 64 lower-case hexadecimal digits.
        consumed_at: When, Unix seconds. The same in every repetition.
        sent_at: When this call was signed, Unix seconds.
    """

    issuer: str
    audience: str
    handoff_id: str
    redemption_id: str
    consumed_at: int
    sent_at: int


def record_of(row: Sequence[Any]) -> HandoffRecord:
    """A row of a database, its columns in the order of `HandoffRecord`."""
    names = [field.name for field in fields(HandoffRecord)]
    values = dict(zip(names, row, strict=True))
    return HandoffRecord(**{**values, "state": HandoffState(values["state"])})


def unknown(handoff_id: str) -> UnknownHandoffError:
    """The error for an id that the log does not have."""
    # What is no id may be anything, a token too, and the error's fields are logged.
    return UnknownHandoffError("the handoff log has no such handoff", handoff_id=as_handoff_id(handoff_id))
