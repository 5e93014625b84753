"""Write the test vectors of the consume call, version 1: one scenario a file, in the format of docs/spec/consume-v1.md.

    python3 -m tests.vectors.make_consume_vectors

This program signs and never judges. What a scenario expects is stated beside it, by hand, from the specification.
The scenarios stand in the order of the specification's steps. It needs nothing but the standard library.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.vectors.usual_facts import AUDIENCE, EXPIRES, ISSUED, ISSUER, LAST_SECOND, LONGEST_NAME, b64u
from tests.vectors.vector_files import write_vectors

CONSUMED = ISSUED + 60
NOW = ISSUED + 61
ID = "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71"
OTHER_ID = "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c72"
WHO = "256e8f8f0951db509d7f4b6bc93bdbee81820b80d005c166b588a00eb8b5a4b9"
OTHER = "1" * 64
WORKED_SECRET = hashlib.sha256(b"ghasi-handoff worked example").hexdigest()


def key(kid: str = "2026-11a", **changes: Any) -> dict[str, Any]:
    secret = WORKED_SECRET if kid == "2026-11a" else hashlib.sha256(f"ghasi-handoff {kid}".encode()).hexdigest()
    facts = {"kid": kid, "secret_hex": secret, "sign_from": ISSUED - 86400, "verify_until": None, "revoked_at": None}
    return {**facts, **changes}


def fields(**changes: Any) -> dict[str, Any]:
    facts = {
        "audience": AUDIENCE, "consumed_at": CONSUMED, "handoff_id": ID, "issuer": ISSUER, "redemption_id": WHO,
        "sent_at": NOW,
    }  # fmt: skip
    return {**facts, **changes}


def body_of(call: dict[str, Any]) -> str:
    return json.dumps(call, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def text_of(kid: str, call: dict[str, Any]) -> str:
    names = ("issuer", "audience", "handoff_id", "redemption_id", "consumed_at", "sent_at")
    return "\n".join(["ghasi-consume/v1", "HMAC-SHA256", kid, *(str(call[name]) for name in names)])


def mac_of(secret_hex: str, text: str) -> str:
    return b64u(hmac.new(bytes.fromhex(secret_hex), text.encode("utf-8", "surrogatepass"), hashlib.sha256).digest())


def header(kid: str, mac: str) -> str:
    return f"GHASI-CONSUME kid={kid}, mac={mac}"


def row(state: str = "issued", redemption_id: str | None = None, consumed_at: int | None = None, **changes: Any) -> dict[str, Any]:  # fmt: skip
    facts = {
        "issuer": ISSUER, "audience": AUDIENCE, "expires_at": EXPIRES, "state": state, "redemption_id": redemption_id,
        "consumed_at": consumed_at,
    }  # fmt: skip
    return {**facts, **changes}


def held(by: str = WHO, at: int = CONSUMED, **changes: Any) -> dict[str, Any]:
    return row("consumed", by, at, **changes)


def scenario(
    name: str,
    description: str,
    status: int,
    code: str | None = None,
    *,
    call: dict[str, Any] | None = None,
    before: dict[str, Any] | str | None = "issued",
    after: dict[str, Any] | str | None = "unchanged",
    keys: list[dict[str, Any]] | None = None,
    kid: str = "2026-11a",
    now: float = NOW,
    path_id: str | None = None,
    authorization: list[str] | None = None,
    body: str | None = None,
    signing_text: str | None = None,
) -> tuple[str, dict[str, Any]]:
    """One scenario: a right call, but for what is said."""
    call = fields() if call is None else call
    keys = [key()] if keys is None else keys
    secret = next((k["secret_hex"] for k in keys if k["kid"] == kid), WORKED_SECRET)
    text = text_of(kid, call) if signing_text is None else signing_text
    found = row() if before == "issued" else before
    authentic = status != 401
    return name, {
        "description": description,
        "keys": keys,
        "now": now,
        "path_id": str(call["handoff_id"]) if path_id is None else path_id,
        "authorization": [header(kid, mac_of(secret, text))] if authorization is None else authorization,
        "body": body_of(call) if body is None else body,
        "row": found,
        "expect": {"status": status, "code": code},
        "row_after": found if after == "unchanged" else after,
        **({"signing_string": text_of(kid, call)} if authentic else {}),
    }


def confirm(name: str, description: str, **facts: Any) -> tuple[str, dict[str, Any]]:
    call = facts.get("call") or fields()
    before = facts.get("before", "issued")
    if before == "issued":
        facts.setdefault("after", held(call["redemption_id"], call["consumed_at"]))
    return scenario(f"confirm-{name}", description, 200, **facts)


def unauthenticated(name: str, description: str, **facts: Any) -> tuple[str, dict[str, Any]]:
    return scenario(f"refuse-401-{name}", description, 401, "unauthenticated_call", **facts)


Scenarios = Iterator[tuple[str, dict[str, Any]]]

# fmt: off


def confirmed() -> Scenarios:
    yield confirm("worked-example", "The worked example of the specification.")
    yield confirm("again", "A repetition by the same redemption id is confirmed again.", before=held())
    yield confirm("again-later", "A repetition keeps the consumed-at of the first.", call=fields(consumed_at=CONSUMED + 9), before=held())
    yield confirm("again-though-late", "A row that is consumed by this redemption is confirmed, whatever the call's consumed-at.", call=fields(consumed_at=EXPIRES + 5000), before=held())
    yield confirm("last-second", "A redemption 59 s after expires-at is in time.", call=fields(consumed_at=EXPIRES + 59))
    yield confirm("delivered-a-day-later", "Lateness is judged by consumed-at, not by sent-at.", now=NOW + 86400, call=fields(sent_at=NOW + 86400))
    yield confirm("consumed-at-before-issue", "A consumed-at before the handoff's time is no matter of this call.", call=fields(consumed_at=0))
    yield confirm("consumed-at-after-sent-at", "Nothing compares consumed-at with sent-at or with the clock.", call=fields(consumed_at=NOW + 100))
    yield confirm("sent-60-s-ago", "Sixty seconds ago is recent.", now=NOW + 60)
    yield confirm("sent-60-s-ahead", "Sixty seconds ahead is recent.", now=NOW - 60)
    yield confirm("clock-fraction", "The clock's fraction is dropped before it is compared.", now=NOW + 60.999)
    yield confirm("pending-key", "A key verifies before it signs.", keys=[key(sign_from=NOW + 500)])
    yield confirm("superseded-key", "A key verifies until its verify_until.", keys=[key(verify_until=NOW + 1, sign_from=ISSUED - 90000), key("2026-11b", sign_from=NOW - 4000)])
    yield confirm("superseded-key-fraction", "The last fraction of a second before a key's verify_until.", now=NOW + 0.999, keys=[key(verify_until=NOW + 1, sign_from=ISSUED - 90000), key("2026-11b", sign_from=NOW - 4000)])
    yield confirm("second-key", "The kid chooses the key.", keys=[key(), key("2026-11b", sign_from=NOW - 4000)], kid="2026-11b")
    yield confirm("kid-1", "A kid of one character.", keys=[key("k")], kid="k")
    yield confirm("kid-32", "A kid of 32 characters.", keys=[key("AZaz09_-" * 4)], kid="AZaz09_-" * 4)
    for n, name in ((1, "a"), (64, LONGEST_NAME)):
        yield confirm(f"issuer-{n}", f"An issuer of {n} characters.", call=fields(issuer=name), before=row(issuer=name), after=held(issuer=name))
        yield confirm(f"audience-{n}", f"An audience of {n} characters.", call=fields(audience=name), before=row(audience=name), after=held(audience=name))
    yield confirm("last-time", "The greatest time there is.", call=fields(consumed_at=LAST_SECOND - 1), before=row(expires_at=LAST_SECOND), after=held(WHO, LAST_SECOND - 1, expires_at=LAST_SECOND))


def step_1_header() -> Scenarios:
    good = header("2026-11a", mac_of(WORKED_SECRET, text_of("2026-11a", fields())))
    mac = good[-43:]
    for name, description, values in (
        ("none", "No Authorization field.", []),
        ("two", "Two Authorization fields, both right.", [good, good]),
        ("empty", "An empty field.", [""]),
        ("lower-case-scheme", "The scheme has one spelling.", [good.replace("GHASI-CONSUME", "ghasi-consume")]),
        ("bearer", "Another scheme.", [good.replace("GHASI-CONSUME", "Bearer")]),
        ("two-spaces", "Two spaces after the scheme.", [good.replace("GHASI-CONSUME ", "GHASI-CONSUME  ")]),
        ("tab", "A tab after the scheme.", [good.replace("GHASI-CONSUME ", "GHASI-CONSUME\t")]),
        ("no-space-after-comma", "No space after the comma.", [good.replace(", ", ",")]),
        ("leading-space", "A space before.", [" " + good]),
        ("trailing-space", "A space behind.", [good + " "]),
        ("trailing-lf", "An LF behind.", [good + "\n"]),
        ("order", "MAC before kid.", [f"GHASI-CONSUME mac={mac}, kid=2026-11a"]),
        ("quoted", "Quoted values.", [f'GHASI-CONSUME kid="2026-11a", mac="{mac}"']),
        ("third-parameter", "One parameter more.", [good + ", alg=HMAC-SHA256"]),
        ("no-mac", "No MAC.", ["GHASI-CONSUME kid=2026-11a"]),
        ("no-kid", "No kid.", [f"GHASI-CONSUME mac={mac}"]),
        ("empty-kid", "An empty kid.", [header("", mac)]),
        ("kid-33", "A kid of 33 characters.", [header("k" * 33, mac)]),
        ("kid-dot", "A kid with a dot.", [header("2026.11a", mac)]),
        ("kid-full-width", "A kid with a full-width digit.", [header("2026-11\uff11", mac)]),
        ("mac-42", "A MAC of 42 characters.", [good[:-1]]),
        ("mac-44", "A MAC of 44 characters.", [good + "A"]),
        ("mac-padded", "A padded MAC.", [good + "="]),
        ("mac-hex", "The MAC in hexadecimal.", [header("2026-11a", base64.urlsafe_b64decode(mac + "=").hex())]),
        ("mac-standard-base64", "The MAC in the other base64 alphabet.", [header("2026-11a", mac.replace("-", "+").replace("_", "/"))]),
        ("comma-joined", "Two values joined to one field.", [f"{good}, {good}"]),
    ):
        yield unauthenticated(f"header-{name}", description, authorization=values)


def step_1_body() -> Scenarios:
    good = body_of(fields())
    for name, description, text in (
        ("empty", "No body.", ""),
        ("null", "Another JSON value.", "null"),
        ("array", "The object in an array.", f"[{good}]"),
        ("not-json", "No JSON.", "handoff_id=" + ID),
        ("space-after-colon", "White space.", good.replace(":", ": ", 1)),
        ("space-after-comma", "White space.", good.replace(",", ", ", 1)),
        ("leading-space", "White space before.", " " + good),
        ("trailing-lf", "An LF behind.", good + "\n"),
        ("bom", "A byte order mark.", "\ufeff" + good),
        ("twice", "The object twice.", good + good),
        ("order", "Members in another order.", json.dumps({name: fields()[name] for name in sorted(fields(), reverse=True)}, separators=(",", ":"))),
        ("upper-case-member", "A member's name in capitals.", good.replace('"issuer"', '"Issuer"')),
        ("single-quotes", "Single quotes.", good.replace('"', "'")),
        ("escape", "A character as an escape.", good.replace("bff-consumer", "bff\\u002dconsumer")),
        ("trailing-comma", "A comma too many.", good[:-1] + ",}"),
        ("comment", "A comment.", good[:-1] + "/**/}"),
        ("extra-member", "One member more.", body_of({**fields(), "tenant": "tn_aurora"})),
        ("repeated-member", "A member twice.", good[:-1] + f',"sent_at":{NOW}}}'),
        ("null-member", "A member that is null.", body_of({**fields(), "issuer": None})),
        ("over-1024", "More than 1024 bytes.", good[:-1] + " " * 1024 + "}"),
        ("nested", "Deep nesting.", "[" * 900),
    ):
        yield unauthenticated(f"body-{name}", description, body=text)
    for member in sorted(fields()):
        left = {name: value for name, value in fields().items() if name != member}
        yield unauthenticated(f"body-without-{member.replace('_', '-')}", f"No {member}.", body=body_of(left))
    for member in ("consumed_at", "sent_at"):
        slug = member.replace("_", "-")
        number = fields()[member]
        for name, text in (
            ("text", f'"{number}"'), ("fraction", f"{number}.0"), ("exponent", f"{number}e0"), ("leading-zero", f"0{number}"),
            ("minus-0", "-0"), ("minus", f"-{number}"), ("plus", f"+{number}"), ("true", "true"), ("null", "null"),
            ("13-digits", "1" * 13), ("hexadecimal", hex(number)), ("arabic-digits", str(number).translate(str.maketrans("0123456789", "".join(chr(0x660 + n) for n in range(10))))),
        ):
            yield unauthenticated(f"body-{slug}-{name}", f"{member} as {name.replace('-', ' ')}.", body=good.replace(f'"{member}":{number}', f'"{member}":{text}'))
        big = fields(**{member: LAST_SECOND + 1})
        yield unauthenticated(f"body-{slug}-too-large", f"{member} after the year 9999, rightly signed.", call=big)


def step_1_grammar() -> Scenarios:
    """Rightly signed, but outside the grammar."""
    for member, cases in (
        ("issuer", {"empty": "", "65": LONGEST_NAME + "a", "space": "bff consumer", "lf": "bff\nconsumer", "at": "bff@consumer", "utf-8": "bff-c\u00f6nsumer", "quote": 'bff"consumer'}),
        ("audience", {"empty": "", "65": LONGEST_NAME + "a", "lf": "bff\nbooking", "plus": "a+b"}),
        ("handoff_id", {"upper-case": ID.upper(), "v4": ID.replace("-7c3a", "-4c3a"), "variant": ID.replace("-9f12", "-cf12"), "short": ID[:-1], "long": ID + "0", "no-dashes": ID.replace("-", ""), "braces": "{" + ID + "}"}),
        ("redemption_id", {"63": WHO[:-1], "65": WHO + "0", "upper-case": WHO.upper(), "base64url": b64u(bytes.fromhex(WHO)), "not-hexadecimal": "g" + WHO[1:], "empty": ""}),
    ):
        for name, value in cases.items():
            yield unauthenticated(f"{member.replace('_', '-')}-{name}", f"{member} outside the grammar, rightly signed.", call=fields(**{member: value}), path_id=ID)


def step_1_spelling() -> Scenarios:
    """Rightly signed as it is spelled: nothing but the grammar refuses these, so a reader that skips it would confirm them."""
    for member, spellings in (
        ("consumed_at", {"leading-zero": f"0{CONSUMED}", "fraction": f"{CONSUMED}.0", "exponent": f"{CONSUMED}e0", "plus": f"+{CONSUMED}", "minus": "-1", "minus-0": "-0"}),
        ("sent_at", {"leading-zero": f"0{NOW}", "fraction": f"{NOW}.0", "exponent": f"{NOW}e0", "plus": f"+{NOW}"}),
    ):
        good = body_of(fields())
        for name, text in spellings.items():
            body = good.replace(f'"{member}":{fields()[member]}', f'"{member}":{text}')
            yield unauthenticated(f"body-{member.replace('_', '-')}-signed-{name}", f"{member} with {name.replace('-', ' ')}, signed in that spelling.", body=body, call=fields(**{member: text}))
    for member in ("issuer", "audience"):
        call = fields(**{member: "a\nb"})
        yield unauthenticated(f"body-{member}-raw-lf", f"An LF as such in {member}, rightly signed.", body=body_of(call).replace("\\n", "\n"), call=call)
    yield unauthenticated("body-audience-number", "A number for a name of digits, rightly signed.", call=fields(audience=7), before=row(audience="7"))


def step_2_keys() -> Scenarios:
    yield unauthenticated("unknown-key", "No key of that kid.", kid="2026-11z", keys=[key()])
    yield unauthenticated("unknown-key-case", "A kid is exact.", kid="2026-11A", keys=[key()])
    yield unauthenticated("unknown-key-proto", "A kid that every object has in some languages.", kid="__proto__", keys=[key()])
    yield unauthenticated("revoked-key", "A revoked key.", keys=[key(revoked_at=NOW - 1)])
    yield unauthenticated("revoked-key-future", "Revoked, whatever the clock.", keys=[key(revoked_at=NOW + 1000)])
    yield unauthenticated("revoked-key-second-0", "Revoked at second 0.", keys=[key(revoked_at=0)])
    yield unauthenticated("retired-key", "A key whose time is over, to the second.", keys=[key(verify_until=NOW, sign_from=ISSUED - 90000), key("2026-11b", sign_from=NOW - 4000)])


def step_3_mac() -> Scenarios:
    good = text_of("2026-11a", fields())
    yield unauthenticated("mac-other-secret", "Signed with another secret.", authorization=[header("2026-11a", mac_of("11" * 32, good))])
    yield unauthenticated("mac-secret-as-text", "Signed with the secret's hexadecimal digits in place of its bytes.", authorization=[header("2026-11a", mac_of(WORKED_SECRET.encode().hex(), good))])
    yield unauthenticated("mac-zero", "A MAC of zeros.", authorization=[header("2026-11a", "A" * 43)])
    last = mac_of(WORKED_SECRET, good)
    yield unauthenticated("mac-stray-bits", "The same bytes in another spelling.", authorization=[header("2026-11a", last[:-1] + chr(ord(last[-1]) + 1))])
    for name, text in (
        ("token-prefix", good.replace("ghasi-consume/v1", "ghasi-handoff/v1")),
        ("trailing-lf", good + "\n"),
        ("without-kid", good.replace("2026-11a\n", "")),
        ("other-algorithm", good.replace("HMAC-SHA256", "HMAC-SHA512")),
        ("exchanged-names", text_of("2026-11a", fields(issuer=AUDIENCE, audience=ISSUER))),
        ("body-as-text", body_of(fields())),
    ):
        yield unauthenticated(f"mac-over-{name}", f"The MAC of another text: {name.replace('-', ' ')}.", signing_text=text)
    for member, value in (("issuer", "bff-consumer2"), ("audience", "bff"), ("handoff_id", OTHER_ID), ("redemption_id", OTHER), ("consumed_at", CONSUMED + 1), ("sent_at", NOW + 1)):
        yield unauthenticated(f"altered-{member.replace('_', '-')}", f"{member} altered after it was signed.", body=body_of(fields(**{member: value})), path_id=str(fields(**{member: value})["handoff_id"]))
    yield unauthenticated("altered-kid", "Another key's kid.", keys=[key(), key("2026-11b", sign_from=NOW - 4000)], authorization=[header("2026-11b", mac_of(WORKED_SECRET, good))])


def step_4_recent() -> Scenarios:
    yield unauthenticated("sent-61-s-ago", "Sixty-one seconds ago is stale.", now=NOW + 61)
    yield unauthenticated("sent-61-s-ahead", "Sixty-one seconds ahead is not yet.", now=NOW - 61)
    yield unauthenticated("sent-61-s-ahead-fraction", "The clock is floored, not rounded.", now=NOW - 61 + 0.999)
    yield unauthenticated("sent-long-ago", "An old call, replayed.", now=NOW + 86400)
    yield unauthenticated("stale-repetition", "A stale call is refused even for a row that it once consumed.", now=NOW + 61, before=held())
    yield unauthenticated("before-404", "Authenticity before existence.", before=None, now=NOW + 61)
    yield unauthenticated("before-404-path", "Authenticity before the path.", path_id=OTHER_ID, now=NOW + 61)
    yield unauthenticated("before-409", "Authenticity before another's redemption.", before=held(OTHER), now=NOW + 61)
    yield unauthenticated("before-410-revoked", "Authenticity before revocation.", before=row("revoked"), now=NOW + 61)
    yield unauthenticated("before-410-expired", "Authenticity before lateness.", call=fields(consumed_at=EXPIRES + 60), now=NOW + 61)


def steps_5_and_6_unknown() -> Scenarios:
    def unknown(name: str, description: str, **facts: Any) -> tuple[str, dict[str, Any]]:
        return scenario(f"refuse-404-{name}", description, 404, "unknown_handoff", **facts)

    yield unknown("no-row", "The log has no such handoff.", before=None)
    for name, path_id in (("another", OTHER_ID), ("upper-case", ID.upper()), ("empty", ""), ("trailing-slash", ID + "/"), ("percent-encoded", ID.replace("-", "%2d")), ("trailing-space", ID + " "), ("trailing-lf", ID + "\n")):
        yield unknown(f"path-{name}", "The path's id is not the signed one.", path_id=path_id)
    yield unknown("path-another-consumed", "The path's id is not the signed one, though the row is consumed.", path_id=OTHER_ID, before=held())
    yield unknown("path-another-and-replayed", "The path comes before another's redemption.", path_id=OTHER_ID, before=held(OTHER))
    yield unknown("path-another-and-revoked", "The path comes before revocation.", path_id=OTHER_ID, before=row("revoked"))
    yield unknown("path-another-and-late", "The path comes before too late.", path_id=OTHER_ID, call=fields(consumed_at=EXPIRES + 60))
    yield unknown("other-issuer", "The row is of another issuer.", before=row(issuer="bff-consumer2"))
    yield unknown("other-audience", "The row is for another audience.", before=row(audience="bff-partner"))
    yield unknown("names-exchanged", "The row's issuer is the call's audience and the other way round.", before=row(issuer=AUDIENCE, audience=ISSUER))
    yield unknown("issuer-case", "Names are exact.", before=row(issuer="BFF-consumer"))
    yield unknown("other-issuer-consumed", "Of another pair's handoff nothing is told, not even that it is consumed.", before=held(issuer="bff-consumer2"))
    yield unknown("other-audience-revoked", "Nor that it is revoked.", before=row("revoked", audience="bff-partner"))
    yield unknown("other-issuer-late", "Nor that it is over.", before=row(issuer="bff-consumer2"), call=fields(consumed_at=EXPIRES + 60))


def steps_7_to_9() -> Scenarios:
    yield scenario("refuse-409-another", "Consumed by another redemption.", 409, "replayed", before=held(OTHER))
    yield scenario("refuse-409-and-late", "Another's comes before too late.", 409, "replayed", before=held(OTHER), call=fields(consumed_at=EXPIRES + 60))
    yield scenario("refuse-409-same-second", "The same second does not make it the same redemption.", 409, "replayed", before=held(OTHER, CONSUMED))
    yield scenario("refuse-409-near-miss", "One digit differs.", 409, "replayed", before=held(WHO[:-1] + "8"))
    yield scenario("refuse-410-revoked", "Revoked.", 410, "revoked_handoff", before=row("revoked"))
    yield scenario("refuse-410-revoked-and-late", "Revoked comes before too late.", 410, "revoked_handoff", before=row("revoked"), call=fields(consumed_at=EXPIRES + 60))
    yield scenario("refuse-410-expired-by-0", "A redemption 60 s after expires-at is too late.", 410, "expired", call=fields(consumed_at=EXPIRES + 60))
    yield scenario("refuse-410-expired", "A redemption long after the end.", 410, "expired", call=fields(consumed_at=EXPIRES + 86400))
    yield scenario("refuse-410-expired-last-time", "The greatest consumed-at there is.", 410, "expired", call=fields(consumed_at=LAST_SECOND))


# fmt: on

GROUPS = (
    confirmed,
    step_1_header,
    step_1_body,
    step_1_grammar,
    step_1_spelling,
    step_2_keys,
    step_3_mac,
    step_4_recent,
    steps_5_and_6_unknown,
    steps_7_to_9,
)


def main() -> None:
    names = write_vectors(Path(__file__).parent / "consume", (each for group in GROUPS for each in group()))
    print(f"{len(names)} vectors, {sum(name.startswith('confirm-') for name in names)} of them confirmed")


if __name__ == "__main__":
    main()
