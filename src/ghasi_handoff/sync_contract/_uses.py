"""What else a module does. A registry that its own file may change is no list that can be read.

A file may reach its own registry by many ways: by its name, by an import of itself, by what all arrays inherit. So
apart from reading methods of an array that was read, nothing in it may call code or write to an object: whatever it
does then, the list stays.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from ghasi_handoff.sync_contract._literals import LiteralReader
from ghasi_handoff.sync_contract._source import IDENTIFIERS, Source, inner, walk

if TYPE_CHECKING:
    from tree_sitter import Node

# Methods of an array that leave it as it is. The first kind call what they are given, the second do not.
_CALLING: Final = frozenset(
    {"every", "filter", "find", "findIndex", "findLast", "findLastIndex", "flatMap", "forEach", "map", "some"}
)
_PLAIN: Final = frozenset({"at", "includes", "indexOf", "join", "lastIndexOf", "slice"})
# Those whose answer is an array, too.
_ARRAYS: Final = frozenset({"filter", "flatMap", "map", "slice"})
_FUNCTIONS: Final = frozenset({"arrow_function", "function_expression"})
_VALUES: Final = frozenset({"string", "number", "identifier"})
_NAMES: Final = IDENTIFIERS | {"type_identifier"}
_ERRORS: Final = frozenset({"Error", "RangeError", "TypeError"})
# What is gone when the code runs; the type `import('./scope').SyncScope` has the form of a call.
_TYPES: Final = frozenset({"type_alias_declaration", "type_annotation"})
# Where a name stands for a value. Not where one is declared: the forms of that are many, and the next one is unknown.
_READING: Final = frozenset(
    {
        *("array", "arguments", "arrow_function", "as_expression", "assignment_expression", "assignment_pattern"),
        *("await_expression", "binary_expression", "call_expression", "export_specifier", "export_statement"),
        *("expression_statement", "for_in_statement", "index_type_query", "member_expression", "nested_identifier"),
        *("non_null_expression", "object", "optional_parameter", "pair", "parenthesized_expression"),
        *("required_parameter", "return_statement", "satisfies_expression", "spread_element", "subscript_expression"),
        *("template_substitution", "ternary_expression", "type_query", "unary_expression", "variable_declarator"),
        *("public_field_definition", "yield_expression"),
    }
)
# And there, the part in which it would be declared or written.
_WRITTEN: Final = ("name", "left", "parameter", "pattern")
_TARGETS: Final = {
    "assignment_expression": "left",
    "augmented_assignment_expression": "left",
    "for_in_statement": "left",
    "unary_expression": "argument",
    "update_expression": "argument",
}
_CLASSES: Final = frozenset({"abstract_class_declaration", "class", "class_declaration"})


def refuse_other_uses(source: Source, reader: LiteralReader) -> None:
    """Refuse a module in which something else than reading may happen to what was read."""
    own = {name.id for name, _ in reader.constants.values()}
    errors = _ERRORS - _given_another_meaning(source)
    for node in walk(source.root, without=_TYPES):
        is_followed = node.type in _NAMES and node.id not in own and source.text(node) in reader.followed
        if is_followed and _is_declared(node):
            source.refuse(node, f"another {source.text(node)} may be declared here; which one is meant?")
        if _may_write(node, source, reader) and not _is_error(node, source, errors):
            source.refuse(
                node, "this runs code or writes to an object, and so may change the registry; move it to another file"
            )


def _is_declared(node: Node) -> bool:
    """Whether it is not certain that this name only stands for its value, or for a type."""
    parent = node.parent
    if parent is None or node.type == "type_identifier":
        return parent is not None and parent.type in _CLASSES
    if parent.type == "export_specifier" or parent.type == "binary_expression":
        return False
    return parent.type not in _READING or any(parent.child_by_field_name(part) == node for part in _WRITTEN)


def _may_write(node: Node, source: Source, reader: LiteralReader) -> bool:
    if node.type == "call_expression":
        return reader.frozen(node) is None and not _is_lookup(node, source, reader)
    # A decorator and `x instanceof y` run code of somebody else's, and hand something over.
    return node.type in {"new_expression", "decorator", "instanceof"} or _writes(node)


def _writes(node: Node) -> bool:
    """``a.b = 1``, and ``[a.b] = [1]`` and ``({ c: a.b } = d)`` too; not ``a = 1``, and no declaration."""
    part, operator = _TARGETS.get(node.type), node.child_by_field_name("operator")
    is_other = node.type == "unary_expression" and (operator is None or operator.type != "delete")
    if part is None or is_other or node.child_by_field_name("kind") is not None:  # the const of `for (const a of b)`
        return False
    target = node.child_by_field_name(part)
    return target is None or target.type != "identifier"


def _given_another_meaning(source: Source) -> set[str]:
    """The names of errors that stand anywhere but behind ``new``: a file may have one of its own."""
    return {
        source.text(node)
        for node in walk(source.root)
        if node.type in _NAMES
        and source.text(node) in _ERRORS
        and not (node.parent and node.parent.type == "new_expression")
    }


def _is_error(node: Node, source: Source, errors: Collection[str]) -> bool:
    """``throw new Error('…')``, where Error is the one of the language."""
    name = node.child_by_field_name("constructor") if node.type == "new_expression" else None
    thrown = node.parent is not None and node.parent.type == "throw_statement"
    return thrown and name is not None and name.type == "identifier" and source.text(name) in errors


def _is_lookup(call: Node, source: Source, reader: LiteralReader) -> bool:
    """A reading method of an array that was read, called with functions that stand here, or with plain values."""
    name, given = _method(call, source), call.child_by_field_name("arguments")
    if name not in _CALLING | _PLAIN or given is None or given.type != "arguments":
        return False
    allowed = _FUNCTIONS if name in _CALLING else _VALUES
    return all(argument.type in allowed for argument in inner(given)) and _is_array(_receiver(call), source, reader)


def _is_array(node: Node | None, source: Source, reader: LiteralReader) -> bool:
    """``a`` and ``a.filter(…)!``, not ``a.find(…)``: an entry may have a method ``at`` of its own."""
    while node is not None and node.type in {"call_expression", "non_null_expression"}:
        if node.type == "non_null_expression":
            node = inner(node)[0]
        elif _method(node, source) in _ARRAYS:  # whether that call is a lookup is asked when the walk comes to it
            node = _receiver(node)
        else:
            return False
    return node is not None and node.type == "identifier" and source.text(node) in reader.arrays


def _method(call: Node, source: Source) -> str:
    function = call.child_by_field_name("function")
    name = function.child_by_field_name("property") if function is not None else None
    return source.text(name) if name is not None else ""


def _receiver(call: Node) -> Node | None:
    function = call.child_by_field_name("function")
    return function.child_by_field_name("object") if function is not None else None
