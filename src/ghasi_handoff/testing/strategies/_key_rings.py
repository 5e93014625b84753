"""moment -> key rings as of it: every state of a key, by the rules of `ghasi_handoff.keys`."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import shake_256
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from ghasi_handoff._limits import MAX_SECONDS, SUPERSEDED_KEY_SECONDS
from ghasi_handoff._times import from_seconds, to_seconds
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.keys import KeyRing, SigningKey
from ghasi_handoff.testing.strategies._texts import B64U

_KIDS: Final = st.sampled_from(["k", "K", "-", "_", "0", "2026-11a", "2026-11b", "k" * 32]) | st.text(
    B64U, min_size=1, max_size=32
)
_MONTH: Final = 30 * 86_400
_OFFSETS: Final = st.one_of(
    st.sampled_from([0, 1, -1, 900, -900, -3719, -3720, -3721, -7440, -86_400, 86_400]),
    st.integers(-20_000, 2000),
    st.integers(2 * 86_400 - _MONTH, _MONTH),
)


@st.composite
def _rings(draw: DrawFn, now: int, can_sign: bool) -> KeyRing:
    size = draw(st.integers(1, 5))
    kids = draw(st.lists(_KIDS, min_size=size, max_size=size, unique=True))
    offsets = sorted(draw(st.lists(_OFFSETS, min_size=size, max_size=size, unique=True)))
    if can_sign and offsets[0] > 0:
        offsets[0] = -offsets[0]
    starts = [now + offset for offset in offsets]
    revoked = [draw(st.sampled_from([*[None] * 6, start - 1, start, max(start, now)])) for start in starts]
    if can_sign:
        started = [place for place, start in enumerate(starts) if start <= now]
        took_part = [place for place in started if (at := revoked[place]) is None or at >= starts[place]]
        revoked[max(took_part or started)] = None
    seed = draw(st.integers(0, 2**32))
    keys: list[SigningKey] = []
    successor: int | None = None
    for kid, start, revoked_at in reversed(list(zip(kids, starts, revoked, strict=True))):
        verify_until = None
        if successor is not None:
            earliest = successor + SUPERSEDED_KEY_SECONDS
            ends = [None, earliest, earliest + 1, earliest + 86_400]
            # Also such as ends just now, where that may be.
            verify_until = draw(st.sampled_from([*ends, *(end for end in (now, now + 1) if end >= earliest)]))
        keys.append(
            SigningKey(
                kid=kid,
                secret=shake_256(f"{seed}/{kid}".encode()).digest(draw(st.sampled_from([32, 33, 64, 65, 200]))),
                created_at=from_seconds(start - 900),
                sign_from=from_seconds(start),
                verify_until=None if verify_until is None else from_seconds(verify_until),
                revoked_at=None if revoked_at is None else from_seconds(revoked_at),
            )
        )
        successor = start if revoked_at is None or revoked_at >= start else successor
    return KeyRing(draw(st.permutations(keys)))


def key_rings(*, now: datetime | None = None, can_sign: bool = False) -> SearchStrategy[KeyRing]:
    """Rings of one to five keys, as of a moment: pending, active, verify-only, retired and revoked ones.

    Their dates lie up to a month from `now`, often just there, or 3720 s before.

    Args:
        now: Aware datetime, between February 1970 and November 9999; by default the present, as of this call.
        can_sign: Whether each ring has a key that signs at `now`.

    Raises:
        ConfigurationError: `now` is no such datetime.

    >>> from datetime import UTC, datetime
    >>> from hypothesis import given, settings
    >>> from ghasi_handoff import Minter
    >>> from ghasi_handoff.testing.strategies import payloads
    >>> now = datetime(2026, 11, 23, 9, 30, tzinfo=UTC)
    >>> @settings(max_examples=10, deadline=None)
    ... @given(ring=key_rings(now=now, can_sign=True), stay=payloads())
    ... def test_signs(ring, stay):
    ...     minter = Minter(ring, issuer="bff-consumer", audience="bff-tenant-booking", clock=now.timestamp)
    ...     assert ring.state(minter.mint(stay, tenant="tn_aurora").kid, now=now).value == "active"
    >>> test_signs()
    """
    seconds = to_seconds(datetime.now(UTC) if now is None else now, name="now", error=ConfigurationError)
    if not _MONTH <= seconds <= MAX_SECONDS - 2 * _MONTH:
        raise ConfigurationError("now must lie between February 1970 and November 9999")
    return _rings(seconds, can_sign)
