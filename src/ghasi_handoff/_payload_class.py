"""The class of payloads, and what its members may be. `HandoffPayload`: checked when a subclass is made."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any, ClassVar, Final, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema
from typing_extensions import override

from ghasi_handoff._limits import MAX_INTEGER, MAX_PAYLOAD_DEPTH
from ghasi_handoff.errors import ConfigurationError, InvalidHandoffInputError

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
    __payload_kinds__: ClassVar[Mapping[str, _Kind]] = {}
    __payload_depth__: ClassVar[int] = 1

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
            raise ConfigurationError(f"{cls.__name__}: nested {depth} deep; at most {MAX_PAYLOAD_DEPTH} are allowed")
        # The validator fills an instance in the order of its schema, and the serializer writes it in that order:
        # sorted by name here, it is the member order of RFC 8785 there.
        node["fields"] = dict(sorted(node["fields"].items()))
        cls.__payload_kinds__ = kinds
        cls.__payload_depth__ = depth
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
            raise ConfigurationError(f"{cls.__name__}: a type is not defined yet, or the payload is recursive")
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

        >>> from ghasi_handoff import BookingHandoff
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
            values[name] = _as_json(value, name, cls.__payload_kinds__[name])
        try:
            payload: Self = cls.__pydantic_validator__.validate_json(json.dumps(values))
        except ValidationError as exc:
            problems = described(exc)
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
            raise ConfigurationError(f"{place}: a date may not depend on today: the verifier may see it tomorrow")
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
        return schema["cls"], schema["cls"].__payload_depth__
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
        # pydantic would take Unix seconds in text for a date, too.
        if kind == "date" and not _ISO_DATE.fullmatch(value):
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
        return json.loads(serialized(value))
    if isinstance(value, Mapping) and not isinstance(kind, str):
        kinds: Mapping[str, _Kind] = kind.__payload_kinds__
        return {str(key): _as_json(item, name, kinds.get(key, ""), depth + 1) for key, item in value.items()}
    raise InvalidHandoffInputError(f"{name}: a value of type {type(value).__name__} is not taken")


def described(exc: ValidationError) -> str:
    """The members that are wrong and why, without what was given for them."""
    found: list[str] = []
    for error in exc.errors(include_url=False, include_context=False, include_input=False):
        # A text location below a known member would be a name from the input: leave such names out.
        place = str(error["loc"][0]) if error["loc"] and error["type"] != "extra_forbidden" else ""
        found.append(f"{place}: {error['msg']}" if place else error["msg"])
    return "; ".join(found)


def serialized(payload: HandoffPayload) -> bytes:
    """The payload as JSON, its members in order, without those at their default."""
    return payload.__pydantic_serializer__.to_json(payload, exclude_defaults=True, warnings=False)
