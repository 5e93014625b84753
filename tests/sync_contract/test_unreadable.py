"""What cannot be read with certainty is an error with file and line, never a registry without findings."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ghasi_handoff.sync_contract import UnreadableError, _literals, _registry, read_registry

from .registries import HARMLESS, SERVICE, entry, module, write

EVIL = entry(SERVICE, "Wishlist")
UNREADABLE_ELEMENTS = {
    "hole": f", {HARMLESS}",
    "call": "defineEntry({ serviceName: 'a' })",
    "spread of a call": "...entriesOf('rooms')",
    "spread of a method's answer": "...[].concat(other)",
    "spread of an import": "...IMPORTED",
    "spread of a let": "...changing",
    "spread of a var": "...hoisted",
    "spread of a parameter": "...unknown",
    "spread of a string": "...'ab'",
    "spread of an object in the array": f"...{HARMLESS}",
    "spread of a function": "...(() => [])()",
    "conditional entry": f"process.env.SYNC ? {HARMLESS} : {HARMLESS}",
    "conditional spread": f"...(on ? [{HARMLESS}] : [])",
    "and": f"on && {HARMLESS}",
    "or": f"{HARMLESS} || {HARMLESS}",
    "comma": f"({HARMLESS}, {HARMLESS})",
    "awaited": "await entry()",
    "new": "new Entry('a', 'b')",
    "string": "'Room'",
    "null": "null",
    "array in the array": f"[{HARMLESS}]",
    "service of a call": "{ serviceName: name(), aggregate: 'A', scope: '', conflictPolicy: '' }",
    "service of an import": "{ serviceName: IMPORTED, aggregate: 'A', scope: '', conflictPolicy: '' }",
    "service of an enum": "{ serviceName: Service.Rooms, aggregate: 'A', scope: '', conflictPolicy: '' }",
    "service of a condition": "{ serviceName: on ? 'a' : 'b', aggregate: 'A', scope: '', conflictPolicy: '' }",
    "service of the environment": "{ serviceName: process.env.S ?? 'a', aggregate: 'A', scope: '', conflictPolicy: '' }",
    "service by getter": "{ get serviceName() { return 'a'; }, aggregate: 'A', scope: '', conflictPolicy: '' }",
    "getter of another member": "{ get n() { this.serviceName = 'b'; }, serviceName: 'a', aggregate: 'A', scope: '', conflictPolicy: '' }",
    "setter of another member": "{ set n(x) { }, serviceName: 'a', aggregate: 'A', scope: '', conflictPolicy: '' }",
    "service by method": "{ serviceName() {}, aggregate: 'A', scope: '', conflictPolicy: '' }",
    "service is a number": "{ serviceName: 1, aggregate: 'A', scope: '', conflictPolicy: '' }",
    "template of a call": "{ serviceName: `${name()}-service`, aggregate: 'A', scope: '', conflictPolicy: '' }",
    "tagged template": "{ serviceName: tag`a`, aggregate: 'A', scope: '', conflictPolicy: '' }",
    "difference": "{ serviceName: 'a' - 'b', aggregate: 'A', scope: '', conflictPolicy: '' }",
    "replaced": "{ serviceName: 'xbff'.replace('x', ''), aggregate: 'A', scope: '', conflictPolicy: '' }",
    "joined": "{ serviceName: ['bff', 'consumer'].join('-'), aggregate: 'A', scope: '', conflictPolicy: '' }",
    "aggregate of a call": "{ serviceName: 'a', aggregate: A(), scope: '', conflictPolicy: '' }",
    "computed key of a call": "{ [key()]: 'a', serviceName: 'a', aggregate: 'A', scope: '', conflictPolicy: '' }",
    "spread of a call in the entry": "{ serviceName: 'a', aggregate: 'A', scope: '', conflictPolicy: '', ...more() }",
    "spread of an import in the entry": "{ ...IMPORTED, serviceName: 'a', aggregate: 'A', scope: '', conflictPolicy: '' }",
    "prototype": "{ __proto__: base, serviceName: 'a', aggregate: 'A', scope: '', conflictPolicy: '' }",
    "quoted prototype": "{ '__proto__': base, serviceName: 'a', aggregate: 'A', scope: '', conflictPolicy: '' }",
    "no service": "{ aggregate: 'A', scope: '', conflictPolicy: '' }",
    "no aggregate": "{ serviceName: 'a', scope: '', conflictPolicy: '' }",
    "no scope": "{ serviceName: 'a', aggregate: 'A', conflictPolicy: '' }",
    "no policy": "{ serviceName: 'a', aggregate: 'A', scope: '' }",
    "no member of a constant": "{ serviceName: SERVICES.nothing, aggregate: 'A', scope: '', conflictPolicy: '' }",
    "member with a number for a name": "{ serviceName: { '1': 'a', 0x1: 'b' }['1'], aggregate: 'A', scope: '', conflictPolicy: '' }",
    "member with a fraction for a name": "{ serviceName: { '1': 'a', 1.0: 'b' }['1'], aggregate: 'A', scope: '', conflictPolicy: '' }",
    "member with a big number for a name": "{ serviceName: { '1': 'a', 1n: 'b' }['1'], aggregate: 'A', scope: '', conflictPolicy: '' }",
    "name with a blank": entry("bff-consumer-service ", "A"),
    "name with a hidden letter": entry("bff-con\\u200bsumer-service", "A"),
    "name with a lookalike": entry("bff-\\u0441onsumer-service", "A"),
    "empty name": entry("", "A"),
    "octal escape": entry("\\142ff-consumer-service", "A"),
    "broken escape": entry("\\u62ff", "A"),
    "escape beyond Unicode": entry("\\u{110000}", "A"),
    "name refers to itself": "{ serviceName: LOOP, aggregate: 'A', scope: '', conflictPolicy: '' }",
    "array refers to itself": "...RING",
    "object of its own": "Object.freeze({ serviceName: 'a', aggregate: 'A', scope: '', conflictPolicy: '' }, Object)",
}
AROUND = """import { IMPORTED, key, more } from './other';
let changing = [];
var hoisted = [];
enum Service { Rooms = 'room-service' }
const SERVICES = { rooms: 'room-service' };
const LOOP = LOOP2, LOOP2 = LOOP;
const RING = [...RING];
"""


def test_what_would_never_end_is_refused_at_once(tmp_path: Path) -> None:
    """A FIFO under a registry's name is an error, not a build that hangs."""
    fifo = tmp_path / "registry.ts"
    os.mkfifo(fifo)
    with pytest.raises(UnreadableError, match="no regular file"):
        read_registry(fifo)


