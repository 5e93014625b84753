"""ABNF of docs/spec/v1.md -> regular expressions -> the vectors: the grammar accepts and refuses what the page says."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
SPECIFICATION: Final = ROOT / "docs" / "spec" / "v1.md"
VECTORS: Final = [
    (path.stem, json.loads(path.read_text("utf-8"))) for path in sorted((ROOT / "tests" / "vectors").glob("*.json"))
]
ACCEPTED: Final = [pytest.param(vector, id=name) for name, vector in VECTORS if vector["expect"] == "accepted"]
MALFORMED: Final = [pytest.param(vector, id=name) for name, vector in VECTORS if vector["expect"] == "malformed"]
# The codes of the steps after step 4, and of those after step 6a.
ADDRESSEE: Final = frozenset({"wrong_issuer", "wrong_audience", "wrong_tenant"})
TIMES_AND_PAYLOAD: Final = frozenset({"accepted", "lifetime_too_long", "not_yet_valid", "expired", "invalid_payload"})

# RFC 5234, appendix B.1, as far as it is used.
CORE: Final = {"ALPHA": "[A-Za-z]", "DIGIT": "[0-9]", "OCTET": r"[\x00-\xff]"}
LEXEME: Final = re.compile(
    r"""\s*(?:
        (?:%s)?"(?P<literal>[^"]*)"
      | %x(?P<first>[0-9A-F]{2})(?:-(?P<last>[0-9A-F]{2}))?
      | (?P<repeat>[0-9]*\*[0-9]*|[0-9]+)
      | (?P<name>[A-Za-z][A-Za-z0-9-]*)
      | (?P<sign>[()/])
    )""",
    re.VERBOSE,
)


def rules_of(page: str) -> dict[str, str]:
    """The rules of a page's one abnf block, each on one line, without comments."""
    (block,) = re.findall(r"^```abnf\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    lines = (re.sub(r";.*", "", line).rstrip() for line in block.splitlines())
    joined = re.sub(r"\n[ \t]+", " ", "\n".join(line for line in lines if line))
    rules: dict[str, str] = {}
    for line in joined.splitlines():
        name, _, elements = line.partition("=")
        assert name.strip() not in rules, f"two rules for {name}"
        rules[name.strip()] = elements.strip()
    return rules


def expression(rules: dict[str, str], name: str) -> str:
    """A rule as a regular expression over text in which each byte is one character (Latin-1).

    Literals are case-sensitive, as the specification says in its conventions.
    """
    lexemes = list(LEXEME.finditer(rules[name]))
    assert "".join(match.group() for match in lexemes) == rules[name], f"{name}: not understood as a whole"
    result = repeat = ""
    for match in lexemes:
        sign = match["sign"]
        if match["repeat"] is not None:
            low, star, high = match["repeat"].partition("*")
            repeat = f"{{{low or 0},{high}}}" if star else f"{{{low}}}"
            continue
        if sign == "(":
            assert not repeat, "a repeated group: add it here when the grammar needs one"
            result += "(?:"
            continue
        if sign is not None:
            result += "|" if sign == "/" else ")"
            continue
        if match["name"] is not None:
            atom = CORE.get(match["name"]) or f"(?:{expression(rules, match['name'])})"
        elif match["first"] is not None:
            atom = f"[\\x{match['first']}-\\x{match['last'] or match['first']}]"
        else:
            atom = f"(?:{re.escape(match['literal'])})"
        result, repeat = f"{result}{atom}{repeat}", ""
    return result


def recogniser(name: str) -> Callable[[str], bool]:
    """Whether a whole text matches the specification's rule `name`."""
    compiled = re.compile(expression(rules_of(SPECIFICATION.read_text("utf-8")), name))
    return lambda text: compiled.fullmatch(text) is not None


is_token: Final = recogniser("token")
is_kid: Final = recogniser("kid")
is_body: Final = recogniser("body")
is_signing_string: Final = recogniser("signing-string")


def body_of(token: str) -> bytes | None:
    """The decoded body of a text that matches `token`, or None where its base64url is not canonical."""
    text = token.split(".")[2]
    if len(text) % 4 == 1:
        return None
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return data if base64.urlsafe_b64encode(data).decode("ascii").rstrip("=") == text else None


def is_well_shaped(token: Any) -> bool:
    """Step 1: the grammar of a token, its length, and the one rule about its body that is prose."""
    return isinstance(token, str) and len(token) <= 4096 and is_token(token) and body_of(token) is not None


def lines_of(token: str) -> tuple[str, int, int] | None:
    """Handoff id, issued-at and expires-at of a body that passes step 4: its grammar and two rules about numbers."""
    body = (body_of(token) or b"").decode("latin-1")
    if not is_body(body):
        return None
    handoff_id, issued_at, expires_at = body.split("\n")[3:6]
    milliseconds = int(handoff_id.replace("-", "")[:12], 16)
    times = (int(issued_at), int(expires_at))
    return (handoff_id, *times) if milliseconds // 1000 == times[0] and max(times) <= 253402300799 else None


def ends_after_it_begins(token: str) -> bool:
    """Step 6a."""
    lines = lines_of(token)
    return lines is not None and lines[1] < lines[2]


def test_every_rule_of_the_grammar_is_used_and_none_is_missing() -> None:
    """The two things that the grammar describes, tokens and signing strings, need every rule and no other."""
    rules = rules_of(SPECIFICATION.read_text("utf-8"))
    seen: set[str] = set()
    waiting = ["token", "signing-string"]
    while waiting:
        name = waiting.pop()
        if name in seen or name in CORE:
            continue
        seen.add(name)
        waiting += [match["name"] for match in LEXEME.finditer(rules[name]) if match["name"] is not None]
    assert seen == set(rules)


@pytest.mark.parametrize("vector", ACCEPTED)
def test_the_grammar_matches_what_is_accepted(vector: dict[str, Any]) -> None:
    """An accepted token matches the grammar, and so does its signing string, which ends with the token's body."""
    assert is_well_shaped(vector["token"])
    assert ends_after_it_begins(vector["token"])
    assert is_kid(vector["token"].split(".")[1])
    signing_string = vector["signing_string"].encode("utf-8")
    assert is_signing_string(signing_string.decode("latin-1"))
    assert signing_string.split(b"\n", 3)[3] == body_of(vector["token"])


@pytest.mark.parametrize("vector", MALFORMED)
def test_what_is_malformed_breaks_the_grammar_or_a_rule_beside_it(vector: dict[str, Any]) -> None:
    """For each malformed token the specification has a reason: its grammar, or one of the few rules that are prose."""
    assert not (is_well_shaped(vector["token"]) and ends_after_it_begins(vector["token"]))


def test_what_is_refused_later_matches_the_grammar() -> None:
    """A token that a later step refuses breaks no rule of an earlier one: the order of the steps is as stated."""
    for name, vector in VECTORS:
        if vector["expect"] != "malformed":
            assert is_well_shaped(vector["token"]), name
        if vector["expect"] in ADDRESSEE:
            assert lines_of(vector["token"]) is not None, name
        if vector["expect"] in TIMES_AND_PAYLOAD:
            assert ends_after_it_begins(vector["token"]), name


@pytest.mark.parametrize("part", ["kid", "mac", "version"])
def test_a_token_whose_kid_mac_or_version_is_malformed_matches_no_grammar(part: str) -> None:
    """The vectors named after a part of the token's text are refused by the grammar alone, not by a rule beside it."""
    named = [(name, vector["token"]) for name, vector in VECTORS if name.startswith(f"refuse-malformed-{part}-")]
    assert named
    for name, token in named:
        assert not is_token(token), name
