"""Typed value <-> canonical payload bytes: `HandoffPayload` and `BookingHandoff`, the default one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime
from enum import Enum
from typing import Annotated, Any, ClassVar, Final, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler, TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema
from typing_extensions import TypeVar, override

from ghasi_handoff._limits import MAX_INTEGER, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH
from ghasi_handoff.errors import ConfigurationError, InvalidHandoffInputError

__all__ = ["BookingHandoff", "HandoffPayload"]

_MEMBER_NAME: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_ISO_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_DECIMAL: Final = re.compile(r"0|-?[1-9][0-9]{0,15}", re.ASCII)
# What a member may be. Everything else is refused when the class is made: a float has many spellings, a dict or a list
# can change after the mint, a datetime has a zone, and a plain validator may return anything.
_SCALARS: Final = frozenset({"str", "bool", "date"})
_WRAPPERS: Final = frozenset({"nullable", "default", "function-before", "function-after", "function-wrap"})


_Kind: TypeAlias = "str | type[HandoffPayload]"


class HandoffPayload(BaseModel):
    """What a handoff carries. Subclass it to hand over something else than `BookingHandoff`.

    Members are strings, booleans, integers within ±(2^53-1), dates, enums of strings or integers, tuples of these, and
    other payload classes; each may be ``| None`` if its default is None. A class with any other member, an alias, a
    computed or recursive field or changed ``model_config`` is refused when it is made.

    A member at its default is left out of the token, so **a default must never change** once tokens carry the class. To
    add a member to a class in use, give it a default and bring the class to every verifier first.

    Instances are frozen and strict: no value is converted. Creating one raises `pydantic.ValidationError`, which hides
    its input.

    Raises:
        ConfigurationError: When a subclass is defined that the token format cannot carry.

    >>> class LoungePass(HandoffPayload):
    ...     lounge_id: str
    ...     guests: int = 1
    >>> LoungePass(lounge_id="l_7")
    LoungePass(guests=1, lounge_id='l_7')
    >>> class Weighed(HandoffPayload):
    ...     weight: float
    Traceback (most recent call last):
        ...
    ghasi_handoff.errors.ConfigurationError: Weighed.weight: a payload cannot hold a value of kind 'float'
    """

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", hide_input_in_errors=True)

    # By member: what stands at the bottom of its type, the name of a kind or a payload class.
    _kinds: ClassVar[Mapping[str, _Kind]] = {}
    _depth: ClassVar[int] = 1

    @classmethod
    @override
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        node: Any = handler.resolve_ref_schema(schema)
        while node["type"] != "model-fields":  # under the model itself and its model validators
            node = node["schema"]
        depth = 1
        kinds: dict[str, _Kind] = {}
        for name, field in node["fields"].items():
            place = f"{cls.__name__}.{name}"
            if not _MEMBER_NAME.fullmatch(name):
                raise ConfigurationError(f"{place}: a member's name must match [a-z][a-z0-9_]*")
            kinds[name], levels = _checked(field["schema"], handler, cls, place)
            depth = max(depth, 1 + levels)
        if depth > MAX_PAYLOAD_DEPTH:
            raise ConfigurationError(
                f"{cls.__name__}: nested {depth} deep; a payload may nest {MAX_PAYLOAD_DEPTH} deep"
            )
        # The validator fills an instance in the order of its schema, and the serializer writes it in that order:
        # sorted by name here, it is the member order of RFC 8785 there.
        node["fields"] = dict(sorted(node["fields"].items()))
        cls._kinds = kinds
        cls._depth = depth
        return schema

    @classmethod
    @override
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        settings = {key: value for key, value in cls.model_config.items() if key != "title"}
        if settings != dict(HandoffPayload.model_config):
            raise ConfigurationError(f"{cls.__name__}: the model_config of a payload class cannot be changed")
        if cls.__private_attributes__ or cls.model_computed_fields:
            raise ConfigurationError(f"{cls.__name__}: a payload has no private attributes and no computed fields")
        decorators = cls.__pydantic_decorators__
        if decorators.field_serializers or decorators.model_serializers:
            raise ConfigurationError(f"{cls.__name__}: a payload has no serializers of its own")
        for name, field in cls.model_fields.items():
            if field.alias or field.validation_alias or field.serialization_alias or field.exclude or field.exclude_if:
                raise ConfigurationError(f"{cls.__name__}.{name}: a member has no alias and is never excluded")
            if field.default_factory is not None:
                raise ConfigurationError(f"{cls.__name__}.{name}: a default is a constant, not a factory")
        if not cls.__pydantic_complete__:
            raise ConfigurationError(
                f"{cls.__name__}: name only types that are already defined; a payload is not recursive"
            )
        for name, field in cls.model_fields.items():
            if not field.is_required() and not _is_valid_default(field):
                raise ConfigurationError(f"{cls.__name__}.{name}: the default is not a valid value")

    @classmethod
    def from_input(cls, data: Mapping[str, object]) -> Self:
        """A payload from a web form or a JSON body.

        Dates are ISO text, sequences are lists, integers are numbers or decimal text. A member that has a default and
        is given as None or as empty text, as forms send fields left blank, counts as absent.

        Raises:
            InvalidHandoffInputError: The data does not make a valid payload. The message names the members, not their
                values.

        >>> BookingHandoff.from_input(
        ...     {"property_id": "htl_0042", "check_in": "2026-12-24", "check_out": "2026-12-27", "adults": "2"}
        ... ).adults
        2
        """
        if not isinstance(data, Mapping):
            raise InvalidHandoffInputError(f"the input must be a mapping, not {type(data).__name__}")
        values: dict[str, object] = {}
        for name, value in data.items():
            field = cls.model_fields.get(name) if isinstance(name, str) else None
            if field is None:
                raise InvalidHandoffInputError(f"the input has a member that {cls.__name__} does not have")
            if (value is None or value == "") and not field.is_required():
                continue
            values[name] = _as_json(value, name, cls._kinds[name])
        problems = ""
        try:
            payload: Self = cls.__pydantic_validator__.validate_json(json.dumps(values))
        except ValidationError as exc:
            problems = _describe(exc)
        else:
            return payload
        # Raised out here: inside, the ValidationError would travel along as __context__, with the input in it.
        raise InvalidHandoffInputError(f"not a valid {cls.__name__}: {problems}")


def _checked(
    schema: Any, handler: GetCoreSchemaHandler, owner: type, place: str, *, optional: bool = False
) -> tuple[_Kind, int]:
    """The kind of value at the bottom of a member's schema, and the JSON levels it adds. Bounds integers on the way."""
    kind = schema["type"]
    if "serialization" in schema:
        raise ConfigurationError(f"{place}: a payload has no serializers of its own")
    if kind == "definition-ref":
        return _checked(handler.resolve_ref_schema(schema), handler, owner, place)
    if kind in _WRAPPERS:
        # null never appears in a token, so None may only stand where it is left out: as a member's default.
        if kind == "nullable" and not optional:
            raise ConfigurationError(f"{place}: a member that may be None must have None as its default")
        if kind == "default":
            optional = schema.get("default", ...) is None
        return _checked(schema["schema"], handler, owner, place, optional=optional)
    if kind == "int":
        schema["ge"] = max(schema.get("ge", -MAX_INTEGER), -MAX_INTEGER)
        schema["le"] = min(schema.get("le", MAX_INTEGER), MAX_INTEGER)
        return kind, 0
    if kind in _SCALARS:
        if "now_op" in schema:
            raise ConfigurationError(
                f"{place}: a date may not depend on today; minter and verifier must agree tomorrow, too"
            )
        return kind, 0
    if kind in ("enum", "literal"):
        values = [member.value for member in schema["members"]] if kind == "enum" else schema["expected"]
        if not all(_is_constant(value) for value in values):
            raise ConfigurationError(f"{place}: the values of an enum or literal must be strings or integers")
        return kind, 0
    if kind == "tuple":
        items = [_checked(item, handler, owner, place) for item in schema["items_schema"]]
        leaf = items[0][0] if len(items) == 1 else kind
        return leaf, 1 + max((levels for _, levels in items), default=0)
    if kind == "model" and issubclass(schema["cls"], HandoffPayload):
        if schema["cls"] is owner:
            raise ConfigurationError(f"{place}: a payload is not recursive")
        return schema["cls"], schema["cls"]._depth
    raise ConfigurationError(f"{place}: a payload cannot hold a value of kind '{kind}'")


