"""Mint refuses everything that verify would not accept."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum, StrEnum
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ghasi_handoff import ConfigurationError, HandoffPayload, InvalidHandoffInputError, Minter, Verifier, signing_string
from ghasi_handoff.testing.strategies import payloads

from . import oracle
from .hostile import LARGE_TEXTS, any_texts
from .strategies import (
    NAME_CHARACTERS,
    NOW,
    SITE,
    STAY,
    Board,
    Choices,
    Deep,
    Mixed,
    Numbers,
    Party,
    Room,
    Site,
    Stars,
    Words,
    integers,
    names,
    share,
    sites,
)


class Subtext(str):
    """A str all the same."""

    __slots__ = ()


class Spoken(str):
    """A str that is formatted as another one."""

    __slots__ = ()

    def __str__(self) -> str:
        return "tn_other"

    def __format__(self, spec: str) -> str:
        return "tn_other"


class Tenants(str, Enum):  # noqa: UP042
    """The usual way to name tenants before Python 3.11: formatted, a member is "Tenants.AURORA"."""

    AURORA = "tn_aurora"


class StrTenants(StrEnum):
    """The usual way since."""

    AURORA = "tn_aurora"


class Stranger(HandoffPayload):
    """A payload class with the members of `Room`."""

    z_last: str = ""
    beds: tuple[tuple[int, ...], ...] = ()
    a_first: bool = False


class Suite(Room):
    """A payload class below `Room`."""

    view: str = "sea"


plain = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    st.integers(),
    st.sampled_from(
        [
            2**53,
            -(2**53),
            2**64,
            10**400,
            1.0,
            -0.0,
            1e300,
            float("nan"),
            float("inf"),
            2 + 0j,
            Decimal(2),
            Decimal("NaN"),
        ]
    ),
    st.floats(),
    st.text(st.characters()),
    st.sampled_from(["", "x" * 65, "x" * 3000, "\ud800", "a\udfff", "2026-12-24", "EUR", "1", "true", "é"]),
    names,
    names.map(Subtext),
    st.sampled_from([Subtext("EUR"), Spoken("htl"), Tenants.AURORA, StrTenants.AURORA]),
    st.binary(max_size=5),
    st.dates(),
    st.datetimes(),
    st.sampled_from([datetime(2026, 12, 24), datetime(2026, 12, 24, tzinfo=UTC), date.min, date.max]),
    st.sampled_from([*Board, *Stars, *Mixed]),
    st.sampled_from([object(), object, len, Ellipsis, NotImplemented, ValueError("x"), range(3), STAY]),
    st.builds(Room),
    st.builds(Suite),
    st.builds(Stranger),
    st.builds(lambda: Room.model_construct(beds=[[1]])),
    st.builds(lambda: Room.model_construct(unknown=1)),
    st.builds(lambda: Words.model_construct()),
)
anything = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=12).map(tuple),
        st.dictionaries(st.text(max_size=3), inner, max_size=2),
        st.frozensets(st.integers(0, 9), max_size=3),
    ),
    max_leaves=6,
)


def mint_or_refuse(payload: HandoffPayload) -> bool:
    """Mint: a refusal must be one of input, a token must verify to an equal payload. Returns whether there was a token."""
    try:
        minted = SITE.minter().mint(payload, tenant=SITE.tenant)
    except InvalidHandoffInputError:
        return False
    verified = SITE.verifier_of(type(payload)).verify(minted.token, tenant=SITE.tenant)
    assert verified.payload == payload
    assert verified.payload == minted.payload
    assert type(verified.payload) is type(payload)
    assert oracle.payload_of(minted.token) == oracle.canonical_json(oracle.json_value(verified.payload))
    return True


@st.composite
def forged(draw: st.DrawFn, right: st.SearchStrategy[HandoffPayload]) -> HandoffPayload:
    """A payload of which some members were set past its validators."""
    payload = draw(right)
    members = list(type(payload).model_fields)
    chosen = draw(st.lists(st.sampled_from([*members, "unknown"]), max_size=3, unique=True))
    wrong: dict[str, Any] = {name: draw(anything) for name in chosen}
    if draw(st.booleans()):
        return payload.model_copy(update=wrong)
    kept = {name: getattr(payload, name) for name in members if draw(st.integers(0, 19)) < 19}
    return type(payload).model_construct(**{**kept, **wrong})


@share(3)
@given(payload=forged(payloads()))
def test_forged_booking_is_refused_or_verifies(payload: HandoffPayload) -> None:
    """A booking with arbitrary values behind its validators' back is refused, or its token verifies to an equal one."""
    mint_or_refuse(payload)


@share(4)
@given(payload=forged(st.one_of(*(payloads(kind) for kind in (Words, Choices, Party, Deep, Suite)))))
def test_forged_payload_is_refused_or_verifies(payload: HandoffPayload) -> None:
    """So is an instance of any other payload class."""
    mint_or_refuse(payload)


