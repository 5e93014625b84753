"""``keys fingerprint`` and ``keys doctor``: one copy of a ring beside another.

The other side's fingerprint is read from a file, or by one GET with limits; https only, but for loopback.
"""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import click
from typing_extensions import override

from ghasi_handoff._limits import MAX_FINGERPRINT_CHARACTERS, PEER_TIMEOUT_SECONDS
from ghasi_handoff._mint import is_loopback
from ghasi_handoff.cli._key_files import KeyFileOptions, key_file
from ghasi_handoff.cli._key_views import kids_in, sign_at_once, signer
from ghasi_handoff.cli._output import Answer, Clock, answers, facts_of, iso, now_of, printable, table
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.keys import KeyRing, KeyState
from ghasi_handoff.rotation import Finding, Fingerprint, compare, fingerprint, waits

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
        theirs, made_now = _read_peer(peer)
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
    return Answer(
        message=next(one.text for one in findings if one.level == level),
        facts={
            "level": level,
            "at": iso(now),
            "next_step": following,
            "last_used_at": last_used,
            "findings": [{"where": where, **facts_of(one)} for where, found in sides for one in found],
        },
        text="\n".join([*lines, "", f"next: {following}"]),
        problem="alarm" if level == "alarm" else None,
    )


def alarms_of(ring: KeyRing, now: datetime, peer: str) -> list[Finding]:
    """What is wrong with the ring or with the other side's."""
    theirs, made_now = _read_peer(peer)
    return [one for one in compare(fingerprint(ring, now), theirs, made_now=made_now) if one.level == "alarm"]


def _of_ring(ring: KeyRing, now: datetime) -> list[Finding]:
    """The findings about a ring by itself."""
    signs, found = signer(ring, now), []
    if signs is None:
        text = f"no key signs, so nothing is minted; to sign at once: {sign_at_once(ring, now)}"
        found.append(Finding(level="alarm", code="no_signer", text=text))
    for wait in waits(ring, now):
        if wait.code == "clock_behind":
            found.append(Finding(level="alarm", code=wait.code, text=wait.text, until=wait.until))
    return found or [Finding(level="ok", code="signs", text=f"{signs} signs")]


def _next_step(ring: KeyRing, now: datetime, findings: list[Finding]) -> str:
    """What to do next, and from when on it is safe."""
    if any(finding.level == "alarm" for finding in findings):
        return "repair what is wrong, then run this again"
    missing = [finding.until for finding in findings if finding.level == "wait"]
    if missing:
        before = min((date for date in missing if date is not None), default=None)
        return "bring the file to the other side" + ("" if before is None else f" before {iso(before)}")
    # As rotate itself will judge: a file that may still be on its way must not be overtaken.
    waiting = [(wait.until, wait.code) for wait in waits(ring, now) if wait.until is not None]
    if waiting:
        until, code = max(waiting)
        pending = kids_in(ring, KeyState.PENDING, now)
        why = f"{pending[-1]} signs" if code == "pending_key" else "the revocation has had its time to arrive"
        return f"nothing before {iso(until)}; then {why}, and keys rotate is safe again"
    if ring.prune(now) != ring:
        return "keys prune is safe now, or keys rotate; then the other, once that file is everywhere"
    ending = [key.verify_until for key in ring.keys if key.verify_until is not None and key.verify_until > now]
    return "keys rotate is safe now" + (f"; keys prune from {iso(max(ending))} on" if ending else "")


def _read_peer(where: str) -> tuple[Fingerprint, bool]:
    """The other side's fingerprint, and whether it was made just now."""
    if "://" in where:
        return Fingerprint.from_json(_fetched(where)), True
    try:
        with Path(where).open("rb") as file:
            return Fingerprint.from_json(file.read(MAX_FINGERPRINT_CHARACTERS).decode("utf-8", errors="replace")), False
    except OSError as exc:
        raise ConfigurationError(f"peer {where}: {exc.strerror or exc}") from exc


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The answer must come from where it was asked: a redirect could lead to any host, and out of TLS."""

    @override
    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def _fetched(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise ConfigurationError("the peer's URL has no valid host") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ConfigurationError("the peer's URL must be https; http is for loopback addresses only")
    if "@" in parts.netloc:
        raise ConfigurationError("the peer's URL must not hold a user name or password")
    # What is asked in the clear must not leave the machine: no proxy of the environment stands between.
    direct = [urllib.request.ProxyHandler({})] if parts.scheme == "http" else []
    opener = urllib.request.build_opener(_NoRedirect, *direct)
    try:
        with opener.open(url, timeout=PEER_TIMEOUT_SECONDS) as answer:
            data: bytes = answer.read(MAX_FINGERPRINT_CHARACTERS)
    except urllib.error.HTTPError as exc:
        raise ConfigurationError(f"peer {parts.netloc}: it answers {exc.code}") from None
    except (OSError, ValueError, http.client.HTTPException) as exc:  # the last: not HTTP, or a space in the URL
        reason = getattr(exc, "reason", None) or f"{type(exc).__name__}: {exc}"
        raise ConfigurationError(f"peer {parts.netloc}: {reason}") from None
    return data.decode("utf-8", errors="replace")