def _is_valid_default(field: FieldInfo) -> bool:
    try:
        TypeAdapter(field.rebuild_annotation()).validate_python(field.default, strict=True)
    except ValidationError:
        return False
    return True


def _is_constant(value: object) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= MAX_INTEGER
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def _as_json(value: object, name: str, kind: _Kind, depth: int = 1) -> object:
    """A member's value from outside as JSON has it; `kind` is what its type wants at the bottom."""
    if depth > MAX_PAYLOAD_DEPTH:
        raise InvalidHandoffInputError(f"{name}: nested too deep")
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, str):
        if kind == "date" and not _ISO_DATE.fullmatch(
            value
        ):  # pydantic would take Unix seconds in text for a date, too
            raise InvalidHandoffInputError(f"{name}: a date is written YYYY-MM-DD")
        return int(value) if kind == "int" and _DECIMAL.fullmatch(value) else value
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise InvalidHandoffInputError(f"{name}: an integer must lie within ±(2^53-1)")
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return [_as_json(item, name, kind, depth + 1) for item in value]
    if isinstance(value, HandoffPayload):
        return json.loads(_serialized(value))
    if isinstance(value, Mapping) and not isinstance(kind, str):
        kinds: Mapping[str, _Kind] = kind._kinds
        return {str(key): _as_json(item, name, kinds.get(key, ""), depth + 1) for key, item in value.items()}
    raise InvalidHandoffInputError(f"{name}: a value of type {type(value).__name__} is not taken")


