"""An independent implementation, to compare the library with. Standard library only; it never calls the code under test."""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import json
from collections.abc import Mapping
from datetime import date
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ghasi_handoff import HandoffError, HandoffPayload, InvalidTokenError

MAX_SECONDS: Final = 253402300799
MAX_INTEGER: Final = 2**53 - 1
MAX_LEEWAY: Final = 60
MAX_LIFETIME: Final = 3600
GRACE: Final = 60
HORIZON: Final = 3600 + 2 * 60 + 120

_VERIFY_STDLIB: Final = Path(__file__).resolve().parents[1] / "vectors" / "verify_stdlib.py"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("verify_stdlib_of_the_vectors", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_second: Final = _load(_VERIFY_STDLIB)


def verdict(vector: Mapping[str, object]) -> tuple[str, dict[str, Any]]:
    """The second verifier's answer: a code and nothing, or "accepted" and the facts."""
    try:
        return "accepted", _second.judge(dict(vector))
    except _second.RefusedError as refused:
        return str(refused), {}


def is_canonical(data: bytes) -> bool:
    """Whether the second verifier's reader takes `data` as a canonical payload, of whatever profile."""
    try:
        _second.require(len(data) <= 2048)
        _second.CanonicalReader(data.decode("utf-8")).document()
    except (UnicodeDecodeError, _second.RefusedError):
        return False
    return True


def b64u(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def mac(secret: bytes, signing_string: bytes) -> bytes:
    """HMAC-SHA256, all 32 bytes."""
    return hmac.new(secret, signing_string, hashlib.sha256).digest()


def signing_string(kid: str, body: bytes) -> bytes:
    """The bytes that the MAC of a token covers."""
    return b"ghasi-handoff/v1\nHMAC-SHA256\n" + kid.encode("ascii") + b"\n" + body


def signed(kid: str, secret: bytes, body: bytes) -> str:
    """A token of any body at all, with a valid MAC."""
    return f"ghasi1.{kid}.{b64u(body)}.{b64u(mac(secret, signing_string(kid, body)))}"


def body_of(token: str) -> bytes:
    """The body of a minted token."""
    text = token.split(".")[2]
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def payload_of(token: str) -> bytes:
    """The payload's bytes in a minted token."""
    return body_of(token).split(b"\n", 6)[6]


def handoff_id(milliseconds: int, free_bits: int) -> str:
    """A UUIDv7 of this time; `free_bits` are its 74 free bits."""
    value = milliseconds << 80 | 7 << 76 | free_bits >> 62 << 64 | 2 << 62 | free_bits & (2**62 - 1)
    text = f"{value:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def json_value(payload: HandoffPayload) -> dict[str, object]:
    """The JSON object that a payload stands for: members at their default are absent."""
    defaults = {name: field.default for name, field in type(payload).model_fields.items() if not field.is_required()}
    members = {name: getattr(payload, name) for name in type(payload).model_fields}
    return {name: _plain(value) for name, value in members.items() if name not in defaults or value != defaults[name]}


def canonical_json(value: object) -> bytes:
    """RFC 8785 for what a payload may hold: for ASCII names and integers, sorted and unescaped is enough."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _plain(value: object) -> object:
    if isinstance(value, HandoffPayload):
        return json_value(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, date) else value


def _below(error: type[HandoffError]) -> set[type[HandoffError]]:
    return {error}.union(*map(_below, error.__subclasses__()))


# The leaves: the classes with a code of their own, the two inner nodes apart.
LEAVES: Final = frozenset(
    error for error in _below(HandoffError) if "code" in vars(error) and error not in (HandoffError, InvalidTokenError)
)
TOKEN_LEAVES: Final = frozenset(error for error in LEAVES if issubclass(error, InvalidTokenError))