def line_of(tmp_path: Path, text: str, name: str = "registry.ts") -> int:
    """The line at which reading ends."""
    path = write(tmp_path, text, name)
    with pytest.raises(UnreadableError) as caught:
        read_registry(path)
    assert caught.value.file == str(path)
    assert caught.value.reason
    assert str(caught.value).startswith(f"{path}:{caught.value.line}: ")
    return caught.value.line


@pytest.mark.parametrize("element", UNREADABLE_ELEMENTS)
def test_element_that_is_not_certain_is_an_error(tmp_path: Path, element: str) -> None:
    """One element that cannot be read makes the registry unreadable, at the line where that stands."""
    text = module("\n\n" + UNREADABLE_ELEMENTS[element], before=AROUND)
    line = text.split("\n").index("  " + HARMLESS + ",") + 4
    referring = {"name refers to itself": 6, "array refers to itself": 7}  # there the constant is at fault
    assert line_of(tmp_path, text) == referring.get(element, line)


UNREADABLE_MODULES = {
    "no registry": (1, "export const registry = [];"),
    "not exported": (1, f"const syncRegistry = [{HARMLESS}];"),
    "exported as default": (1, f"const registry = [{HARMLESS}];\nexport default registry;"),
    "in a namespace": (1, f"export namespace X {{ export const syncRegistry = [{HARMLESS}]; }}"),
    "let": (2, f"\nexport let syncRegistry = [{HARMLESS}];"),
    "var": (2, f"\nexport var syncRegistry = [{HARMLESS}];"),
    "let exported by a list": (2, f"let syncRegistry = [{HARMLESS}];\nexport {{ syncRegistry }};"),
    "declared": (1, "export declare const syncRegistry: Entry[];"),
    "destructured": (1, "export const { syncRegistry } = all;"),
    "function": (1, "export function syncRegistry() { return []; }"),
    "call": (2, f"\nexport const syncRegistry = defineRegistry([{HARMLESS}]);"),
    "call of a chain": (2, f"\nexport const syncRegistry = [{HARMLESS}].filter(Boolean);"),
    "from": (1, f"export const syncRegistry = Array.from([{HARMLESS}]);"),
    "condition": (2, f"\nexport const syncRegistry = on ? [] : [{HARMLESS}];"),
    "object": (1, f"export const syncRegistry = {{ a: {HARMLESS} }};"),
    "imported": (2, "import { syncRegistry } from './real';\nexport { syncRegistry };"),
    "re-exported": (2, "\nexport { syncRegistry } from './real';"),
    "re-exported by another name": (2, "\nexport { entries as syncRegistry } from './real';"),
    "re-exported beside one of its name": (
        2,
        f"const syncRegistry = [{HARMLESS}];\nexport {{ syncRegistry }} from './real';",
    ),
    "re-exported as a namespace": (2, "\nexport * as syncRegistry from './real';"),
    "re-exported whole": (1, "export * from './real';"),
    "exported as a type": (2, f"const syncRegistry = [{HARMLESS}];\nexport type {{ syncRegistry }};"),
    "exported twice": (2, f"export const syncRegistry = [], a = [{HARMLESS}];\nexport {{ a as syncRegistry }};"),
    "declared twice": (2, "export const syncRegistry = [];\nconst syncRegistry = [];"),
    "alias of an import": (2, "import { entries } from './real';\nexport const syncRegistry = entries;"),
    "push": (4, module() + f"syncRegistry.push({EVIL});"),
    "push by another name": (5, module() + f"\nconst other = syncRegistry; other.push({EVIL});"),
    "shadowed in a namespace": (4, module() + f"namespace X {{ export const syncRegistry = [{EVIL}]; }}"),
    "push in a function": (4, module() + f"export function add() {{ syncRegistry.push({EVIL}); }}"),
    "push by text": (4, module() + f"syncRegistry['push']({EVIL});"),
    "push by a loop": (4, module() + "for (const e of more) syncRegistry.push(e);"),
    "push to what is spread": (2, f"const MORE = [];\nMORE.push({EVIL});\nexport const syncRegistry = [...MORE];"),
    "push to an alias": (
        2,
        f"const entries = [{HARMLESS}];\nentries.push({EVIL});\nexport {{ entries as syncRegistry }};",
    ),
    "unshift, splice": (4, module() + f"syncRegistry.splice(0, 0, {EVIL});"),
    "assigned element": (4, module() + f"syncRegistry[0] = {EVIL};"),
    "assigned member": (2, f"const it = {HARMLESS};\nit.serviceName = '{SERVICE}';\nexport const syncRegistry = [it];"),
    "assigned by destructuring": (4, module() + f"[syncRegistry[0]] = [{EVIL}];"),
    "assigned in a callback": (4, module() + f"syncRegistry.forEach((e) => {{ e.serviceName = '{SERVICE}'; }});"),
    "assigned in a pattern of a callback": (
        4,
        module() + f"syncRegistry.forEach((e) => {{ ({{ s: e.serviceName }} = {{ s: '{SERVICE}' }}); }});",
    ),
    "deleted in a callback": (4, module() + "syncRegistry.forEach((e) => delete e.serviceName);"),
    "assigned after a lookup": (
        5,
        module() + f"const e = syncRegistry.find(() => true)!;\ne.serviceName = '{SERVICE}';",
    ),
    "handed over in a callback": (4, module() + "syncRegistry.forEach((e) => change(e));"),
    "callback of another file": (4, module() + "syncRegistry.forEach(change);"),
    "handed over": (4, module() + "register(syncRegistry);"),
    "handed to a constructor": (4, module() + "export const names = new Set(syncRegistry);"),
    "sorted": (4, module() + "syncRegistry.sort();"),
    "length assigned": (4, module() + "syncRegistry.length = 0;"),
    "Object.assign": (4, module() + f"Object.assign(syncRegistry, [{EVIL}]);"),
    "shadowed": (4, module() + f"function f() {{ const syncRegistry = [{EVIL}]; return syncRegistry; }}"),
    "export of all by another form": (4, module() + "export = { syncRegistry: [] };"),
    **{
        f"shadowed by {form}": (5, module() + f"const N = {{ at: Object.assign }};\n{text}")
        for form, text in {
            "a class": "{ class syncRegistry { static at = Object.assign; } syncRegistry.at(it, evil); }",
            "an abstract class": "{ abstract class syncRegistry { static at = Object.assign; } syncRegistry.at(it, evil); }",
            "the name of a class": "export const C = class syncRegistry { static m = syncRegistry.at(it, evil); };",
            "a loop": "for (const syncRegistry of [N]) syncRegistry.at(it, evil);",
            "a pattern": "{ const { a: syncRegistry } = { a: N }; syncRegistry.at(it, evil); }",
            "a pattern in a loop": "for (const { a: syncRegistry } of [{ a: N }]) syncRegistry.at(it, evil);",
            "a caught pattern": "try { throw { a: N }; } catch ({ a: syncRegistry }) { syncRegistry.at(it, evil); }",
            "what is used": "{ using syncRegistry = N; syncRegistry.at(it, evil); }",
            "a parameter": "export const f = (syncRegistry = N) => syncRegistry.at(it, evil);",
            "a plain parameter": "export const f = syncRegistry => syncRegistry.at(it, evil);",
        }.items()
    },
    "Object.freeze of its own": (
        1,
        f"const Object = {{ freeze: (x) => evil }}; export const syncRegistry = Object.freeze([{HARMLESS}]);",
    ),
    "Object.freeze assigned": (
        1,
        f"Object.freeze = (x) => evil; export const syncRegistry = Object.freeze([{HARMLESS}]);",
    ),
    "Object.freeze of a class of its own": (
        1,
        f"class Object {{ static freeze(x) {{ return evil; }} }} export const syncRegistry = Object.freeze([{HARMLESS}]);",
    ),
    "Object.freeze assigned by another way": (
        1,
        f"globalThis.Object.freeze = (x) => evil; export const syncRegistry = Object.freeze([{HARMLESS}]);",
    ),
    "spread of every array replaced": (
        1,
        f"Array.prototype[Symbol.iterator] = function* () {{ yield evil; }}; export const syncRegistry = [...[{HARMLESS}]];",
    ),
    "push by an import of itself": (
        5,
        module() + f"import * as itself from './registry';\nitself.syncRegistry.push({EVIL});",
    ),
    "push by an import of the name it is exported by": (
        4,
        f"import {{ syncRegistry }} from './registry';\nconst entries = [{HARMLESS}];\nexport {{ entries as syncRegistry }};\n"
        f"syncRegistry.push({EVIL});",
    ),
    "push by a late import of itself": (
        4,
        module() + f"export const later = import('./registry').then((m) => m.syncRegistry.push({EVIL}));",
    ),
    "method of a constant that is called as one of an array": (
        4,
        f"const it = {HARMLESS};\nconst N = {{ list: [it], at: Object.assign }};\nexport const syncRegistry = N.list;\n"
        "N.at(it, evil);",
    ),
    "method of an entry that is called as one of an array": (
        3,
        f"const it = {{ ...{HARMLESS}, at: Object.assign }};\nexport const syncRegistry = [it];\n"
        "syncRegistry.find(() => true)!.at(it, evil);",
    ),
    "handed to an error of its own": (
        5,
        module() + "import { Error } from './other';\nexport function f() { throw new Error(syncRegistry); }",
    ),
    "handed over on the way to an error": (
        4,
        module() + "export function f() { throw new Error(name(syncRegistry)); }",
    ),
    "error that is kept": (4, module() + "export const error = new Error(syncRegistry);"),
    "eval": (4, module() + "eval('syncRegistry.push()');"),
    "CommonJS": (4, module() + "exports.syncRegistry = evil;"),
    "module.exports": (4, module() + "module.exports = { syncRegistry: evil };"),
    "escape in a name": (4, module() + "sync\\u0052egistry.push(evil);"),
    "escape in a key": (3, module("{ service\\u004eame: 'a', aggregate: 'A', scope: '', conflictPolicy: '' }")),
    "syntax error": (2, "export const syncRegistry = [\n  { serviceName: 'a' aggregate: 'b' },\n];"),
    "no end": (1, "export const syncRegistry = ["),
    "merge conflict": (4, module() + "<<<<<<< HEAD\n=======\n>>>>>>> x\n"),
    "line separator in a comment": (2, f"// a\n// b \u2028 syncRegistry.push({EVIL});\n" + module()),
    "paragraph separator in a comment": (1, f"// b \u2029 syncRegistry.push({EVIL});\n" + module()),
    "lone carriage return in a comment": (1, f"// b \r syncRegistry.push({EVIL});\n" + module()),
    "NUL": (1, "// \0\n" + module()),
    "HTML comment": (4, module() + "--> no comment in a module"),
}


