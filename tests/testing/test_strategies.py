"""The strategies for users' tests: what is drawn is what each says, from every class, and is drawn without waste."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Any, Final, Literal

import pytest
from annotated_types import Predicate
from hypothesis import Phase, example, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import FailedHealthCheck, Unsatisfiable
from hypothesis.strategies import SearchStrategy
from pydantic import AfterValidator, Field, model_validator

from ghasi_handoff import (
    BookingHandoff,
    ConfigurationError,
    HandoffPayload,
    InvalidHandoffInputError,
    InvalidMACError,
    InvalidTokenError,
    KeyRing,
    KeyRingError,
    KeyState,
    Minter,
    Verifier,
)
from ghasi_handoff.testing import FrozenClock
from ghasi_handoff.testing._tokens import GoodToken
from ghasi_handoff.testing.strategies import bad_tokens, handoffs, hostile_texts, key_rings, payloads
from ghasi_handoff.testing.strategies._handoffs import changed_body
from tests.minter_and_verifier import AUDIENCE, ISSUER, NOW, STAY, TENANT, at

CLOCK: Final = FrozenClock(at(NOW))
KEYS: Final = KeyRing.generate(now=CLOCK.now)
MINTER: Final = Minter(KEYS, issuer=ISSUER, audience=AUDIENCE, clock=CLOCK)
# What is drawn does not depend on luck: the examples are the same in every run.
ALWAYS_THE_SAME: Final = settings(max_examples=100, derandomize=True, database=None, phases=[Phase.generate])


class Board(StrEnum):
    """An enum of strings."""

    NONE = ""
    FULL = "full"


class Stars(IntEnum):
    """An enum of integers."""

    ZERO = 0
    FIVE = 5


class Mixed(Enum):
    """An enum whose values look alike as text."""

    TEXT = "1"
    NUMBER = 1


class Bed(HandoffPayload):
    """A member of a member of a member."""

    width: Annotated[int, Field(gt=79, lt=201, multiple_of=10)] = 90


class Room(HandoffPayload):
    """A member of a member."""

    name: Annotated[str, Field(min_length=1, max_length=3)]
    beds: tuple[Bed, ...] = ()


def _even(value: int) -> int:
    if value % 2:
        raise ValueError("odd")
    return value


class EveryKind(HandoffPayload):
    """A member of each kind that a payload may hold, with each kind of bound."""

    text: str
    short: Annotated[str, Field(max_length=5)] | None = None
    code: Annotated[str, Field(pattern=r"^[A-Z]{2}-[0-9]+$", max_length=6)] = "AB-1"
    plain_class: Annotated[str, Field(pattern="^[a-f]{2,40}$", max_length=30)] = "ab"
    digits: Annotated[str, Field(pattern=r"[0-9]{1,3}"), Predicate(str.isascii)] = "0"
    flag: bool
    number: int
    bounded: Annotated[int, Field(ge=-5, le=5)] = 1
    step: Annotated[int, Field(gt=-8, lt=22, multiple_of=7)]
    even: Annotated[int, AfterValidator(_even)] = 0
    day: date
    near: Annotated[date, Field(gt=date(2026, 1, 1), le=date(2026, 1, 3))] | None = None
    board: Board
    stars: Stars | None = None
    mixed: Mixed = Mixed.TEXT
    literal: Literal["a", 1, "1"] = "1"
    pair: tuple[int, bool] = (0, False)
    many: Annotated[tuple[Annotated[int, Field(ge=0, le=17)], ...], Field(min_length=1, max_length=10)]
    nested: tuple[tuple[int, ...], ...] = ()
    main: Room
    spare: Room | None = None
    rooms: tuple[Room, ...] = ()


def drawn(values: SearchStrategy[Any]) -> list[Any]:
    """What a strategy gives, by a run in which every health check is on."""
    found: list[Any] = []

    @ALWAYS_THE_SAME
    @given(value=values)
    def collect(value: Any) -> None:
        found.append(value)

    collect()
    return found


def reaches(values: SearchStrategy[Any], *wanted: Callable[[Any], object]) -> None:
    """Each of these comes up: most of them among a hundred examples, a rare one within 5000."""
    few = drawn(values)
    for condition in wanted:
        if not any(condition(value) for value in few):
            find(values, condition, settings=settings(ALWAYS_THE_SAME, max_examples=5000))  # type: ignore[arg-type]


@pytest.mark.parametrize("payload_type", [BookingHandoff, EveryKind], ids=lambda it: it.__name__)
def test_every_payload_mints_and_verifies(payload_type: type[HandoffPayload]) -> None:
    """A payload of any class mints, and verifies to itself."""
    verifier = Verifier(KEYS, issuer=ISSUER, audience=AUDIENCE, payload_type=payload_type, clock=CLOCK)

    @given(payload=payloads(payload_type))
    def check(payload: HandoffPayload) -> None:
        token = MINTER.mint(payload, tenant=TENANT).token
        verified = verifier.verify(token, tenant=TENANT).payload
        assert verified == payload
        assert type(verified) is payload_type

    check()


def test_an_optional_member_is_at_its_default_and_off_it() -> None:
    """Each optional member is drawn at its default, and with another value."""
    defaults = {name: field.default for name, field in EveryKind.model_fields.items() if not field.is_required()}
    reaches(
        payloads(EveryKind),
        *(lambda it, name=name: getattr(it, name) == defaults[name] for name in defaults),
        *(lambda it, name=name: getattr(it, name) not in (defaults[name], None) for name in defaults),
    )


def test_payloads_reach_the_bounds() -> None:
    """Each kind of member is drawn at the bounds that its class sets, or that the token format does."""
    reaches(
        payloads(EveryKind),
        *(lambda it, value=value: it.bounded == value for value in (-5, 5)),
        *(lambda it, value=value: it.step == value for value in (-7, 21)),
        *(lambda it, value=value: it.near == value for value in (date(2026, 1, 2), date(2026, 1, 3))),
        *(lambda it, value=value: it.day == value for value in (date.min, date.max)),
        *(lambda it, value=value: it.number == value for value in (2**53 - 1, -(2**53) + 1)),
        *(lambda it, value=value: it.literal is value for value in ("a", 1, "1")),
        *(lambda it, value=value: it.board is value for value in Board),
        *(lambda it, value=value: it.mixed is value for value in Mixed),
        *(lambda it, value=value: len(it.many) == value for value in (1, 10)),
        *(lambda it, value=value: len(it.plain_class) == value for value in (2, 30)),
        *(lambda it, value=value: len(it.main.name) == value for value in (1, 3)),
        *(lambda it, value=value: any(bed.width == value for bed in it.main.beds) for value in (80, 200)),
    )


def test_bookings_reach_the_bounds() -> None:
    """A booking's dates and its quote fit together, up to their bounds."""
    reaches(
        payloads(),
        *(lambda it, value=value: (it.check_out - it.check_in).days == value for value in (1, 366)),
        *(lambda it, value=value: value in (it.check_in, it.check_out) for value in (date.min, date.max)),
        *(lambda it, value=value: it.quoted_total_minor == value for value in (None, 0, 2**53 - 1)),
        *(lambda it, value=value: len(it.children_ages) == value for value in (0, 10)),
        *(lambda it, value=value: len(it.property_id) == value for value in (1, 64)),
        *(lambda it, value=value: it.adults == value for value in (1, 30)),
        lambda it: "-" in (it.locale or ""),
    )


