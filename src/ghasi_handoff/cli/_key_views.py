"""ring -> a table of keys, a timeline of their states, and the same for machines. In ASCII."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import click

from ghasi_handoff.cli._output import facts_of, iso
from ghasi_handoff.keys import KeyRing, KeyState
from ghasi_handoff.rotation import state_changes, waits

_LINES: Final = {
    KeyState.PENDING: ".",
    KeyState.ACTIVE: "=",
    KeyState.VERIFY_ONLY: "-",
    KeyState.RETIRED: " ",
    KeyState.REVOKED: "x",
}
_COLORS: Final = {KeyState.ACTIVE: "green", KeyState.PENDING: "yellow", KeyState.REVOKED: "red"}
_LEGEND: Final = "= active: signs, verifies  . pending: verifies already  - verify-only  x revoked"
_CELL: Final = 16
_COLUMNS: Final = 80  # also in a pipe, so that a script sees what its author saw


def key_facts(ring: KeyRing, now: datetime) -> list[dict[str, object]]:
    """The keys, for ``--json``."""
    return [
        {
            "kid": key.kid,
            "state": ring.state(key.kid, now).value,
            "created_at": iso(key.created_at),
            "sign_from": iso(key.sign_from),
            "verify_until": None if key.verify_until is None else iso(key.verify_until),
            "revoked_at": None if key.revoked_at is None else iso(key.revoked_at),
        }
        for key in ring.keys
    ]


def change_facts(ring: KeyRing, now: datetime) -> list[dict[str, object]]:
    """What is still to come, for ``--json``."""
    return [facts_of(change) for change in state_changes(ring, now)]


def kids_in(ring: KeyRing, state: KeyState, now: datetime) -> list[str]:
    """The keys that are in this state now."""
    return [key.kid for key in ring.keys if ring.state(key.kid, now) is state]


def signer(ring: KeyRing, now: datetime) -> str | None:
    """The key that signs now."""
    return next(iter(kids_in(ring, KeyState.ACTIVE, now)), None)


def sign_at_once(ring: KeyRing, now: datetime) -> str:
    """What makes a key sign at once. A new key always signs after those that are pending, so they must go."""
    if any(wait.code == "clock_behind" for wait in waits(ring, now)):
        return "set this clock, which seems to be behind"  # else a good key would be revoked as pending
    pending = kids_in(ring, KeyState.PENDING, now)
    return f"keys revoke {pending[0]} --replace" if pending else "keys rotate --emergency"


def key_table(ring: KeyRing, now: datetime) -> str:
    """One key a line: its state and its dates."""
    width = max(len("kid"), *(len(key.kid) for key in ring.keys))
    lines = [f"{'kid':{width}}  {'state':11}  {'signs from':20}  verifies until"]
    for key in ring.keys:
        state = ring.state(key.kid, now)
        until = "no end yet" if key.verify_until is None else iso(key.verify_until)
        if key.revoked_at is not None:
            until = f"revoked {iso(key.revoked_at)}"
        shown = click.style(f"{state.value:11}", fg=_COLORS.get(state))
        lines.append(f"{key.kid:{width}}  {shown}  {iso(key.sign_from)}  {until}")
    return "\n".join(lines)


def timeline(ring: KeyRing, now: datetime) -> str:
    """The states from now on: one line a key, one column from each change to the next; columns are not to scale.

    What does not fit beside each other in 80 characters goes on below.
    """
    moments = sorted({now, *(change.at for change in state_changes(ring, now))})
    width = max(len(key.kid) for key in ring.keys)
    fitting = max(1, (_COLUMNS - width - 2) // _CELL)
    parts = []
    for shown in (moments[start : start + fitting] for start in range(0, len(moments), fitting)):
        head = "".join(f"{'now' if at == now else f'{at:%d %b %H:%M}':{_CELL}}" for at in shown)
        rows = [("", head), ("", f"|{'':{_CELL - 1}}" * len(shown))]
        rows += [(key.kid, "".join(_LINES[ring.state(key.kid, at)] * _CELL for at in shown)) for key in ring.keys]
        parts.append("\n".join(f"{name:{width}}  {drawn}".rstrip() for name, drawn in rows))
    return "\n\n".join([*parts, _LEGEND])


def what_happens(ring: KeyRing, now: datetime) -> str:
    """Each change that is still to come, in words; and nothing where there is none."""
    words = {  # the states that time alone brings
        KeyState.ACTIVE: "signs from now on",
        KeyState.VERIFY_ONLY: "signs no more, still verifies",
        KeyState.RETIRED: "is retired: `keys prune` may remove it some time after",
    }
    return "\n".join(
        f"{iso(change.at)}  {_distance(change.at - now):>10}  {change.kid} {words[change.state]}"
        for change in state_changes(ring, now)
    )


def _distance(span: timedelta) -> str:
    minutes = round(span.total_seconds() / 60)
    if minutes < 180:
        return f"in {minutes} min"
    return f"in {round(minutes / 60)} h" if minutes < 72 * 60 else f"in {round(minutes / 1440)} d"
