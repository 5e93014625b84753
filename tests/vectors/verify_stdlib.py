"""Check test vectors of the handoff token and of the consume call, version 1, with the standard library alone.

Written from docs/spec/v1.md and docs/spec/consume-v1.md and nothing else; it shares no code with the library or with verify.mjs. What passes
through here: vector files go in as arguments; the token of each is judged from scratch, with the keys, configuration
and clock reading of its file, and the result is compared with what the file expects. Out comes one line a file.
Vectors hold secrets and whole tokens: the only thing from a file that is ever printed is a known refusal code.
"""

import base64
import hashlib
import hmac
import json
import math
import re
import sys
from datetime import date
from pathlib import Path
from types import NoneType
from typing import Any

CODES = {
    "malformed",
    "unknown_key",
    "revoked_key",
    "retired_key",
    "invalid_mac",
    "wrong_issuer",
    "wrong_audience",
    "wrong_tenant",
    "lifetime_too_long",
    "not_yet_valid",
    "expired",
    "invalid_payload",
}
MAX_TOKEN_CHARACTERS = 4096
MAX_SECONDS = 253402300799
MAX_INTEGER = 2**53 - 1
MAX_PAYLOAD_BYTES = 2048
MAX_DEPTH = 8

# Used with fullmatch: `$` would let a final LF through. No `\d` or `\w`: they admit more than the grammar names.
TOKEN = re.compile(r"ghasi1\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{43})", re.ASCII)
KID = re.compile(r"[A-Za-z0-9_-]{1,32}", re.ASCII)
NAME = re.compile(r"[A-Za-z0-9._:/-]{1,64}", re.ASCII)
HANDOFF_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII)
SECONDS = re.compile(r"0|[1-9][0-9]{0,11}", re.ASCII)
DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})", re.ASCII)
CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
LOCALE = re.compile(r"[A-Za-z]{2,8}(?:-[A-Za-z0-9]{1,8})*", re.ASCII)
SECRET_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}){32,}", re.ASCII)

