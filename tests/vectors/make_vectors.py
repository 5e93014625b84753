"""Write the test vectors of the handoff token, version 1: one scenario a file, in the format of docs/spec/v1.md.

    python3 -m tests.vectors.make_vectors

This program signs and never verifies. What a scenario expects is stated beside it, by hand, from the specification.
The scenarios stand in the order of the specification's verification steps. It needs nothing but the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypedDict, Unpack

from tests.vectors.usual_facts import AUDIENCE, EXPIRES, ISSUED, ISSUER, LAST_SECOND, LONGEST_NAME, b64u
from tests.vectors.vector_files import write_vectors

TENANT = "tn_aurora"
NOW = ISSUED + 30
B64U = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
ARABIC = str.maketrans("0123456789", "".join(chr(0x660 + n) for n in range(10)))
FULL_WIDTH = str.maketrans("0123456789", "".join(chr(0xFF10 + n) for n in range(10)))

Text = str | bytes


def raw(text: Text) -> bytes:
    return text.encode() if isinstance(text, str) else text


def random_looking(label: str, size: int = 32) -> bytes:
    """A secret that is no text, and the same at every run."""
    return hashlib.shake_256(f"ghasi-handoff test vectors, {label}".encode()).digest(size)


@dataclass(frozen=True)
class Key:
    kid: str
    secret: bytes
    sign_from: int = ISSUED - 86400
    verify_until: int | None = None
    revoked_at: int | None = None


def key(
    kid: str, *, sign_from: int = ISSUED - 86400, verify_until: int | None = None, revoked_at: int | None = None
) -> Key:
    return Key(kid, random_looking(kid), sign_from, verify_until, revoked_at)


def uuid7(seconds: int, ms: int = 346, *, version: str = "7", variant: str = "9") -> str:
    stamp = f"{seconds * 1000 + ms:012x}"
    return f"{stamp[:8]}-{stamp[8:]}-{version}d41-{variant}27b-90c3e8f5a6d2"


REQUIRED: Mapping[str, str] = {
    "adults": "2",
    "check_in": '"2026-12-24"',
    "check_out": '"2026-12-27"',
    "property_id": '"htl_0042"',
}
PRICE = {"currency": '"EUR"', "quoted_total_minor": "45900"}


def payload(**members: str | None) -> str:
    """The smallest booking, with these members as JSON text in the right order; None leaves a member out."""
    texts = {**REQUIRED, **members}
    return "{" + ",".join(f'"{name}":{text}' for name, text in sorted(texts.items()) if text is not None) + "}"


SMALLEST = payload()


@dataclass(frozen=True)
class Handoff:
    issuer: str = ISSUER
    audience: str = AUDIENCE
    tenant: str = TENANT
    handoff_id: str = ""
    issued_at: int = ISSUED
    lifetime: int = 300
    payload: Text = SMALLEST

    @property
    def id(self) -> str:
        return self.handoff_id or uuid7(self.issued_at)

    @property
    def expires_at(self) -> int:
        return self.issued_at + self.lifetime

    @property
    def lines(self) -> dict[str, Text]:
        return {
            "issuer": self.issuer,
            "audience": self.audience,
            "tenant": self.tenant,
            "handoff_id": self.id,
            "issued_at": str(self.issued_at),
            "expires_at": str(self.expires_at),
            "payload": self.payload,
        }

    @property
    def body(self) -> bytes:
        return b"\n".join(map(raw, self.lines.values()))


KEY = key("2026-11c")
PLAIN = Handoff()


def booking(**members: str | None) -> Handoff:
    return Handoff(payload=payload(**members))


def sized(remainder: int) -> Handoff:
    """A handoff whose body has a length of this remainder modulo 3."""
    sizes = (booking(property_id=f'"htl_{"7" * count}"') for count in (1, 2, 3))
    return next(handoff for handoff in sizes if len(handoff.body) % 3 == remainder)


def with_lines(handoff: Handoff = PLAIN, /, **lines: Text) -> bytes:
    """The body with these lines, whatever their bytes."""
    return b"\n".join(map(raw, {**handoff.lines, **lines}.values()))


def signing_string(kid: str, body: bytes) -> bytes:
    return b"ghasi-handoff/v1\nHMAC-SHA256\n" + kid.encode() + b"\n" + body


def mac(secret: bytes, text: bytes, digest: str = "sha256") -> bytes:
    return hmac.digest(secret, text, digest)


def signed(what: Handoff | bytes, by: Key = KEY) -> str:
    body = what.body if isinstance(what, Handoff) else what
    return f"ghasi1.{by.kid}.{b64u(body)}.{b64u(mac(by.secret, signing_string(by.kid, body)))}"


def with_suffix(remainder: int, suffix: str) -> str:
    """The good token of a body of this length modulo 3, with something after the body's text."""
    version, kid, body, mac_text = signed(sized(remainder)).split(".")
    return f"{version}.{kid}.{body}{suffix}.{mac_text}"


_, KID, BODY, MAC = signed(PLAIN).split(".")


def parts(version: str = "ghasi1", kid: str = KID, body: str = BODY, mac: str = MAC) -> str:
    """The plain token with some of its parts replaced."""
    return f"{version}.{kid}.{body}.{mac}"


class Verifier(TypedDict, total=False):
    keys: Sequence[Key]
    issuer: str
    audience: str
    leeway: int
    max_lifetime: int
    tenant: str
    now: float


@dataclass(frozen=True)
class Scenario:
    name: str
    members: dict[str, object]


def scenario(name: str, description: str, token: object, expect: str, verifier: Verifier) -> Scenario:
    keys: list[dict[str, object]] = []
    for each in verifier.get("keys", [KEY]):
        dates = asdict(each)
        keys.append({"kid": dates.pop("kid"), "secret_hex": dates.pop("secret").hex(), **dates})
    members: dict[str, object] = {
        "description": description,
        "keys": keys,
        "issuer": verifier.get("issuer", ISSUER),
        "audience": verifier.get("audience", AUDIENCE),
        "leeway": verifier.get("leeway", 10),
        "max_lifetime": verifier.get("max_lifetime", 600),
        "tenant": verifier.get("tenant", TENANT),
        "now": verifier.get("now", NOW),
        "token": token,
        "expect": expect,
    }
    return Scenario(name, members)


def accept(
    slug: str, description: str, handoff: Handoff = PLAIN, by: Key = KEY, **verifier: Unpack[Verifier]
) -> Scenario:
    verifier.setdefault("keys", [by])
    result = scenario(f"accept-{slug}", description, signed(handoff, by), "accepted", verifier)
    result.members["signing_string"] = signing_string(by.kid, handoff.body).decode()
    result.members["handoff_id"] = handoff.id
    result.members["issued_at"] = handoff.issued_at
    result.members["expires_at"] = handoff.expires_at
    result.members["payload"] = json.loads(handoff.payload)
    return result


def refuse(code: str, slug: str, description: str, token: object, **verifier: Unpack[Verifier]) -> Scenario:
    return scenario(f"refuse-{code.replace('_', '-')}-{slug}", description, token, code, verifier)


# The formatter would spread a scenario over six lines; here one scenario is one line.
# fmt: off


def accepted_payloads() -> Iterator[Scenario]:
    optional = {"children_ages": "[4,9]", "locale": '"de-AT"', "rate_plan_id": '"flex"', "room_type_id": '"dbl-sea"'}
    everything = {**optional, **PRICE}
    longest_locale = '"abcdefgh-ABCDEFGH-01234567-aBcDeFg8"'
    longest_id = f'"{LONGEST_NAME}"'
    longest = {
        "adults": "30",
        "children_ages": "[17,17,17,17,17,17,17,17,17,17]",
        "currency": '"EUR"',
        "locale": longest_locale,
        "property_id": longest_id,
        "quoted_total_minor": "9007199254740991",
        "rate_plan_id": longest_id,
        "room_type_id": longest_id,
    }
    ages = "[17,0,17,0,1,2,3,4,5,6]"
    rows: list[tuple[str, str, dict[str, str]]] = [
        ("minimal", "Only the required members.", {}),
        ("all-members", "Every member of the profile at once.", everything),
        ("price", "A currency with a quoted total, and no other optional member.", PRICE),
        ("adults-1", "One adult is the least.", {"adults": "1"}),
        ("adults-30", "Thirty adults are the most.", {"adults": "30"}),
        ("child-age-0", "A child may be 0 years old.", {"children_ages": "[0]"}),
        ("child-age-17", "A child may be 17 years old.", {"children_ages": "[17]"}),
        ("children-10", "Ten children are the most, in any order and with equal ages.", {"children_ages": ages}),
        ("total-0", "A quoted total of 0 is a value, not an absence.", {**PRICE, "quoted_total_minor": "0"}),
        ("total-largest", "The largest quoted total is 2^53-1.", {**PRICE, "quoted_total_minor": "9007199254740991"}),
        ("nights-1", "One night is the shortest stay.", {"check_out": '"2026-12-25"'}),
        ("nights-366", "A stay of 366 nights in common years.", {"check_out": '"2027-12-25"'}),
        ("nights-366-leap-year", "A stay of 366 nights over a leap day.", {"check_in": '"2027-03-01"', "check_out": '"2028-03-01"'}),
        ("date-leap-day", "29 February of a leap year.", {"check_in": '"2028-02-29"', "check_out": '"2028-03-01"'}),
        ("date-leap-day-2000", "A century divisible by 400 has a leap day.", {"check_in": '"2000-02-28"', "check_out": '"2000-02-29"'}),
        ("date-year-9999", "The last day that a date can name.", {"check_in": '"9999-12-30"', "check_out": '"9999-12-31"'}),
        ("date-year-0001", "The first day that a date can name.", {"check_in": '"0001-01-01"', "check_out": '"0001-01-02"'}),
        ("date-year-0099", "A stay from the year 99 into the year 100.", {"check_in": '"0099-12-31"', "check_out": '"0100-01-01"'}),
        ("date-before-now", "No rule compares the stay with the clock.", {"check_in": '"1999-12-31"', "check_out": '"2000-01-01"'}),
        ("id-1", "A property id of one character.", {"property_id": '"7"'}),
        ("id-1-special", "A property id of one character that is no letter and no digit.", {"property_id": '"/"'}),
        ("id-64", "A property id of 64 characters with every special character.", {"property_id": longest_id}),
        ("rate-plan-id-1", "A rate plan id of one character.", {"rate_plan_id": '"-"'}),
        ("rate-plan-id-64", "A rate plan id of 64 characters with every special character.", {"rate_plan_id": longest_id}),
        ("room-type-id-1", "A room type id of one character.", {"room_type_id": '"."'}),
        ("room-type-id-64", "A room type id of 64 characters with every special character.", {"room_type_id": longest_id}),
        ("currency-any-letters", "A currency is any three letters A-Z.", {**PRICE, "currency": '"AZQ"'}),
        ("locale-language", "A locale that is only a language.", {"locale": '"de"'}),
        ("locale-script-region", "A locale with script and region.", {"locale": '"zh-Hant-TW"'}),
        ("locale-language-8", "A language of eight letters.", {"locale": '"abcdefgh"'}),
        ("locale-case-kept", "The case of a locale is kept.", {"locale": '"DE-de"'}),
        ("locale-subtag-1", "A subtag of a locale may be one digit.", {"locale": '"en-1"'}),
        ("locale-35", "A locale of 35 characters.", {"locale": longest_locale}),
        ("largest-payload", "Every member of the profile at its longest.", longest),
        *((f"only-{name.replace('_', '-')}", f"The member {name} as the only optional one.", {name: text}) for name, text in optional.items()),
    ]
    for slug, description, members in rows:
        yield accept(slug, description, booking(**members))
    for remainder in range(3):
        yield accept(f"body-remainder-{remainder}", f"A body whose length is {remainder} modulo 3.", sized(remainder))


