"""How a payload becomes bytes and comes back: one spelling, checked both ways."""

from __future__ import annotations

import warnings
from datetime import date
from typing import Annotated, Any

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
)

from ghasi_handoff import BookingHandoff, HandoffPayload, InvalidHandoffInputError
from ghasi_handoff._payload_bytes import encode_payload, payload_decoder
from tests.minter_and_verifier import STAY
from tests.payload_examples import FACTS, Colour, Line, Order, Size


def test_members_are_written_sorted_and_defaults_left_out() -> None:
    """A payload's bytes are RFC 8785 JSON of the members that are not at their default."""
    order = Order(
        zeta=1, note="\u20ac\n", alpha=(Line(colour=Colour.RED), Line(colour=Colour.BLUE, size=Size.L, kind=2))
    )
    expected = '{"alpha":[{"colour":"red"},{"colour":"blue","kind":2,"size":2}],"note":"\u20ac\\n","zeta":1}'
    assert encode_payload(order) == (order, expected.encode())
    assert payload_decoder(Order)(expected.encode()) == order


class Plain(BaseModel):
    x: int = 1


def test_unchecked_instances_do_not_slip_through() -> None:
    """model_construct and model_copy check nothing; encoding does."""
    unsorted = BookingHandoff.model_construct(**FACTS)
    assert encode_payload(unsorted)[1] == encode_payload(BookingHandoff(**FACTS))[1]
    wrongs: list[HandoffPayload] = [
        STAY.model_copy(update={"adults": 99}),
        STAY.model_copy(update={"adults": "2"}),
        STAY.model_copy(update={"adults": 2.0}),
        STAY.model_copy(update={"check_in": "2026-12-24"}),
        STAY.model_copy(update={"check_out": date(2026, 12, 1)}),
        STAY.model_copy(update={"property_id": "\ud800"}),
        STAY.model_copy(update={"locale": object()}),
        STAY.model_copy(update={"children_ages": [4]}),
        STAY.model_copy(update={"unknown": 1}),
        BookingHandoff.model_construct(adults=1),
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for wrong in wrongs:
            with pytest.raises(InvalidHandoffInputError):
                encode_payload(wrong)


def test_only_payloads_are_encoded() -> None:
    """A dict, or another pydantic model, is no payload."""
    wrongs: list[Any] = [{}, Plain(), None]
    for wrong in wrongs:
        with pytest.raises(InvalidHandoffInputError, match="must be a HandoffPayload"):
            encode_payload(wrong)


def test_a_payload_has_a_size_limit() -> None:
    """2048 bytes are accepted in both directions, 2049 in none."""

    class Note(HandoffPayload):
        text: str

    fits = Note(text="x" * (2048 - len('{"text":""}')))
    data = encode_payload(fits)[1]
    assert len(data) == 2048
    assert payload_decoder(Note)(data) == fits
    with pytest.raises(InvalidHandoffInputError, match="2049 bytes"):
        encode_payload(Note(text=fits.text + "x"))
    assert payload_decoder(Note)(data.replace(b"x", b"xx", 1)) is None


def test_a_validator_that_changes_values_cannot_break_the_round_trip() -> None:
    """A validator that does not accept its own result would mint what no verifier accepts: refused at the mint."""

    class Growing(HandoffPayload):
        x: Annotated[int, AfterValidator(lambda value: value + 1)]

    with pytest.raises(InvalidHandoffInputError):
        encode_payload(Growing(x=1))

    verdicts = iter([True, False])

    def fickle(value: str) -> str:
        if not next(verdicts):
            raise ValueError("not any more")
        return value

    class Fickle(HandoffPayload):
        b: Annotated[str, AfterValidator(fickle)]
        a: int = 1

    with pytest.raises(InvalidHandoffInputError, match="its own validators"):
        encode_payload(Fickle.model_construct(b="x", a=2))  # out of order, so it is read twice

    class Lower(HandoffPayload):
        x: Annotated[str | None, AfterValidator(lambda value: value and value.lower())] = None

    assert encode_payload(Lower(x="ABC"))[1] == b'{"x":"abc"}'
