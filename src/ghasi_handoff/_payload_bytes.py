"""Payload <-> canonical bytes: what mint signs, and what verify accepts. One spelling."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError
from typing_extensions import TypeVar

from ghasi_handoff._limits import MAX_PAYLOAD_BYTES
from ghasi_handoff._payload_class import HandoffPayload, described, serialized
from ghasi_handoff.errors import InvalidHandoffInputError

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
    """A payload and its canonical bytes, as a verifier of the same class will decode them.

    Validated anew: `model_construct` and `model_copy` make instances that nobody has checked.
    """
    if not isinstance(payload, HandoffPayload):
        raise InvalidHandoffInputError(f"the payload must be a HandoffPayload, not {type(payload).__name__}")
    payload_type = type(payload)
    problem = ""
    try:
        data = serialized(payload)
        checked = payload_type.__pydantic_validator__.validate_json(data)
        canonical = checked.__pydantic_serializer__.to_json(checked, exclude_defaults=True)
    except ValidationError as exc:
        problem = described(exc)
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
