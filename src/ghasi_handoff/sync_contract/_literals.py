"""expression -> entries. Literals and constants of the same file are followed; everything else is refused."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from ghasi_handoff.sync_contract._models import RegistryEntry
from ghasi_handoff.sync_contract._source import IDENTIFIERS, Source, inner, unescape, walk

if TYPE_CHECKING:
    from tree_sitter import Node

# Far more than any registry; a spread of a spread doubles with each line.
MAX_STEPS: Final = 500_000
_MAX_DEPTH: Final = 60
# `x as T`, `x satisfies T`, `(x)` and `x!` are x. Of `<T>x` it is the last part.
_WRAPPERS: Final = {
    "as_expression": 0,
    "satisfies_expression": 0,
    "parenthesized_expression": 0,
    "non_null_expression": 0,
    "type_assertion": -1,
}
_TEXTS: Final = frozenset({"string", "template_string", "binary_expression"})
_REFERENCES: Final = frozenset({"identifier", "shorthand_property_identifier"})
# A name with a blank, a lookalike letter or an invisible one could be taken for another.
_NAME: Final = re.compile(r"[!-~]+")
# `0x1`, `1.0` and `1n` are all named 1.
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,14}")
_READABLE: Final = "only literals, and constants of this file that hold such, can be read with certainty"


class _Member(NamedTuple):
    at: Node
    value: Node


class LiteralReader:
    """Reads what an expression of a module's top level holds."""

    def __init__(self, source: Source, constants: dict[str, tuple[Node, Node]]) -> None:
        self.source = source
        self.constants = constants
        self.followed: set[str] = set()  # the constants that were read and hold an array or object
        self.arrays: set[str] = set()  # those of them that hold an array
        self._steps = 0
        self._depth = 0
        self._object_is_known = False

    def entries(self, node: Node) -> list[RegistryEntry]:
        return [self._entry(element) for element in self._elements(node)]

    def member(self, node: Node, name: str) -> Node | None:
        found = self._members(node).get(name)
        return found.value if found is not None else None

    def frozen(self, call: Node) -> Node | None:
        """The argument of ``Object.freeze``, the one call whose answer is known: what it was given."""
        function, arguments = call.child_by_field_name("function"), call.child_by_field_name("arguments")
        if function is None or arguments is None or self.source.text(function) != "Object.freeze":
            return None
        given = inner(arguments)
        if arguments.type != "arguments" or len(given) != 1 or given[0].type == "spread_element":
            return None
        if not self._object_is_known:
            self._refuse_another_object()
        return given[0]

    def _entry(self, element: Node) -> RegistryEntry:
        members = self._members(element)
        for key in ("serviceName", "aggregate", "scope", "conflictPolicy"):
            if key not in members:
                self.source.refuse(element, f"this entry has no {key}")
        service, aggregate = members["serviceName"], members["aggregate"]
        return RegistryEntry(
            service_name=self._name(service.value),
            aggregate=self._name(aggregate.value),
            scope=self._text(members["scope"].value),
            conflict_policy=self._text(members["conflictPolicy"].value),
            service_at=self.source.place(service.at),
            aggregate_at=self.source.place(aggregate.at),
        )

    def _name(self, node: Node) -> str:
        name = self._string(node)
        if _NAME.fullmatch(name) is None:
            self.source.refuse(node, f"the name {name[:60]!a} is not printable ASCII without blanks")
        return name

    def _text(self, node: Node) -> str:
        # Neither the scope nor the policy decides anything here: what is no plain string is shown as it is written.
        if node.type == "string":
            return unescape(self.source.text(node)[1:-1]) or ""
        return self.source.text(node)

    def _elements(self, node: Node) -> Iterator[Node]:
        with self._deeper(node):
            array = self._literal(node)
            if array.type != "array":
                self.source.refuse(array, f"this is not an array that is written out; {_READABLE}")
            before = ""
            for token in array.children:  # a hole is no entry, and no one would write one on purpose
                if token.type == "," and before in {"[", ","}:
                    self.source.refuse(token, "an element of this array is left out")
                before = before if token.type == "comment" else token.type
            for element in inner(array):
                if element.type == "spread_element":
                    yield from self._elements(inner(element)[0])
                else:
                    yield element

    def _members(self, node: Node) -> dict[str, _Member]:
        with self._deeper(node):
            literal = self._literal(node)
            if literal.type != "object":
                self.source.refuse(literal, f"this is not an object that is written out; {_READABLE}")
            members: dict[str, _Member] = {}
            for child in inner(literal):  # a later member replaces an earlier one, as when the code runs
                if child.type == "spread_element":
                    members |= self._members(inner(child)[0])
                elif child.type == "shorthand_property_identifier":
                    members[self.source.text(child)] = _Member(child, child)
                else:
                    key, value = self._pair(child)
                    members[key] = _Member(child, value)
            return members

    def _pair(self, child: Node) -> tuple[str, Node]:
        key = child.child_by_field_name("key" if child.type == "pair" else "name")
        if key is None or any(token.type in {"get", "set"} for token in child.children):
            self.source.refuse(child, "what this member will be can't be told before the code runs")
        value = child.child_by_field_name("value") if child.type == "pair" else child
        if value is None:
            self.source.refuse(child, "this member has no value")
        if key.type == "computed_property_name":
            return self._string(inner(key)[0]), value
        if key.type == "number" and _INDEX.fullmatch(self.source.text(key)) is None:
            self.source.refuse(key, "the name of this member is a number that is written in an unusual way")
        name = self._string(key) if key.type == "string" else self.source.text(key)
        if name == "__proto__":
            self.source.refuse(child, "__proto__ brings members that are not written here")
        return name, value

    def _string(self, node: Node) -> str:
        with self._deeper(node):
            literal = self._literal(node)
            if literal.type == "string":
                return self._unescaped(literal, self.source.text(literal)[1:-1])
            if literal.type == "template_string":
                return self._template(literal)
            operator = literal.child_by_field_name("operator")
            if literal.type != "binary_expression" or operator is None or operator.type != "+":
                self.source.refuse(literal, f"this is not a string that is written out; {_READABLE}")
            left, right = inner(literal)
            return self._string(left) + self._string(right)

    def _template(self, literal: Node) -> str:
        # By position, not by the fragments of the tree: nothing between them can be left out.
        parts, end = [], literal.start_byte + 1
        for child in literal.named_children:
            if child.type == "template_substitution":
                raw = self.source.data[end : child.start_byte].decode("utf-8")
                parts += [self._unescaped(literal, raw), self._string(inner(child)[0])]
                end = child.end_byte
        raw = self.source.data[end : literal.end_byte - 1].decode("utf-8")
        return "".join([*parts, self._unescaped(literal, raw)])

    def _unescaped(self, node: Node, raw: str) -> str:
        text = unescape(raw)
        if text is None:
            self.source.refuse(node, "an escape in this string is wrong")
        return text

    def _literal(self, node: Node) -> Node:
        """The literal that an expression stands for, as far as that is certain; else the expression itself."""
        seen: set[str] = set()
        while True:
            self._steps += 1
            if self._steps > MAX_STEPS:
                self.source.refuse(node, "the registry is too large to be followed")
            if node.type in _WRAPPERS:
                node = inner(node)[_WRAPPERS[node.type]]
            elif node.type in _REFERENCES:
                name = self.source.text(node)
                if name in seen:
                    self.source.refuse(node, f"{name} refers to itself")
                if name not in self.constants:
                    self.source.refuse(node, f"{name} is not a constant of this file; {_READABLE}")
                seen.add(name)
                node = self.constants[name][1]
            elif node.type in {"member_expression", "subscript_expression"}:
                node = self._selected(node)
            elif node.type == "call_expression" and (frozen := self.frozen(node)) is not None:
                node = frozen
            else:
                if node.type not in _TEXTS:
                    self.followed |= seen
                if node.type == "array":
                    self.arrays |= seen
                return node

    def _selected(self, node: Node) -> Node:
        """``SERVICES.rooms`` or ``SERVICES['rooms']``, of a constant object."""
        target = node.child_by_field_name("object")
        key = node.child_by_field_name("property" if node.type == "member_expression" else "index")
        if target is None or key is None:
            self.source.refuse(node, _READABLE)
        with self._deeper(node):
            name = self.source.text(key) if node.type == "member_expression" else self._string(key)
            value = self.member(target, name)
        if value is None or value.type == "method_definition":
            self.source.refuse(node, f"the object has no member {name[:60]!a} that could be read")
        return value

    def _refuse_another_object(self) -> None:
        """Refuse a file that may have an ``Object`` of its own."""
        for node in walk(self.source.root):
            if node.type in {*IDENTIFIERS, "type_identifier"} and self.source.text(node) == "Object":
                parent = node.parent
                if parent is None or parent.type != "member_expression":
                    self.source.refuse(node, "Object may be another one here")
        self._object_is_known = True

    @contextmanager
    def _deeper(self, node: Node) -> Generator[None]:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            self.source.refuse(node, "this nests too deep, or refers to itself")
        try:
            yield
        finally:
            self._depth -= 1
