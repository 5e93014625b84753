"""our fingerprint, theirs -> what is wrong, what to wait for, or that nothing is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from ghasi_handoff._limits import MAX_LEEWAY_SECONDS
from ghasi_handoff._times import iso
from ghasi_handoff.rotation._fingerprint import Fingerprint, KeyFingerprint

Level: TypeAlias = Literal["ok", "wait", "alarm"]

_CLOCKS: Final = timedelta(seconds=MAX_LEEWAY_SECONDS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a comparison found.

    Attributes:
        level: ``alarm``: tokens are refused, or a revoked key's accepted, now or soon. ``wait``: it will be well if the
            file arrives by `until`. ``ok``: nothing to do.
        code: ``same``, ``not_there_yet``, ``older_copy``, ``missing_there``, ``missing_here``, ``other_secret``,
            ``other_dates``, ``not_revoked_there``, ``not_revoked_here``, ``clocks_differ``.
        kid: The key that it is about, if any.
        text: What is wrong, and what to do.
        until: Aware datetime: when it must be well, if there is one.
    """

    level: Level
    code: str
    text: str
    kid: str | None = None
    until: datetime | None = None


def compare(ours: Fingerprint, theirs: Fingerprint, *, made_now: bool = False) -> tuple[Finding, ...]:
    """What the copies of two services say about each other, the worst first.

    Args:
        ours: Of our copy, made now.
        theirs: Of the other side's.
        made_now: Whether `theirs` was made just now, as by an endpoint: then its time shows what their clock reads.
    """
    now = ours.at
    found: list[Finding] = []
    if made_now and abs(theirs.at - now) > _CLOCKS:
        seconds = abs(theirs.at - now) // timedelta(seconds=1)
        text = f"their clock and this one differ by {seconds} s, more than any leeway; set the one that is wrong"
        found.append(Finding(level="alarm", code="clocks_differ", text=text))
    here, there = ({key.kid: key for key in side.keys} for side in (ours, theirs))
    for key in _missing(here, there, now):
        text = f"the other side does not have key {key.kid}"
        if now < key.sign_from:
            text += f" yet; bring the file before it signs, at {iso(key.sign_from)}"
            found.append(Finding(level="wait", code="not_there_yet", kid=key.kid, text=text, until=key.sign_from))
        else:
            text += ": its tokens are refused there (unknown_key); bring the file now"
            found.append(Finding(level="alarm", code="missing_there", kid=key.kid, text=text))
    for key in _missing(there, here, now):
        text = f"only the other side has key {key.kid}: this copy is older; take theirs, and change nothing here"
        found.append(Finding(level="alarm", code="missing_here", kid=key.kid, text=text))
    found += [finding for kid in here if kid in there for finding in _of_both(here[kid], there[kid])]
    if not found:
        # One side may have pruned keys that are over: then the lines to read out differ, and nothing is wrong.
        text = (
            f"the other side has the same keys: {ours.ring}"
            if ours.ring == theirs.ring
            else "the other side has the same keys, but for some that are over"
        )
        return (Finding(level="ok", code="same", text=text),)
    return tuple(sorted(found, key=lambda finding: ("alarm", "wait", "ok").index(finding.level)))


def _missing(keys: dict[str, KeyFingerprint], there: dict[str, KeyFingerprint], now: datetime) -> list[KeyFingerprint]:
    """Keys that only one side has, and that a token may name: a prune takes the others out of one copy."""
    return [
        key
        for kid, key in keys.items()
        if kid not in there and key.revoked_at is None and (key.verify_until is None or now < key.verify_until)
    ]


def _of_both(here: KeyFingerprint, there: KeyFingerprint) -> list[Finding]:
    kid = here.kid
    level: Level = "alarm"
    if here.hash != there.hash:
        code = "other_secret"
        text = f"key {kid} has another secret there: its tokens are invalid_mac at the other side; bring the right file"
    elif here.revoked_at is not None and there.revoked_at is None:
        code = "not_revoked_there"
        text = f"key {kid} is revoked here, and its tokens are still accepted there; bring them this file now"
    elif there.revoked_at is not None and here.revoked_at is None:
        code = "not_revoked_here"
        text = f"key {kid} is revoked there, and not here: this copy is older; take theirs, and change nothing here"
    elif here.revoked_at != there.revoked_at:
        # Each side decides by the date whether the key ever took part, and so which key signs.
        level, code = "wait", "older_copy"
        text = f"key {kid} was revoked at another time there: two copies were changed apart; bring one to both sides"
    elif here.sign_from != there.sign_from:
        code = "other_dates"
        text = f"key {kid} signs from another date there: one of the two files was changed by hand; bring the right one"
    elif here.verify_until != there.verify_until:
        # It was given an end, or was given it back, when a key was added or revoked that one side does not know of yet.
        level, code = "wait", "older_copy"
        text = f"key {kid} has another end there: one of the two files is older; bring the newest"
    else:
        return []
    return [Finding(level=level, code=code, kid=kid, text=text)]