def accepted_configurations() -> Iterator[Scenario]:
    worked_key = Key("2026-11a", hashlib.sha256(b"ghasi-handoff worked example").digest())
    worked = replace(booking(**PRICE), handoff_id="01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71")
    yield accept("worked-example", "The worked example of the specification.", worked, worked_key)

    for kid, slug, what in [
        ("k", "1", "of one character"),
        ("abcdefghijklmnopqrstuvwxyzABCDEF", "32", "of 32 characters"),
        ("_a-b_", "special", "with underscores and dashes"),
        ("-", "dash", "that is only a dash"),
        ("007", "digits", "that looks like a number"),
        ("__proto__", "proto", "that is the name of a built-in JavaScript property"),
        ("constructor", "constructor", "that every JavaScript object inherits"),
    ]:
        yield accept(f"kid-{slug}", f"A kid {what}.", PLAIN, key(kid))
    for size in (32, 33, 64, 65, 200):
        long = Key(f"bytes-{size}", random_looking(f"{size} bytes", size))
        yield accept(f"secret-{size}", f"A secret of {size} bytes.", PLAIN, long)
    edges = Key("edges", b"\0 " + random_looking("edges", 29) + b"\r\n\0")
    yield accept("secret-edge-bytes", "A secret that starts and ends with bytes that text functions strip.", PLAIN, edges)

    for name, slug, what in [
        ("x", "1", "of one character"),
        (LONGEST_NAME, "64", "of 64 characters with every special character"),
        (".", "dot", "that is only a dot"),
    ]:
        yield accept(f"issuer-{slug}", f"An issuer {what}.", Handoff(issuer=name), issuer=name)
        yield accept(f"audience-{slug}", f"An audience {what}.", Handoff(audience=name), audience=name)
        yield accept(f"tenant-{slug}", f"A tenant {what}.", Handoff(tenant=name), tenant=name)
    same = Handoff(issuer="same", audience="same", tenant="same")
    yield accept("equal-names", "Issuer, audience and tenant may be equal.", same, issuer="same", audience="same", tenant="same")
    for variant in "89ab":
        yield accept(f"id-variant-{variant}", f"A handoff id with the variant digit {variant}.", Handoff(handoff_id=uuid7(ISSUED, 500, variant=variant)))
    for ms in (0, 999):
        yield accept(f"id-millisecond-{ms}", f"A handoff id of millisecond {ms} of its second.", Handoff(handoff_id=uuid7(ISSUED, ms)))


def accepted_keys() -> Iterator[Scenario]:
    old = key("2026-05a", sign_from=ISSUED - 9_000_000, verify_until=NOW)
    new = key("2026-11d", sign_from=NOW - 3720)
    pending = key("2026-12a", sign_from=NOW + 900)
    revoked = key("2026-11r", sign_from=ISSUED - 7200, revoked_at=ISSUED - 3600)
    yield accept("key-pending", "A key verifies before it signs.", PLAIN, pending, keys=[KEY, pending])
    yield accept("key-pending-alone", "A key that does not sign yet verifies as the only one of its ring.", PLAIN, pending)
    yield accept("key-active", "The newest key whose sign_from has come verifies.", PLAIN, new, keys=[old, new])
    yield accept("key-active-since-now", "A key verifies at the second in which it starts to sign.", PLAIN, key("fresh", sign_from=NOW))
    yield accept("key-superseded", "A key without verify_until verifies although a newer one signs.", PLAIN, KEY, keys=[KEY, new])
    yield accept("key-verify-only", "A key with verify_until verifies one second before it.", PLAIN, old, keys=[old, new], now=NOW - 1)
    yield accept("key-verify-only-fraction", "A clock a millisecond before verify_until is floored.", PLAIN, old, keys=[old, new], now=NOW - 0.001)
    ring = [replace(old, verify_until=NOW + 5000), revoked, KEY, replace(new, sign_from=NOW - 60), pending]
    yield accept("ring-oldest-named", "A ring of five keys, and the oldest is named.", PLAIN, ring[0], keys=ring)
    yield accept("ring-middle-named", "A ring of five keys, one of them revoked, and another one is named.", PLAIN, KEY, keys=ring)
    yield accept("ring-newest-first", "The order of the keys in a ring has no meaning.", PLAIN, ring[3], keys=ring[::-1])
    twins = [
        key("twin", sign_from=ISSUED - 10),
        key("TWIN", sign_from=ISSUED - 20),
        key("twin-", sign_from=ISSUED - 30),
    ]
    yield accept("ring-similar-kids", "Kids that differ only in case or in length are different keys.", PLAIN, twins[1], keys=twins)


def accepted_times() -> Iterator[Scenario]:
    yield accept("time-at-issue", "The clock at issued-at.", now=ISSUED)
    yield accept("time-issued-at-leeway", "An issued-at that is the leeway ahead of the clock.", now=ISSUED - 10)
    yield accept("time-issued-at-leeway-fraction", "A fraction of the clock is dropped at the bound of issued-at.", now=ISSUED - 10 + 0.999)
    yield accept("time-last-second", "The last second before expires-at and the leeway.", now=EXPIRES + 9)
    yield accept("time-last-millisecond", "The last millisecond before expires-at and the leeway.", now=EXPIRES + 9.999)
    yield accept("time-leeway-0-first", "Without leeway, the clock at issued-at.", now=ISSUED, leeway=0)
    yield accept("time-leeway-0-last", "Without leeway, the last second before expires-at.", now=EXPIRES - 1, leeway=0)
    yield accept("time-leeway-0-last-fraction", "Without leeway, the last millisecond before expires-at.", now=EXPIRES - 0.001, leeway=0)
    yield accept("time-leeway-60-first", "With the largest leeway, an issued-at 60 seconds ahead.", now=ISSUED - 60, leeway=60)
    yield accept("time-leeway-60-last", "With the largest leeway, 59 seconds after expires-at.", now=EXPIRES + 59, leeway=60)
    yield accept("time-issued-at-now-and-leeway-1", "An issued-at one second ahead with a leeway of one second.", now=ISSUED - 1, leeway=1)
    yield accept("lifetime-at-maximum", "A lifetime that equals the max lifetime.", Handoff(lifetime=600))
    yield accept("lifetime-1", "A lifetime of one second.", Handoff(lifetime=1), now=ISSUED)
    yield accept("lifetime-1-maximum-1", "A lifetime of one second where no more is allowed.", Handoff(lifetime=1), now=ISSUED, max_lifetime=1, leeway=0)
    yield accept("lifetime-3600", "The longest lifetime of all.", Handoff(lifetime=3600), max_lifetime=3600)
    yield accept("issued-at-0", "A token issued at second 0.", Handoff(issued_at=0), key("epoch", sign_from=0), now=0)
    yield accept("issued-at-0-later", "A token issued at second 0, seen 100 seconds later.", Handoff(issued_at=0), key("epoch", sign_from=0), now=100)
    yield accept("issued-at-1-digit", "Times of one digit.", Handoff(issued_at=7, lifetime=2), key("epoch", sign_from=0), now=8)
    yield accept("expires-at-largest", "The largest expires-at.", Handoff(issued_at=LAST_SECOND - 300), now=LAST_SECOND - 200)
    yield accept("expires-at-largest-now", "The largest expires-at, at that very second.", Handoff(issued_at=LAST_SECOND - 300), now=LAST_SECOND, leeway=1)


