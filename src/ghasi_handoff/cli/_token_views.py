"""What a token says, verified or not -> a table for people, facts for ``--json``."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ghasi_handoff._times import from_seconds
from ghasi_handoff.cli._output import iso, table

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from ghasi_handoff._signing_string import Body
    from ghasi_handoff._verify import VerifiedHandoff
    from ghasi_handoff.payload import BookingHandoff


class TokenLines(NamedTuple):
    """What a token says besides its payload."""

    kid: str
    issuer: str
    audience: str
    tenant: str
    handoff_id: str
    issued_at: datetime
    expires_at: datetime

    @classmethod
    def unverified(cls, kid: str, body: Body) -> TokenLines:
        """From a token that anybody may have made."""
        times = from_seconds(body.issued_at), from_seconds(body.expires_at)
        return cls(kid, body.issuer, body.audience, body.tenant, body.handoff_id, *times)

    @classmethod
    def verified(cls, by: VerifiedHandoff) -> TokenLines:
        """From a verified token."""
        return cls(by.kid, by.issuer, by.audience, by.tenant, by.handoff_id, by.issued_at, by.expires_at)

    def facts(self) -> dict[str, object]:
        """For ``--json``."""
        return {**self._asdict(), "issued_at": iso(self.issued_at), "expires_at": iso(self.expires_at)}

    def table(self, now: datetime) -> str:
        """For people: one line each, the times with their distance from `now`."""
        rows = {name.replace("_", " "): str(value) for name, value in self.facts().items()}
        rows["issued at"] += f"  ({_distance(self.issued_at - now, 'ahead')})"
        rows["expires at"] += f"  ({_distance(self.expires_at - now, 'left')})"
        return table(list(rows.items()))


def payload_facts(payload: BookingHandoff) -> object:
    """The payload's members that are not at their default, as in the token."""
    return payload.model_dump(mode="json", exclude_defaults=True)


def _distance(difference: timedelta, word_for_future: str) -> str:
    seconds = int(difference.total_seconds())
    return f"{seconds} s {word_for_future}" if seconds > 0 else f"{-seconds} s ago"
