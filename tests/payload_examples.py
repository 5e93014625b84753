"""Payload classes, and the facts of a booking, for tests of payloads."""

from __future__ import annotations

import enum
from datetime import date
from typing import Any, Literal

from ghasi_handoff import HandoffPayload

FACTS: dict[str, Any] = {
    "property_id": "htl_0042",
    "check_in": date(2026, 12, 24),
    "check_out": date(2026, 12, 27),
    "adults": 2,
}


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Size(enum.IntEnum):
    S = 1
    L = 2


class Line(HandoffPayload):
    colour: Colour
    size: Size = Size.S
    kind: Literal["a", 2] = "a"


class Order(HandoffPayload):
    zeta: int
    alpha: tuple[Line, ...] = ()
    pair: tuple[int, str] | None = None
    note: str = ""
    gift: bool = False
    day: date = date(2026, 1, 1)
    extra: Line | None = None
