"""minter, payloads -> good handoffs, and texts that verify refuses for a known reason."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, cast

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from typing_extensions import TypeVar

from ghasi_handoff._limits import MAC_CHARACTERS, MAX_LIFETIME_SECONDS, MAX_SECONDS
from ghasi_handoff._mint import MintedHandoff, Minter
from ghasi_handoff._signing_string import build_body
from ghasi_handoff.payload import BookingHandoff, HandoffPayload
from ghasi_handoff.testing import _tokens as makers
from ghasi_handoff.testing._tokens import GoodToken, check_minter
from ghasi_handoff.testing.strategies._payloads import payloads
from ghasi_handoff.testing.strategies._texts import B64U, ODD_CHARACTERS, hostile_texts

_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload, default=BookingHandoff)


def handoffs(
    minter: Minter, payload: SearchStrategy[_PayloadT] | None = None, *, tenant: str
) -> SearchStrategy[MintedHandoff[_PayloadT]]:
    """Good handoffs: each is minted anew while the test runs, by the minter's clock, and has an id of its own.

    So no two are a replay of each other, even if Hypothesis draws the same payload twice.

    Args:
        minter: The application's minter.
        payload: A strategy for what they carry; by default `payloads` of `BookingHandoff`.
        tenant: The tenant whose site they are for.

    Raises:
        ConfigurationError: `minter` is no `Minter`.

    >>> from hypothesis import given, settings
    >>> from ghasi_handoff import KeyRing, Minter, Redeemer, Verifier
    >>> from ghasi_handoff.stores.memory import MemoryReplayStore
    >>> keys = KeyRing.generate()
    >>> minter = Minter(keys, issuer="bff-consumer", audience="bff-tenant-booking")
    >>> redeemer = Redeemer(Verifier(keys, issuer="bff-consumer", audience="bff-tenant-booking"), MemoryReplayStore())
    >>> @settings(max_examples=10, deadline=None)
    ... @given(minted=handoffs(minter, tenant="tn_aurora"))
    ... def test_redeems(minted):
    ...     redemption = redeemer.redeem(minted.token, tenant="tn_aurora", browser_secret=b"A" * 32)
    ...     assert (redemption.first, redemption.handoff.payload) == (True, minted.payload)
    >>> test_redeems()
    """
    check_minter(minter)
    chosen = cast("SearchStrategy[_PayloadT]", payloads()) if payload is None else payload
    return chosen.map(lambda value: minter.mint(value, tenant=tenant))


@dataclass(frozen=True)
class BadToken:
    """A text that must not open anything.

    Attributes:
        token: The text.
        code: The ``code`` of the error that `Verifier.verify` raises.
        why: What is wrong with it, for whoever reads the failing example.
    """

    token: str
    code: str
    why: str


def bad_tokens(
    minter: Minter, payload: SearchStrategy[HandoffPayload] | None = None, *, tenant: str
) -> SearchStrategy[BadToken]:
    """Texts that verify refuses, each for one reason, with the code that it gives.

    They are near a good token: expired, of another pair, under another key, changed, cut, spelled otherwise, or with a
    right MAC over what no minter of this library writes. Codes: ``expired``, ``invalid_mac``, ``invalid_payload``,
    ``lifetime_too_long``, ``malformed``, ``not_yet_valid``, ``unknown_key``, ``wrong_audience``, ``wrong_issuer``,
    ``wrong_tenant``. A revoked or retired key is a matter of the verifier's ring: see `key_rings`. A text has some
    9000 characters at most, and UTF-8 can carry it. Escape it for a URL with `urllib.parse.quote`.

    Arguments and errors are those of `handoffs`. The codes are those of a verifier that accepts good tokens now.

    >>> import pytest
    >>> from hypothesis import given, settings
    >>> from ghasi_handoff import InvalidTokenError, KeyRing, Minter, Verifier
    >>> keys = KeyRing.generate()
    >>> minter = Minter(keys, issuer="bff-consumer", audience="bff-tenant-booking")
    >>> verifier = Verifier(keys, issuer="bff-consumer", audience="bff-tenant-booking")
    >>> @settings(max_examples=10, deadline=None)
    ... @given(bad=bad_tokens(minter, tenant="tn_aurora"))
    ... def test_refused(bad):
    ...     with pytest.raises(InvalidTokenError) as refused:
    ...         verifier.verify(bad.token, tenant="tn_aurora")
    ...     assert refused.value.code == bad.code, bad.why
    >>> test_refused()
    """
    check_minter(minter)
    return _bad_tokens(minter, payloads() if payload is None else payload, tenant)


@st.composite
def _bad_tokens(draw: DrawFn, minter: Minter, payload: SearchStrategy[HandoffPayload], tenant: str) -> BadToken:
    code = draw(st.sampled_from(sorted(_WAYS)))
    why, make = draw(st.sampled_from(_WAYS[code]))
    good = GoodToken(minter, draw(payload), tenant)
    return BadToken(make(draw, good), code, why)


_Way: TypeAlias = Callable[[DrawFn, GoodToken], str]


def _made_by(make: Callable[..., str]) -> _Way:
    return lambda draw, good: make(good.minter, good.payload, tenant=good.tenant)


def _other_character(draw: DrawFn, text: str, last: int) -> str:
    place = draw(st.sampled_from([0, last]) | st.integers(0, last))
    other = draw(st.sampled_from([character for character in B64U if character != text[place]]))
    return text[:place] + other + text[place + 1 :]


def _changed_mac(draw: DrawFn, good: GoodToken) -> str:
    before, mac_text = good.token[:-MAC_CHARACTERS], good.token[-MAC_CHARACTERS:]
    return before + _other_character(draw, mac_text, MAC_CHARACTERS - 1)


def changed_body(draw: DrawFn, good: GoodToken) -> str:
    version, kid, body_text, mac_text = good.token.split(".")
    # Not its last character: it may have bits that no byte takes up, and the text would be malformed.
    return f"{version}.{kid}.{_other_character(draw, body_text, len(body_text) - 2)}.{mac_text}"


def _exchanged_parts(draw: DrawFn, good: GoodToken) -> str:
    other = good.minter.mint(good.payload, tenant=good.tenant).token
    return good.token[:-MAC_CHARACTERS] + other[-MAC_CHARACTERS:]


def _too_long(draw: DrawFn, good: GoodToken) -> str:
    lifetime = MAX_LIFETIME_SECONDS + draw(st.sampled_from([1, 2]) | st.integers(1, 10**6))
    return good.signed(good.body._replace(expires_at=min(good.body.issued_at + lifetime, MAX_SECONDS)))


def _other_payload(draw: DrawFn, good: GoodToken) -> str:
    right = good.body.payload
    unknown = b'{"Unknown":1' + (b"," if right != b"{}" else b"") + right[1:]  # no class has a member with a capital
    cut, more = right[:-1], [right + b" ", b" " + right, right + b"}", right[:-1] + b"\xff}"]
    wrong = draw(st.sampled_from([b"", b"null", b"[]", b'""', b"[" * 2000, unknown, cut, *more]))
    return good.signed(good.body._replace(payload=wrong))


def _other_lines(draw: DrawFn, good: GoodToken) -> str:
    *lines, payload = build_body(good.body).split(b"\n", 6)
    issuer, _, _, handoff_id, issued_at, expires_at = lines
    changed: list[dict[int, bytes]] = [
        {4: b"%d" % (int(issued_at) + 1), 5: b"%d" % (int(expires_at) + 1)},  # the id tells another time
        {5: issued_at},  # ends as it begins
        {5: b"0" + expires_at},
        {5: expires_at + b".0"},
        {3: handoff_id.replace(b"-", b"")},
        {3: b"g" + handoff_id[1:]},
        {3: handoff_id[:14] + b"4" + handoff_id[15:]},  # a UUIDv4
        {0: issuer + b"\n"},
        {0: issuer + b"\r"},
        {2: b""},
        {2: "tn_é".encode()},
    ]
    chosen = draw(st.sampled_from(changed))
    return good.signed(b"\n".join([*(chosen.get(place, line) for place, line in enumerate(lines)), payload]))


def _longer(draw: DrawFn, good: GoodToken) -> str:
    more: str = draw(st.sampled_from([*ODD_CHARACTERS, "A", "==", "\r\n", "&handoff=", ".", good.token, "A" * 4096]))
    return good.token + more if draw(st.booleans()) else more + good.token


def _foreign_character(draw: DrawFn, good: GoodToken) -> str:
    place = draw(st.integers(0, len(good.token) - 1))
    other: str = draw(st.sampled_from([character for character in ODD_CHARACTERS if character not in B64U + "."]))
    return good.token[:place] + other + good.token[place + draw(st.integers(0, 1)) :]


def _other_spelling(draw: DrawFn, good: GoodToken) -> str:
    _, kid, body, mac = good.token.split(".")
    spellings = [
        f"ghasi1.{kid}.{body}=.{mac}",
        f"ghasi1.{kid}.{body}.{mac}=",
        f"ghasi2.{kid}.{body}.{mac}",
        f"GHASI1.{kid}.{body}.{mac}",
        f"ghasi1.{kid}.{body}.{mac}".replace(".", "%2E"),
        f"ghasi1.{body}.{mac}",
        f"ghasi1.{kid}..{mac}",
        f"ghasi1..{body}.{mac}",
        f'"{good.token}"',
        repr(good.token.encode()),
    ]
    unused = {0: 1, 2: 16, 3: 4}[len(body) % 4]
    if unused > 1:  # bits of the last character that no byte takes up
        last = B64U.index(body[-1])
        bits = draw(st.integers(1, unused - 1))
        spellings.append(f"ghasi1.{kid}.{body[:-1]}{B64U[last - last % unused + bits]}.{mac}")
    return draw(st.sampled_from(spellings))


_WAYS: Final[Mapping[str, Sequence[tuple[str, _Way]]]] = {
    "expired": [("it has ended", _made_by(makers.expired_token))],
    "invalid_mac": [
        ("a character of the MAC is another one", _changed_mac),
        ("a character of the body is another one", changed_body),
        ("the MAC is that of another token", _exchanged_parts),
        ("it is signed with another secret", _made_by(makers.foreign_token)),
    ],
    "invalid_payload": [("the payload is none of any class, under a right MAC", _other_payload)],
    "lifetime_too_long": [("it grants itself more than an hour, under a right MAC", _too_long)],
    "malformed": [
        ("a line of the body is outside the grammar, under a right MAC", _other_lines),
        ("the end is missing", lambda draw, good: good.token[: draw(st.integers(0, len(good.token) - 1))]),
        ("there is more before or after it", _longer),
        ("it holds a character of no token", _foreign_character),
        ("it is spelled otherwise", _other_spelling),
        ("it is some text", lambda draw, good: draw(hostile_texts(encodable=True))),
    ],
    "not_yet_valid": [("it is from an hour ahead", _made_by(makers.not_yet_valid_token))],
    "unknown_key": [("no ring has its key", _made_by(makers.unknown_key_token))],
    "wrong_audience": [("it is for another service", _made_by(makers.wrong_audience_token))],
    "wrong_issuer": [("it is from another service", _made_by(makers.wrong_issuer_token))],
    "wrong_tenant": [("it is for another hotel", _made_by(makers.wrong_tenant_token))],
}
