"""The group ``keys``: key files, made and changed by their owner. A secret is written to the file and nowhere else."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import click

from ghasi_handoff._limits import DEFAULT_PROPAGATION
from ghasi_handoff.cli import _options
from ghasi_handoff.cli._key_files import dry_run, key_file, key_file_options, out, sealing_options, written
from ghasi_handoff.cli._key_views import (
    change_facts,
    key_facts,
    key_table,
    sign_at_once,
    signer,
    timeline,
    what_happens,
)
from ghasi_handoff.cli._keys_compare import compared, doctor, fingerprint_command, now_of, peers_option
from ghasi_handoff.cli._keys_seal import seal
from ghasi_handoff.cli._output import REFUSED, Answer, answers, iso, printable, table
from ghasi_handoff.keys import KeyRing, KeyState
from ghasi_handoff.rotation import waits

if TYPE_CHECKING:
    from datetime import datetime

    from ghasi_handoff.cli._output import Clock

_is_span: Final = re.compile(r"(0|[1-9][0-9]{0,6})([smhd])", re.ASCII).fullmatch
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _span(_ctx: click.Context, _param: click.Parameter, value: str | None) -> timedelta | None:
    if value is None:
        return None
    span = _is_span(value)
    if span is None:
        raise click.BadParameter("it must be such as 90s, 15m, 2h or 1d")
    return timedelta(seconds=int(span[1]) * _UNITS[span[2]])


_kid: Final = click.option(
    "--kid",
    metavar="KID",
    help="The new key's name: 1 to 32 of A-Z a-z 0-9 _ -.  [default: a date and 4 random characters]",
)


@click.group(short_help="Make, rotate, revoke and compare keys.")
def keys() -> None:
    """Make, rotate, revoke and compare keys: the rings of secrets that sign and verify.

    There is one master file. Change it in one place, and bring copies to both services.
    """


@keys.command()
@_options.new_keys_file
@_kid
@sealing_options
@answers
def init(clock: Clock, *, keys_file: str, kid: str | None, kek_file: str | None, purpose: str) -> Answer:
    """Make a new key file with one random key that signs from now on.

    It needs --keys: the path of a file that does not exist yet. An existing file is never overwritten.

    The secret goes into the file, which only its owner can read, and is never shown. Bring the file to both services by
    a safe way: whoever has it can mint. With --kek-file it is sealed.
    """
    ring = KeyRing.generate(kid, now_of(clock))
    key_file(keys_file, kek_file, purpose).save_new(ring)
    (key,) = ring.keys
    return Answer(
        facts={"kid": key.kid, "path": keys_file, "sign_from": iso(key.sign_from)},
        text=table([("kid", key.kid), ("file", printable(keys_file)), ("signs from", iso(key.sign_from))]),
    )


@keys.command("list")
@key_file_options
@answers
def list_(clock: Clock, *, keys_file: str, kek_file: str | None, purpose: str) -> Answer:
    """Show each key's state and dates, and which states come next. No secret is shown."""
    ring, now = key_file(keys_file, kek_file, purpose).load(), now_of(clock)
    facts = {"at": iso(now), "signer": signer(ring, now), "keys": key_facts(ring, now)}
    return Answer(
        facts={**facts, "changes": change_facts(ring, now)},
        text=f"{key_table(ring, now)}\n\n{timeline(ring, now)}",
    )


@keys.command()
@key_file_options
@out
@_kid
@click.option(
    "--propagation",
    callback=_span,
    metavar="TIME",
    help="How long it takes at most until every process of both services has the file: 15m, 2h, 1d.  [default: 15m]",
)
@click.option(
    "--emergency",
    is_flag=True,
    help="Sign with the new key at once, or after one that is pending, and ask for nothing: tokens are refused wherever"
    " the file comes late.",
)
@peers_option
@dry_run
@answers
def rotate(
    clock: Clock,
    *,
    keys_file: str,
    kek_file: str | None,
    purpose: str,
    out: str | None,
    kid: str | None,
    propagation: timedelta | None,
    emergency: bool,
    peers: tuple[str, ...],
    dry_run: bool,
) -> Answer:
    """Add a key that signs once every process has it; say what happens when.

    Bring the file to every process of both services within --propagation. Nothing else is to be done: the old key goes
    on until then, and verifies until its last token has ended.

    A step that could leave somebody with a token that nobody verifies is refused with exit code 1: it says what to
    wait for. With --peer, the other side's fingerprint must be that of this file.
    """
    now = now_of(clock)
    file = key_file(keys_file, kek_file, purpose)
    delay = propagation if propagation is not None else timedelta(0) if emergency else DEFAULT_PROPAGATION
    with file.changing(out, dry_run=dry_run) as change:
        found = [] if emergency else waits(change.ring, now, propagation=delay)
        reasons = [(wait.code, wait.text, wait.until) for wait in found]
        for peer in peers:
            alarms = [one for one in compared(change.ring, now, peer) if one.level == "alarm"]
            reasons += [(one.code, f"{peer}: {one.text}", None) for one in alarms]
        if reasons:
            return _not_now(reasons)
        new = change.ring.rotate(kid, now, delay)
        path = change.write(new)
    added = next(key for key in new.keys if key.kid not in {old.kid for old in change.ring.keys})
    bring = (
        f"Bring the file to the verifiers first, then to the minters, now: {added.kid} signs already."
        if added.sign_from <= now
        else f"Bring the file to every process of both services before {iso(added.sign_from)}."
    )
    at_once = sign_at_once(change.ring if dry_run else new, now)
    if added.sign_from > now and signer(new, now) is None:
        bring += f"\nUntil then no key signs, and nothing is minted; to sign at once: {at_once}"
    elif added.sign_from > now + delay and any(
        change.ring.state(key.kid, now) is KeyState.PENDING for key in change.ring.keys
    ):
        bring += f"\nIt signs after the key that is pending; to sign at once: {at_once}"
    rows = table([("new key", added.kid), written(change, path)])
    return Answer(
        facts={
            "kid": added.kid,
            "sign_from": iso(added.sign_from),
            "path": path,
            "dry_run": dry_run,
            "keys": key_facts(new, now),
            "changes": change_facts(new, now),
        },
        text=f"{rows}\n\n{bring}\n\n{what_happens(new, now)}".rstrip(),
    )