def step_1_malformed() -> Iterator[Scenario]:
    token = signed(PLAIN)
    for slug, what, value in [
        ("number", "a number", 1),
        ("null", "null", None),
        ("true", "true", True),
        ("list", "a list that holds a good token", [token]),
        ("object", "an object that holds a good token", {"token": token}),
    ]:
        yield refuse("malformed", f"token-{slug}", f"The token is no text, but {what}.", value)

    standard = Handoff(payload=b"???>>>").body  # "/" and "+" in the standard alphabet
    standard_text = base64.b64encode(standard).decode().rstrip("=")
    standard_mac = b64u(mac(KEY.secret, signing_string(KID, standard)))
    text_rows: list[tuple[str, str, str]] = [
        ("empty", "The empty text.", ""),
        ("leading-space", "A space before a good token.", " " + token),
        ("trailing-space", "A space after a good token.", token + " "),
        ("surrounding-space", "Spaces around a good token.", f" {token} "),
        ("trailing-lf", "A line feed after a good token.", token + "\n"),
        ("trailing-crlf", "A line end after a good token.", token + "\r\n"),
        ("trailing-nul", "A NUL after a good token.", token + "\0"),
        ("trailing-line-separator", "A Unicode line separator after a good token.", token + "\u2028"),
        ("leading-bom", "A byte order mark before a good token.", "\ufeff" + token),
        ("zero-width-space", "A zero-width space within a good token.", parts(body=BODY[:9] + "\u200b" + BODY[9:])),
        ("one-part", "One part only.", "ghasi1"),
        ("two-dots", "Three parts, because the MAC is missing.", f"ghasi1.{KID}.{BODY}"),
        ("no-kid-part", "Three parts, because the kid is missing.", f"ghasi1.{BODY}.{MAC}"),
        ("no-version-part", "Three parts, because the version is missing.", f"{KID}.{BODY}.{MAC}"),
        ("five-parts", "A fifth part.", token + "." + MAC),
        ("seven-parts", "Three parts too many.", token + ".a.b.c"),
        ("trailing-dot", "A dot after a good token.", token + "."),
        ("leading-dot", "A dot before a good token.", "." + token),
        ("only-dots", "Four empty parts.", "..."),
        ("doubled", "A good token twice.", token + token),
        ("version-2", "Version ghasi2.", parts("ghasi2")),
        ("version-upper-case", "The version in upper case.", parts("GHASI1")),
        ("version-capital", "The version with a capital letter.", parts("Ghasi1")),
        ("version-without-digit", "The version without its digit.", parts("ghasi")),
        ("version-11", "Version ghasi11.", parts("ghasi11")),
        ("version-empty", "An empty version.", parts("")),
        ("version-space", "A space after the version.", parts("ghasi1 ")),
        ("version-long-s", "A letter of the version that only folds to the right one.", parts("gha\u017fi1")),
        ("version-full-width", "A full-width digit in the version.", parts("ghasi\uff11")),
        ("body-empty", "An empty body with the right MAC.", signed(b"")),
        ("body-padded-1", "A body with one padding character.", with_suffix(2, "=")),
        ("body-padded-1-of-2", "A body with one of its two padding characters.", with_suffix(1, "=")),
        ("body-padded-2", "A body with two padding characters.", with_suffix(1, "==")),
        ("body-padding-needless", "A padding character after a body that needs none.", with_suffix(0, "=")),
        ("body-padding-inside", "A padding character inside the body.", parts(body=BODY[:8] + "=" + BODY[8:])),
        ("body-standard-alphabet", "A rightly signed body in the standard alphabet, with + and /.", parts(body=standard_text, mac=standard_mac)),
        ("body-plus", "A + in the body.", parts(body=BODY[:8] + "+" + BODY[9:])),
        ("body-slash", "A / in the body.", parts(body=BODY[:8] + "/" + BODY[9:])),
        ("body-lf", "A line feed inside the body.", parts(body=BODY[:76] + "\n" + BODY[76:])),
        ("body-trailing-lf", "A line feed at the end of the body.", parts(body=BODY + "\n")),
        ("body-space", "A space inside the body.", parts(body=BODY[:76] + " " + BODY[76:])),
        ("body-tab", "A tab inside the body.", parts(body=BODY[:76] + "\t" + BODY[76:])),
        ("body-nul", "A NUL inside the body.", parts(body=BODY[:76] + "\0" + BODY[76:])),
        ("body-bang", "A character of no base64 alphabet inside the body.", parts(body=BODY[:76] + "!" + BODY[76:])),
        ("body-length-1-modulo-4", "A body text whose length is 1 modulo 4.", with_suffix(0, "A")),
        ("body-one-character", "A body text of one character.", parts(body="A")),
        ("body-arabic-digit", "Digits of another script in the body.", parts(body=BODY.translate(ARABIC))),
        ("body-full-width-digit", "Full-width digits in the body.", parts(body=BODY.translate(FULL_WIDTH))),
        ("body-non-ascii-letter", "A letter beyond ASCII in the body.", parts(body=BODY[:8] + "\u00e9" + BODY[9:])),
        ("body-not-encoded", "The body as it is, not in base64.", parts(body=PLAIN.body.decode())),
        ("mac-empty", "An empty MAC.", parts(mac="")),
        ("mac-42", "A MAC of 42 characters.", parts(mac=MAC[:-1])),
        ("mac-44", "A MAC of 44 characters.", parts(mac=MAC + "A")),
        ("mac-padded", "The right MAC with its padding.", parts(mac=MAC + "=")),
        ("mac-padding-last", "A MAC of 43 characters, the last of which is padding.", parts(mac=MAC[:-1] + "=")),
        ("mac-plus", "A + in the MAC.", parts(mac=MAC[:20] + "+" + MAC[21:])),
        ("mac-slash", "A / in the MAC.", parts(mac=MAC[:20] + "/" + MAC[21:])),
        ("mac-space", "A space in the MAC.", parts(mac=MAC[:20] + " " + MAC[21:])),
        ("mac-trailing-lf", "A line feed in place of the MAC's last character.", parts(mac=MAC[:-1] + "\n")),
        ("mac-non-ascii", "A letter beyond ASCII in the MAC.", parts(mac=MAC[:20] + "\u00e9" + MAC[21:])),
        ("mac-hex", "The right MAC in hexadecimal.", parts(mac=mac(KEY.secret, signing_string(KID, PLAIN.body)).hex())),
        ("percent-encoded-dots", "Percent-encoded dots.", token.replace(".", "%2E")),
        ("percent-encoded", "A good token with every character percent-encoded.", "".join(f"%{ord(char):02X}" for char in token)),
        ("query", "A good token as a query parameter with its name.", "handoff=" + token),
        ("bytes-repr", "A good token as Python writes bytes.", repr(token.encode())),
        ("upper-case", "A good token in upper case.", token.upper()),
        ("full-width-dots", "Full-width full stops in place of the dots.", token.replace(".", "\uff0e")),
        ("lone-surrogate", "A lone surrogate within the body.", parts(body=BODY[:8] + "\ud800" + BODY[9:])),
        ("lone-surrogate-last", "A lone surrogate after a good token.", token + "\udfff"),
        ("emoji", "An emoji after a good token.", token + "\U0001f3e8"),
        ("padded-to-4097", "A token padded to 4097 characters.", parts(body=BODY + "A" * (4097 - len(token)))),
        ("unknown-kid-short-mac", "A malformed token that names an unknown key is malformed.", parts(kid="nobody", mac=MAC[:-1])),
    ]
    for slug, description, text in text_rows:
        yield refuse("malformed", slug, description, text)

    revoked = replace(KEY, revoked_at=ISSUED)
    yield refuse("malformed", "revoked-kid-padded-mac", "A malformed token that names a revoked key is malformed.", parts(mac=MAC + "="), keys=[revoked])
    nine = key("2026-long")
    yield refuse("malformed", "signed-4097", "A rightly signed token of 4097 characters.", signed(long_body(4097, nine), nine), keys=[nine])
    for remainder, unused in ((1, (1, 2, 8, 15)), (2, (1, 2, 3))):
        good = signed(sized(remainder))
        body = good.split(".")[2]
        for bits in unused:
            last = B64U[B64U.index(body[-1]) + bits]
            what = f"A body of length {remainder} modulo 3 with the unused low bits of its last character at {bits}."
            yield refuse("malformed", f"body-trailing-bits-{remainder}-{bits}", what, good.replace(body, body[:-1] + last))
    for slug, what, kid in [
        ("empty", "An empty kid", ""),
        ("33", "A kid of 33 characters", "k" * 33),
        ("plus", "A kid with a +", "2026+11c"),
        ("slash", "A kid with a /", "2026/11c"),
        ("colon", "A kid with a colon", "2026:11c"),
        ("space", "A kid with a space", "2026 11c"),
        ("trailing-space", "A kid with a space at its end", "2026-11c "),
        ("trailing-lf", "A kid with a line feed at its end", "2026-11c\n"),
        ("tab", "A kid with a tab", "2026\t11c"),
        ("nul", "A kid with a NUL", "2026-11c\0"),
        ("delete", "A kid with the control character U+007F", "2026-11c\x7f"),
        ("percent", "A kid with a percent sign", "2026%2D11c"),
        ("equals", "A kid with an equals sign", "2026-11c="),
        ("non-ascii", "A kid with a letter beyond ASCII", "2026-11\u00e9"),
        ("full-width", "A kid with a full-width letter", "2026-11\uff43"),
        ("kelvin", "A kid with a sign that only folds to an ASCII letter", "2026-11\u212a"),
        ("arabic-digit", "A kid with digits of another script", "2026-11c".translate(ARABIC)),
    ]:
        yield refuse("malformed", f"kid-{slug}", f"{what}, rightly signed.", signed(PLAIN, replace(KEY, kid=kid)))


def long_body(token_size: int, by: Key) -> bytes:
    """A body that brings its token to this size. Its payload is canonical JSON, but longer than 2048 bytes."""
    text_size = token_size - len(f"ghasi1.{by.kid}..") - 43
    spare = text_size * 3 // 4 - len(booking(zzz='""').body)
    return booking(zzz=f'"{"z" * spare}"').body


def step_2_keys() -> Iterator[Scenario]:
    bad_mac = b64u(bytes(32))
    for slug, what, kid in [
        ("other", "A kid that the ring does not have", "2026-10a"),
        ("case", "A kid that differs in case only", "2026-11C"),
        ("prefix", "A kid that starts a kid of the ring", "2026-11"),
        ("longer", "A kid that a kid of the ring starts", "2026-11cc"),
        ("proto", "The name of a built-in JavaScript property", "__proto__"),
        ("constructor", "A name that every JavaScript object inherits", "constructor"),
        ("to-string", "A method that every JavaScript object inherits", "toString"),
        ("index", "A number that is an index of the ring's list", "0"),
    ]:
        yield refuse("unknown_key", slug, f"{what}, with the secret of the ring's key.", signed(PLAIN, replace(KEY, kid=kid)))
    yield refuse("unknown_key", "own-secret", "A key that the verifier was never given.", signed(PLAIN, key("2026-10a")))
    yield refuse("unknown_key", "bad-mac", "An unknown key wins over a wrong MAC.", parts(kid="2026-10a", mac=bad_mac))
    yield refuse("unknown_key", "bad-body", "An unknown key wins over a malformed body.", signed(b"\xff", key("2026-10a")))
    three = [KEY, key("2026-11d", sign_from=NOW), key("2026-11e", sign_from=NOW + 900)]
    yield refuse("unknown_key", "several-keys", "A kid that none of three keys has.", signed(PLAIN, key("2026-10a")), keys=three)

    for slug, what, revoked_at in [
        ("past", "an hour ago", NOW - 3600),
        ("now", "in this second", NOW),
        ("future", "at a date that has not come", NOW + 3600),
        ("second-0", "at second 0", 0),
        ("last-second", "at the last second of all", LAST_SECOND),
        ("after-issue", "after the token was issued", ISSUED + 1),
        ("before-sign-from", "before it ever signed", KEY.sign_from - 1),
    ]:
        yield refuse("revoked_key", slug, f"A key revoked {what}.", signed(PLAIN), keys=[replace(KEY, revoked_at=revoked_at)])
    pending = key("2026-12a", sign_from=NOW + 900, revoked_at=NOW - 60)
    yield refuse("revoked_key", "pending", "A key revoked before it signs, beside a good one.", signed(PLAIN, pending), keys=[KEY, pending])
    yield refuse("revoked_key", "bad-mac", "A revoked key wins over a wrong MAC.", parts(mac=bad_mac), keys=[replace(KEY, revoked_at=NOW - 60)])
    yield refuse("revoked_key", "bad-body", "A revoked key wins over a malformed body.", signed(b"\xff"), keys=[replace(KEY, revoked_at=NOW - 60)])

    old = key("2026-05a", sign_from=ISSUED - 9_000_000, verify_until=NOW)
    new = key("2026-11d", sign_from=NOW - 3720)
    ring = [old, new]
    token = signed(PLAIN, old)
    revoked = replace(old, revoked_at=NOW + 60)
    yield refuse("revoked_key", "and-retired", "A key that is revoked and retired counts as revoked.", token, keys=[revoked, new])
    yield refuse("retired_key", "at-verify-until", "A key exactly at its verify_until.", token, keys=ring)
    yield refuse("retired_key", "at-verify-until-fraction", "A key exactly at its verify_until, on a clock that gives fractions.", token, keys=ring, now=float(NOW))
    yield refuse("retired_key", "half-a-second-after", "A key half a second after its verify_until.", token, keys=ring, now=NOW + 0.5)
    yield refuse("retired_key", "one-second-after", "A key one second after its verify_until.", token, keys=ring, now=NOW + 1)
    yield refuse("retired_key", "leeway-60", "The leeway does not lengthen the life of a key.", token, keys=ring, now=NOW + 1, leeway=60)
    yield refuse("retired_key", "long-after", "A key a month after its verify_until.", signed(Handoff(issued_at=ISSUED + 2_592_000), old), keys=ring, now=NOW + 2_592_000)
    yield refuse("retired_key", "bad-mac", "A retired key wins over a wrong MAC.", parts(kid=old.kid, mac=bad_mac), keys=ring)
    yield refuse("retired_key", "expired", "A retired key wins over an expired token.", token, keys=ring, now=NOW + 86400)


