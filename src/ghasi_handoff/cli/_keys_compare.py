"""``keys fingerprint`` and ``keys doctor``: one copy of a ring beside another."""

from __future__ import annotations

from datetime import datetime
from typing import Final

import click

from ghasi_handoff.cli._key_files import KeyFileOptions, key_file
from ghasi_handoff.cli._key_views import sign_at_once, signer
from ghasi_handoff.cli._output import Answer, Clock, answers, facts_of, iso, now_of, printable, table
from ghasi_handoff.cli._peers import read_peer
from ghasi_handoff.keys import KeyRing, KeyState
from ghasi_handoff.rotation import Finding, compare, fingerprint, waits

_MARKS: Final = {"alarm": ("ALARM", "red"), "wait": ("wait", "yellow"), "ok": ("ok", "green")}

peers_option: Final = click.option(
    "--peer",
    "peers",
    metavar="FILE|URL",
    multiple=True,
    help="The other side's fingerprint: a file, or an https URL that serves it. May be repeated.",
)


@click.command("fingerprint")
@key_file
@answers
def fingerprint_command(clock: Clock, *, given: KeyFileOptions) -> Answer:
    """Show what two services may compare: kids, states, dates, and a keyed hash of each secret.

    Equal lines mean equal keys. No secret is shown, and none can be computed from the output. `keys doctor --peer`
    reads the output of --json on the other side.
    """
    made = fingerprint(given.file().load(), now_of(clock))
    width = max(len(key.kid) for key in made.keys)
    lines = [f"ring  {made.ring}", "", *(f"{key.kid:{width}}  {key.state.value:11}  {key.hash}" for key in made.keys)]
    return Answer(message=f"the ring's fingerprint is {made.ring}", facts=made.as_dict(), text="\n".join(lines))


@click.command()
@key_file
@peers_option
@answers
def doctor(clock: Clock, *, given: KeyFileOptions, peers: tuple[str, ...]) -> Answer:
    """Check the keys, compare them with the other side's, and say when the next step is safe.

    Exit code 1 if anything is wrong: valid tokens are refused, or tokens of a revoked key are accepted, now or soon.
    Run it after each step, and from monitoring.
    """
    ring, now = given.file().load(), now_of(clock)
    sides: list[tuple[str, list[Finding]]] = [("this file", _of_ring(ring, now))]
    last_used: dict[str, str] = {}
    for peer in peers:
        theirs, made_now = read_peer(peer)
        sides.append((printable(peer), list(compare(fingerprint(ring, now), theirs, made_now=made_now))))
        for key in theirs.keys:
            if key.last_used_at is not None:
                last_used[key.kid] = max(last_used.get(key.kid, ""), iso(key.last_used_at))
    findings = [finding for _, found in sides for finding in found]
    level = next((level for level in ("alarm", "wait") if any(one.level == level for one in findings)), "ok")
    following = _next_step(ring, now, findings)
    lines = [
        f"{click.style(f'{_MARKS[one.level][0]:5}', fg=_MARKS[one.level][1], bold=True)}  {where}: {one.text}"
        for where, found in sides
        for one in found
    ]
    if last_used:
        lines += ["", table([(f"last use of {kid}", last_used[kid]) for kid in sorted(last_used)])]
    facts = {
        "level": level,
        "at": iso(now),
        "next_step": following,
        "last_used_at": last_used,
        "findings": [{"where": where, **facts_of(one)} for where, found in sides for one in found],
    }
    return Answer(
        message=next(one.text for one in findings if one.level == level),
        facts=facts,
        text="\n".join([*lines, "", f"next: {following}"]),
        problem="alarm" if level == "alarm" else None,
    )


def compared(ring: KeyRing, now: datetime, peer: str) -> tuple[Finding, ...]:
    """What the ring and the other side's fingerprint say about each other."""
    theirs, made_now = read_peer(peer)
    return compare(fingerprint(ring, now), theirs, made_now=made_now)


def _of_ring(ring: KeyRing, now: datetime) -> list[Finding]:
    """The findings about a ring by itself."""
    found = []
    if signer(ring, now) is None:
        text = f"no key signs, so nothing is minted; to sign at once: {sign_at_once(ring, now)}"
        found.append(Finding(level="alarm", code="no_signer", text=text))
    found += [
        Finding(level="alarm", code=wait.code, text=wait.text, until=wait.until)
        for wait in waits(ring, now)
        if wait.code == "clock_behind"
    ]
    if not found:
        text = f"{signer(ring, now)} signs"
        found.append(Finding(level="ok", code="signs", text=text))
    return found


def _next_step(ring: KeyRing, now: datetime, findings: list[Finding]) -> str:
    """What to do next, and from when on it is safe."""
    alarms = [finding for finding in findings if finding.level == "alarm"]
    if alarms:
        return "repair what is wrong, then run this again"
    missing = [finding.until for finding in findings if finding.level == "wait"]
    if missing:
        before = min((date for date in missing if date is not None), default=None)
        return "bring the file to the other side" + ("" if before is None else f" before {iso(before)}")
    # As rotate itself will judge: a file that may still be on its way must not be overtaken.
    waiting = [(wait.until, wait.code) for wait in waits(ring, now) if wait.until is not None]
    if waiting:
        until, code = max(waiting)
        pending = [key.kid for key in ring.keys if ring.state(key.kid, now) is KeyState.PENDING]
        why = f"{pending[-1]} signs" if code == "pending_key" else "the revocation has had its time to arrive"
        return f"nothing before {iso(until)}; then {why}, and keys rotate is safe again"
    if ring.prune(now) != ring:
        return "keys prune is safe now, or keys rotate; then the other, once that file is everywhere"
    ending = [key.verify_until for key in ring.keys if key.verify_until is not None and key.verify_until > now]
    return "keys rotate is safe now" + (f"; keys prune from {iso(max(ending))} on" if ending else "")
