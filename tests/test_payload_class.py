"""Payload classes: what their members may be, and how they are read from a form or from JSON."""

from __future__ import annotations

import enum
import types
from collections.abc import Callable
from datetime import datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from uuid import UUID

import pydantic
import pytest
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    PrivateAttr,
    ValidationError,
    computed_field,
    field_serializer,
    model_serializer,
)

from ghasi_handoff import BookingHandoff, ConfigurationError, HandoffPayload, InvalidHandoffInputError
from ghasi_handoff._payload_bytes import encode_payload
from tests.payload_examples import FACTS, Colour, Line, Order, Size


def made(**namespace: object) -> Any:
    """A payload class with this body."""
    return types.new_class(
        "Made", (HandoffPayload,), exec_body=lambda body: body.update(namespace, __module__=__name__)
    )


def payload_class(annotation: object, default: object = ...) -> Any:
    """A payload class with one member `x` of this annotation."""
    body: dict[str, object] = {} if default is ... else {"x": default}
    return made(__annotations__={"x": annotation}, **body)


class Plain(BaseModel):
    x: int = 1


class Pair(NamedTuple):
    x: int


class Kinds(enum.Enum):
    HALF = 0.5


class Truth(enum.Enum):
    YES = True


class Lone(enum.Enum):
    SURROGATE = "\ud800"


class Huge(enum.Enum):
    BIG = 2**53


@pytest.mark.parametrize(
    "annotation",
    [
        float, Decimal, complex, datetime, time, bytes, UUID, dict[str, int], list[int], set[int], frozenset[int], tuple, object, Any, int | str,
        Plain, Pair, Kinds, Truth, Lone, Huge, Literal[True], Literal[2**53], Literal[None], tuple[float, ...], tuple[int | None, ...], tuple[Plain, ...],
        TypeVar("T"), pydantic.Json[int], pydantic.SecretStr, pydantic.AnyUrl, pydantic.FutureDate, Callable[[], int],
        Annotated[int, PlainValidator(int)], Annotated[int, PlainSerializer(str)], "Made", "tuple[Made, ...]", "NotThere",
    ],
)  # fmt: skip
def test_a_class_that_the_format_cannot_carry_is_refused(annotation: object) -> None:
    """A member of any other kind is refused when the class is made, not when a guest is on the way."""
    with pytest.raises(ConfigurationError, match=r"^Made"):
        payload_class(annotation)


@pytest.mark.parametrize(
    ("annotation", "default"),
    [
        (int | None, 5),
        (int, None),
        (int, "2"),
        (int, 2.0),
        (bool, 1),
        (tuple[int, ...], [1]),
        (str, Field(default_factory=str)),
    ],
)
def test_a_default_must_be_a_constant_of_its_type(annotation: object, default: object) -> None:
    """A default is what a missing member means: it has the member's type, and None is the only default of an optional one."""
    with pytest.raises(ConfigurationError, match=r"^Made\.x: "):
        payload_class(annotation, default)


def test_integers_are_bounded_without_asking() -> None:
    """An int member takes ±(2^53-1), whatever wider bounds it was given; JSON has no safe integers beyond."""
    wide = payload_class(Annotated[int, Field(ge=-(2**60), le=2**60)])
    assert encode_payload(wide(x=2**53 - 1))[1] == b'{"x":9007199254740991}'
    for value in (2**53, -(2**53)):
        with pytest.raises(ValidationError):
            wide(x=value)
    narrow = payload_class(Annotated[int, Field(gt=0, lt=3)])
    with pytest.raises(ValidationError):
        narrow(x=3)


def deep(levels: int) -> Any:
    nested: Any = payload_class(int)
    for _ in range(levels - 1):
        nested = payload_class(nested)
    return nested


def test_a_class_nests_at_most_eight_deep() -> None:
    """Eight levels fit, nine are refused when the class is made; a tuple is a level, too."""
    deep(8)
    with pytest.raises(ConfigurationError, match="nested 9 deep"):
        deep(9)
    with pytest.raises(ConfigurationError, match="nested 9 deep"):
        payload_class(types.GenericAlias(tuple, (deep(7), ...)))


