"""our fingerprint, theirs -> what is wrong, what to wait for, or that all is well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from ghasi_handoff._limits import MAX_LEEWAY_SECONDS
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
        kid: The key that it is about, if it is about one.
        text: What is the matter, and what to do.
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
        made_now: Whether `theirs` was made just now, as by an endpoint. Then its time tells their clock's difference.
    """
    now = ours.at
    found: list[Finding] = []
    if made_now and abs(theirs.at - now) > _CLOCKS:
        seconds = abs(theirs.at - now) // timedelta(seconds=1)
        found.append(
            Finding(
                level="alarm",
                code="clocks_differ",
                text=f"their clock and this one differ by {seconds} s, more than any leeway; set the one that is wrong",
            )
        )
    here, there = ({key.kid: key for key in side.keys} for side in (ours, theirs))
    found += [finding for kid in here if kid not in there for finding in _only_here(here[kid], now)]
    found += [finding for kid in there if kid not in here for finding in _only_there(there[kid], now)]
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


def _of_both(here: KeyFingerprint, there: KeyFingerprint) -> list[Finding]:
    kid = here.kid
    if here.hash != there.hash:
        text = (
            f"key {kid} has another secret there: every token that one side signs with it is invalid_mac at the other;"
            " one of the two files is not a copy: bring the right one"
        )
        return [Finding(level="alarm", code="other_secret", kid=kid, text=text)]
    if here.revoked_at is not None and there.revoked_at is None:
        text = f"key {kid} is revoked here, and its tokens are still accepted there; bring them this file now"
        return [Finding(level="alarm", code="not_revoked_there", kid=kid, text=text)]
    if there.revoked_at is not None and here.revoked_at is None:
        text = f"key {kid} is revoked there, and not here: this copy is older; take theirs, and change nothing here"
        return [Finding(level="alarm", code="not_revoked_here", kid=kid, text=text)]
    if here.revoked_at != there.revoked_at:
        # Each side decides by the date whether the key ever took part, and so which key signs.
        text = f"key {kid} was revoked at another time there: two copies were changed apart; bring one to both sides"
        return [Finding(level="wait", code="older_copy", kid=kid, text=text)]
    if here.sign_from != there.sign_from:
        text = f"key {kid} signs from another date there: one of the two files was changed by hand; bring the right one"
        return [Finding(level="alarm", code="other_dates", kid=kid, text=text)]
    if here.verify_until != there.verify_until:
        # It was given an end, or was given it back, when a key was added or revoked that one side does not know of yet.
        text = f"key {kid} has another end there: one of the two files is older; bring the newest"
        return [Finding(level="wait", code="older_copy", kid=kid, text=text)]
    return []


def _only_here(key: KeyFingerprint, now: datetime) -> list[Finding]:
    if not _counts(key, now):
        return []
    if now < key.sign_from:
        text = (
            f"the other side does not have key {key.kid} yet; bring the file before it signs, at {_iso(key.sign_from)}"
        )
        return [Finding(level="wait", code="not_there_yet", kid=key.kid, text=text, until=key.sign_from)]
    text = f"the other side does not have key {key.kid}: its tokens are refused there (unknown_key); bring the file now"
    return [Finding(level="alarm", code="missing_there", kid=key.kid, text=text)]


def _only_there(key: KeyFingerprint, now: datetime) -> list[Finding]:
    if not _counts(key, now):
        return []
    text = (
        f"only the other side has key {key.kid}: this copy is older, and a ring made from it would take that key away;"
        " take theirs, and change nothing here"
    )
    return [Finding(level="alarm", code="missing_here", kid=key.kid, text=text)]


def _counts(key: KeyFingerprint, now: datetime) -> bool:
    """Whether a token may name it: neither revoked nor retired. Others are left out of one copy by a prune."""
    return key.revoked_at is None and (key.verify_until is None or now < key.verify_until)


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
