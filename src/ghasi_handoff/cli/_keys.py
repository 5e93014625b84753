"""The group ``keys``: key files, made and changed by their owner. A secret is written to the file and nowhere else."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

import click

from ghasi_handoff._limits import DEFAULT_PROPAGATION
from ghasi_handoff.cli import _key_views as views
from ghasi_handoff.cli._key_files import ChangeOptions, KeyFileOptions, key_file, key_file_to_change, new_key_file, seal
from ghasi_handoff.cli._keys_compare import alarms_of, doctor, fingerprint_command, peers_option
from ghasi_handoff.cli._options import OrderedGroup, span
from ghasi_handoff.cli._output import Answer, Clock, answers, iso, now_of, printable, table
from ghasi_handoff.keys import KeyRing, KeyState
from ghasi_handoff.rotation import waits


def _span(_ctx: click.Context, _param: click.Parameter, value: str | None) -> timedelta | None:
    found = None if value is None else span(value)
    if value is not None and found is None:
        raise click.BadParameter("it must be such as 90s, 15m, 2h or 1d")
    return found


_kid: Final = click.option(
    "--kid",
    metavar="KID",
    help="The new key's name: 1 to 32 of A-Z a-z 0-9 _ -.  [default: a date and 4 random characters]",
)


@click.group(cls=OrderedGroup, short_help="Make, rotate, revoke and compare keys.")
def keys() -> None:
    """Make, rotate, revoke and compare keys: the rings of secrets that sign and verify.

    There is one master file. Change it in one place, and bring copies to both services.
    """


@keys.command()
@new_key_file
@_kid
@answers
def init(clock: Clock, *, given: KeyFileOptions, kid: str | None) -> Answer:
    """Make a new key file with one random key that signs from now on.

    It needs --keys: the path of a file that does not exist yet. An existing file is never overwritten.

    The secret is written to the file, which only its owner can read, and is never shown. Send the file to both services
    over a secure channel: whoever has it can mint. With --kek-file it is sealed.
    """
    ring = KeyRing.generate(kid, now_of(clock))
    given.file().save(ring, new=True)
    (key,) = ring.keys
    path, sign_from = given.keys_file, iso(key.sign_from)
    return Answer(
        message="made the key file",
        facts={"kid": key.kid, "path": path, "sign_from": sign_from},
        text=table([("kid", key.kid), ("file", printable(path)), ("signs from", sign_from)]),
    )


@keys.command("list")
@key_file
@answers
def list_(clock: Clock, *, given: KeyFileOptions) -> Answer:
    """Show each key's state and dates, and which states come next. No secret is shown."""
    ring, now = given.file().load(), now_of(clock)
    signs = views.signer(ring, now)
    return Answer(
        message="no key signs" if signs is None else f"{signs} signs",
        facts={
            "at": iso(now),
            "signer": signs,
            "keys": views.key_facts(ring, now),
            "changes": views.change_facts(ring, now),
        },
        text=f"{views.key_table(ring, now)}\n\n{views.timeline(ring, now)}",
    )


@keys.command()
@key_file_to_change
@_kid
@click.option(
    "--propagation",
    callback=_span,
    metavar="TIME",
    help="The longest time until every process of both services has the file: 15m, 2h, 1d.  [default: 15m]",
)
@click.option(
    "--emergency",
    is_flag=True,
    help="Check nothing, and sign with the new key at once, or right after one that is pending. Tokens are refused"
    " wherever the file arrives late.",
)
@peers_option
@answers
def rotate(
    clock: Clock,
    *,
    given: ChangeOptions,
    kid: str | None,
    propagation: timedelta | None,
    emergency: bool,
    peers: tuple[str, ...],
) -> Answer:
    """Add a key that signs once every process has it, and say what happens when.

    Bring the file to every process of both services within --propagation. Nothing else is to be done: the old key signs
    until then, and verifies until its last token has expired.

    A rotation that could make a valid token fail is refused with exit code 1, with what to wait for. With --peer, the
    other side's fingerprint must be that of this file.
    """
    now = now_of(clock)
    delay = propagation if propagation is not None else timedelta(0) if emergency else DEFAULT_PROPAGATION
    with given.changing() as change:
        found = [] if emergency else waits(change.ring, now, propagation=delay)
        reasons = [(wait.code, wait.text, wait.until) for wait in found]
        for peer in peers:
            reasons += [(one.code, f"{peer}: {one.text}", None) for one in alarms_of(change.ring, now, peer)]
        if reasons:
            return _not_now(reasons)
        new = change.ring.rotate(kid, now, delay)
        path, written = change.write(new)
    added = next(key for key in new.keys if key.kid not in change.ring)
    bring = (
        f"Bring the file to the verifiers first, then to the minters, now: {added.kid} signs already."
        if added.sign_from <= now
        else f"Bring the file to every process of both services before {iso(added.sign_from)}."
    )
    at_once = views.sign_at_once(change.ring if given.dry_run else new, now)
    if added.sign_from > now and views.signer(new, now) is None:
        bring += f"\nUntil then no key signs, and nothing is minted; to sign at once: {at_once}"
    elif added.sign_from > now + delay and views.kids_in(change.ring, KeyState.PENDING, now):
        bring += f"\nIt signs after the key that is pending; to sign at once: {at_once}"
    rows = table([("new key", added.kid), written])
    return Answer(
        message=f"key {added.kid} signs from {iso(added.sign_from)}",
        facts={
            "kid": added.kid,
            "sign_from": iso(added.sign_from),
            "path": path,
            "dry_run": given.dry_run,
            "keys": views.key_facts(new, now),
            "changes": views.change_facts(new, now),
        },
        text=f"{rows}\n\n{bring}\n\n{views.what_happens(new, now)}".rstrip(),
    )