@pytest.mark.parametrize("name", UNREADABLE_MODULES)
def test_module_that_is_not_certain_is_an_error(tmp_path: Path, name: str) -> None:
    """A registry that is made, changed, handed over or hidden by code cannot be read, at the line where that is seen."""
    line, text = UNREADABLE_MODULES[name]
    assert line_of(tmp_path, text) == line


@pytest.mark.parametrize("character", ["\u2028", "\u2029", "\r", "\0", "\x0b", "\x0c", "\x1b", "\x7f"])
def test_character_that_can_hide_code_is_an_error(tmp_path: Path, character: str) -> None:
    """Not every program that shows or parses the file ends a line where JavaScript does, so none may be there at all."""
    assert line_of(tmp_path, module() + f"// harmless {character} too\n") == 4
    assert line_of(tmp_path, module() + f"/*\n harmless {character} too */") == 5


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (1, ""),
        (1, "{}"),
        (1, '"syncRegistry"'),
        (1, '{"syncRegistry": {}}'),
        (1, '[["a"]]'),
        (1, "[1]"),
        (2, '[\n{"serviceName": "a"}]'),
        (2, '[\n{"serviceName": 1, "aggregate": "A", "scope": "", "conflictPolicy": ""}]'),
        (2, '[\n{"serviceName": null, "aggregate": "A", "scope": "", "conflictPolicy": ""}]'),
        (1, '[{"serviceName": "a", "serviceName": "b", "aggregate": "A", "scope": "", "conflictPolicy": ""}]'),
        (3, "[\n]\n]"),
        (1, "[],"),
        (1, "[] // comment"),
        (1, "[NaN]"),
        (3, "[\n\n'a']"),
        (1, "(" * 3000),
        (1, "[" * 100_000),
        (1, '[{"__proto__": 1, "serviceName": "a", "aggregate": "A", "scope": "", "conflictPolicy": ""}]'),
        (1, '[{"serviceName": "a\\ud800", "aggregate": "A", "scope": "", "conflictPolicy": ""}]'),
    ],
)
def test_json_that_is_not_certain_is_an_error(tmp_path: Path, line: int, text: str) -> None:
    """JSON of another form, or that two parsers could read differently, is an error at its line."""
    assert line_of(tmp_path, text, "registry.json") == line


