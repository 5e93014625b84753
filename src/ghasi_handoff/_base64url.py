"""Bytes <-> base64url text without padding (RFC 4648, section 5). One spelling only."""

from __future__ import annotations

import binascii
import re
from typing import Any, Final, cast

from pydantic_core import SchemaValidator, core_schema

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_is_b64u: Final = re.compile("[A-Za-z0-9_-]*").fullmatch
# By length modulo 4: the last characters that leave no bit over but zeros. None: any; no text has the length 1 modulo
# 4.
_LAST_CHARACTERS: Final = (None, "", "AQgw", "AEIMQUYcgkosw048")
# pydantic-core's decoder takes a third of the time of binascii's. It is lenient; what may reach it is judged before.
_BASE64: Final = SchemaValidator(core_schema.bytes_schema(), {"val_json_bytes": "base64"})


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