@keys.command()
@click.argument("kids", metavar="[KID]...", nargs=-1)
@key_file_to_change
@click.option("--all", "every", is_flag=True, help="Every key, as when the file itself has leaked.")
@click.option("--replace", is_flag=True, help="Add a new key that signs at once, and revoke pending keys too.")
@_kid
@answers
def revoke(
    clock: Clock, *, given: ChangeOptions, kids: tuple[str, ...], every: bool, replace: bool, kid: str | None
) -> Answer:
    """Revoke keys at once: their tokens are refused wherever the file has arrived. This is never refused.

    Bring the file to the verifiers first. If the key that signs is revoked without --replace, nothing signs until a
    rotation; an older key never signs again.
    """
    if bool(kids) == every:
        raise click.UsageError("Name the keys to revoke, or give --all.")
    if kid is not None and not replace:
        raise click.UsageError("--kid names the new key of --replace.")
    now = now_of(clock)
    with given.changing() as change:
        new = change.ring
        taken = [key.kid for key in new.keys] if every else list(kids)
        for one in taken:
            new = new.revoke(one, now)
        if replace:
            # A key that is pending would sign later than the new one and may have leaked with the others.
            for pending in views.kids_in(new, KeyState.PENDING, now):
                new = new.revoke(pending, now)
            new = new.rotate(kid, now, timedelta(0))
        path, written = change.write(new)
    fresh = [key.kid for key in new.keys if key.kid not in change.ring]
    still = {key.kid for key in change.ring.keys if key.revoked_at is None}
    gone = [key.kid for key in new.keys if key.revoked_at is not None and key.kid in still]
    signs = views.signer(new, now) or (fresh[0] if fresh else None)
    say = (
        f"{signs} signs. Bring the file to the verifiers first, then to the minters."
        if signs is not None
        else f"No key signs: minting stops. Bring the file to the verifiers, then: {views.sign_at_once(new, now)}"
    )
    rows = [("revoked", ", ".join(gone) if gone else "nothing: it was already")]
    rows += [("new key", one) for one in fresh]
    return Answer(
        message=f"revoked {', '.join(gone)}" if gone else "nothing was revoked: it was already",
        facts={
            "revoked": gone,
            "new_kid": fresh[0] if fresh else None,
            "signer": signs,
            "path": path,
            "dry_run": given.dry_run,
            "keys": views.key_facts(new, now),
        },
        text=f"{table([*rows, written])}\n\n{say}",
    )


@keys.command()
@key_file_to_change
@answers
def prune(clock: Clock, *, given: ChangeOptions) -> Answer:
    """Remove the keys that no valid token can name. The newest key always stays. Safe to repeat."""
    now = now_of(clock)
    with given.changing() as change:
        new = change.ring.prune(now)
        path, written = change.write(new)
    removed = [key.kid for key in change.ring.keys if key.kid not in new]
    gone = ", ".join(removed) if removed else "nothing"
    return Answer(
        message=f"removed {gone}",
        facts={"removed": removed, "path": path, "dry_run": given.dry_run, "keys": views.key_facts(new, now)},
        text=table([("removed", gone), written]),
    )


def _not_now(reasons: list[tuple[str, str, datetime | None]]) -> Answer:
    """The refusal of a rotation, with all its reasons, and from when on it is safe, as far as waiting helps."""
    dates = [until for _, _, until in reasons if until is not None]
    until = max(dates) if len(dates) == len(reasons) else None
    word = click.style("refused", fg="red", bold=True)
    return Answer(
        message=reasons[0][1],
        facts={
            "reasons": [{"code": code, "message": message} for code, message, _ in reasons],
            "wait_until": None if until is None else iso(until),
        },
        text="\n".join(f"{word}: {code}: {printable(message)}" for code, message, _ in reasons),
        problem=reasons[0][0],
    )


for _command in (fingerprint_command, doctor, seal):
    keys.add_command(_command)