@share(3)
@given(number=anything, flag=anything, pair=anything, bounded=anything, perhaps=anything)
def test_numbers_and_booleans_are_not_mixed_up(number: Any, flag: Any, pair: Any, bounded: Any, perhaps: Any) -> None:
    """1, True, 1.0 and an enum's 1 are equal for Python: no token comes of it that verifies to something else."""
    fields = {"number": number, "flag": flag, "pair": pair, "bounded": bounded, "perhaps": perhaps}
    mint_or_refuse(Numbers.model_construct(None, **fields))
    ones = {name: value if value in (0, 1) else 1 for name, value in fields.items() if name != "pair"}
    mint_or_refuse(Numbers.model_construct(None, **ones))


@given(main=anything, rooms=anything, words=anything)
def test_forged_members_of_members(main: Any, rooms: Any, words: Any) -> None:
    """A forged payload inside a payload is refused, or the token verifies to an equal one."""
    mint_or_refuse(Party.model_construct(main=main, rooms=rooms, b_=words))
    mint_or_refuse(Party.model_construct(main=Room.model_construct(beds=rooms, z_last=words)))


@given(day=anything, mixed=anything, literal=anything, board=anything)
def test_forged_choices(day: Any, mixed: Any, literal: Any, board: Any) -> None:
    """A value that is not among an enum's or literal's, or not the member itself, is refused, or verifies to an equal one."""
    mint_or_refuse(Choices.model_construct(board=board, mixed=mixed, literal=literal, day=day))
    mint_or_refuse(Choices.model_construct(board=Board.FULL, mixed=mixed, literal=literal))


@share(3)
@given(
    tenant=st.one_of(
        any_texts, names, st.text(NAME_CHARACTERS + "\n é", max_size=66), st.sampled_from(LARGE_TEXTS), plain
    )
)
def test_any_tenant_is_refused_or_verifies(tenant: Any) -> None:
    """For any tenant, mint refuses it or makes a token that verifies for it."""
    try:
        minted = SITE.minter().mint(STAY, tenant=tenant)
    except InvalidHandoffInputError:
        return
    assert isinstance(tenant, str)
    assert SITE.verifier().verify(minted.token, tenant=str.__str__(tenant)).tenant == minted.tenant


@given(
    name=st.one_of(names, st.text(NAME_CHARACTERS + "\n é", max_size=66), any_texts),
    kind=st.sampled_from([Subtext, Spoken]),
)
def test_a_tenant_that_is_a_kind_of_str_means_its_text(name: str, kind: type[str]) -> None:
    """A tenant of a subclass of str is refused, or means the text it equals, not the one it is formatted as."""
    try:
        minted = SITE.minter().mint(STAY, tenant=kind(name))
    except InvalidHandoffInputError:
        return
    assert SITE.verifier().verify(minted.token, tenant=name).tenant == name


@given(name=names, kind=st.sampled_from([Subtext, Spoken]), which=st.sampled_from(["issuer", "audience"]))
def test_a_name_that_is_a_kind_of_str_means_its_text(name: str, kind: type[str], which: str) -> None:
    """So does an issuer or audience."""
    issuer, audience = (name, "a") if which == "issuer" else ("i", name)
    given_issuer, given_audience = (kind(name), "a") if which == "issuer" else ("i", kind(name))
    try:
        minter = Minter(SITE.ring, issuer=given_issuer, audience=given_audience, clock=lambda: NOW)
    except ConfigurationError:
        return
    token = minter.mint(STAY, tenant=SITE.tenant).token
    verifier = Verifier(SITE.ring, issuer=issuer, audience=audience, clock=lambda: NOW)
    assert verifier.verify(token, tenant=SITE.tenant).payload == STAY


@given(name=names, kind=st.sampled_from([Subtext, Spoken]), which=st.sampled_from(["issuer", "audience", "tenant"]))
def test_a_line_that_is_a_kind_of_str_means_its_text(name: str, kind: type[str], which: str) -> None:
    """`signing_string` writes such a name's own text, or refuses it: else two sets of arguments could have one string."""
    parts: dict[str, Any] = {"kid": "k", "issuer": "i", "audience": "a", "tenant": "t", which: name, "payload": b"{}"}
    parts |= {"handoff_id": oracle.handoff_id(NOW * 1000, 0), "issued_at": NOW, "expires_at": NOW + 1}
    try:
        string = signing_string(**{**parts, which: kind(name)})
    except InvalidHandoffInputError:
        return
    assert string == signing_string(**parts)


@given(
    site=sites,
    payload=st.one_of(st.none(), st.text(), st.binary(), st.just({}), st.just(HandoffPayload), st.just(Words)),
)
def test_what_is_no_payload_is_refused(site: Site, payload: Any) -> None:
    """Only an instance of a payload class is minted."""
    try:
        site.minter().mint(payload, tenant=site.tenant)
    except InvalidHandoffInputError:
        return
    raise AssertionError(payload)


def test_members_that_are_right_still_mint() -> None:
    """The tests above try no refusals alone: a copy with right values is minted."""
    assert mint_or_refuse(STAY.model_copy(update={"adults": 3, "locale": "de"}))
    assert mint_or_refuse(Words.model_construct(text="x"))