def step_3_invalid_mac() -> Iterator[Scenario]:
    good = signing_string(KID, PLAIN.body)
    right = mac(KEY.secret, good)
    other = key("2026-11d", sign_from=NOW - 60)
    after_kid = signing_string(KID, b"")

    def flipped(body: bytes, at: int) -> str:
        return parts(body=b64u(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]))

    def other_mac(secret: bytes, text: bytes, digest: str = "sha256") -> str:
        return parts(mac=b64u(mac(secret, text, digest)[:32]))

    rows: list[tuple[str, str, str]] = [
        ("body-first-bit", "One bit of the body's first byte is flipped.", flipped(PLAIN.body, 0)),
        ("body-last-bit", "One bit of the body's last byte is flipped.", flipped(PLAIN.body, len(PLAIN.body) - 1)),
        ("altered-adults", "The payload was altered after signing.", parts(body=b64u(booking(adults="3").body))),
        ("altered-tenant", "The tenant was altered after signing.", parts(body=b64u(Handoff(tenant="tn_borealis").body))),
        ("altered-expiry", "The expiry was put off after signing.", parts(body=b64u(Handoff(lifetime=301).body))),
        ("altered-id", "The handoff id was altered after signing.", parts(body=b64u(Handoff(handoff_id=uuid7(ISSUED, 347)).body))),
        ("moved-boundary", "A letter moved from the issuer to the audience.", parts(body=b64u(Handoff(issuer=ISSUER[:-1], audience=ISSUER[-1] + AUDIENCE).body))),
        ("body-lf-appended", "A line feed after the signed body.", parts(body=b64u(PLAIN.body + b"\n"))),
        ("body-truncated", "The last byte of the signed body is missing.", parts(body=b64u(PLAIN.body[:-1]))),
        ("mac-first-character", "Another first character of the MAC.", parts(mac=B64U[B64U.index(MAC[0]) ^ 1] + MAC[1:])),
        ("mac-last-character", "Another last character of the MAC, its unused bits zero.", parts(mac=MAC[:-1] + B64U[B64U.index(MAC[-1]) ^ 4])),
        ("mac-case", "The MAC with upper and lower case exchanged.", parts(mac=MAC.swapcase())),
        ("mac-all-a", "A MAC of 32 zero bytes.", parts(mac="A" * 43)),
        ("mac-of-another-token", "The MAC of another good token.", parts(mac=signed(booking(adults="3"))[-43:])),
        ("mac-truncated-and-padded", "Half the MAC, filled with zero bytes.", parts(mac=b64u(right[:16] + bytes(16)))),
        ("other-secret", "Another key's secret under this kid.", other_mac(other.secret, good)),
        ("empty-secret", "The empty secret, which HMAC takes for zero bytes.", other_mac(b"", good)),
        ("kid-as-secret", "The kid as the secret.", other_mac(KID.encode(), good)),
        ("hex-secret", "The secret's hexadecimal text as the secret.", other_mac(KEY.secret.hex().encode(), good)),
        ("base64-secret", "The secret's base64 text as the secret.", other_mac(base64.b64encode(KEY.secret), good)),
        ("truncated-secret", "The first 31 bytes of the secret.", other_mac(KEY.secret[:31], good)),
        ("sha512", "HMAC-SHA512, cut to 32 bytes.", other_mac(KEY.secret, good, "sha512")),
        ("sha3-256", "HMAC-SHA3-256 in place of HMAC-SHA256.", other_mac(KEY.secret, good, "sha3_256")),
        ("sha256-without-hmac", "Plain SHA-256 of the signing string.", parts(mac=b64u(hashlib.sha256(good).digest()))),
        ("sha256-of-secret-and-text", "Plain SHA-256 of the secret and the signing string.", parts(mac=b64u(hashlib.sha256(KEY.secret + good).digest()))),
        ("over-body", "A MAC over the body only.", other_mac(KEY.secret, PLAIN.body)),
        ("over-body-text", "A MAC over the base64 text of the body.", other_mac(KEY.secret, BODY.encode())),
        ("over-token-text", "A MAC over the token's text before the MAC, as in a JSON Web Token.", other_mac(KEY.secret, f"ghasi1.{KID}.{BODY}".encode())),
        ("other-version-line", "A first line of another version.", other_mac(KEY.secret, good.replace(b"/v1", b"/v2", 1))),
        ("other-first-line", "The first line of another kind of message.", other_mac(KEY.secret, good.replace(b"ghasi-handoff", b"ghasi-consume", 1))),
        ("token-version-line", "The token's version as the first line.", other_mac(KEY.secret, good.replace(b"ghasi-handoff/v1", b"ghasi1", 1))),
        ("other-algorithm-line", "A second line that names another algorithm.", other_mac(KEY.secret, good.replace(b"SHA256", b"SHA512", 1))),
        ("no-first-line", "A signing string without its first line.", other_mac(KEY.secret, good.split(b"\n", 1)[1])),
        ("no-kid-line", "A signing string without the kid.", other_mac(KEY.secret, good.replace(KID.encode() + b"\n", b"", 1))),
        ("other-kid-line", "A signing string with another kid.", other_mac(KEY.secret, signing_string("2026-11d", PLAIN.body))),
        ("no-lf-after-kid", "A signing string without the line feed after the kid.", other_mac(KEY.secret, after_kid[:-1] + PLAIN.body)),
        ("crlf", "A signing string with CRLF line ends before the body.", other_mac(KEY.secret, after_kid.replace(b"\n", b"\r\n") + PLAIN.body)),
        ("trailing-lf", "A signing string with a line feed at its end.", other_mac(KEY.secret, good + b"\n")),
        ("wins-over-malformed-body", "A wrong MAC wins over a body that is no handoff.", parts(body=b64u(b"\xff\xfe"))),
        ("wins-over-malformed-line", "A wrong MAC wins over an expires-at with a leading zero.", parts(body=b64u(with_lines(expires_at=f"0{EXPIRES}")))),
        ("wins-over-wrong-issuer", "A wrong MAC wins over a wrong issuer.", parts(body=b64u(Handoff(issuer="bff-other").body))),
        ("wins-over-wrong-tenant", "A wrong MAC wins over a wrong tenant.", parts(body=b64u(Handoff(tenant="tn_other").body))),
        ("wins-over-lifetime", "A wrong MAC wins over too long a lifetime.", parts(body=b64u(Handoff(lifetime=601).body))),
        ("wins-over-not-yet-valid", "A wrong MAC wins over an issued-at in the future.", parts(body=b64u(Handoff(issued_at=NOW + 11).body))),
        ("wins-over-invalid-payload", "A wrong MAC wins over an invalid payload.", parts(body=b64u(booking(adults="0").body))),
    ]
    for slug, description, token in rows:
        yield refuse("invalid_mac", slug, description, token)
    for bits in (1, 2, 3):
        what = f"The right MAC with the two unused low bits of its last character at {bits}."
        yield refuse("invalid_mac", f"mac-trailing-bits-{bits}", what, parts(mac=MAC[:-1] + B64U[B64U.index(MAC[-1]) + bits]))
    yield refuse("invalid_mac", "wins-over-expired", "A wrong MAC wins over an expired token.", parts(mac="A" * 43), now=EXPIRES + 3600)
    ring = [KEY, other]
    yield refuse("invalid_mac", "kid-swapped", "A token of one key of the ring that names another key of it.", parts(kid=other.kid), keys=ring)
    mixed = b64u(mac(KEY.secret, signing_string(other.kid, PLAIN.body)))
    yield refuse("invalid_mac", "kid-swapped-before-signing", "A token that names one key of the ring and is signed by another.", parts(kid=other.kid, mac=mixed), keys=ring)