def test_settings_of_the_class_are_fixed() -> None:
    """Strictness, extras, aliases, serializers, private attributes: nothing of a subclass may bend the wire format."""
    makers: list[Callable[[], object]] = [
        lambda: made(model_config=ConfigDict(extra="allow")),
        lambda: made(model_config=ConfigDict(strict=False)),
        lambda: payload_class(int, Field(alias="y")),
        lambda: payload_class(int, Field(validation_alias="y")),
        lambda: payload_class(int, Field(serialization_alias="y")),
        lambda: payload_class(int, Field(default=1, exclude=True)),
        lambda: made(__annotations__={"_x": int}, _x=PrivateAttr(1)),
    ]
    for make in makers:
        with pytest.raises(ConfigurationError):
            make()
    with pytest.raises(ConfigurationError):

        class Computed(HandoffPayload):
            @computed_field
            def y(self) -> int:
                return 1

    with pytest.raises(ConfigurationError):

        class Serialized(HandoffPayload):
            x: int

            @field_serializer("x")
            def _s(self, value: int) -> str:
                return str(value)

    with pytest.raises(ConfigurationError):

        class ModelSerialized(HandoffPayload):
            @model_serializer
            def _s(self) -> dict[str, int]:
                return {}

    titled = made(model_config=ConfigDict(title="Fine"))
    assert titled.model_config["title"] == "Fine"


@pytest.mark.parametrize("name", ["Upper", "x-y", "é"])
def test_member_names_follow_the_grammar(name: str) -> None:
    """A member's name is lower-case ASCII: then every implementation sorts alike."""
    with pytest.raises(ConfigurationError, match="name"):
        made(__annotations__={name: int})


def deep_list(levels: int) -> object:
    nested: object = 4
    for _ in range(levels):
        nested = [nested]
    return nested


FORM = {"property_id": "htl_0042", "check_in": "2026-12-24", "check_out": "2026-12-27", "adults": "2"}


def test_input_from_a_form() -> None:
    """A form has text and lists of text; fields left blank count as absent."""
    stay = BookingHandoff.from_input(
        FORM | {"children_ages": ["4", "7"], "currency": "", "quoted_total_minor": "", "locale": None}
    )
    assert stay == BookingHandoff(**FACTS, children_ages=(4, 7))


def test_input_from_json_and_from_python() -> None:
    """Numbers, dates, enums, nested objects and payloads are taken as they are."""
    assert BookingHandoff.from_input(MappingProxyType(FACTS | {"children_ages": [4]})) == BookingHandoff(
        **FACTS, children_ages=(4,)
    )
    order = Order(zeta=1, alpha=(Line(colour=Colour.RED),), gift=True, extra=Line(colour=Colour.BLUE, size=Size.L))
    given = {"zeta": 1, "alpha": [{"colour": Colour.RED}], "gift": True, "extra": Line(colour=Colour.BLUE, size=Size.L)}
    assert Order.from_input(given) == order


@pytest.mark.parametrize(
    "change",
    [
        {"adults": 10**5000}, {"adults": 2**53}, {"check_in": "1798070400"}, {"check_in": "2026-W52-4"}, {"children_ages": deep_list(2000)}, {"adults": "two"}, {"adults": "2.0"}, {"adults": " 2"}, {"adults": "\u0662"}, {"adults": 2.5}, {"adults": ""}, {"adults": None}, {"adults": True},
        {"check_in": "24.12.2026"}, {"check_in": 1795426200}, {"check_in": datetime(2026, 12, 24)}, {"check_in": "2026-12-24T00:00:00"},
        {"children_ages": "4"}, {"children_ages": ["x"]}, {"children_ages": [None]}, {"locale": b"de"}, {"locale": "\ud800"}, {"locale": {"a": 1}}, {"visitor": "x"}, {5: "x"},
        {"check_out": "2026-12-24"},
    ],
)  # fmt: skip
def test_bad_input_is_one_error_that_quotes_nothing(change: dict[Any, Any]) -> None:
    """Every bad input ends in InvalidHandoffInputError, without the value and without pydantic's error as its cause."""
    with pytest.raises(InvalidHandoffInputError) as caught:
        BookingHandoff.from_input(FORM | change)
    assert caught.value.__context__ is None
    for value in change.values():
        assert not isinstance(value, str) or len(value) < 3 or value not in str(caught.value)


def test_bad_input_names_the_member() -> None:
    """The operator learns which member is wrong and why; a name from the input is not repeated."""
    with pytest.raises(InvalidHandoffInputError, match=r"adults: .*less than or equal to 30"):
        BookingHandoff.from_input(FORM | {"adults": 99})
    with pytest.raises(InvalidHandoffInputError) as caught:
        Order.from_input({"zeta": 1, "extra": {"colour": "red", "evil\nname": 1}})
    assert "evil" not in str(caught.value)
    with pytest.raises(InvalidHandoffInputError, match="must be a mapping"):
        BookingHandoff.from_input([("adults", 2)])  # type: ignore[arg-type]
