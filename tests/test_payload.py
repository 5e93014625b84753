"""Payload classes: what they may hold, and how a value becomes bytes and comes back."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import (
    ValidationError,
)

from ghasi_handoff import BookingHandoff
from tests.minter_and_verifier import STAY
from tests.payload_examples import FACTS


def test_a_payload_is_frozen_and_strict() -> None:
    """No member changes after the check, and no value is converted."""
    with pytest.raises(ValidationError):
        STAY.adults = 3
    for wrong in (
        {"adults": "2"},
        {"adults": True},
        {"adults": 2.0},
        {"check_in": "2026-12-24"},
        {"children_ages": [4]},
    ):
        with pytest.raises(ValidationError):
            BookingHandoff(**(FACTS | wrong))


@pytest.mark.parametrize(
    "wrong",
    [
        {"adults": 0}, {"adults": 31}, {"property_id": ""}, {"property_id": "x" * 65}, {"property_id": "a b"}, {"property_id": "a\n"}, {"room_type_id": "é"},
        {"check_out": date(2026, 12, 24)}, {"check_out": date(2026, 12, 23)}, {"check_out": date(2027, 12, 26)}, {"children_ages": (18,)},
        {"children_ages": (-1,)}, {"children_ages": (1,) * 11}, {"currency": "EUR"}, {"quoted_total_minor": 1}, {"currency": "eur", "quoted_total_minor": 1},
        {"currency": "EURO", "quoted_total_minor": 1}, {"currency": "EUR", "quoted_total_minor": -1}, {"currency": "EUR", "quoted_total_minor": 2**53},
        {"locale": "d"}, {"locale": "de_DE"}, {"locale": "de-"}, {"locale": "de-" + "a" * 9}, {"locale": "de" + "-abcdefgh" * 4}, {"locale": "de\n"},
        {"guest_name": "Ada"}, {"rate_plan_id": "x\ud800"},
    ],
)  # fmt: skip
def test_booking_rules(wrong: dict[str, Any]) -> None:
    """Each rule of the booking profile refuses what breaks it."""
    BookingHandoff(**FACTS)
    with pytest.raises(ValidationError):
        BookingHandoff(**(FACTS | wrong))


def test_booking_accepts_its_limits() -> None:
    """Both ends of every range are valid."""
    BookingHandoff(
        property_id="A" * 64, check_in=date(2027, 1, 1), check_out=date(2028, 1, 2), adults=30, room_type_id="a.b_c:d/e-f", rate_plan_id="0",
        children_ages=(0, 17) * 5, currency="AED", quoted_total_minor=2**53 - 1, locale="abcdefgh-abcdefgh-abcdefgh-abcdefgh",
    )  # fmt: skip


def test_validation_errors_hide_their_input() -> None:
    """Pydantic's message does not quote the input, which may be anything that a visitor typed."""
    with pytest.raises(ValidationError) as caught:
        BookingHandoff(**(FACTS | {"property_id": "the visitor's text"}))
    assert "visitor" not in str(caught.value)
