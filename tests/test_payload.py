"""Payload classes: what they may hold, and how a value becomes bytes and comes back."""

from __future__ import annotations

import enum
import types
import warnings
from collections.abc import Callable
from datetime import date, datetime, time
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar
from uuid import UUID

import pydantic
import pytest
from pydantic import (
    AfterValidator,
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
from ghasi_handoff._payload_bytes import encode_payload, payload_decoder
from tests.minter_and_verifier import STAY

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


def made(**namespace: object) -> Any:
    """A payload class with this body."""
    return types.new_class(
        "Made", (HandoffPayload,), exec_body=lambda body: body.update(namespace, __module__=__name__)
    )


def payload_class(annotation: object, default: object = ...) -> Any:
    """A payload class with one member `x` of this annotation."""
    body: dict[str, object] = {} if default is ... else {"x": default}
    return made(__annotations__={"x": annotation}, **body)


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
    """What was given does not show in pydantic's message: it may be anything that a visitor typed."""
    with pytest.raises(ValidationError) as caught:
        BookingHandoff(**(FACTS | {"property_id": "the visitor's text"}))
    assert "visitor" not in str(caught.value)


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
    """Whatever is wrong ends in InvalidHandoffInputError, without the value and without pydantic's error behind it."""
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
