"""Bytes <-> text, values <-> bytes: strict base64url (RFC 4648, section 5), JCS (RFC 8785), whole Unix seconds."""

from __future__ import annotations

import binascii
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn, cast

from pydantic_core import SchemaValidator, core_schema

from ghasi_handoff.errors import ConfigurationError, HandoffError

MAX_PAYLOAD_BYTES: Final = 2048
MAX_PAYLOAD_DEPTH: Final = 8
MAX_INTEGER: Final = 2**53 - 1
MAX_SECONDS: Final = 253402300799  # 9999-12-31T23:59:59Z

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_is_b64u: Final = re.compile("[A-Za-z0-9_-]*").fullmatch
# By length modulo 4: the last characters that leave no bit over but zeros. None: any; no text has the length 1 modulo
# 4.
_LAST_CHARACTERS: Final = (None, "", "AQgw", "AEIMQUYcgkosw048")
# pydantic-core's decoder takes a third of the time of binascii's. It is lenient; what may reach it is judged before.
_BASE64: Final = SchemaValidator(core_schema.bytes_schema(), {"val_json_bytes": "base64"})
_MEMBER_NAME: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


def b64u_encode(data: bytes) -> str:
    """Bytes to base64url text without padding."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode("ascii")


def b64u_decode(text: str) -> bytes | None:
    """Base64url text to bytes, or None where the text is not what `b64u_encode` would write for them."""
    return decode_b64u_characters(text) if _is_b64u(text) else None


def decode_b64u_characters(text: str) -> bytes | None:
    """As `b64u_decode`, of a text that is known to have no character outside the alphabet."""
    # Canonical only: else one MAC has several spellings. Four characters of the alphabet are three bytes, one to one;
    # only the last two or three characters can hold bits that no byte takes up.
    last_characters = _LAST_CHARACTERS[len(text) % 4]
    if last_characters is not None and text[-1] not in last_characters:
        return None
    # Its annotation names dicts of text only; text itself is what its documentation and ours mean.
    data: bytes = _BASE64.validate_strings(cast("Any", text))
    return data


def is_canonical_payload(data: bytes) -> bool:
    """Whether `data` is a JSON object in the narrowed RFC 8785 form of the specification, "Payload"."""
    if len(data) > MAX_PAYLOAD_BYTES or not data.startswith(b"{"):
        return False
    if _depth(data) > MAX_PAYLOAD_DEPTH:  # before the parser, so that no nesting can exhaust its stack
        return False
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_unique_members,
            parse_int=_bounded_integer,
            parse_float=_refuse,
            parse_constant=_refuse,
        )
        # Python writes the short escapes, the lower-case \\u00xx and everything else raw, as RFC 8785 3.2.2.2 does;
        # names are ASCII, so sorting by code point and by UTF-16 unit agree.
        canonical = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")
    except ValueError:  # not UTF-8, not JSON, refused by a hook below, or a lone surrogate that UTF-8 can't carry
        return False
    return canonical == data and not _holds_null(value)


def _depth(data: bytes) -> int:
    deepest = depth = 0
    in_string = escaped = False
    for byte in data:
        if in_string:
            if escaped:
                escaped = False
            elif byte == 0x5C:
                escaped = True
            elif byte == 0x22:
                in_string = False
        elif byte == 0x22:
            in_string = True
        elif byte in b"{[":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"}]":
            depth -= 1
    return deepest


def _unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    # Two parsers, two meanings: one takes the first of two equal names, another the last.
    if len(members) != len(pairs) or not all(_MEMBER_NAME.fullmatch(name) for name in members):
        raise ValueError("a member name is repeated or outside the grammar")
    return members


def _bounded_integer(text: str) -> int:
    value = int(text) if len(text) <= 17 else MAX_INTEGER + 1
    if abs(value) > MAX_INTEGER:
        raise ValueError("an integer is outside ±(2^53-1)")
    return value


def _refuse(text: str) -> NoReturn:
    raise ValueError("a number is not an integer")


def _holds_null(value: object) -> bool:
    if isinstance(value, dict):
        return any(_holds_null(item) for item in value.values())
    if isinstance(value, list):
        return any(_holds_null(item) for item in value)
    return value is None


def read_clock(clock: Callable[[], float]) -> float:
    """One reading of `clock`, in Unix seconds with their fraction. Floor it before comparing.

    Raises:
        ConfigurationError: The reading is not a finite number between 1970 and 9999.
    """
    reading = clock()
    # The comparison is false for NaN too. bool is an int; a clock that says True is no clock.
    if type(reading) not in (float, int) or not 0 <= reading <= MAX_SECONDS:
        raise ConfigurationError("the clock must return Unix seconds: a finite number between 1970 and 9999")
    return reading


def to_seconds(moment: datetime, *, name: str, error: type[HandoffError]) -> int:
    """An aware datetime to Unix seconds, floored.

    Raises:
        error: `moment` is not a datetime, is naive, or lies outside 1970 to 9999.
    """
    if not isinstance(moment, datetime):
        raise error(f"{name} must be a datetime, not {type(moment).__name__}")
    if moment.utcoffset() is None:
        raise error(f"{name} must be an aware datetime: say which time zone it is in, for example datetime.now(UTC)")
    seconds = (moment - _EPOCH) // _SECOND
    if not 0 <= seconds <= MAX_SECONDS:
        raise error(f"{name} must lie between 1970 and 9999")
    return seconds


def from_seconds(seconds: int) -> datetime:
    """Unix seconds to an aware datetime in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def whole_seconds(duration: timedelta, *, name: str, least: int, most: int, error: type[HandoffError]) -> int:
    """A timedelta to seconds.

    Raises:
        error: `duration` is not a timedelta, not of whole seconds, or outside `least` to `most` seconds.
    """
    if not isinstance(duration, timedelta):
        raise error(f"{name} must be a timedelta, not {type(duration).__name__}")
    seconds, rest = divmod(duration, _SECOND)
    if rest:
        raise error(f"{name} must be a whole number of seconds")
    if not least <= seconds <= most:
        raise error(f"{name} must be from {least} to {most} seconds, not {seconds}")
    return seconds
