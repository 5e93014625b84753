"""What else a module does with its registry. A registry that its own file may change is no list that can be read.

A file that only holds data needs none of this. If it also uses what was read, to look something up say, then nothing
in it may write to an object, or hand one to code that is not in the file: whatever it does then, the list stays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ghasi_handoff.sync_contract._literals import LiteralReader
from ghasi_handoff.sync_contract._source import IDENTIFIERS, Source, inner, is_written, walk

if TYPE_CHECKING:
    from tree_sitter import Node

# Methods of an array that leave it as it is. The first kind call what they are given, the second do not.
_CALLING: Final = frozenset(
    {"every", "filter", "find", "findIndex", "findLast", "findLastIndex", "flatMap", "forEach", "map", "some"}
)
_PLAIN: Final = frozenset({"at", "includes", "indexOf", "join", "lastIndexOf", "slice"})
_FUNCTIONS: Final = frozenset({"arrow_function", "function_expression"})
_VALUES: Final = frozenset({"string", "number", "identifier"})
_TYPES: Final = frozenset({"type_query", "index_type_query"})
# Where a name is declared: for something else than the constant, in a part of the file.
_DECLARING: Final = frozenset(
    {
        *("variable_declarator", "required_parameter", "optional_parameter", "rest_pattern", "array_pattern"),
        *("object_pattern", "pair_pattern", "assignment_pattern", "catch_clause", "import_specifier", "import_clause"),
        *("namespace_import", "function_declaration", "class_declaration", "enum_declaration", "internal_module"),
    }
)


def refuse_other_uses(source: Source, reader: LiteralReader) -> None:
    """Refuse a module in which something else than reading may happen to what was read.

    Raises:
        UnreadableError: It may.
    """
    used: Node | None = None
    for node in walk(source.root):
        if node.type in IDENTIFIERS and source.text(node) in reader.followed and not _is_known(node, reader):
            used = used or node
            if _is_declared(node):
                source.refuse(node, f"another {source.text(node)} is declared here; which one is meant?")
    if used is None:
        return
    for node in walk(source.root):
        if _may_write(node, source, reader):
            name, line = source.text(used), used.start_point[0] + 1
            source.refuse(node, f"{name} is used in line {line}, and this may change it; move one to another file")


def _is_known(node: Node, reader: LiteralReader) -> bool:
    """Whether the reader has read it here, or it is the declaration, an export, or a part of a type."""
    parent = node.parent
    if node.id in reader.read or parent is None or parent.type == "export_specifier":
        return True
    return any(name == node for name, _ in reader.constants.values()) or _in_type(node)


def _is_declared(node: Node) -> bool:
    parent = node.parent
    if parent is None or node.type == "shorthand_property_identifier_pattern":
        return True
    if parent.type in _DECLARING:
        return parent.child_by_field_name("value") != node and parent.child_by_field_name("right") != node
    return parent.type == "arrow_function" and parent.child_by_field_name("parameter") == node


def _in_type(node: Node) -> bool:
    parent = node.parent
    while parent is not None and parent.type in {"member_expression", "subscript_expression", "nested_identifier"}:
        parent = parent.parent
    return parent is not None and parent.type in _TYPES


def _may_write(node: Node, source: Source, reader: LiteralReader) -> bool:
    if node.type == "call_expression":
        return reader.frozen(node) is None and not _is_lookup(node, source, reader)
    if node.type in {"member_expression", "subscript_expression"}:
        return _in_written_pattern(node)
    # A decorator and `x instanceof y` run code of somebody else's, and hand something over.
    return node.type in {"new_expression", "decorator", "instanceof"}


def _is_lookup(call: Node, source: Source, reader: LiteralReader) -> bool:
    """A reading method of a constant that was read, called with functions that stand here, or with plain values."""
    function, arguments = call.child_by_field_name("function"), call.child_by_field_name("arguments")
    if function is None or arguments is None or arguments.type != "arguments" or function.type != "member_expression":
        return False
    name, given = function.child_by_field_name("property"), inner(arguments)
    if name is None or source.text(name) not in _CALLING | _PLAIN:
        return False
    allowed = _FUNCTIONS if source.text(name) in _CALLING else _VALUES
    return all(argument.type in allowed for argument in given) and _root(function, source) in reader.followed


def _root(expression: Node, source: Source) -> str:
    """The ``a`` of ``a.b().c!.d``."""
    node: Node | None = expression
    while node is not None and node.type in {"call_expression", "member_expression", "non_null_expression"}:
        if node.type == "non_null_expression":
            node = inner(node)[0]
        else:
            node = node.child_by_field_name("function" if node.type == "call_expression" else "object")
    return source.text(node) if node is not None and node.type == "identifier" else ""


def _in_written_pattern(node: Node) -> bool:
    """``a.b = 1``, and ``[a.b] = [1]`` and ``({ c: a.b } = d)`` too."""
    inside: Node | None = node
    while inside is not None and not inside.type.endswith(("_statement", "_declaration")):
        if is_written(inside):
            return True
        inside = inside.parent
    return False