def test_two_parsers_have_to_agree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If Python's parser and the tree saw different names in a JSON file, neither would be believed."""
    other = [{"serviceName": "room-service", "aggregate": "Other"}]
    monkeypatch.setattr(_registry, "_json_value", lambda file, text: other)
    text = '[{"serviceName": "room-service", "aggregate": "Room", "scope": "", "conflictPolicy": ""}]'
    assert line_of(tmp_path, text, "registry.json") == 1


@pytest.mark.parametrize("name", ["registry.yaml", "registry.js", "registry", "registry.tsx"])
def test_other_files_are_an_error(tmp_path: Path, name: str) -> None:
    """A file of another kind is not taken for one of the two."""
    assert line_of(tmp_path, module(), name) == 1


def test_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """No file, a folder and bytes that are not UTF-8 are errors."""
    for path in (tmp_path / "no.ts", tmp_path / "folder.ts"):
        (tmp_path / "folder.ts").mkdir(exist_ok=True)
        with pytest.raises(UnreadableError):
            read_registry(path)
    (tmp_path / "no\udcff.ts").write_text(module(), "utf-8")
    with pytest.raises(UnreadableError, match="not UTF-8"):
        read_registry(tmp_path / "no\udcff.ts")
    (tmp_path / "latin.ts").write_bytes(module().encode() + b"\n// gr\xf6\xdfe")
    with pytest.raises(UnreadableError) as caught:
        read_registry(tmp_path / "latin.ts")
    assert caught.value.line == 5


