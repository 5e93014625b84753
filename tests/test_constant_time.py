"""No MAC and no secret is compared but in constant time: a comparison that ends at the first difference tells where it is.

Read from the source, because no clock shows it reliably.
"""

from __future__ import annotations

import ast
import hmac
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from ghasi_handoff import _mac, _ring_rules, _signing_key

ROOT = Path(__file__).parents[1] / "src" / "ghasi_handoff"
# Names of what must not be compared so; constants, in capitals, are lengths and names of variables.
_is_secret = re.compile(r"(.*_)?(secrets?|macs?|keks?|signatures?|digest)(_text|_bytes)?|.*mac|.*_kek").fullmatch
# What looks into a text until it differs, as == does.
METHODS = {"__eq__", "__ne__", "__contains__", "startswith", "endswith", "find", "index", "count", "removeprefix"}
# A secret beside itself, when a key is made; and the demo's search of its own logs.
ALLOWED = {"_secret_checks.py: secret == secret[:1] * len(secret)", "demo/story.py: secret in text"}


def comparisons(source: str) -> Iterator[str]:
    """The comparisons of a module in which a secret takes part."""
    for node in ast.walk(ast.parse(source)):
        operands: list[ast.expr] = []
        if isinstance(node, ast.Compare) and any(
            isinstance(op, ast.Eq | ast.NotEq | ast.In | ast.NotIn) for op in node.ops
        ):
            operands = [node.left, *node.comparators]
        elif isinstance(node, ast.Match):
            operands = [node.subject]
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            operands = [node.func.value, *node.args]
        if any(named(operand) for operand in operands):
            yield ast.unparse(node)


def named(operand: ast.expr) -> bool:
    """Whether an operand is a secret, by its name; its length, type and number are none."""
    if isinstance(operand, ast.Call) and isinstance(operand.func, ast.Name) and operand.func.id in ("len", "type"):
        return False
    names = {node.id for node in ast.walk(operand) if isinstance(node, ast.Name)}
    names |= {node.attr for node in ast.walk(operand) if isinstance(node, ast.Attribute)}
    return any(_is_secret(name) is not None for name in names)


def test_no_secret_is_compared_by_the_operators() -> None:
    """No ==, !=, `in`, method or match statement compares a MAC or a secret."""
    found = {
        f"{path.relative_to(ROOT).as_posix()}: {text}"
        for path in ROOT.rglob("*.py")
        for text in comparisons(path.read_text("utf-8"))
    }
    assert found == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "compute_mac(key, body) == mac_text",
        "given != expected_mac",
        "key._secret == other",
        "mac in seen",
        "self.secret[:4] == b'abcd'",
        "header.mac.startswith(prefix)",
        "expected.__eq__(mac_text)",
        "match mac:\n    case 'x': pass",
        "a == b == context.digest",
    ],
)
def test_the_search_finds_each_kind(source: str) -> None:
    """The search is not blind."""
    assert list(comparisons(source)) != []


@pytest.mark.parametrize("source", ["len(secret) != BROWSER_SECRET_BYTES", "mac_text is None", "type(secret) == bytes"])
def test_lengths_and_types_may_be_compared(source: str) -> None:
    """They say nothing of what is inside."""
    assert list(comparisons(source)) == []


@pytest.mark.parametrize(
    ("module", "function", "call"),
    [
        (_mac, "is_mac", "return compare_digest(compute_mac(key, body), mac_text)"),
        (_mac, "is_message_mac", "return compare_digest(compute_message_mac(key, message), mac_text)"),
        (_signing_key, "__eq__", "compare_digest(self._secret, other.secret)"),
        (_ring_rules, "check_ring", "if compare_digest(_effective_secret(earlier), _effective_secret(key)):"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_macs_and_secrets_are_compared_in_constant_time(module: ModuleType, function: str, call: str) -> None:
    """A token's MAC, a consume call's, and two keys' secrets are compared by `hmac.compare_digest`, as a whole."""
    assert vars(module)["compare_digest"] is hmac.compare_digest
    bodies = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.FunctionDef) and node.name == function
    ]
    assert sum(call in body for body in bodies) == 1
