"""Registries as text: an entry in each spelling that TypeScript has for it, and a harmless neighbour."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from ghasi_handoff.sync_contract import BFF_CONSUMER, RegistryEntry, read_registry

FIXTURES = Path(__file__).parent / "fixtures"
SERVICE = "bff-consumer-service"
AGGREGATES = [aggregate.name for aggregate in BFF_CONSUMER.aggregates]
HARMLESS = "{ serviceName: 'room-service', aggregate: 'Room', scope: 'property', conflictPolicy: 'lww+diff' }"
REST = "scope: 'user', conflictPolicy: 'lww+diff'"


def module(*elements: str, before: str = "", after: str = "") -> str:
    """A registry with these elements, written into the array, after a harmless one."""
    body = "".join(f"  {element},\n" for element in (HARMLESS, *elements))
    return f"{before}export const syncRegistry = [\n{body}];\n{after}"


def entry(service: str, aggregate: str) -> str:
    return f"{{ serviceName: '{service}', aggregate: '{aggregate}', {REST} }}"


def escaped(text: str) -> str:
    """The same text, as escapes of each kind in turn."""
    forms = ("\\u{:04x}", "\\x{:02x}", "\\u{{{:x}}}", "\\u{{0000{:X}}}")
    return "".join(forms[number % 4].format(ord(character)) for number, character in enumerate(text))


# A spelling is a whole module for a service and an aggregate. {s} and {a} stand for the two names.
_ELEMENTS = {
    "single quotes": "{{ serviceName: '{s}', aggregate: '{a}', REST }}",
    "double quotes": '{{ serviceName: "{s}", aggregate: "{a}", REST }}',
    "template strings": "{{ serviceName: `{s}`, aggregate: `{a}`, REST }}",
    "template with a literal": "{{ serviceName: `${{'{s}'}}`, aggregate: `${{`{a}`}}`, REST }}",
    "quoted keys": "{{ 'serviceName': '{s}', \"aggregate\": '{a}', REST }}",
    "computed keys": "{{ ['serviceName']: '{s}', [`aggregate`]: '{a}', REST }}",
    "keys with escapes": "{{ 'service\\u004eame': '{s}', '\\x61ggregate': '{a}', REST }}",
    "concatenation": "{{ serviceName: '{s}' + '', aggregate: ('' + \"{a}\"), REST }}",
    "other order": "{{ conflictPolicy: 'n/a', aggregate: '{a}', scope: 'x', serviceName: '{s}' }}",
    "later member wins": "{{ serviceName: 'room-service', aggregate: 'Room', REST, serviceName: '{s}', aggregate: '{a}' }}",
    "as const": "{{ serviceName: '{s}' as const, aggregate: '{a}' as const, REST }} as const",
    "satisfies": "{{ serviceName: '{s}' satisfies string, aggregate: '{a}', REST }} satisfies object",
    "as after as": "({{ serviceName: ('{s}' as string) as 'x', aggregate: '{a}'!, REST }} as unknown as object)!",
    "comments within": "{{ /* a */ serviceName /* b */ : /* c */ '{s}' /* d */, // e\n aggregate: '{a}', REST }}",
    "comment signs in strings": "{{ note: '/* no comment', serviceName: '{s}', other: '*/ //', aggregate: '{a}', REST }}",
    "other members": "{{ fields: [1, (x) => x], resolve() {{ return {{}} }}, serviceName: '{s}', aggregate: '{a}', REST, n: -1 }}",
    "spread of an object": "{{ ...{{ serviceName: '{s}' }}, aggregate: '{a}', REST }}",
    "spread of an array": "...[{{ serviceName: '{s}', aggregate: '{a}', REST }}]",
    "nested spreads": "...[...[...([{{ ...{{ ...{{ serviceName: '{s}' }}, aggregate: '{a}' }}, REST }}] as const)]]",
    "frozen": "Object.freeze({{ serviceName: '{s}', aggregate: '{a}', REST }})",
    "on many lines": "{{\n serviceName:\n '{s}'\n,\n aggregate:\n '{a}', REST\n}}",
}
_MODULES = {
    "type annotation": "export const syncRegistry: readonly Entry[] = [E];",
    "generic annotation": "export const syncRegistry: ReadonlyArray<Readonly<{{ a: string }}>> = [E];",
    "array as const": "export const syncRegistry = [E] as const;",
    "array satisfies": "export const syncRegistry = [E] as const satisfies readonly Entry[];",
    "array in brackets": "export const syncRegistry = ((([E])));",
    "frozen array": "export const syncRegistry = Object.freeze([E]);",
    "spread constant": "const MORE = [E] as const;\nexport const syncRegistry = [H, ...MORE];",
    "spread of a spread constant": "const A = [E];\nconst B = [H, ...A];\nexport const syncRegistry = [...B, H];",
    "constant after its use": "export const syncRegistry = [...MORE];\nconst MORE = [E];",
    "exported constant": "export const MORE: Entry[] = [E];\nexport const syncRegistry = [H, ...MORE];",
    "constant object": "const it = E;\nexport const syncRegistry = [H, it];",
    "spread constant object": "const base = {{ serviceName: '{s}', REST }};\nexport const syncRegistry = [{{ ...base, aggregate: '{a}' }}];",
    "shorthand": "const serviceName = '{s}', aggregate = '{a}';\nexport const syncRegistry = [{{ serviceName, aggregate, REST }}];",
    "constant strings": "const S = '{s}';\nconst A = S2 + '{a}', S2 = '';\nexport const syncRegistry = [{{ serviceName: S, aggregate: A, REST }}];",
    "constant keys": "const K = 'serviceName' as const;\nexport const syncRegistry = [{{ [K]: '{s}', aggregate: '{a}', REST }}];",
    "template of constants": "const S = '{s}', A = '{a}';\nexport const syncRegistry = [{{ serviceName: `${{S}}`, aggregate: `${{ A }}`, REST }}];",
    "members of a constant": "const N = {{ S: '{s}', deep: {{ 'A': '{a}' }} }} as const;\nexport const syncRegistry = [{{ serviceName: N.S, aggregate: N['deep'].A, REST }}];",
    "alias": "const entries = [H, E];\nexport const syncRegistry = entries;",
    "alias of an alias": "const a = [E], b = a;\nexport const syncRegistry = b as readonly Entry[];",
    "exported by another name": "const entries = [E];\nexport {{ entries as syncRegistry }};",
    "exported by a list": "export type {{ Entry }} from './entry';\nconst syncRegistry = [E];\nexport {{ other, syncRegistry }};",
    "exported by a string": "const entries = [E];\nexport {{ entries as 'syncRegistry' }};",
    "second of a declaration": "export const version = 1, syncRegistry = [E];",
    "beside an enum and a class": "enum Kind {{ A = 'a' }}\nexport class C {{ m() {{}} }}\nexport const syncRegistry = [E];",
    "looked up in the same file": "export const syncRegistry = [E];\nexport const has = (name: string) => syncRegistry.some((e) => e.aggregate === name);\nexport const size = syncRegistry.length;\nexport type A = (typeof syncRegistry)[number]['aggregate'];",
    "looked up by steps": "export const syncRegistry = [E];\nexport const has = (name: string) => syncRegistry.filter((e) => e.scope === 'user')!.map((e) => e.aggregate).includes(name);",
    "looked up or refused": "export const syncRegistry = [E];\nexport function of(name: string) {{ const e = syncRegistry.find((e) => e.aggregate === name); if (!e) throw new Error(`no ${{name}}`); return e; }}",
    "handed on in the same file": "export const syncRegistry = [E];\nexport class Registry {{ readonly entries = syncRegistry; get size() {{ return this.entries.length; }} }}\nexport async function* all() {{ yield* syncRegistry; }}\nexport default syncRegistry;",
    "type of another file": "type Scope = import('./scope').Scope;\nexport const scope: import('./scope').Scope = 'property';\nexport const syncRegistry = [E];",
    "with a byte order mark": "\ufeffexport const syncRegistry = [E];",
    "with CRLF": "// a\r\nexport const syncRegistry = [\r\nE\r\n];\r\n",
    "after strings like code": 'const decoy = "export const syncRegistry = [];";\nexport const syncRegistry = [E];',
    "after a comment like code": "/* export const syncRegistry = []; */\nexport const syncRegistry = [E]; // = [];",
    "beside a decoy of its name": "type syncRegistry = never[];\nexport const syncRegistry = [E];",
}


def _spelled(text: str, service: str, aggregate: str) -> str:
    text = text.replace("REST", REST.replace("{", "{{").replace("}", "}}"))
    return text.format(s=service, a=aggregate)


def _element(text: str) -> Callable[[str, str], str]:
    return lambda service, aggregate: module(_spelled(text, service, aggregate), before="// none\n")


def _module(text: str) -> Callable[[str, str], str]:
    plain = "{{ serviceName: '{s}', aggregate: '{a}', REST }}"
    harmless = HARMLESS.replace("{", "{{").replace("}", "}}")
    whole = (
        text.replace("[E]", f"[{plain}]")
        .replace(" E;", f" {plain};")
        .replace(" E]", f" {plain}]")
        .replace("\nE\r", f"\n{plain}\r")
    )
    whole = whole.replace("[H", f"[{harmless}").replace(" H]", f" {harmless}]")
    return lambda service, aggregate: _spelled(whole, service, aggregate)


SPELLINGS: dict[str, Callable[[str, str], str]] = {
    **{name: _element(text) for name, text in _ELEMENTS.items()},
    **{name: _module(text) for name, text in _MODULES.items()},
    "unicode escapes": lambda service, aggregate: module(entry(escaped(service), escaped(aggregate))),
    "needless escapes": lambda service, aggregate: module(
        entry("".join(f"\\{c}" if c in "-." else c for c in service), f"\\\n{aggregate}\\\r\n")
    ),
    "escapes in a template": lambda service, aggregate: module(
        entry(escaped(service), escaped(aggregate)).replace("'", "`")
    ),
}


def json_spellings(service: str, aggregate: str) -> Iterator[tuple[str, str]]:
    """A registry as JSON, in each form."""
    harmless = {"serviceName": "room-service", "aggregate": "Room", "scope": "property", "conflictPolicy": "lww+diff"}
    planted = {"serviceName": service, "aggregate": aggregate, "scope": {"by": ["tenantId"]}, "conflictPolicy": None}
    yield "array", json.dumps([harmless, planted])
    yield "object", json.dumps({"version": 1, "syncRegistry": [planted, harmless]}, indent=2)
    yield "other order", json.dumps([dict(reversed(planted.items()))])
    names = {name: "".join(f"\\u{ord(letter):04X}" for letter in name) for name in (service, aggregate, "aggregate")}
    text = json.dumps([harmless, planted])
    for name in sorted(names, key=len, reverse=True):
        text = text.replace(f'"{name}"', f'"{names[name]}"')
    yield "escapes", text
    yield "one member a line", json.dumps([planted], indent=0).replace("\n", "\r\n")


def write(folder: Path, text: str, name: str = "registry.ts") -> Path:
    path = folder / name
    path.write_bytes(text.encode("utf-8"))
    return path


def read(folder: Path, text: str, name: str = "registry.ts") -> list[tuple[str, str]]:
    """Service and aggregate of each entry that is read."""
    return names(read_registry(write(folder, text, name)))


def names(entries: tuple[RegistryEntry, ...]) -> list[tuple[str, str]]:
    return [(one.service_name, one.aggregate) for one in entries]