# Used with match, at a position of the payload: what follows the match is checked by whoever reads on.
MEMBER_NAME = re.compile(r'"([a-z][a-z0-9_]*)":', re.ASCII)
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,15}", re.ASCII)
# Only the escapes that the canonical form demands: no `\/`, no `\u0041`, no `\u000a`, no `\u001F`, no `\ud800`.
STRING = re.compile(r'"((?:[^"\\\x00-\x1f]|\\["\\btnfr]|\\u00(?:0[0-7bef]|1[0-9a-f]))*)"', re.ASCII)
ESCAPE = re.compile(r'\\(?:u([0-9a-f]{4})|(["\\btnfr]))', re.ASCII)
SHORT_ESCAPES = {'"': '"', "\\": "\\", "b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}

# The members of a vector file and their exact types; an empty tuple admits any value. The token and what the caller
# says of the tenant are input to judge, so a value of a wrong type there is a scenario and no mistake in the file.
SCENARIO: dict[str, tuple[type, ...]] = {
    "description": (str,),
    "keys": (list,),
    "issuer": (str,),
    "audience": (str,),
    "leeway": (int,),
    "max_lifetime": (int,),
    "tenant": (),
    "now": (int, float),
    "token": (),
    "expect": (str,),
}
RESULT: dict[str, tuple[type, ...]] = {
    "signing_string": (str,),
    "handoff_id": (str,),
    "issued_at": (int,),
    "expires_at": (int,),
    "payload": (dict,),
}
KEY: dict[str, tuple[type, ...]] = {
    "kid": (str,),
    "secret_hex": (str,),
    "sign_from": (int,),
    "verify_until": (int, NoneType),
    "revoked_at": (int, NoneType),
}


CONSUME_CODES = {
    401: {"unauthenticated_call"},
    404: {"unknown_handoff"},
    409: {"replayed"},
    410: {"revoked_handoff", "expired"},
}
AUTHORIZATION = re.compile(r"GHASI-CONSUME kid=([A-Za-z0-9_-]{1,32}), mac=([A-Za-z0-9_-]{43})", re.ASCII)
REDEMPTION_ID = re.compile(r"[0-9a-f]{64}", re.ASCII)
CONSUME_SCENARIO: dict[str, tuple[type, ...]] = {
    "description": (str,),
    "keys": (list,),
    "now": (int, float),
    "path_id": (str,),
    "authorization": (list,),
    "body": (str,),
    "row": (dict, NoneType),
    "expect": (dict,),
    "row_after": (dict, NoneType),
}
ROW: dict[str, tuple[type, ...]] = {
    "issuer": (str,),
    "audience": (str,),
    "expires_at": (int,),
    "state": (str,),
    "redemption_id": (str, NoneType),
    "consumed_at": (int, NoneType),
}
CALL: dict[str, re.Pattern[str] | None] = {  # None: seconds
    "audience": NAME,
    "consumed_at": None,
    "handoff_id": HANDOFF_ID,
    "issuer": NAME,
    "redemption_id": REDEMPTION_ID,
    "sent_at": None,
}


class RefusedError(Exception):
    """The token is refused; the argument is the code."""


class BadVectorError(Exception):
    """The vector file is not well-formed; the argument says why, without repeating what the file holds."""


# --- the payload ---


class CanonicalReader:
    """Reads the one canonical spelling of a payload and nothing else: no second check of the spelling is needed."""

    def __init__(self, text: str) -> None:
        """Start at the first character. A byte order mark is a character like any other, and no `{`."""
        self.text = text
        self.position = 0

    def document(self) -> dict[str, object]:
        """The whole text as one object. Anything before or after it, white space too, is refused."""
        require(self.take("{"))
        result = self.members(1)
        require(self.position == len(self.text))
        return result

    def take(self, literal: str) -> bool:
        """Step over the literal if it stands here. White space is never skipped: the canonical form has none."""
        found = self.text.startswith(literal, self.position)
        self.position += len(literal) if found else 0
        return found

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Step over the pattern if it matches here."""
        found = pattern.match(self.text, self.position)
        self.position = found.end() if found else self.position
        return found

    def value(self, depth: int) -> object:
        """One value inside a container of this depth."""
        if self.take("{"):
            return self.members(depth + 1)
        if self.take("["):
            return self.elements(depth + 1)
        if self.take("true"):
            return True
        if self.take("false"):
            return False
        if (found := self.match(STRING)) is not None:
            return ESCAPE.sub(unescape, found[1])
        # After the digit of `1.0`, `1e2` or `01`, the container finds neither comma nor end. `-0` does not match.
        found = self.match(INTEGER)
        if found is None or abs(int(found[0])) > MAX_INTEGER:
            raise RefusedError("invalid_payload")
        return int(found[0])

    def members(self, depth: int) -> dict[str, object]:
        """The rest of an object. The depth limit also keeps hostile nesting from exhausting Python's stack."""
        require(depth <= MAX_DEPTH)
        result: dict[str, object] = {}
        previous = ""
        if self.take("}"):
            return result
        while True:
            found = self.match(MEMBER_NAME)
            # Strictly ascending, so none occurs twice. Names are ASCII: their order by characters is that by bytes.
            if found is None or found[1] <= previous:
                raise RefusedError("invalid_payload")
            previous = found[1]
            result[previous] = self.value(depth)
            if self.take("}"):
                return result
            require(self.take(","))

    def elements(self, depth: int) -> list[object]:
        """The rest of an array."""
        require(depth <= MAX_DEPTH)
        result: list[object] = []
        if self.take("]"):
            return result
        while True:
            result.append(self.value(depth))
            if self.take("]"):
                return result
            require(self.take(","))


def require(condition: bool) -> None:
    """Refuse the payload unless the condition holds."""
    if not condition:
        raise RefusedError("invalid_payload")


def unescape(found: re.Match[str]) -> str:
    """The character that an escape stands for. STRING has let only the canonical escapes through."""
    return SHORT_ESCAPES[found[2]] if found[1] is None else chr(int(found[1], 16))


def read_payload(raw: bytes) -> dict[str, object]:
    """Step 7: size, UTF-8, canonical form, then the profile."""
    require(len(raw) <= MAX_PAYLOAD_BYTES)
    try:
        text = raw.decode("utf-8", "strict")  # strict refuses overlong forms and encoded surrogates too
    except UnicodeDecodeError:
        raise RefusedError("invalid_payload") from None
    payload = CanonicalReader(text).document()
    check_booking_profile(payload)
    return payload


def is_integer(value: object, lowest: int, highest: int) -> bool:
    """Exactly int: in Python a bool is an int as well, but `true` is no integer."""
    return type(value) is int and lowest <= value <= highest


def is_text(value: object, pattern: re.Pattern[str]) -> bool:
    """A string that matches the pattern from end to end."""
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def to_date(value: object) -> date:
    """The day that the value names. Python's date is the proleptic Gregorian calendar, years 1 to 9999."""
    found = DATE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise RefusedError("invalid_payload")
    try:
        return date(int(found[1]), int(found[2]), int(found[3]))
    except ValueError:
        raise RefusedError("invalid_payload") from None


def check_booking_profile(payload: dict[str, object]) -> None:
    """The booking profile: no member missing, none unknown, each with its own rule."""
    required = {"adults", "check_in", "check_out", "property_id"}
    optional = {"children_ages", "currency", "locale", "quoted_total_minor", "rate_plan_id", "room_type_id"}
    require(required <= payload.keys() <= required | optional)
    require(is_integer(payload["adults"], 1, 30))
    require(1 <= (to_date(payload["check_out"]) - to_date(payload["check_in"])).days <= 366)
    if "children_ages" in payload:
        ages = payload["children_ages"]
        # The default, an empty array, is written by leaving the member out: one handoff has one spelling.
        require(isinstance(ages, list) and 1 <= len(ages) <= 10 and all(is_integer(age, 0, 17) for age in ages))
    require(("currency" in payload) == ("quoted_total_minor" in payload))
    if "currency" in payload:
        require(is_text(payload["currency"], CURRENCY))
        require(is_integer(payload["quoted_total_minor"], 0, MAX_INTEGER))
    if "locale" in payload:
        require(is_text(payload["locale"], LOCALE) and len(str(payload["locale"])) <= 35)
    for member in ("property_id", "rate_plan_id", "room_type_id"):
        require(member not in payload or is_text(payload[member], NAME))


# --- the token ---


def encode(raw: bytes) -> str:
    """b64u of the spec."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


def decode_body(text: str) -> bytes:
    """The body. Without the way back, unused low bits would give one handoff several accepted token texts."""
    if len(text) % 4 == 1:
        raise RefusedError("malformed")
    body = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if encode(body) != text:
        raise RefusedError("malformed")
    return body


def split_body(body: bytes) -> tuple[str, str, str, str, int, int, bytes]:
    """Step 4: the six lines and the payload. Only the first six LFs end a line; the payload may hold any byte."""
    parts = body.split(b"\n", 6)
    if len(parts) != 7:
        raise RefusedError("malformed")
    # Latin-1 never fails and maps each byte to one character, so a pattern judges the bytes themselves.
    lines = [part.decode("latin-1") for part in parts[:6]]
    for line, pattern in zip(lines, (NAME, NAME, NAME, HANDOFF_ID, SECONDS, SECONDS), strict=True):
        if pattern.fullmatch(line) is None:
            raise RefusedError("malformed")
    issuer, audience, tenant, handoff_id = lines[:4]
    issued_at, expires_at = int(lines[4]), int(lines[5])
    if issued_at > MAX_SECONDS or expires_at > MAX_SECONDS:
        raise RefusedError("malformed")
    if int(handoff_id.replace("-", "")[:12], 16) // 1000 != issued_at:
        raise RefusedError("malformed")
    return issuer, audience, tenant, handoff_id, issued_at, expires_at, parts[6]


def judge(vector: dict[str, Any]) -> dict[str, object]:
    """The verification, in the order of the spec. Returns what goes with `accepted`, or raises RefusedError."""
    now, leeway, token = math.floor(vector["now"]), vector["leeway"], vector["token"]
    # Step 1. Any JSON value can stand where the token is expected, and a string can hold lone surrogates.
    if not isinstance(token, str) or len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
        raise RefusedError("malformed")
    parts = TOKEN.fullmatch(token)
    if parts is None:
        raise RefusedError("malformed")
    kid, mac_text = parts[1], parts[3]
    body = decode_body(parts[2])
    # Step 2. revoked_at counts whatever the clock says, so a clock set back does not revive the key.
    key = next((key for key in vector["keys"] if key["kid"] == kid), None)
    if key is None:
        raise RefusedError("unknown_key")
    if key["revoked_at"] is not None:
        raise RefusedError("revoked_key")
    if key["verify_until"] is not None and now >= key["verify_until"]:
        raise RefusedError("retired_key")
    # Step 3. Texts are compared, not bytes: unused low bits of the last character are not ignored.
    signing_string = b"ghasi-handoff/v1\nHMAC-SHA256\n" + kid.encode("ascii") + b"\n" + body
    mac = hmac.new(bytes.fromhex(key["secret_hex"]), signing_string, hashlib.sha256).digest()
    if not hmac.compare_digest(encode(mac), mac_text):
        raise RefusedError("invalid_mac")
    issuer, audience, tenant, handoff_id, issued_at, expires_at, payload = split_body(body)
    # Step 5. The token's side is ASCII, so equal text is equal bytes. What is no string equals no tenant.
    if issuer != vector["issuer"]:
        raise RefusedError("wrong_issuer")
    if audience != vector["audience"]:
        raise RefusedError("wrong_audience")
    if tenant != vector["tenant"]:
        raise RefusedError("wrong_tenant")
    # Step 6
    if expires_at <= issued_at:
        raise RefusedError("malformed")
    if expires_at - issued_at > vector["max_lifetime"]:
        raise RefusedError("lifetime_too_long")
    if issued_at > now + leeway:
        raise RefusedError("not_yet_valid")
    if now >= expires_at + leeway:
        raise RefusedError("expired")
    members = read_payload(payload)
    # The payload was valid UTF-8 and the lines before it are ASCII, so this decoding cannot fail.
    text = signing_string.decode("utf-8")
    result = {"signing_string": text, "handoff_id": handoff_id, "issued_at": issued_at, "expires_at": expires_at}
    return {**result, "payload": members}


# --- the consume call ---


def read_call(body: str) -> dict[str, Any] | None:
    """The six members, if the body is their canonical spelling. Parsed and written again: one spelling is left."""
    if len(body.encode("utf-8", "surrogatepass")) > 1024:
        return None
    try:
        call = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(call, dict) or call.keys() != CALL.keys():
        return None
    for name, pattern in CALL.items():
        good = is_integer(call[name], 0, MAX_SECONDS) if pattern is None else is_text(call[name], pattern)
        if not good:
            return None
    canonical = json.dumps(call, sort_keys=True, separators=(",", ":"))
    return call if canonical == body else None


def authenticate(vector: dict[str, Any]) -> tuple[dict[str, Any], str] | None:
    """Steps 1 to 4: the call and its signing string, or None."""
    now, values = math.floor(vector["now"]), vector["authorization"]
    parts = AUTHORIZATION.fullmatch(values[0]) if len(values) == 1 else None
    call = read_call(vector["body"])
    if parts is None or call is None:
        return None
    key = next((key for key in vector["keys"] if key["kid"] == parts[1]), None)
    if key is None or key["revoked_at"] is not None:
        return None
    if key["verify_until"] is not None and now >= key["verify_until"]:
        return None
    names = ("issuer", "audience", "handoff_id", "redemption_id", "consumed_at", "sent_at")
    text = "\n".join(["ghasi-consume/v1", "HMAC-SHA256", parts[1], *(str(call[name]) for name in names)])
    mac = hmac.new(bytes.fromhex(key["secret_hex"]), text.encode("ascii"), hashlib.sha256).digest()
    if not hmac.compare_digest(encode(mac), parts[2]):
        return None
    return (call, text) if now - 60 <= call["sent_at"] <= now + 60 else None


def answer(vector: dict[str, Any]) -> tuple[int, str | None, dict[str, Any] | None, str | None]:
    """What the issuer answers: status, code, the row afterwards, and the signing string of an authentic call."""
    row = vector["row"]
    authentic = authenticate(vector)
    if authentic is None:
        return 401, "unauthenticated_call", row, None
    call, text = authentic
    if vector["path_id"] != call["handoff_id"] or row is None:
        return 404, "unknown_handoff", row, text
    if row["issuer"] != call["issuer"] or row["audience"] != call["audience"]:
        return 404, "unknown_handoff", row, text
    if row["state"] == "consumed":
        same_one = row["redemption_id"] == call["redemption_id"]
        return (200, None, row, text) if same_one else (409, "replayed", row, text)
    if row["state"] == "revoked":
        return 410, "revoked_handoff", row, text
    if call["consumed_at"] >= row["expires_at"] + 60:
        return 410, "expired", row, text
    change = {"state": "consumed", "redemption_id": call["redemption_id"], "consumed_at": call["consumed_at"]}
    return 200, None, {**row, **change}, text


def check_row(row: dict[str, Any] | None) -> None:
    """A row that a handoff log can hold."""
    if row is None:
        return
    check_members(row, ROW, "a row")
    need(row["state"] in ("issued", "consumed", "revoked"), "a row has no known state")
    need(is_text(row["issuer"], NAME) and is_text(row["audience"], NAME), "a row's issuer or audience is no name")
    need(is_integer(row["expires_at"], 0, MAX_SECONDS), "a row's expires_at is out of range")
    who, when = row["redemption_id"], row["consumed_at"]
    if row["state"] == "consumed":
        need(is_text(who, REDEMPTION_ID), "a row's redemption_id does not fit its state")
        need(is_integer(when, 0, MAX_SECONDS), "a row's consumed_at does not fit its state")
    else:
        need(who is None and when is None, "a row is not consumed, but says by whom or when")


def consume_problem(vector: dict[str, Any]) -> str | None:
    """None if the call gets what the file expects, else a reason that gives away nothing of the file but codes."""
    check_members(
        vector,
        {**CONSUME_SCENARIO, "signing_string": ()} if "signing_string" in vector else CONSUME_SCENARIO,
        "the file",
    )
    expect = vector["expect"]
    check_members(expect, {"status": (int,), "code": (str, NoneType)}, "expect")
    status, code = expect["status"], expect["code"]
    need((status == 200 and code is None) or code in CONSUME_CODES.get(status, ()), "expect is no known answer")
    signed = {} if status == 401 else {"signing_string": (str,)}
    check_members(vector, {**CONSUME_SCENARIO, **signed}, "the file")
    need(vector["description"] != "", "the description is empty")
    need(type(vector["now"]) is int or math.isfinite(vector["now"]), "now is too large")
    need(all(type(value) is str for value in vector["authorization"]), "authorization holds no text")
    check_keys(vector["keys"])
    check_row(vector["row"])
    check_row(vector["row_after"])
    got = answer(vector)
    if got[:2] != (status, code):
        return f"expected {status} {code}, got {got[0]} {got[1]}"
    if not same(got[2], vector["row_after"]):
        return "answered as expected, but not with the expected row"
    return None if got[3] == vector.get("signing_string") else "answered as expected, but over another signing string"


# --- the vector files ---


def need(condition: bool, reason: str) -> None:
    """Refuse the vector file unless the condition holds."""
    if not condition:
        raise BadVectorError(reason)


def unique_members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A file with a member twice would mean different things to different readers."""
    result = dict(pairs)
    need(len(result) == len(pairs), "a member occurs twice")
    return result


def refuse_constant(_name: str) -> object:
    """NaN and Infinity are no JSON, though Python's json would read them."""
    raise BadVectorError("not JSON")


def check_members(value: object, types: dict[str, tuple[type, ...]], what: str) -> None:
    """An object with exactly these members, each of exactly its type: True is no int here."""
    if not isinstance(value, dict):
        raise BadVectorError(f"{what} is not an object")
    for name, allowed in types.items():
        need(name in value, f"{what} lacks {name}")
        need(not allowed or type(value[name]) in allowed, f"{what} has a {name} of a wrong type")
    need(value.keys() <= types.keys(), f"{what} has an unknown member, or one that does not go with its expect")


def check_keys(keys: list[Any]) -> None:
    """The ring. Keys of one ring must not share a kid or a secret, or the outcome would depend on their order."""
    for key in keys:
        check_members(key, KEY, "a key")
        need(KID.fullmatch(key["kid"]) is not None, "a kid does not match the grammar")
        need(SECRET_HEX.fullmatch(key["secret_hex"]) is not None, "a secret_hex is not hex of at least 32 bytes")
        dates = (key["sign_from"], key["verify_until"], key["revoked_at"])
        need(all(value is None or 0 <= value <= MAX_SECONDS for value in dates), "a key's date is out of range")
    need(len({key["kid"] for key in keys}) == len(keys), "two keys share a kid")
    need(len({key["secret_hex"].lower() for key in keys}) == len(keys), "two keys share a secret")


def read_json(raw: bytes) -> Any:
    """The one value of a JSON file."""
    try:
        # Decoded here, because json.loads would guess at UTF-16 if it were given bytes.
        text = raw.decode("utf-8", "strict")
        return json.loads(text, object_pairs_hook=unique_members, parse_constant=refuse_constant)
    except RecursionError:
        raise BadVectorError("nested too deep") from None
    except ValueError:  # bad UTF-8, bad JSON, or an integer of more digits than Python converts
        raise BadVectorError("not JSON in UTF-8") from None


def read_vector(vector: Any) -> dict[str, Any]:
    """The members of a well-formed vector of a token."""
    accepted = isinstance(vector, dict) and vector.get("expect") == "accepted"
    check_members(vector, {**SCENARIO, **RESULT} if accepted else SCENARIO, "the file")
    need(accepted or vector["expect"] in CODES, "expect is no known code")
    need(0 <= vector["leeway"] <= 60, "leeway is out of range")
    need(1 <= vector["max_lifetime"] <= 3600, "max_lifetime is out of range")
    need(type(vector["now"]) is int or math.isfinite(vector["now"]), "now is too large")  # 1e999 is read as infinity
    check_keys(vector["keys"])
    return dict(vector)


def same(got: object, expected: object) -> bool:
    """Equal in value and in type: Python's == alone says that 1 is True and 1.0.

    The recursion goes no deeper than `got` does, and the depth limit of the payload bounds that.
    """
    if isinstance(got, dict) and isinstance(expected, dict):
        return got.keys() == expected.keys() and all(same(got[name], expected[name]) for name in got)
    if isinstance(got, list) and isinstance(expected, list):
        return len(got) == len(expected) and all(map(same, got, expected))
    return type(got) is type(expected) and got == expected


def problem(path: Path) -> str | None:
    """None if the token gets what the file expects, else a reason that gives away nothing of the file but codes."""
    try:
        value = read_json(path.read_bytes())
        if isinstance(value, dict) and "authorization" in value:
            return consume_problem(value)
        vector = read_vector(value)
    except OSError:
        return "the file cannot be read"
    except BadVectorError as error:
        return f"not a well-formed vector: {error}"
    expect = vector["expect"]
    try:
        result = judge(vector)
    except RefusedError as refused:
        return None if str(refused) == expect else f"expected {expect}, got {refused}"
    if expect != "accepted":
        return f"expected {expect}, got accepted"
    differing = [name for name in RESULT if not same(result[name], vector[name])]
    return f"accepted as expected, but not with the expected {', '.join(differing)}" if differing else None


def main(arguments: list[str]) -> int:
    """Judge the files and return the exit status."""
    if not arguments:
        print("usage: verify_stdlib.py VECTOR.json ...", file=sys.stderr)
        return 2
    failed = 0
    for argument in arguments:
        path = Path(argument)
        # A file name may hold control characters or undecodable bytes: they must not forge a line or stop the run.
        name = path.name.encode("unicode_escape").decode("ascii")
        reason = problem(path)
        failed += reason is not None
        print(f"ok   {name}" if reason is None else f"FAIL {name}: {reason}")
    print(f"{len(arguments)} vectors: {len(arguments) - failed} ok, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