def test_little_of_what_is_drawn_is_thrown_away() -> None:
    """Where no validator of the class refuses a value, hardly any example is drawn in vain."""
    for payload_type in (BookingHandoff, Room):
        tried = 0

        @st.composite
        def counted(draw: st.DrawFn, payload_type: type[HandoffPayload] = payload_type) -> HandoffPayload:
            nonlocal tried
            tried += 1
            return draw(payloads(payload_type))

        assert tried <= 1.2 * len(drawn(counted()))


class Tour(BookingHandoff):
    """A booking with one member more."""

    guide: Annotated[str, Field(pattern="^[a-z]{2}$")] | None = None


class Checked(HandoffPayload):
    """A class with a rule that few values keep."""

    one: Annotated[int, Field(ge=0, le=10**9)]
    two: Annotated[int, Field(ge=0, le=10**9)]

    @model_validator(mode="after")
    def _alike(self) -> Checked:
        if self.one % 10**6 != self.two % 10**6:
            raise ValueError("not alike")
        return self


@given(tour=payloads(Tour, adults=st.just(2)))
def test_a_class_below_booking_keeps_its_rules(tour: Tour) -> None:
    """The rules between a booking's members are known for classes below it, too, and a member can be set."""
    assert tour.adults == 2
    assert 1 <= (tour.check_out - tour.check_in).days <= 366


@given(payload=payloads(Checked, one=st.integers(0, 5), two=st.just(3)))
def test_a_member_can_be_given(payload: Checked) -> None:
    """A strategy for a member takes the place of the one that follows from its type."""
    assert payload.one == payload.two == 3


def test_a_validator_that_refuses_much_is_reported() -> None:
    """A class that refuses nearly everything fails Hypothesis' own check: nothing is suppressed."""
    with pytest.raises((FailedHealthCheck, Unsatisfiable)):
        drawn(payloads(Checked, one=st.just(1), two=st.just(2)))


