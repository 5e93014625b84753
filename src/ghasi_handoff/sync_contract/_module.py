"""syntax tree -> the constants of a module, and the one that it exports as the registry."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from ghasi_handoff.sync_contract._errors import UnreadableError
from ghasi_handoff.sync_contract._source import Source, inner
from ghasi_handoff.sync_contract._strings import unescape

if TYPE_CHECKING:
    from tree_sitter import Node

REGISTRY: Final = "syncRegistry"


class Module:
    """The top level of a TypeScript module.

    Attributes:
        source: Its text and tree.
        constants: The name and the value of each ``const`` of the top level.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.constants: dict[str, tuple[Node, Node]] = {}
        for declaration, _ in _declarations(source.root):
            for name, value in _constants(declaration):
                text = source.text(name)
                if text in self.constants:
                    source.refuse(name, f"{text} is declared twice")
                self.constants[text] = (name, value)

    def registry(self) -> str:
        """The constant that is exported as ``syncRegistry``."""
        found = [*self._declared(), *self._listed()]
        if not found:
            raise UnreadableError(
                self.source.file, 1, f"there is no exported constant {REGISTRY}; a registry exports one, as an array"
            )
        if len(found) > 1:
            self.source.refuse(found[1][0], f"{REGISTRY} is exported twice")
        node, name = found[0]
        if name not in self.constants:
            self.source.refuse(node, f"{name} is not a constant of this file")
        return name

    def _declared(self) -> Iterator[tuple[Node, str]]:
        for declaration, exported in _declarations(self.source.root):
            if exported and declaration.type in {"lexical_declaration", "variable_declaration"}:
                for declarator in inner(declaration):
                    name = declarator.child_by_field_name("name")
                    if name is not None and self.source.text(name) == REGISTRY:
                        yield name, REGISTRY

    def _listed(self) -> Iterator[tuple[Node, str]]:
        for statement in inner(self.source.root):
            if statement.type != "export_statement":
                continue
            if any(child.type == "=" for child in statement.children):
                self.source.refuse(statement, "`export =` replaces every other export")
            for clause in inner(statement):
                if clause.type == "namespace_export" and REGISTRY in self.source.text(clause):
                    self.source.refuse(clause, f"{REGISTRY} comes from another file; check that file")
                if clause.type != "export_clause":
                    continue
                for specifier in inner(clause):
                    name = specifier.child_by_field_name("name")
                    alias = specifier.child_by_field_name("alias") or name
                    if name is None or alias is None or self._export_name(alias) != REGISTRY:
                        continue
                    if statement.child_by_field_name("source") is not None:
                        self.source.refuse(specifier, f"{REGISTRY} comes from another file; check that file")
                    if any(child.type == "type" for child in (*statement.children, *specifier.children)):
                        self.source.refuse(specifier, f"{REGISTRY} is exported as a type")
                    yield specifier, self.source.text(name)

    def _export_name(self, node: Node) -> str | None:
        text = self.source.text(node)
        return unescape(text[1:-1]) if node.type == "string" else text


def _declarations(root: Node) -> Iterator[tuple[Node, bool]]:
    """Each declaration of the top level, and whether it is exported."""
    for statement in inner(root):
        declaration = statement.child_by_field_name("declaration") if statement.type == "export_statement" else None
        yield declaration or statement, declaration is not None


def _constants(declaration: Node) -> Iterator[tuple[Node, Node]]:
    # Only const: what let and var hold at last depends on all the code that runs.
    if declaration.type != "lexical_declaration" or declaration.children[0].type != "const":
        return
    for declarator in inner(declaration):
        name, value = declarator.child_by_field_name("name"), declarator.child_by_field_name("value")
        if name is not None and value is not None and name.type == "identifier":
            yield name, value