def step_4_malformed() -> Iterator[Scenario]:
    lines = [line for line in PLAIN.lines if line != "payload"]
    for line in lines:
        right = raw(PLAIN.lines[line])
        dashed, spoken = line.replace("_", "-"), line.replace("_", "-" if line.endswith("_at") else " ")
        missing = b"\n".join(raw(text) for name, text in PLAIN.lines.items() if name != line)
        yield refuse("malformed", f"{dashed}-missing", f"A body without the line of the {spoken}.", signed(missing))
        yield refuse("malformed", f"{dashed}-empty", f"An empty line of the {spoken}.", signed(with_lines(**{line: ""})))
        yield refuse("malformed", f"{dashed}-cr", f"A carriage return at the end of the {spoken}.", signed(with_lines(**{line: right + b"\r"})))
        yield refuse("malformed", f"{dashed}-not-utf-8", f"A byte that is no UTF-8 in the {spoken}.", signed(with_lines(**{line: right + b"\xff"})))
    for line, name in [("issuer", ISSUER), ("audience", AUDIENCE), ("tenant", TENANT)]:
        for slug, what, value in [
            ("65", "of 65 characters", "x" * 65),
            ("space", "with a space", name[:3] + " " + name[3:]),
            ("leading-space", "with a space before it", " " + name),
            ("trailing-space", "with a space after it", name + " "),
            ("nul", "with a NUL", name + "\0"),
            ("control", "with a control character", name + "\x1f"),
            ("at", "with an @", name + "@"),
            ("plus", "with a +", name + "+"),
            ("utf-8", "with a letter beyond ASCII", name + "\u00e9"),
        ]:
            yield refuse("malformed", f"{line}-{slug}", f"The {line} {what}.", signed(with_lines(**{line: value})))
    for slug, what, char in [
        ("vertical-tab", "a vertical tab", "\x0b"),
        ("form-feed", "a form feed", "\x0c"),
        ("file-separator", "a file separator", "\x1c"),
        ("next-line", "the control character U+0085", "\x85"),
        ("line-separator", "a Unicode line separator", "\u2028"),
        ("delete", "the control character U+007F", "\x7f"),
        ("backslash", "a backslash", "\\"),
        ("percent", "a percent sign", "%"),
        ("full-width", "a full-width letter", "\uff41"),
    ]:
        tenant = TENANT + char + "x"
        yield refuse("malformed", f"tenant-{slug}", f"The tenant with {what}, and the caller says the same.", signed(with_lines(tenant=tenant)), tenant=tenant)
    yield refuse("malformed", "tenant-65-both", "A tenant of 65 characters, and the caller says the same.", signed(Handoff(tenant="t" * 65)), tenant="t" * 65)
    yield refuse("malformed", "tenant-empty-both", "An empty tenant, and the caller says the same.", signed(Handoff(tenant="")), tenant="")

    digits = str(ISSUED)
    for line, seconds in [("issued_at", ISSUED), ("expires_at", EXPIRES)]:
        for slug, what, value in [
            ("leading-zero", "with a leading zero", f"0{seconds}"),
            ("plus", "with a plus sign", f"+{seconds}"),
            ("minus", "with a minus sign", f"-{seconds}"),
            ("decimal", "with a decimal point", f"{seconds}.0"),
            ("exponent", "with an exponent", f"{seconds}e0"),
            ("1e9", "as 1e9", "1e9"),
            ("underscores", "with underscores between its digits", f"{seconds:_}"),
            ("commas", "with commas between its digits", f"{seconds:,}"),
            ("arabic-digits", "in digits of another script", str(seconds).translate(ARABIC)),
            ("full-width-digits", "in full-width digits", str(seconds).translate(FULL_WIDTH)),
            ("13-digits", "of 13 digits", f"{seconds}000"),
            ("hexadecimal", "in hexadecimal", hex(seconds)),
            ("leading-space", "with a space before it", f" {seconds}"),
            ("trailing-space", "with a space after it", f"{seconds} "),
            ("letters", "that is a word", "now"),
            ("nul", "with a NUL after it", f"{seconds}\0"),
            ("400-digits", "of 400 digits", digits * 40),
        ]:
            dashed = line.replace("_", "-")
            yield refuse("malformed", f"{dashed}-{slug}", f"An {dashed} {what}.", signed(with_lines(**{line: value})))
    late = Handoff(issued_at=LAST_SECOND - 299)
    yield refuse("malformed", "expires-at-too-large", "An expires-at one second after the largest.", signed(late), now=LAST_SECOND - 200)
    yield refuse("malformed", "issued-at-too-large", "An issued-at one second after the largest.", signed(Handoff(issued_at=LAST_SECOND + 1)), now=LAST_SECOND)
    yield refuse("malformed", "expires-at-12-nines", "An expires-at of twelve nines.", signed(with_lines(expires_at="9" * 12)))
    epoch = Handoff(issued_at=0)
    for slug, value in [("00", "00"), ("minus-0", "-0"), ("plus-0", "+0")]:
        yield refuse("malformed", f"issued-at-{slug}", f"Second 0 written as {value}.", signed(with_lines(epoch, issued_at=value)), now=0)

    good_id = uuid7(ISSUED)
    for slug, what, handoff_id in [
        ("upper-case", "in upper case", good_id.upper()),
        ("one-upper-case", "with one letter in upper case", good_id.replace("d41", "D41")),
        ("v4", "of version 4", uuid7(ISSUED, version="4")),
        ("v1", "of version 1", uuid7(ISSUED, version="1")),
        ("v6", "of version 6", uuid7(ISSUED, version="6")),
        ("v8", "of version 8", uuid7(ISSUED, version="8")),
        ("variant-7", "with the variant digit 7", uuid7(ISSUED, variant="7")),
        ("variant-c", "with the variant digit c", uuid7(ISSUED, variant="c")),
        ("variant-upper-case", "with the variant digit A in upper case", uuid7(ISSUED, variant="A")),
        ("no-dashes", "without dashes", good_id.replace("-", "")),
        ("moved-dash", "with a dash in another place", good_id[:7] + "-" + good_id[7] + good_id[9:]),
        ("underscores", "with underscores in place of dashes", good_id.replace("-", "_")),
        ("braces", "in braces", "{" + good_id + "}"),
        ("urn", "with urn:uuid: before it", "urn:uuid:" + good_id),
        ("short", "of 35 characters", good_id[:-1]),
        ("long", "of 37 characters", good_id + "0"),
        ("not-hexadecimal", "with a letter that is not hexadecimal", good_id[:-1] + "g"),
        ("full-width", "with full-width digits", good_id.translate(FULL_WIDTH)),
        ("arabic-digits", "with digits of another script", good_id.translate(ARABIC)),
        ("leading-space", "with a space before it", " " + good_id),
        ("trailing-space", "with a space after it", good_id + " "),
        ("nil", "of zeros only", "00000000-0000-0000-0000-000000000000"),
        ("one-second-early", "of the second before issued-at", uuid7(ISSUED - 1, 0)),
        ("one-millisecond-early", "one millisecond before issued-at", uuid7(ISSUED - 1, 999)),
        ("one-second-late", "of the second after issued-at", uuid7(ISSUED + 1, 0)),
        ("one-day-late", "a day after issued-at", uuid7(ISSUED + 86400)),
        ("time-in-seconds", "that counts seconds in place of milliseconds", uuid7(0, ISSUED)),
    ]:
        yield refuse("malformed", f"id-{slug}", f"A handoff id {what}.", signed(with_lines(handoff_id=handoff_id)))

    body = PLAIN.body
    head, json_text = body.rsplit(b"\n", 1)
    for slug, description, broken in [
        ("no-lf", "A body without a line feed.", body.replace(b"\n", b" ")),
        ("no-payload-line", "A body that ends after the expires-at, without a line feed.", head),
        ("only-lfs", "A body of six line feeds.", b"\n" * 6),
        ("only-payload", "A body that is only the payload.", json_text),
        ("one-byte", "A body of one byte.", b"x"),
        ("binary", "A body of random bytes.", random_looking("a body", 100)),
        ("crlf", "A body with CRLF line ends.", body.replace(b"\n", b"\r\n")),
        ("cr", "A body with carriage returns in place of line feeds.", body.replace(b"\n", b"\r")),
        ("leading-lf", "An empty line before the body.", b"\n" + body),
        ("bom", "A byte order mark before the body.", b"\xef\xbb\xbf" + body),
        ("extra-line", "An extra line after the tenant.", body.replace(b"tn_aurora\n", b"tn_aurora\nextra\n")),
        ("doubled-lf", "Two line feeds after the handoff id.", body.replace(good_id.encode() + b"\n", good_id.encode() + b"\n\n")),
        ("lines-swapped", "The issued-at before the handoff id.", with_lines(handoff_id=digits, issued_at=good_id)),
        ("whole-signing-string", "A body that is the whole signing string.", signing_string(KID, body)),
        ("utf-16", "A body in UTF-16.", body.decode().encode("utf-16-le")),
        ("id-wins-over-wrong-issuer", "A malformed handoff id wins over a wrong issuer.", with_lines(Handoff(issuer="bff-other"), handoff_id=good_id.upper())),
        ("time-wins-over-wrong-issuer", "A malformed expires-at wins over a wrong issuer.", with_lines(Handoff(issuer="bff-other"), expires_at="x")),
        ("tenant-wins-over-wrong-issuer", "A malformed tenant wins over a wrong issuer.", Handoff(issuer="bff-other", tenant="tn aurora").body),
        ("id-wins-over-payload", "A handoff id of another second wins over an invalid payload.", Handoff(handoff_id=uuid7(ISSUED + 1), payload="").body),
    ]:
        yield refuse("malformed", f"body-{slug}", description, signed(broken))
    wrong_id = signed(Handoff(handoff_id=uuid7(ISSUED - 1)))
    yield refuse("malformed", "id-wins-over-expired", "A handoff id of another second wins over an expired token.", wrong_id, now=EXPIRES + 3600)