DOUBLING = (
    f"const A = [{HARMLESS}];\n"
    + "".join(f"const {chr(66 + n)} = [...{chr(65 + n)}, ...{chr(65 + n)}];\n" for n in range(25))
    + "export const syncRegistry = [...Z];\n"
)


@pytest.mark.parametrize("steps", [5_000, pytest.param(_literals.MAX_STEPS, marks=pytest.mark.thorough)])
def test_spreads_that_double_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Spreads that double 25 times stop the reader after a number of steps, not the machine."""
    monkeypatch.setattr(_literals, "MAX_STEPS", steps)
    with pytest.raises(UnreadableError, match="too large to be followed"):
        read_registry(write(tmp_path, DOUBLING))


@pytest.mark.parametrize(
    "text",
    [
        "export const syncRegistry = " + "(" * 5000 + "[]" + ")" * 5000 + ";",
        module("..." + "[..." * 3000 + "[]" + "]" * 3000),
        module("{ serviceName: " + "'a' + " * 3000 + "'b', aggregate: 'A', scope: '', conflictPolicy: '' }"),
        "export const syncRegistry = " + "[" * 100_000,
        module() + "type T = " + "[import('./a').B, " * 20_000 + "1" + "]" * 20_000 + ";",
        module() + "export const names = syncRegistry" + ".map((e) => e)" * 20_000 + ";",
        module() + "export const sum = " + "syncRegistry.length + (" * 20_000 + "1" + ")" * 20_000 + ";",
    ],
    ids=["brackets", "spreads", "sums", "open", "types", "lookups", "members"],
)
def test_file_that_would_not_end_is_an_error(tmp_path: Path, text: str) -> None:
    """Nesting without end stops the reader, not the machine."""
    line_of(tmp_path, text)


def test_file_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    """A file of more than 8 MiB is no registry."""
    line_of(tmp_path, module() + "\n" * (8 * 1024 * 1024))
