"""ring, clock -> which state each key takes when, and why a rotation should wait."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from ghasi_handoff._limits import DEFAULT_PROPAGATION, LEAST_PROPAGATION
from ghasi_handoff._times import from_seconds, iso, to_seconds
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keys import KeyRing, KeyState


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChange:
    """From `at` on, an aware datetime, key `kid` is in `state`."""

    at: datetime
    kid: str
    state: KeyState


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Why a rotation now could leave somebody with a token that nobody verifies.

    Attributes:
        code: ``clock_behind``, ``pending_key``, ``recent_revocation`` or ``short_propagation``.
        text: What is the matter, and what to wait for.
        until: Aware datetime from which on it no longer applies; None if time alone does not help.
    """

    code: str
    text: str
    until: datetime | None


def state_changes(keys: KeyRing, now: datetime | None = None) -> tuple[StateChange, ...]:
    """Every change of a state that is still to come, if nobody changes the ring, in the order of time.

    Args:
        keys: The ring.
        now: Aware datetime; by default the present.
    """
    present = floored(now)
    dates = {date for key in keys.keys for date in (key.sign_from, key.verify_until) if date is not None}
    found = []
    states = {key.kid: keys.state(key.kid, present) for key in keys.keys}
    for at in sorted(date for date in dates if date > present):
        for key in keys.keys:
            state = keys.state(key.kid, at)
            if state is not states[key.kid]:
                found.append(StateChange(at=at, kid=key.kid, state=state))
                states[key.kid] = state
    return tuple(found)


def waits(
    keys: KeyRing, now: datetime | None = None, *, propagation: timedelta = DEFAULT_PROPAGATION
) -> tuple[Wait, ...]:
    """Why a rotation of the ring should wait; nothing if it is safe now.

    `KeyRing.rotate` is safe by its dates if the clock is right and files arrive in their order and in time. These are
    the signs that they might not.

    Args:
        keys: The ring that would be rotated.
        now: Aware datetime; by default the present.
        propagation: As `KeyRing.rotate` will get it.
    """
    now, found = floored(now), []
    latest, changed = max(
        (date, key.kid) for key in keys.keys for date in (key.created_at, key.revoked_at) if date is not None
    )
    if latest > now:
        text = (
            f"key {changed} was made or revoked at {iso(latest)}, and this clock reads {iso(now)}: it is behind, and"
            " the new key would sign before the others have it; set the clock; or, if it is right now and was ahead"
            " then, use --emergency with --propagation"
        )
        found.append(Wait(code="clock_behind", text=text, until=latest))
    pending = [key for key in keys.keys if keys.state(key.kid, now) is KeyState.PENDING]
    if pending:
        last = pending[-1]
        text = (
            f"key {last.kid} does not sign before {iso(last.sign_from)}: until then a copy of its file may still be on"
            " its way, and could replace the new one; wait until then, or take that rotation back with:"
            f" keys revoke {last.kid}"
        )
        found.append(Wait(code="pending_key", text=text, until=last.sign_from))
    recent = [
        (key.revoked_at, key.kid)
        for key in keys.keys
        if key.revoked_at is not None and key.revoked_at <= now < key.revoked_at + propagation
    ]
    if recent:
        revoked, kid = max(recent)
        arrived = revoked + propagation
        text = (
            f"key {kid} was revoked at {iso(revoked)}: that file may still be on its way, and could replace the new"
            f" one; wait until {iso(arrived)}, or, if that is too late, use --emergency"
        )
        found.append(Wait(code="recent_revocation", text=text, until=arrived))
    if propagation < LEAST_PROPAGATION:
        given, least = (time // timedelta(seconds=1) for time in (propagation, LEAST_PROPAGATION))
        text = (
            f"a propagation of {given} s is less than {least} s: where clocks differ, the new key would sign before"
            " the others have it; give it more time"
        )
        found.append(Wait(code="short_propagation", text=text, until=None))
    return tuple(found)


def floored(now: datetime | None) -> datetime:
    """`now`, or else the present, in whole seconds."""
    return from_seconds(to_seconds(datetime.now(UTC) if now is None else now, name="now", error=KeyRingError))
