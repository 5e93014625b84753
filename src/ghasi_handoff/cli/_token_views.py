"""What a token says, verified or not -> a table for people, facts for ``--json``."""

from __future__ import annotations

from ghasi_handoff._signing_string import Body
from ghasi_handoff.cli._output import iso, table
from ghasi_handoff.payload import BookingHandoff


def token_facts(kid: str, body: Body) -> dict[str, str]:
    """What it says besides its payload, for ``--json``."""
    return {
        "kid": kid,
        "issuer": body.issuer,
        "audience": body.audience,
        "tenant": body.tenant,
        "handoff_id": body.handoff_id,
        "issued_at": iso(body.issued_at),
        "expires_at": iso(body.expires_at),
    }


def token_table(kid: str, body: Body, now: int) -> str:
    """The same for people: one line each, the times with their distance from `now`."""
    rows = {name.replace("_", " "): value for name, value in token_facts(kid, body).items()}
    rows["issued at"] += f"  ({_distance(body.issued_at - now, 'ahead')})"
    rows["expires at"] += f"  ({_distance(body.expires_at - now, 'left')})"
    return table(list(rows.items()))


def payload_facts(payload: BookingHandoff) -> object:
    """The payload's members that are not at their default, as in the token."""
    return payload.model_dump(mode="json", exclude_defaults=True)


def _distance(seconds: int, word_for_future: str) -> str:
    return f"{seconds} s {word_for_future}" if seconds > 0 else f"{-seconds} s ago"