@pytest.mark.parametrize(
    "ask",
    [
        lambda: payloads(dict),  # type: ignore[type-var]
        lambda: payloads(STAY),  # type: ignore[arg-type]
        lambda: payloads(BookingHandoff, guests=st.just(1)),
        lambda: payloads(Unreadable),
        lambda: key_rings(now=at(0)),
        lambda: key_rings(now=at(NOW).replace(tzinfo=None)),
        lambda: handoffs(KEYS, tenant=TENANT),  # type: ignore[arg-type]
        lambda: bad_tokens(KEYS, tenant=TENANT),  # type: ignore[arg-type]
        lambda: hostile_texts(max_size=-1),
    ],
)
def test_a_wrong_argument_is_refused_at_once(ask: Callable[[], object]) -> None:
    """A wrong argument is the caller's mistake, told where the strategy is made."""
    with pytest.raises(ConfigurationError):
        ask()


class Unreadable(HandoffPayload):
    """A pattern that pydantic reads, and Python does not."""

    text: Annotated[str, Field(pattern=r"^\p{Lu}+$")] = "A"


@given(payload=payloads(Unreadable, text=st.just("BC")))
def test_a_pattern_that_python_does_not_read_needs_a_strategy(payload: Unreadable) -> None:
    """With a strategy for that member the class is drawn."""
    assert payload.text == "BC"


@given(ring=key_rings(now=at(NOW)))
def test_every_ring_is_one(ring: KeyRing) -> None:
    """JSON carries each ring without loss, and each key can be revoked and the ring rotated."""
    assert KeyRing.from_json(ring.to_json()) == ring
    assert len(ring.rotate(kid="one-more", now=at(NOW)).keys) == len(ring.keys) + 1
    for key in ring.keys:
        assert ring.revoke(key.kid, now=at(NOW)).state(key.kid, now=at(NOW)) is KeyState.REVOKED


@given(ring=key_rings(now=at(NOW), can_sign=True), payload=payloads())
def test_a_ring_that_can_sign_signs(ring: KeyRing, payload: BookingHandoff) -> None:
    """Where a ring must be able to sign, its active key does, and its token verifies."""
    minted = Minter(ring, issuer=ISSUER, audience=AUDIENCE, clock=CLOCK).mint(payload, tenant=TENANT)
    assert ring.state(minted.kid, now=at(NOW)) is KeyState.ACTIVE
    verifier = Verifier(ring, issuer=ISSUER, audience=AUDIENCE, clock=CLOCK)
    assert verifier.verify(minted.token, tenant=TENANT).payload == payload


def test_rings_have_keys_in_every_state() -> None:
    """Every state comes up, and one key, and five; some rings cannot sign, unless they must."""

    def states(ring: KeyRing) -> list[KeyState]:
        return [ring.state(key.kid, now=at(NOW)) for key in ring.keys]

    reaches(
        key_rings(now=at(NOW)),
        *(lambda ring, state=state: state in states(ring) for state in KeyState),
        *(lambda ring, state=state: state not in states(ring) for state in KeyState),
        *(lambda ring, size=size: len(ring.keys) == size for size in (1, 5)),
        # Ended just now.
        lambda ring: at(NOW) in [key.verify_until for key in ring.keys],
    )
    reaches(
        key_rings(now=at(NOW), can_sign=True), *(lambda ring, state=state: state in states(ring) for state in KeyState)
    )


def test_a_ring_is_as_of_the_present_unless_told() -> None:
    """Without a moment it can sign now."""
    ring = find(key_rings(can_sign=True), lambda ring: True, settings=ALWAYS_THE_SAME)
    assert Minter(ring, issuer=ISSUER, audience=AUDIENCE).mint(STAY, tenant=TENANT).payload == STAY


def test_handoffs_are_good_and_each_is_another() -> None:
    """Each verifies, and none has the id of another, though payloads repeat."""
    found = drawn(handoffs(MINTER, st.just(STAY), tenant=TENANT))
    verifier = Verifier(KEYS, issuer=ISSUER, audience=AUDIENCE, clock=CLOCK)
    assert {verifier.verify(minted.token, tenant=TENANT).handoff_id for minted in found} == {
        minted.handoff_id for minted in found
    }
    assert len({minted.handoff_id for minted in found}) == len(found)


@given(minted=handoffs(MINTER, tenant=TENANT), room=handoffs(MINTER, payloads(Room), tenant=TENANT))
def test_handoffs_carry_what_is_asked_for(minted: Any, room: Any) -> None:
    """By default a booking, else what the strategy says."""
    assert type(minted.payload) is BookingHandoff
    assert type(room.payload) is Room


