"""bytes -> syntax tree -> constants, exports, texts. What a parser and a person could read differently is refused."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, NoReturn

from ghasi_handoff.sync_contract._models import Place, UnreadableError

try:
    from tree_sitter import Language, Node, Parser
    from tree_sitter_typescript import language_typescript
except ModuleNotFoundError as exc:
    raise ModuleNotFoundError(
        "reading a registry needs tree-sitter: install ghasi-handoff[sync-contract]", name=exc.name
    ) from exc

REGISTRY: Final = "syncRegistry"
IDENTIFIERS: Final = frozenset({"identifier", "shorthand_property_identifier", "shorthand_property_identifier_pattern"})
_NAMES: Final = IDENTIFIERS | {"property_identifier", "type_identifier"}
# Some of these end a line for JavaScript, and so a comment, but not for every parser and editor: code would hide in
# comments (tree-sitter-javascript, issue 319).
_HIDDEN: Final = re.compile("[\u2028\u2029\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)")
# Far more than anybody writes.
_MAX_DEPTH: Final = 500
_LANGUAGE: Final = Language(language_typescript())
_ESCAPE: Final = re.compile(
    r"\\(?:u\{(?P<braced>[0-9A-Fa-f]+)\}|u(?P<four>[0-9A-Fa-f]{4})|x(?P<two>[0-9A-Fa-f]{2})"
    r"|(?P<line>\r\n|[\n\r\u2028\u2029])|(?P<nul>0(?![0-9]))|(?P<other>.|$))",
    re.DOTALL,
)
_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
# `\1` and `\08` are octal in sloppy code and errors in modules; `\u` and `\x` need their digits.
_NOT_ESCAPES: Final = frozenset("0123456789ux")


@dataclass(frozen=True, slots=True)
class Source:
    """A file's text and its syntax tree. `shift` characters were put before the file's own first line."""

    file: str
    data: bytes
    root: Node
    shift: int = 0

    def text(self, node: Node) -> str:
        return self.data[node.start_byte : node.end_byte].decode("utf-8")

    def place(self, node: Node) -> Place:
        row, column = node.start_point
        before = self.data[node.start_byte - column : node.start_byte].decode("utf-8")
        shift = self.shift if row == 0 else 0
        return Place(file=self.file, line=row + 1, column=max(1, len(before) + 1 - shift))

    def refuse(self, node: Node, reason: str) -> NoReturn:
        at = self.place(node)
        raise UnreadableError(at.file, at.line, reason, column=at.column)


def parse(file: str, data: bytes, *, shift: int = 0) -> Source:
    source = Source(file, data, Parser(_LANGUAGE).parse(data).root_node, shift)
    if source.root.has_error:
        for node in walk(source.root):
            if node.is_error or node.is_missing:
                source.refuse(node, "the parser cannot read this as TypeScript")
        source.refuse(source.root, "the parser cannot read this as TypeScript")
    level = [source.root]
    for _ in range(_MAX_DEPTH):
        level = [child for node in level for child in node.children]
    if level:  # the way from a node to those above it is as long as that
        source.refuse(level[0], "this nests too deep")
    return source


def refuse_what_hides(source: Source) -> None:
    """Refuse a module in which code may look like a comment, or a name like another."""
    text = source.data.decode("utf-8")
    match = _HIDDEN.search(text)
    if match is not None:
        line = text.count("\n", 0, match.start()) + 1
        raise UnreadableError(source.file, line, f"the character {match[0]!a} can hide code; remove it")
    for node in walk(source.root):
        if node.type == "html_comment":
            source.refuse(node, "this is a comment in a script and code in a module")
        if node.type in _NAMES and "\\" in source.text(node):
            source.refuse(node, "a name is written with an escape")


def walk(root: Node, *, without: Collection[str] = ()) -> Iterator[Node]:
    """Each node of a tree, in the order of the text, but for those of the types `without` and what is in them."""
    # Not recursive: a file may nest as deep as it likes.
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(child for child in reversed(node.children) if child.type not in without)


def inner(node: Node) -> list[Node]:
    """The named children of a node that are no comments."""
    return [child for child in node.named_children if child.type not in {"comment", "html_comment"}]


def constants_of(source: Source) -> dict[str, tuple[Node, Node]]:
    """The name and the value of each ``const`` of the top level."""
    constants: dict[str, tuple[Node, Node]] = {}
    for statement in inner(source.root):
        exported = statement.child_by_field_name("declaration") if statement.type == "export_statement" else None
        declaration = exported or statement
        # Only const: what let and var hold at last depends on all the code that runs.
        if declaration.type != "lexical_declaration" or declaration.children[0].type != "const":
            continue
        for declarator in inner(declaration):
            name, value = declarator.child_by_field_name("name"), declarator.child_by_field_name("value")
            if name is not None and value is not None and name.type == "identifier":
                text = source.text(name)
                if text in constants:
                    source.refuse(name, f"{text} is declared twice")
                constants[text] = (name, value)
    return constants


def exported_registry(source: Source, constants: Collection[str]) -> str:
    """The constant that is exported as ``syncRegistry``."""
    found = list(_exports(source))
    if not found:
        why = f"there is no exported constant {REGISTRY}; a registry exports one, as an array"
        raise UnreadableError(source.file, 1, why)
    if len(found) > 1:
        source.refuse(found[1][0], f"{REGISTRY} is exported twice")
    node, name = found[0]
    if name not in constants:
        source.refuse(node, f"{name} is not a constant of this file")
    return name


def _exports(source: Source) -> Iterator[tuple[Node, str]]:
    """Where something is exported as ``syncRegistry``, and its own name."""
    for statement in inner(source.root):
        if statement.type != "export_statement":
            continue
        if any(child.type == "=" for child in statement.children):
            source.refuse(statement, "`export =` replaces every other export")
        for clause in inner(statement):
            if clause.type in {"lexical_declaration", "variable_declaration"}:
                names = [declarator.child_by_field_name("name") for declarator in inner(clause)]
                yield from ((name, REGISTRY) for name in names if name is not None and source.text(name) == REGISTRY)
            if clause.type == "namespace_export" and REGISTRY in source.text(clause):
                source.refuse(clause, f"{REGISTRY} comes from another file; check that file")
            for specifier in inner(clause) if clause.type == "export_clause" else ():
                name = specifier.child_by_field_name("name")
                alias = specifier.child_by_field_name("alias") or name
                if name is None or alias is None:
                    continue
                exported = source.text(alias)
                if (unescape(exported[1:-1]) if alias.type == "string" else exported) != REGISTRY:
                    continue
                if statement.child_by_field_name("source") is not None:
                    source.refuse(specifier, f"{REGISTRY} comes from another file; check that file")
                if any(child.type == "type" for child in (*statement.children, *specifier.children)):
                    source.refuse(specifier, f"{REGISTRY} is exported as a type")
                yield specifier, source.text(name)


def unescape(raw: str) -> str | None:
    """What stands between the quotes, with its escapes read; None if an escape is wrong.

    See ECMA-262, sections 12.9.4 and 12.9.6.
    """
    parts: list[str] = []
    end = 0
    for match in _ESCAPE.finditer(raw):
        character = _character(match)
        if character is None:
            return None
        parts += [raw[end : match.start()], character]
        end = match.end()
    return "".join([*parts, raw[end:]])


def _character(match: re.Match[str]) -> str | None:
    digits = match["braced"] or match["four"] or match["two"]
    if digits is not None:
        code = int(digits, 16)
        return chr(code) if code <= 0x10FFFF else None
    if match["line"] is not None:
        return ""
    if match["nul"] is not None:
        return "\0"
    other = match["other"]
    return None if not other or other in _NOT_ESCAPES else _CONTROLS.get(other, other)
