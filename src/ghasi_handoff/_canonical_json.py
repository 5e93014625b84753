"""Payload bytes -> whether they are canonical JSON (RFC 8785, narrowed as docs/spec/v1.md says)."""

from __future__ import annotations

import json
import re
from typing import Final, NoReturn

from ghasi_handoff._limits import MAX_INTEGER, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH

_MEMBER_NAME: Final = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
# One without an end reaches to the end of the text.
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)


def is_canonical_payload(data: bytes) -> bool:
    """Whether `data` is a JSON object in the narrowed RFC 8785 form of the specification, "Payload"."""
    if len(data) > MAX_PAYLOAD_BYTES or not data.startswith(b"{"):
        return False
    outside_strings = _STRING.sub(b"", data)
    # Before the parser, so that no nesting can exhaust its stack.
    if b"null" in outside_strings or _depth(outside_strings) > MAX_PAYLOAD_DEPTH:
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
    return canonical == data


def _depth(outside_strings: bytes) -> int:
    deepest = depth = 0
    for byte in outside_strings:
        if byte in b"{[":
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