@pytest.mark.parametrize(
    ("payload_type", "lifetime", "leeway", "longest"),
    [(BookingHandoff, 300, 10, 600), (BookingHandoff, 1, 0, 1), (EveryKind, 3600, 60, 3600)],
)
def test_every_bad_token_is_refused_with_its_code(
    payload_type: type[HandoffPayload], lifetime: int, leeway: int, longest: int
) -> None:
    """Whatever lifetime and leeway both sides have, verify gives the code that is told."""
    minter = Minter(KEYS, issuer=ISSUER, audience=AUDIENCE, lifetime=timedelta(seconds=lifetime), clock=CLOCK)
    verifier = Verifier(
        KEYS,
        issuer=ISSUER,
        audience=AUDIENCE,
        payload_type=payload_type,
        leeway=timedelta(seconds=leeway),
        max_lifetime=timedelta(seconds=longest),
        clock=CLOCK,
    )
    for bad in drawn(bad_tokens(minter, payloads(payload_type), tenant=TENANT)):
        with pytest.raises(InvalidTokenError) as caught:
            verifier.verify(bad.token, tenant=TENANT)
        assert (caught.value.code, bad.why) == (bad.code, bad.why)
        bad.token.encode("utf-8")


@st.composite
def changed_bodies(draw: st.DrawFn) -> str:
    """Good tokens with one character of the body changed."""
    return changed_body(draw, GoodToken(MINTER, draw(payloads(Room)), TENANT))


def test_achanged_body_is_still_well_shaped() -> None:
    """Wherever a character of the body is changed, first or last, the MAC is what refuses it."""
    verifier = Verifier(KEYS, issuer=ISSUER, audience=AUDIENCE, payload_type=Room, clock=CLOCK)
    for token in drawn(changed_bodies()):
        with pytest.raises(InvalidMACError):
            verifier.verify(token, tenant=TENANT)


def test_every_code_that_is_promised_comes_up() -> None:
    """Each code of the docstring is drawn, and no other."""
    codes = set(re.findall("``([a-z_]+)``", bad_tokens.__doc__ or "")) - {"code"}
    assert len(codes) == 10
    assert {bad.code for bad in drawn(bad_tokens(MINTER, tenant=TENANT))} <= codes
    reaches(bad_tokens(MINTER, tenant=TENANT), *(lambda bad, code=code: bad.code == code for code in sorted(codes)))


def test_handoffs_need_a_key_and_a_tenant() -> None:
    """What mint refuses, a strategy over it refuses as mint does."""
    with pytest.raises(InvalidHandoffInputError):
        drawn(handoffs(MINTER, tenant=""))
    late = Minter(KEYS, issuer=ISSUER, audience=AUDIENCE, clock=lambda: NOW - 1)
    with pytest.raises(KeyRingError):
        drawn(bad_tokens(late, tenant=TENANT))


@given(text=hostile_texts(near=TENANT))
@example(text=TENANT + "\n")
def test_a_hostile_text_is_never_the_right_one(text: str) -> None:
    """A look-alike is not equal to what it looks like, and no verifier takes it for that."""
    token = MINTER.mint(STAY, tenant=TENANT).token
    with pytest.raises(InvalidTokenError) as caught:
        Verifier(KEYS, issuer=ISSUER, audience=AUDIENCE, clock=CLOCK).verify(token, tenant=text)
    assert caught.value.code == "wrong_tenant"


def test_hostile_texts_are_of_every_kind() -> None:
    """Empty, long, not encodable, with controls; near the right text, where there is one."""
    reaches(
        hostile_texts(),
        lambda text: text == "",
        lambda text: "\x00" in text,
        lambda text: any("\ud800" <= character <= "\udfff" for character in text),
    )
    reaches(
        hostile_texts(near=TENANT),
        *(lambda text, alike=alike: text == alike for alike in (TENANT.upper(), TENANT + "\n", TENANT[:-1], "")),
        lambda text: len(text) == len(TENANT) and text.isascii(),
    )
    assert "" not in drawn(hostile_texts(near=""))
    # Not by `find`, which would print what it finds.
    assert {len(text) for text in drawn(hostile_texts())} >= {64, 4096, 4097, 5000}
    assert 100_000 in {len(text) for text in drawn(hostile_texts(max_size=100_000))}


@given(text=hostile_texts(near="tn_\ud800", encodable=True, max_size=70) | hostile_texts(encodable=True, max_size=0))
def test_hostile_texts_keep_to_what_is_asked(text: str) -> None:
    """Where a text must be sent over a network no character of it is a lone surrogate of its own, and it is as short as told."""
    assert text.count("\ud800") <= 2
    assert len(text) <= 70


def test_the_strategies_are_not_imported_unless_asked_for() -> None:
    """`ghasi_handoff.testing` does not import Hypothesis."""
    code = "import sys, ghasi_handoff.testing; print('hypothesis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_without_hypothesis_the_extra_is_named() -> None:
    """Whoever has no Hypothesis is told what to install."""
    code = "import sys; sys.modules['hypothesis'] = None; import ghasi_handoff.testing.strategies"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "install ghasi-handoff[testing]" in done.stderr.splitlines()[-1]