@keys.command()
@click.argument("kids", metavar="[KID]...", nargs=-1)
@key_file_options
@out
@click.option("--all", "every", is_flag=True, help="Every key: the file itself has leaked.")
@click.option("--replace", is_flag=True, help="Add a new key that signs at once, and revoke what is pending, too.")
@_kid
@dry_run
@answers
def revoke(
    clock: Clock,
    *,
    keys_file: str,
    kek_file: str | None,
    purpose: str,
    out: str | None,
    kids: tuple[str, ...],
    every: bool,
    replace: bool,
    kid: str | None,
    dry_run: bool,
) -> Answer:
    """Take keys out of use at once: their tokens are refused wherever the file has arrived. Never refused.

    Bring the file to the verifiers first. Without --replace, if the key that signs is among them, nothing signs until a
    rotation; an older key never steps in.
    """
    if bool(kids) == every:
        raise click.UsageError("Name the keys to revoke, or give --all.")
    if kid is not None and not replace:
        raise click.UsageError("--kid names the new key of --replace.")
    now = now_of(clock)
    file = key_file(keys_file, kek_file, purpose)
    with file.changing(out, dry_run=dry_run) as change:
        new = change.ring
        taken = [key.kid for key in new.keys] if every else list(kids)
        for one in taken:
            new = new.revoke(one, now)
        if replace:
            # A key that is pending would sign later than the new one and could be the thief's next; it goes, too.
            for key in new.keys:
                if new.state(key.kid, now) is KeyState.PENDING:
                    new = new.revoke(key.kid, now)
            new = new.rotate(kid, now, timedelta(0))
        path = change.write(new)
    before = {key.kid: key for key in change.ring.keys}
    fresh = [key.kid for key in new.keys if key.kid not in before]
    revoked = [key.kid for key in new.keys if key.revoked_at is not None and key.kid in before]
    gone = [one for one in revoked if before[one].revoked_at is None]
    signs = signer(new, now) or (fresh[0] if fresh else None)
    say = (
        f"{signs} signs. Bring the file to the verifiers first, then to the minters."
        if signs is not None
        else f"No key signs: minting stops. Bring the file to the verifiers, then: {sign_at_once(new, now)}"
    )
    rows = [("revoked", ", ".join(gone) if gone else "nothing: it was already"), written(change, path)]
    if fresh:
        rows.insert(1, ("new key", fresh[0]))
    return Answer(
        facts={
            "revoked": gone,
            "new_kid": fresh[0] if fresh else None,
            "signer": signs,
            "path": path,
            "dry_run": dry_run,
            "keys": key_facts(new, now),
        },
        text=f"{table(rows)}\n\n{say}",
    )


@keys.command()
@key_file_options
@out
@dry_run
@answers
def prune(
    clock: Clock, *, keys_file: str, kek_file: str | None, purpose: str, out: str | None, dry_run: bool
) -> Answer:
    """Remove the keys that no living token can name. The newest always stays. Safe to repeat."""
    now = now_of(clock)
    file = key_file(keys_file, kek_file, purpose)
    with file.changing(out, dry_run=dry_run) as change:
        new = change.ring.prune(now)
        path = change.write(new)
    left = {key.kid for key in new.keys}
    removed = [key.kid for key in change.ring.keys if key.kid not in left]
    rows = [("removed", ", ".join(removed) if removed else "nothing"), written(change, path)]
    facts = {"removed": removed, "path": path, "dry_run": dry_run, "keys": key_facts(new, now)}
    return Answer(facts=facts, text=table(rows))


def _not_now(reasons: list[tuple[str, str, datetime | None]]) -> Answer:
    dates = [until for _, _, until in reasons]
    until = max((date for date in dates if date is not None), default=None) if None not in dates else None
    word = click.style("refused", fg="red", bold=True)
    facts = {
        "ok": False,
        "code": reasons[0][0],
        "message": reasons[0][1],
        "reasons": [{"code": code, "message": message} for code, message, _ in reasons],
        "wait_until": None if until is None else iso(until),
    }
    return Answer(
        facts=facts,
        text="\n".join(f"{word}: {code}: {printable(message)}" for code, message, _ in reasons),
        status=REFUSED,
    )


for _command in (fingerprint_command, doctor, seal):
    keys.add_command(_command)