def step_5_wrong_names() -> Iterator[Scenario]:
    for line, name in [("issuer", ISSUER), ("audience", AUDIENCE), ("tenant", TENANT)]:
        for slug, what, value in [
            ("other", "is another one", "tn_other" if line == "tenant" else "bff-other"),
            ("case", "differs in the case of one letter", name[0].upper() + name[1:]),
            ("upper-case", "is in upper case", name.upper()),
            ("prefix", "is a prefix of the right one", name[:-1]),
            ("suffix", "is a suffix of the right one", name[1:]),
            ("longer", "has a letter more than the right one", name + "s"),
            ("trailing-dot", "has a dot after it", name + "."),
            ("leading-slash", "has a slash before it", "/" + name),
            ("trailing-slash", "has a slash after it", name + "/"),
            ("other-separator", "has other separators", name.replace("-", ".").replace("_", "-")),
        ]:
            yield refuse(f"wrong_{line}", slug, f"The {line} {what}.", signed(with_lines(**{line: value})))
    exchanged = signed(Handoff(issuer=AUDIENCE, audience=ISSUER))
    yield refuse("wrong_issuer", "exchanged", "Issuer and audience are exchanged.", exchanged)
    rotated = signed(Handoff(audience=TENANT, tenant=AUDIENCE))
    yield refuse("wrong_audience", "exchanged", "Audience and tenant are exchanged.", rotated)
    yield refuse("wrong_issuer", "all-three-wrong", "A wrong issuer wins over a wrong audience and a wrong tenant.", signed(Handoff("x", "y", "z")))
    yield refuse("wrong_issuer", "and-tenant", "A wrong issuer wins over a wrong tenant.", signed(Handoff(issuer="x", tenant="z")))
    yield refuse("wrong_audience", "and-tenant", "A wrong audience wins over a wrong tenant.", signed(Handoff(audience="y", tenant="z")))
    wrong: dict[str, Handoff] = {"issuer": Handoff(issuer="x"), "audience": Handoff(audience="y"), "tenant": Handoff(tenant="z")}
    for line, handoff in wrong.items():
        code = f"wrong_{line}"
        yield refuse(code, "expired", f"A wrong {line} wins over an expired token.", signed(handoff), now=EXPIRES + 3600)
        yield refuse(code, "not-yet-valid", f"A wrong {line} wins over an issued-at in the future.", signed(handoff), now=ISSUED - 3600)
        yield refuse(code, "lifetime", f"A wrong {line} wins over too long a lifetime.", signed(replace(handoff, lifetime=601)))
        yield refuse(code, "no-lifetime", f"A wrong {line} wins over an expires-at that equals the issued-at.", signed(replace(handoff, lifetime=0)))
        yield refuse(code, "payload", f"A wrong {line} wins over an invalid payload.", signed(replace(handoff, payload="")))

    token = signed(PLAIN)
    after_tenant = PLAIN.body.decode().split(TENANT + "\n")[1]
    for slug, what, tenant in [
        ("empty", "is empty", ""),
        ("other", "is the name of another tenant", "tn_borealis"),
        ("trailing-lf", "ends with a line feed", TENANT + "\n"),
        ("leading-lf", "starts with a line feed", "\n" + TENANT),
        ("splice-id", "holds a line feed and the token's handoff id", TENANT + "\n" + PLAIN.id),
        ("splice-all", "holds all of the body from the tenant on", TENANT + "\n" + after_tenant),
        ("trailing-space", "ends with a space", TENANT + " "),
        ("space", "holds a space", "tn aurora"),
        ("nul", "ends with a NUL", TENANT + "\0"),
        ("non-ascii", "holds a letter beyond ASCII", "tn_\u00e4urora"),
        ("cyrillic", "holds a letter that only looks like the right one", "tn_\u0430urora"),
        ("full-width", "holds a full-width letter", "tn_\uff41urora"),
        ("lone-surrogate", "holds a lone surrogate", TENANT + "\ud800"),
        ("65", "has 65 characters", TENANT + "a" * 56),
        ("4096", "has 4096 characters", "t" * 4096),
        ("pattern", "is a pattern that matches the right one", "tn_.*"),
        ("case", "differs in case", "TN_AURORA"),
    ]:
        yield refuse("wrong_tenant", f"caller-{slug}", f"The tenant that the caller says {what}.", token, tenant=tenant)
    long = "t" * 64
    yield refuse("wrong_tenant", "caller-64-and-65", "A tenant of 64 characters, and the caller says one character more.", signed(Handoff(tenant=long)), tenant=long + "t")


def step_6_times() -> Iterator[Scenario]:
    for slug, what, lifetime in [
        ("equal", "equals the issued-at", 0),
        ("one-before", "is one second before the issued-at", -1),
        ("before", "is an hour before the issued-at", -3600),
    ]:
        yield refuse("malformed", f"expires-at-{slug}", f"An expires-at that {what}.", signed(Handoff(lifetime=lifetime)))
    yield refuse("malformed", "expires-at-equal-second-0", "Both times at second 0.", signed(Handoff(issued_at=0, lifetime=0)), now=0)
    yield refuse("malformed", "expires-at-before-and-future", "An expires-at before the issued-at wins over an issued-at in the future.", signed(Handoff(lifetime=-1)), now=ISSUED - 3600)
    yield refuse("malformed", "expires-at-before-and-expired", "An expires-at before the issued-at wins over an expired token.", signed(Handoff(lifetime=-1)), now=ISSUED + 3600)
    yield refuse("malformed", "expires-at-equal-and-payload", "An expires-at that equals the issued-at wins over an invalid payload.", signed(Handoff(lifetime=0, payload="")))

    code = "lifetime_too_long"
    yield refuse(code, "by-one", "A lifetime one second longer than the max lifetime.", signed(Handoff(lifetime=601)))
    yield refuse(code, "by-one-of-1", "A lifetime of two seconds where one is allowed.", signed(Handoff(lifetime=2)), max_lifetime=1, now=ISSUED)
    yield refuse(code, "by-one-of-3600", "A lifetime one second longer than the longest of all.", signed(Handoff(lifetime=3601)), max_lifetime=3600)
    yield refuse(code, "leeway-60", "The leeway does not lengthen the max lifetime.", signed(Handoff(lifetime=601)), leeway=60)
    yield refuse(code, "until-last-second", "An expires-at in the year 9999.", signed(Handoff(lifetime=LAST_SECOND - ISSUED)))
    yield refuse(code, "from-second-0", "An issued-at of second 0.", signed(Handoff(issued_at=0, lifetime=EXPIRES)))
    yield refuse(code, "and-future", "Too long a lifetime wins over an issued-at in the future.", signed(Handoff(lifetime=601)), now=ISSUED - 3600)
    yield refuse(code, "and-expired", "Too long a lifetime wins over an expired token.", signed(Handoff(lifetime=601)), now=ISSUED + 3600)
    yield refuse(code, "and-payload", "Too long a lifetime wins over an invalid payload.", signed(Handoff(lifetime=601, payload="")))

    code, token = "not_yet_valid", signed(PLAIN)
    yield refuse(code, "by-one", "An issued-at one second beyond the leeway.", token, now=ISSUED - 11)
    yield refuse(code, "by-a-millisecond", "A clock a millisecond short of the bound is floored to the second before.", token, now=ISSUED - 10 - 0.001)
    yield refuse(code, "by-one-fraction", "A clock with a fraction just above the second before the bound.", token, now=ISSUED - 11 + 0.001)
    yield refuse(code, "leeway-0", "Without leeway, an issued-at one second ahead.", token, now=ISSUED - 1, leeway=0)
    yield refuse(code, "leeway-0-fraction", "Without leeway, an issued-at a millisecond ahead.", token, now=ISSUED - 0.001, leeway=0)
    yield refuse(code, "leeway-60", "With the largest leeway, an issued-at 61 seconds ahead.", token, now=ISSUED - 61, leeway=60)
    yield refuse(code, "far", "An issued-at a year ahead.", token, now=ISSUED - 31_536_000)
    yield refuse(code, "clock-at-0", "A clock that stands at second 0.", token, now=0)
    yield refuse(code, "and-payload", "An issued-at in the future wins over an invalid payload.", signed(Handoff(payload="")), now=ISSUED - 11)

    code = "expired"
    yield refuse(code, "at-bound", "A clock exactly at expires-at and the leeway.", token, now=EXPIRES + 10)
    yield refuse(code, "at-bound-fraction", "A clock that gives fractions, exactly at expires-at and the leeway.", token, now=float(EXPIRES + 10))
    yield refuse(code, "after-bound-fraction", "A clock a millisecond after expires-at and the leeway.", token, now=EXPIRES + 10.001)
    yield refuse(code, "one-after-bound", "A clock one second after expires-at and the leeway.", token, now=EXPIRES + 11)
    yield refuse(code, "leeway-0", "Without leeway, a clock exactly at expires-at.", token, now=EXPIRES, leeway=0)
    yield refuse(code, "leeway-0-last-second", "Without leeway, the largest expires-at.", signed(Handoff(issued_at=LAST_SECOND - 300)), now=LAST_SECOND, leeway=0)
    yield refuse(code, "leeway-60", "With the largest leeway, a clock 60 seconds after expires-at.", token, now=EXPIRES + 60, leeway=60)
    yield refuse(code, "lifetime-1", "A token of one second, one second and the leeway later.", signed(Handoff(lifetime=1)), now=ISSUED + 11)
    yield refuse(code, "far", "A clock ten years after expires-at.", token, now=EXPIRES + 315_360_000)
    yield refuse(code, "issued-at-0", "A token of second 0, half a century later.", signed(Handoff(issued_at=0)))
    yield refuse(code, "and-payload", "An expired token wins over an invalid payload.", signed(Handoff(payload="")), now=EXPIRES + 10)


