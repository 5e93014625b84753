"""Strategies beside those of `ghasi_handoff.testing.strategies`: names, times, payload classes, both services."""

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
from ghasi_handoff.testing.strategies import hostile_texts, payloads

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

words: Final = hostile_texts(encodable=True, max_size=64)
integers: Final = st.one_of(
    st.sampled_from([0, 1, -1, 9, 10, 2**31, 2**32, oracle.MAX_INTEGER, -oracle.MAX_INTEGER]),
    st.integers(-oracle.MAX_INTEGER, oracle.MAX_INTEGER),
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


other_payloads: Final[st.SearchStrategy[HandoffPayload]] = st.one_of(
    *(payloads(kind) for kind in (Words, Numbers, Choices, Party, Deep, Empty))
)
any_payloads: Final = st.one_of(payloads(), other_payloads)


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
