"""What the properties are tried on: keys, names, times, payloads, and texts that are nearly right."""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import Enum, IntEnum, StrEnum
from typing import Annotated, Final, Literal, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from pydantic import Field

from ghasi_handoff import BookingHandoff, HandoffPayload, KeyRing, Minter, SigningKey, Verifier

from . import oracle

NAME_CHARACTERS: Final = string.ascii_letters + string.digits + "._:/-"
KID_CHARACTERS: Final = string.ascii_letters + string.digits + "_-"
NOW: Final = 1_795_426_200  # 2026-11-23T09:30:00Z


def share(part: float) -> settings:
    """Settings for a test whose examples cost more or less than others: so many times the profile's examples."""
    usual = settings()
    return settings(max_examples=max(1, round(usual.max_examples * part)))


def aware(seconds: int) -> datetime:
    """Unix seconds as an aware datetime."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def secret_of(seed: object, length: int = 32) -> bytes:
    """A secret that looks random: Hypothesis likes zeros, which a key refuses."""
    return hashlib.shake_256(repr(seed).encode()).digest(length)


names: Final = st.one_of(
    st.sampled_from(["a", "-", ".", "0", "tn_aurora", "bff-consumer", ":/._-", "a" * 64, "/" * 64, "ghasi-handoff/v1"]),
    st.text(NAME_CHARACTERS, min_size=1, max_size=64),
)
kids: Final = st.one_of(
    st.sampled_from(["k", "-", "_", "0", "2026-11a", "K" * 32, "HMAC-SHA256"]),
    st.text(KID_CHARACTERS, min_size=1, max_size=32),
)
secrets: Final = st.builds(secret_of, st.integers(0, 2**32), st.sampled_from([32, 33, 63, 64, 65, 200]))
lifetimes: Final = st.one_of(st.sampled_from([1, 2, 299, 300, 600, 3599, 3600]), st.integers(1, 3600))
leeways: Final = st.one_of(st.sampled_from([0, 1, 10, 59, 60]), st.integers(0, 60))
LAST_READING: Final = oracle.MAX_SECONDS - oracle.MAX_LIFETIME
whole_readings: Final = st.one_of(
    st.sampled_from([0, 1, 9, 10, 999, 1000, NOW, 2**31 - 1, 2**31, 2**32, LAST_READING - 1, LAST_READING]),
    st.integers(0, LAST_READING),
    st.integers(NOW - 10**6, NOW + 10**6),
)
# Whatever a clock may say: fractions, also such as round up into the next second when counted in milliseconds.
readings: Final = st.one_of(
    whole_readings,
    st.floats(0, LAST_READING),
    st.builds(
        lambda whole, part: whole + part, st.integers(0, 2**33), st.sampled_from([0.0005, 0.5, 0.9995, 0.9999999])
    ),
)
free_bits: Final = st.integers(0, 2**74 - 1)

# Characters that some reader, somewhere, treats in its own way.
odd_characters: Final = st.sampled_from(
    list(
        '"\\/\x00\x01\b\t\n\x0b\f\r\x1f \x7f\x80\x85\xa0é.=+-_%&\u017f\u212a\u0131\u0301\u200b\u2028\u2029\ufeff\uff0e\uffff\U0001f600\U0010ffff'
    )
)
words: Final = st.one_of(
    st.text(st.one_of(odd_characters, st.characters(codec="utf-8")), max_size=40),
    st.sampled_from(["", "é", "e\u0301", "\ufeff", "null", "</script>", "\x00" * 40, "\U0010ffff" * 40]),
)
integers: Final = st.one_of(
    st.sampled_from([0, 1, -1, 9, 10, 2**31, 2**32, oracle.MAX_INTEGER, -oracle.MAX_INTEGER]),
    st.integers(-oracle.MAX_INTEGER, oracle.MAX_INTEGER),
)
dates: Final = st.one_of(
    st.sampled_from([date.min, date.max, date(999, 12, 31), date(1000, 1, 1), date(2000, 2, 29), date(2028, 2, 29)]),
    st.dates(),
)


@st.composite
def bookings(draw: st.DrawFn) -> BookingHandoff:
    """A booking with any of its members."""
    nights = draw(st.one_of(st.sampled_from([1, 2, 365, 366]), st.integers(1, 366)))
    check_in = draw(
        st.one_of(
            st.sampled_from([date.min, date(2026, 12, 24), date(2027, 2, 28), date.max - timedelta(days=nights)]),
            st.dates(max_value=date.max - timedelta(days=nights)),
        )
    )
    currency = draw(
        st.none() | st.sampled_from(["EUR", "AAA", "ZZZ"]) | st.text(string.ascii_uppercase, min_size=3, max_size=3)
    )
    tags = draw(
        st.none()
        | st.sampled_from(
            [["de"], ["ar", "EG"], ["abcdefgh"], ["zh", "Hant", "TW"], ["ab", *["cdefghij"] * 3, "klmno"]]
        )
        | st.lists(st.text(string.ascii_letters + string.digits, min_size=1, max_size=8), max_size=3).map(
            lambda more: ["en", *more]
        )
    )
    return BookingHandoff(
        property_id=draw(names),
        check_in=check_in,
        check_out=check_in + timedelta(days=nights),
        adults=draw(st.integers(1, 30)),
        room_type_id=draw(st.none() | names),
        rate_plan_id=draw(st.none() | names),
        children_ages=tuple(draw(st.lists(st.integers(0, 17), max_size=10))),
        currency=currency,
        quoted_total_minor=None if currency is None else draw(integers.map(abs)),
        locale=None if tags is None else "-".join(tags),
    )


class Board(StrEnum):
    """An enum of strings, one of them awkward."""

    NONE = ""
    FULL = "full"
    ODD = '"\n\U0001f600'


class Stars(IntEnum):
    """An enum of integers."""

    ZERO = 0
    FIVE = 5
    LAST = oracle.MAX_INTEGER


class Mixed(Enum):
    """An enum whose values look alike as text."""

    TEXT = "1"
    NUMBER = 1


class Words(HandoffPayload):
    """Any text."""

    text: str
    more: tuple[str, ...] = ()
    maybe: str | None = None


class Numbers(HandoffPayload):
    """Integers and booleans, which Python takes for each other."""

    number: int
    flag: bool
    pair: tuple[int, bool] = (0, False)
    bounded: Annotated[int, Field(ge=-5, le=5)] = 1
    maybe: int | None = None
    perhaps: bool | None = None


class Choices(HandoffPayload):
    """Enums, literals, dates."""

    board: Board
    stars: Stars = Stars.ZERO
    mixed: Mixed = Mixed.TEXT
    mixes: tuple[Mixed, ...] = ()
    literal: Literal["a", 1, "1"] = "1"
    day: date | None = None
    days: tuple[date, date] | None = None


class Room(HandoffPayload):
    """A member of a member."""

    z_last: str = ""
    beds: tuple[tuple[int, ...], ...] = ()
    a_first: bool = False


class Party(HandoffPayload):
    """Payloads in payloads and in tuples, with names that sort otherwise than they are written."""

    rooms: tuple[Room, ...] = ()
    main: Room
    b2: Choices | None = None
    b_: Words | None = None
    b10: Numbers | None = None


class Deep(HandoffPayload):
    """As deep as a payload may be: this object is depth 1, and seven arrays."""

    nest: tuple[tuple[tuple[tuple[tuple[tuple[tuple[int, ...], ...], ...], ...], ...], ...], ...] = ()


class Empty(HandoffPayload):
    """No member at all."""


word_payloads: Final = st.builds(
    Words, text=words, more=st.lists(words, max_size=3).map(tuple), maybe=st.none() | words
)
number_payloads: Final = st.builds(
    Numbers,
    number=integers,
    flag=st.booleans(),
    pair=st.tuples(integers, st.booleans()),
    bounded=st.integers(-5, 5),
    maybe=st.none() | integers,
    perhaps=st.none() | st.booleans(),
)
choice_payloads: Final = st.builds(
    Choices,
    board=st.sampled_from(Board),
    stars=st.sampled_from(Stars),
    mixed=st.sampled_from(Mixed),
    mixes=st.lists(st.sampled_from(Mixed), max_size=4).map(tuple),
    literal=st.sampled_from(["a", 1, "1"]),
    day=st.none() | dates,
    days=st.none() | st.tuples(dates, dates),
)
_rooms: Final = st.builds(
    Room,
    z_last=st.text(max_size=8),
    beds=st.lists(st.lists(st.integers(0, 3), max_size=3).map(tuple), max_size=3).map(tuple),
    a_first=st.booleans(),
)
party_payloads: Final = st.builds(
    Party,
    rooms=st.lists(_rooms, max_size=3).map(tuple),
    main=_rooms,
    b2=st.none() | choice_payloads,
    b_=st.none() | st.builds(Words, text=st.text(max_size=20)),
    b10=st.none() | number_payloads,
)


def _nested(levels: int) -> st.SearchStrategy[tuple[object, ...]]:
    inner: st.SearchStrategy[object] = integers if levels == 1 else _nested(levels - 1)
    return st.lists(inner, max_size=2 if levels < 4 else 1).map(tuple)


deep_payloads: Final = st.builds(Deep, nest=_nested(7))
other_payloads: Final = st.one_of(
    word_payloads, number_payloads, choice_payloads, party_payloads, deep_payloads, st.just(Empty())
)
payloads: Final = st.one_of(bookings(), other_payloads)


PayloadT = TypeVar("PayloadT", bound=HandoffPayload)


@dataclass(frozen=True)
class Site:
    """Both sides of one issuer and audience, with a ring of one key and a clock that stands still."""

    kid: str
    secret: bytes
    issuer: str
    audience: str
    tenant: str
    lifetime: int
    leeway: int
    reading: float

    @property
    def ring(self) -> KeyRing:
        """The key signs since the clock's reading."""
        moment = aware(int(self.reading))
        return KeyRing([SigningKey(kid=self.kid, secret=self.secret, created_at=moment, sign_from=moment)])

    def minter(self, reading: float | None = None) -> Minter:
        """The issuer's side."""
        return Minter(
            self.ring,
            issuer=self.issuer,
            audience=self.audience,
            lifetime=timedelta(seconds=self.lifetime),
            clock=lambda: self.reading if reading is None else reading,
        )

    def verifier(self, reading: float | None = None) -> Verifier[BookingHandoff]:
        """The audience's side, for bookings."""
        return self.verifier_of(BookingHandoff, reading)

    def verifier_of(self, payload_type: type[PayloadT], reading: float | None = None) -> Verifier[PayloadT]:
        """The audience's side, for any payload class."""
        return Verifier(
            self.ring,
            issuer=self.issuer,
            audience=self.audience,
            payload_type=payload_type,
            leeway=timedelta(seconds=self.leeway),
            max_lifetime=timedelta(seconds=max(self.lifetime, 600)),
            clock=lambda: self.reading if reading is None else reading,
        )


sites: Final = st.builds(
    Site,
    kid=kids,
    secret=secrets,
    issuer=names,
    audience=names,
    tenant=names,
    lifetime=lifetimes,
    leeway=leeways,
    reading=readings,
)

SITE: Final = Site(
    kid="2026-11a",
    secret=secret_of("site"),
    issuer="bff-consumer",
    audience="bff-tenant-booking",
    tenant="tn_aurora",
    lifetime=300,
    leeway=10,
    reading=NOW,
)
STAY: Final = BookingHandoff(
    property_id="htl_0042", check_in=date(2026, 12, 24), check_out=date(2026, 12, 27), adults=2
)