def step_7_not_canonical() -> Iterator[Scenario]:
    """Payloads that are not JSON, or not in the canonical form."""
    good = payload()
    good_bytes = good.encode()
    rows: list[tuple[str, str, Text]] = [
        ("empty", "An empty payload.", ""),
        ("text", "A payload that is not JSON.", "adults=2"),
        ("array", "An array at the top.", f"[{good}]"),
        ("empty-array", "An empty array at the top.", "[]"),
        ("string", "A string at the top.", '"adults"'),
        ("encoded-twice", "A payload that was encoded twice.", json.dumps(good)),
        ("number", "A number at the top.", "2"),
        ("null", "null at the top.", "null"),
        ("true", "true at the top.", "true"),
        ("empty-object", "An empty object.", "{}"),
        ("truncated", "A payload without its last brace.", good[:-1]),
        ("only-brace", "A single brace.", "{"),
        ("two-objects", "Two objects.", good + good),
        ("trailing-brace", "A brace too many.", good + "}"),
        ("trailing-nul", "A NUL after the payload.", good + "\0"),
        ("leading-space", "A space before the payload.", " " + good),
        ("trailing-space", "A space after the payload.", good + " "),
        ("leading-lf", "A line feed before the payload.", "\n" + good),
        ("trailing-lf", "A line feed after the payload.", good + "\n"),
        ("trailing-crlf", "A CRLF after the payload.", good + "\r\n"),
        ("extra-line", "An extra line between the expires-at and the payload.", "extra\n" + good),
        ("space-after-colon", "A space after a colon.", good.replace('"adults":2', '"adults": 2')),
        ("space-before-colon", "A space before a colon.", good.replace('"adults":2', '"adults" :2')),
        ("space-after-comma", "A space after a comma.", good.replace(",", ", ", 1)),
        ("space-in-braces", "Spaces inside the braces.", "{ " + good[1:-1] + " }"),
        ("tab-after-comma", "A tab after a comma.", good.replace(",", ",\t", 1)),
        ("indented", "An indented payload.", json.dumps(json.loads(good), indent=2)),
        ("bom", "A byte order mark before the payload.", b"\xef\xbb\xbf" + good_bytes),
        ("utf-16", "A payload in UTF-16.", good.encode("utf-16-le")),
        ("utf-16-bom", "A payload in UTF-16 with a byte order mark.", b"\xff\xfe" + good.encode("utf-16-le")),
        ("comment", "A comment in the payload.", "{/* two */" + good[1:]),
        ("line-comment", "A comment after the payload.", good + "//"),
        ("trailing-comma", "A comma after the last member.", good[:-1] + ",}"),
        ("leading-comma", "A comma before the first member.", "{," + good[1:]),
        ("array-trailing-comma", "A comma after the last item of an array.", payload(children_ages="[4,]")),
        ("single-quotes", "Single quotation marks.", good.replace('"', "'")),
        ("bare-names", "Member names without quotation marks.", good.replace('"adults"', "adults")),
        ("unsorted", "Members that are not sorted.", '{"check_in":"2026-12-24","adults":2,"check_out":"2026-12-27","property_id":"htl_0042"}'),
        ("reverse-order", "Members in reverse order.", '{"property_id":"htl_0042","check_out":"2026-12-27","check_in":"2026-12-24","adults":2}'),
        ("last-two-exchanged", "The last two members are exchanged.", '{"adults":2,"check_in":"2026-12-24","property_id":"htl_0042","check_out":"2026-12-27"}'),
        ("duplicate-same", "A member twice with the same value.", good.replace('"adults":2', '"adults":2,"adults":2')),
        ("duplicate-first-bad", "A member twice, and only the second value is in range.", good.replace('"adults":2', '"adults":0,"adults":2')),
        ("duplicate-last-bad", "A member twice, and only the first value is in range.", good.replace('"adults":2', '"adults":2,"adults":0')),
        ("duplicate-other", "A member twice with different good values.", good.replace('"adults":2', '"adults":2,"adults":3')),
        ("duplicate-by-escape", "A member twice, once with an escape in its name.", good.replace('"adults":2', '"adul\\u0074s":2,"adults":2')),
        ("duplicate-far-apart", "A member twice, at the start and at the end.", good[:-1] + ',"adults":2}'),
        ("name-escape", "A needless escape in a member name.", good.replace('"adults"', '"adul\\u0074s"')),
        ("value-escape", "A needless escape in a value that the profile allows.", good.replace("htl_", "htl\\u005f")),
        ("value-escape-letter", "A letter of a value that is written as an escape.", good.replace("htl_", "\\u0068tl_")),
        ("escape-upper-case-hex", "An escape with upper-case hexadecimal digits.", good.replace("htl_", "htl\\u005F")),
        ("slash-escape", "An escaped slash, which may stand for itself.", payload(property_id='"a\\/b"')),
        ("control-short-escape", "A line feed in place of its escape.", payload(property_id='"htl\n0042"')),
        ("control-raw", "A raw control character inside a string.", payload(property_id='"htl\x01"')),
        ("control-long-escape", "The long escape of a line feed.", payload(property_id='"htl\\u000a"')),
        ("control-upper-case-escape", "A control character's escape in upper case.", payload(property_id='"htl\\u001F"')),
        ("escape-unknown", "An escape that JSON does not know.", payload(property_id='"htl\\x30"')),
        ("escape-truncated", "An escape without its last digit.", payload(property_id='"htl\\u003"')),
        ("surrogate-high", "An escaped lone high surrogate.", payload(property_id='"\\ud83c"')),
        ("surrogate-low", "An escaped lone low surrogate.", payload(property_id='"\\udfe8"')),
        ("surrogates-reversed", "An escaped pair of surrogates in the wrong order.", payload(property_id='"\\udfe8\\ud83c"')),
        ("surrogates-escaped", "An escaped pair of surrogates in place of the character.", payload(property_id='"\\ud83c\\udfe8"')),
        ("surrogate-in-name", "An escaped lone surrogate in a member name.", payload(**{"\\ud83c": "1"})),
        ("utf-8-overlong", "An overlong UTF-8 form.", good_bytes.replace(b"htl_", b"htl\xc1\x9f")),
        ("utf-8-overlong-slash", "The overlong UTF-8 form of a slash.", good_bytes.replace(b"htl_", b"htl\xc0\xaf")),
        ("utf-8-truncated", "A truncated UTF-8 sequence.", good_bytes.replace(b"htl_", b"htl\xe2\x82")),
        ("utf-8-continuation", "A lone UTF-8 continuation byte.", good_bytes.replace(b"htl_", b"htl\x80")),
        ("utf-8-surrogate", "A surrogate in UTF-8.", good_bytes.replace(b"htl_", b"htl\xed\xa0\x80")),
        ("utf-8-surrogate-pair", "A pair of surrogates in UTF-8.", good_bytes.replace(b"htl_", b"htl\xed\xa0\xbc\xed\xbf\xa8")),
        ("utf-8-ff", "The byte 0xFF.", good_bytes.replace(b"htl_", b"htl\xff")),
        ("utf-8-too-large", "A UTF-8 sequence above U+10FFFF.", good_bytes.replace(b"htl_", b"htl\xf4\x90\x80\x80")),
        ("utf-8-end", "A byte that is no UTF-8 after the payload.", good_bytes + b"\xff"),
        ("2049-bytes", "A payload of 2049 bytes.", payload(zzz=f'"{"z" * (2049 - len(payload(zzz=chr(34) * 2)))}"')),
        ("9-deep", "A payload nested nine deep.", payload(children_ages="[" * 8 + "]" * 8)),
        ("9-deep-objects", "Objects nested nine deep.", payload(zzz='{"a":' * 8 + "1" + "}" * 8)),
        ("900-deep", "A payload nested 900 deep.", payload(children_ages="[" * 900 + "]" * 900)),
        ("1900-deep-open", "A payload of 1900 opening brackets.", '{"adults":' + "[" * 1900),
    ]
    for slug, description, text in rows:
        yield refuse("invalid_payload", slug, description, signed(Handoff(payload=text)))
    eight = key("2026-big")
    yield refuse("invalid_payload", "token-4096", "A token of 4096 characters reaches the check of its payload.", signed(long_body(4096, eight), eight), keys=[eight])