def _describe(exc: ValidationError) -> str:
    """The members that are wrong and why, without what was given for them."""
    found: list[str] = []
    for error in exc.errors(include_url=False, include_context=False, include_input=False):
        # A text location below a known member would be a name from the input: leave such names out.
        place = str(error["loc"][0]) if error["loc"] and error["type"] != "extra_forbidden" else ""
        found.append(f"{place}: {error['msg']}" if place else error["msg"])
    return "; ".join(found)


def _serialized(payload: HandoffPayload) -> bytes:
    return payload.__pydantic_serializer__.to_json(payload, exclude_defaults=True, warnings=False)


_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload)


def payload_decoder(payload_type: type[_PayloadT]) -> Callable[[bytes], _PayloadT | None]:
    """A function from payload bytes to a value, or to None where they are not the one spelling of a valid one."""
    validate = payload_type.__pydantic_validator__.validate_json
    serialize = payload_type.__pydantic_serializer__.to_json

    def decode(data: bytes) -> _PayloadT | None:
        if len(data) > MAX_PAYLOAD_BYTES:
            return None
        try:
            payload: _PayloadT = validate(data)
        except ValidationError:
            return None
        # One spelling: what the model writes again must be what was signed. This refuses duplicate members, members at
        # their default, null, 1.0 for 1, needless escapes, white space, and any other order.
        return payload if serialize(payload, exclude_defaults=True) == data else None

    return decode


def encode_payload(payload: _PayloadT) -> tuple[_PayloadT, bytes]:
    """A payload, validated anew, and its canonical bytes.

    Validated anew because `model_construct` and `model_copy` make instances that nobody has checked. What comes out is
    what a verifier of the same class will decode.

    Raises:
        InvalidHandoffInputError: Not a valid payload, or longer than 2048 bytes.
    """
    if not isinstance(payload, HandoffPayload):
        raise InvalidHandoffInputError(f"the payload must be a HandoffPayload, not {type(payload).__name__}")
    payload_type = type(payload)
    problem = ""
    try:
        data = _serialized(payload)
        checked = payload_type.__pydantic_validator__.validate_json(data)
        canonical = checked.__pydantic_serializer__.to_json(checked, exclude_defaults=True)
    except ValidationError as exc:
        problem = _describe(exc)
    except (ValueError, TypeError):
        problem = "a member holds what JSON cannot carry"
    else:
        if checked.__dict__ != payload.__dict__:
            problem = "a member has not the type that its class gives it, or a validator changed it"
        elif len(canonical) > MAX_PAYLOAD_BYTES:
            problem = f"{len(canonical)} bytes as JSON; at most {MAX_PAYLOAD_BYTES} are allowed"
        elif canonical == data or payload_decoder(payload_type)(canonical) is not None:
            return checked, canonical
        else:
            problem = "its own validators do not accept what they made of it"
    raise InvalidHandoffInputError(f"not a valid {payload_type.__name__}: {problem}")


_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,64}$")]


class BookingHandoff(HandoffPayload):
    """What a guest chose, in the words of the booking site. The default payload.

    It has no place for a name, an e-mail address or a session id: a URL ends up in logs and histories, and the issuer
    can join by the handoff id.

    Attributes:
        property_id: 1 to 64 characters of ``A-Z a-z 0-9 . _ : / -``.
        check_in: The first night.
        check_out: The day of departure: after `check_in`, at most 366 days after it.
        adults: 1 to 30.
        room_type_id: As `property_id`, or None.
        rate_plan_id: As `property_id`, or None.
        children_ages: At most 10 ages in years, each 0 to 17.
        currency: Three letters A-Z (ISO 4217), or None. Given if and only if `quoted_total_minor` is.
        quoted_total_minor: The price that the guest saw, in minor units of `currency`, 0 to 2^53-1, or None.
        locale: A language tag such as ``de`` or ``ar-EG``, at most 35 characters, case kept, or None.

    >>> BookingHandoff(
    ...     property_id="htl_0042", check_in=date(2026, 12, 24), check_out=date(2026, 12, 27), adults=2
    ... ).adults
    2
    """

    property_id: _Id
    check_in: date
    check_out: date
    adults: Annotated[int, Field(ge=1, le=30)]
    room_type_id: _Id | None = None
    rate_plan_id: _Id | None = None
    children_ages: Annotated[tuple[Annotated[int, Field(ge=0, le=17)], ...], Field(max_length=10)] = ()
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    quoted_total_minor: Annotated[int, Field(ge=0)] | None = None
    locale: Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] | None = None

    @model_validator(mode="after")
    def _stay_and_quote_make_sense(self) -> Self:
        if not 0 < (self.check_out - self.check_in).days <= 366:
            raise ValueError("check_out must be after check_in, by at most 366 nights")
        if (self.currency is None) != (self.quoted_total_minor is None):
            raise ValueError("currency and quoted_total_minor are given both or neither")
        return self
