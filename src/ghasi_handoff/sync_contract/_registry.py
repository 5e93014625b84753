"""path -> entries. TypeScript is parsed, not run; JSON is read twice, by two parsers that must agree."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from ghasi_handoff.sync_contract._models import RegistryEntry, UnreadableError

MAX_BYTES: Final = 8 * 1024 * 1024
_TYPESCRIPT: Final = frozenset({".ts", ".mts", ".cts"})
_REGISTRY: Final = "syncRegistry"


def read_registry(path: str | Path) -> tuple[RegistryEntry, ...]:
    """The entries of a sync registry, in their order.

    A ``.ts``, ``.mts`` or ``.cts`` file must export an array ``syncRegistry`` of literals; constants of the same file
    are followed, also where they are spread. A ``.json`` file holds that array, or an object with a member
    ``syncRegistry``.

    Raises:
        UnreadableError: It can't be read, or not all of it with certainty. That is never "no entries".
    """
    file, suffix = os.fspath(path), Path(path).suffix.lower()
    if suffix not in _TYPESCRIPT and suffix != ".json":
        raise UnreadableError(file, 1, "a registry is a .ts, .mts, .cts or .json file")
    data = read_bytes(file)
    return _from_json(file, data) if suffix == ".json" else _from_typescript(file, data)


def read_bytes(file: str) -> bytes:
    """A text file's bytes, without a byte order mark."""
    try:
        file.encode("utf-8")
    except UnicodeEncodeError as exc:  # how Python shows the bytes of a name that are not UTF-8
        shown = os.fsencode(file).decode("utf-8", "backslashreplace")
        raise UnreadableError(shown, 1, "the name of this file is not UTF-8") from exc
    try:
        # A FIFO or a device, which would hang a build: looked at before it is opened.
        if Path(file).exists() and not Path(file).is_file() and not Path(file).is_dir():
            raise UnreadableError(file, 1, "this is no regular file")
        with Path(file).open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except OSError as exc:
        raise UnreadableError(file, 1, exc.strerror or str(exc)) from exc
    if len(data) > MAX_BYTES:
        raise UnreadableError(file, 1, f"this has more than {MAX_BYTES} bytes")
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise UnreadableError(file, data.count(b"\n", 0, exc.start) + 1, "this is not UTF-8") from exc
    return data


def _from_typescript(file: str, data: bytes) -> tuple[RegistryEntry, ...]:
    # Imported here: a contract in Markdown is read without a parser for TypeScript, and so is this room.
    from ghasi_handoff.sync_contract._literals import LiteralReader
    from ghasi_handoff.sync_contract._source import constants_of, exported_registry, parse, refuse_what_hides
    from ghasi_handoff.sync_contract._uses import refuse_other_uses

    source = parse(file, data)
    refuse_what_hides(source)
    reader = LiteralReader(source, constants_of(source))
    entries = reader.entries(reader.constants[exported_registry(source, reader.constants)][0])
    refuse_other_uses(source, reader)
    return tuple(entries)


def _from_json(file: str, data: bytes) -> tuple[RegistryEntry, ...]:
    from ghasi_handoff.sync_contract._literals import LiteralReader
    from ghasi_handoff.sync_contract._source import inner, parse

    value = _json_value(file, data.decode("utf-8"))
    # JSON is an expression of JavaScript; its tree knows the lines that Python's parser does not tell.
    source = parse(file, b"(" + data + b")", shift=1)
    reader = LiteralReader(source, {})
    node = inner(inner(source.root)[0])[0]
    if isinstance(value, dict):
        found = reader.member(node, _REGISTRY)
        if found is None or _REGISTRY not in value:
            raise UnreadableError(file, 1, f"this object has no member {_REGISTRY}")
        node, value = found, value[_REGISTRY]
    if not isinstance(value, list):
        raise UnreadableError(file, 1, f"a registry is an array, or an object with an array {_REGISTRY}")
    entries = reader.entries(node)
    names = [(entry.service_name, entry.aggregate) for entry in entries]
    if names != [(entry["serviceName"], entry["aggregate"]) for entry in value]:
        raise UnreadableError(file, 1, "two parsers read this file differently")
    return tuple(entries)


def _json_value(file: str, text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number)
    except json.JSONDecodeError as exc:
        raise UnreadableError(file, exc.lineno, f"this is not JSON: {exc.msg}", column=exc.colno) from exc
    except (RecursionError, ValueError) as exc:
        why = "it nests too deep" if isinstance(exc, RecursionError) else exc
        raise UnreadableError(file, 1, f"this is not JSON that can be read: {why}") from exc


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    # Which of the two holds? Parsers differ.
    if len(members) != len(pairs):
        raise ValueError("a member stands twice in one object")
    return members


def _no_number(constant: str) -> float:
    raise ValueError(f"{constant} is no number in JSON")