def step_7_profile() -> Iterator[Scenario]:
    """Payloads that are JSON, but break the booking profile or the spelling of numbers."""
    numbers = [
        ("fraction", "with a fraction", "2.5"),
        ("decimal-zero", "with a fraction of zero", "2.0"),
        ("exponent", "with an exponent", "2e0"),
        ("exponent-upper-case", "with an upper-case exponent", "2E0"),
        ("exponent-plus", "with a signed exponent", "2e+0"),
        ("1e2", "of 1e2", "1e2"),
        ("leading-zero", "with a leading zero", "02"),
        ("plus", "with a plus sign", "+2"),
        ("nan", "that is NaN", "NaN"),
        ("infinity", "that is Infinity", "Infinity"),
        ("minus-infinity", "that is -Infinity", "-Infinity"),
        ("hexadecimal", "in hexadecimal", "0x2"),
        ("underscore", "with an underscore", "1_0"),
        ("400-digits", "of 400 digits", "1" * 400),
        ("1e400", "too large for a double", "1e400"),
        ("bare-dot", "with a dot and no fraction", "2."),
        ("arabic-digit", "in a digit of another script", "\u0662"),
        ("true", "that is true", "true"),
        ("false", "that is false", "false"),
        ("string", "as a string", '"2"'),
        ("array", "in an array", "[2]"),
        ("object", "in an object", '{"n":2}'),
        ("0", "of 0", "0"),
        ("31", "of 31", "31"),
        ("negative", "below zero", "-1"),
        ("minus-0", "of minus zero", "-0"),
        ("2-64", "that wraps around at 2^64", str(2**64 + 2)),
        ("nothing", "that is missing after its colon", ""),
    ]
    for slug, what, text in numbers:
        yield refuse("invalid_payload", f"adults-{slug}", f"A number of adults {what}.", signed(booking(adults=text)))
    for slug, what, text in [
        ("2-53", "2^53", "9007199254740992"),
        ("2-53-and-1", "2^53+1", "9007199254740993"),
        ("negative", "-1", "-1"),
        ("minus-0", "minus zero", "-0"),
        ("decimal-zero", "45900.0", "45900.0"),
        ("1e2", "1e2", "1e2"),
        ("1e2-upper-case", "1E2", "1E2"),
        ("0e0", "0e0", "0e0"),
        ("400-digits", "a number of 400 digits", "9" * 400),
        ("string", "a string", '"45900"'),
        ("true", "true", "true"),
        ("minus-2-53", "-2^53", "-9007199254740992"),
    ]:
        yield refuse("invalid_payload", f"total-{slug}", f"A quoted total of {what}.", signed(booking(**{**PRICE, "quoted_total_minor": text})))

    members: list[tuple[str, str, dict[str, str | None]]] = [
        ("unknown-first", "An unknown member before all others.", {"aaa": "1"}),
        ("unknown-last", "An unknown member after all others.", {"zzz": "true"}),
        ("unknown-null", "An unknown member that is null.", {"zzz": "null"}),
        ("unknown-email", "A guest's e-mail address is no member of the profile.", {"email": '"guest@aurora.example"'}),
        ("proto", "A member with the name of a built-in JavaScript property.", {"__proto__": "{}"}),
        ("proto-adults", "A member that hides a required one in a prototype.", {"__proto__": '{"adults":2}', "adults": None}),
        ("constructor", "A member that every JavaScript object inherits.", {"constructor": "1"}),
        ("name-digit", "A member name that is a number.", {"0": "1"}),
        ("name-empty", "An empty member name.", {"": "1"}),
        ("name-upper-case", "A required member in upper case.", {"adults": None, "Adults": "2"}),
        ("name-camel-case", "A required member in camel case.", {"check_in": None, "checkIn": '"2026-12-24"'}),
        ("name-non-ascii", "A member name beyond ASCII.", {"\u00e4": "1"}),
        ("ages-default", "The default of children_ages written out.", {"children_ages": "[]"}),
        ("ages-negative", "A child of age -1.", {"children_ages": "[-1]"}),
        ("ages-18", "A child of age 18.", {"children_ages": "[18]"}),
        ("ages-18-last", "A child of age 18 after good ones.", {"children_ages": "[0,17,18]"}),
        ("ages-eleven", "Eleven children.", {"children_ages": "[1,2,3,4,5,6,7,8,9,10,11]"}),
        ("ages-string", "A child's age as a string.", {"children_ages": '["4"]'}),
        ("ages-true", "A child's age that is true.", {"children_ages": "[true]"}),
        ("ages-null", "A child's age that is null.", {"children_ages": "[4,null]"}),
        ("ages-nested", "An array in the array of ages.", {"children_ages": "[[4]]"}),
        ("ages-decimal", "A child's age with a fraction of zero.", {"children_ages": "[4.0]"}),
        ("ages-minus-0", "A child's age of minus zero.", {"children_ages": "[-0]"}),
        ("ages-exponent", "A child's age with an exponent.", {"children_ages": "[1e1]"}),
        ("ages-number", "A number in place of the array of ages.", {"children_ages": "4"}),
        ("ages-object", "An object in place of the array of ages.", {"children_ages": '{"a":4}'}),
        ("ages-text", "A text in place of the array of ages.", {"children_ages": '"4"'}),
        ("ages-space", "A space between two ages.", {"children_ages": "[4, 9]"}),
        ("currency-alone", "A currency without a quoted total.", {"currency": '"EUR"'}),
        ("total-alone", "A quoted total without a currency.", {"quoted_total_minor": "45900"}),
        ("total-0-alone", "A quoted total of 0 without a currency.", {"quoted_total_minor": "0"}),
    ]
    for name in REQUIRED:
        dashed = name.replace("_", "-")
        members.append((f"{dashed}-missing", f"The required member {name} is missing.", {name: None}))
    for name in [*REQUIRED, "children_ages", "locale", "rate_plan_id", "room_type_id"]:
        dashed = name.replace("_", "-")
        members.append((f"{dashed}-null", f"The member {name} is null.", {name: "null"}))
    members.append(("currency-null", "The member currency is null.", {**PRICE, "currency": "null"}))
    members.append(("total-null", "The member quoted_total_minor is null.", {**PRICE, "quoted_total_minor": "null"}))
    members.append(("price-null", "Both currency and quoted_total_minor are null.", {"currency": "null", "quoted_total_minor": "null"}))
    for slug, what, currency in [
        ("lower-case", "in lower case", "eur"),
        ("mixed-case", "in mixed case", "Eur"),
        ("2", "of two letters", "EU"),
        ("4", "of four letters", "EURO"),
        ("empty", "that is empty", ""),
        ("digit", "with a digit", "EU1"),
        ("non-ascii", "with a letter beyond ASCII", "\u00c9UR"),
        ("full-width", "in full-width letters", "\uff25\uff35\uff32"),
        ("symbol", "that is a symbol", "\u20ac"),
        ("trailing-lf", "with a line feed after it", "EUR\\n"),
    ]:
        members.append((f"currency-{slug}", f"A currency {what}.", {**PRICE, "currency": f'"{currency}"'}))
    for slug, what, locale in [
        ("1-letter", "of one letter", "d"),
        ("9-letters", "whose language has nine letters", "abcdefghi"),
        ("trailing-dash", "with a dash at its end", "de-"),
        ("leading-dash", "with a dash at its start", "-de"),
        ("double-dash", "with two dashes together", "de--AT"),
        ("underscore", "with an underscore", "de_AT"),
        ("36", "of 36 characters", "abcdefgh-abcdefgh-abcdefgh-abcdefg-h"),
        ("empty", "that is empty", ""),
        ("9-subtag", "with a subtag of nine characters", "de-abcdefghi"),
        ("trailing-lf", "with a line feed after it", "de\\n"),
        ("leading-space", "with a space before it", " de"),
        ("digits", "whose language is two digits", "49"),
        ("digit-in-language", "with a digit in its language", "d3"),
        ("non-ascii", "with a letter beyond ASCII", "d\u00e9"),
        ("non-ascii-subtag", "with a letter beyond ASCII in a subtag", "de-\u00c4T"),
        ("arabic-digit", "with a digit of another script", "de-\u0661"),
        ("dot", "with a charset", "de-AT.UTF8"),
    ]:
        members.append((f"locale-{slug}", f"A locale {what}.", {"locale": f'"{locale}"'}))
    for name in ("property_id", "rate_plan_id", "room_type_id"):
        for slug, what, text in [
            ("empty", "is empty", '""'),
            ("65", "has 65 characters", f'"{"x" * 65}"'),
            ("space", "holds a space", '"htl 42"'),
            ("non-ascii", "holds a letter beyond ASCII", '"h\u00f6tl"'),
            ("trailing-lf", "ends with a line feed", '"htl_0042\\n"'),
            ("number", "is a number", "42"),
        ]:
            members.append((f"{name.replace('_', '-')}-{slug}", f"The member {name} {what}.", {name: text}))
    for slug, what, text in [
        ("quote", "holds an escaped quotation mark", '"htl\\"42"'),
        ("backslash", "holds an escaped backslash", '"htl\\\\42"'),
        ("emoji", "is a raw emoji", '"\U0001f3e8"'),
        ("at", "holds an @", '"htl@42"'),
        ("nul", "holds an escaped NUL", '"htl\\u0000"'),
        ("full-width", "holds full-width digits", f'"htl_{"42".translate(FULL_WIDTH)}"'),
        ("delete", "holds the control character U+007F", '"htl\x7f"'),
        ("decomposed", "holds a combining accent", '"ho\u0308tl"'),
        ("list", "is a list", '["htl_0042"]'),
        ("false", "is false", "false"),
    ]:
        members.append((f"property-id-{slug}", f"The member property_id {what}.", {"property_id": text}))
    yield from (refuse("invalid_payload", slug, description, signed(booking(**texts))) for slug, description, texts in members)


def step_7_dates() -> Iterator[Scenario]:
    for slug, what, check_in in [
        ("number", "as a number", "20261224"),
        ("seconds", "in Unix seconds", "1798070400"),
        ("true", "that is true", "true"),
        ("list", "as a list", "[2026,12,24]"),
        ("datetime", "with a time", '"2026-12-24T00:00:00"'),
        ("datetime-utc", "with a time in UTC", '"2026-12-24T00:00:00Z"'),
        ("datetime-space", "with a space and a time", '"2026-12-24 00:00:00"'),
        ("zone", "with a zone", '"2026-12-24Z"'),
        ("short", "without leading zeros", '"2026-2-3"'),
        ("no-dashes", "without dashes", '"20261224"'),
        ("slashes", "with slashes", '"2026/12/24"'),
        ("day-first", "with the day first", '"24-12-2026"'),
        ("month-only", "without a day", '"2026-12"'),
        ("week", "as a week date", '"2026-W52-4"'),
        ("week-no-dashes", "as a week date without dashes", '"2026W524"'),
        ("ordinal", "as an ordinal date", '"2026-358"'),
        ("trailing-space", "with a space after it", '"2026-12-24 "'),
        ("leading-space", "with a space before it", '" 2026-12-24"'),
        ("trailing-lf", "with a line feed after it", '"2026-12-24\\n"'),
        ("trailing-nul", "with a NUL after it", '"2026-12-24\\u0000"'),
        ("plus", "with a plus sign", '"+2026-12-24"'),
        ("minus", "with a minus sign", '"-2026-12-24"'),
        ("six-digit-year", "with a year of six digits", '"+002026-12-24"'),
        ("two-digit-year", "with a year of two digits", '"26-12-24"'),
        ("february-30", "that names 30 February", '"2026-02-30"'),
        ("february-29", "that names 29 February of a common year", '"2026-02-29"'),
        ("april-31", "that names 31 April", '"2026-04-31"'),
        ("month-0", "of month 0", '"2026-00-24"'),
        ("month-13", "of month 13", '"2026-13-24"'),
        ("day-0", "of day 0", '"2026-12-00"'),
        ("day-32", "of day 32", '"2026-12-32"'),
        ("full-width", "in full-width digits", f'"{"2026-12-24".translate(FULL_WIDTH)}"'),
        ("arabic-digits", "in digits of another script", f'"{"2026-12-24".translate(ARABIC)}"'),
        ("unicode-dashes", "with dashes beyond ASCII", '"2026\u201012\u201024"'),
        ("empty", "that is empty", '""'),
        ("dash-escape", "with a needless escape", '"2026\\u002d12-24"'),
    ]:
        yield refuse("invalid_payload", f"date-{slug}", f"A date {what}.", signed(booking(check_in=check_in)))
    for slug, description, check_in, check_out in [
        ("check-out-datetime", "A check-out with a time.", "2026-12-24", "2026-12-27T00:00:00"),
        ("check-out-not-a-day", "A check-out that names no day.", "2026-11-29", "2026-11-31"),
        ("leap-day-2027", "29 February 2027, which is no leap year.", "2027-02-28", "2027-02-29"),
        ("leap-day-2100", "29 February 2100, a century that is no leap year.", "2100-02-28", "2100-02-29"),
        ("leap-day-1900", "29 February 1900, which some spreadsheets wrongly have.", "1900-02-28", "1900-02-29"),
        ("year-0000", "The year 0.", "0000-12-30", "0000-12-31"),
        ("year-0000-check-in", "A stay from the year 0 into the year 1.", "0000-12-31", "0001-01-01"),
        ("year-10000", "A stay into the year 10000.", "9999-12-31", "10000-01-01"),
        ("nights-0", "A check-out on the day of the check-in.", "2026-12-24", "2026-12-24"),
        ("check-out-first", "A check-out the day before the check-in.", "2026-12-24", "2026-12-23"),
        ("nights-367", "A stay of 367 nights in common years.", "2026-12-24", "2027-12-26"),
        ("nights-367-leap-year", "A stay of 367 nights over a leap day.", "2027-03-01", "2028-03-02"),
        ("nights-many", "A stay of almost ten thousand years.", "0001-01-01", "9999-12-31"),
    ]:
        yield refuse("invalid_payload", slug, description, signed(booking(check_in=f'"{check_in}"', check_out=f'"{check_out}"')))


GROUPS = (
    accepted_configurations,
    accepted_payloads,
    accepted_keys,
    accepted_times,
    step_1_malformed,
    step_2_keys,
    step_3_invalid_mac,
    step_4_malformed,
    step_5_wrong_names,
    step_6_times,
    step_7_not_canonical,
    step_7_profile,
    step_7_dates,
)

# fmt: on


def main() -> None:
    names = write_vectors(Path(__file__).parent, ((each.name, each.members) for group in GROUPS for each in group()))
    print(f"{len(names)} vectors, {sum(name.startswith('accept-') for name in names)} of them accepted")


if __name__ == "__main__":
    main()
