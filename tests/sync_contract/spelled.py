"""A registry of given names, as TypeScript with every freedom that the language gives.

The names are Hypothesis's, and so shrink; the spelling is a seed's: a thousand small choices would be slow to draw.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from random import Random

from hypothesis import strategies as st

from .registries import AGGREGATES

Names = list[tuple[str, str]]

service_names = st.sampled_from(
    ["room-service", "guest-service", "a", "bff-tenant-booking-service", "$x", "it's", 'a"b`c\\d']
)
aggregate_names = st.sampled_from(["Room", "Guest", "x.y", "bff_consumer.Room", "WishlistItem", "${Room}", "//", "/*"])
harmless = st.lists(st.tuples(service_names, aggregate_names), max_size=5)
planted = st.one_of(
    st.tuples(st.sampled_from(["bff-consumer-service", "bff-consumer"]), aggregate_names),
    st.tuples(service_names, st.sampled_from(AGGREGATES)),
    st.tuples(service_names, st.builds("bff-consumer.{}".format, aggregate_names)),
)


@dataclass
class Writer:
    """Writes one module; what it needs as constants goes before or after the registry."""

    random: Random
    constants: list[str] = field(default_factory=list)

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def chance(self) -> bool:
        return self.pick("yes", "no", "no") == "yes"

    def constant(self, value: str, annotation: str = "") -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(f"{self.pick('', 'export ')}const {name}{annotation} = {self.wrapped(value)};")
        return name

    def blank(self) -> str:
        return self.pick("", "", " ", "\n", "\r\n", "/* ] } ' ` */", "// ' ] `\n", "\t", "/**/", "/*//*/")

    def wrapped(self, value: str) -> str:
        form = self.pick(
            "{}", "{}", "({})", "{} as any", "{} satisfies any", "({})!", "(({} as any))", "{} as unknown as any"
        )
        return form.replace("{}", value)

    def letter(self, letter: str, quote: str) -> str:
        if letter in {quote, "\\"} or (quote == "`" and letter == "$"):
            return f"\\{letter}"
        code = ord(letter)
        forms = [letter, letter, letter, f"\\u{code:04x}", f"\\x{code:02X}", f"\\u{{{code:x}}}", f"\\\n{letter}"]
        return self.pick(*forms, *([] if letter.isalnum() else [f"\\{letter}"]))

    def quoted(self, text: str) -> str:
        quote = self.pick("'", '"', "`")
        return quote + "".join(self.letter(letter, quote) for letter in text) + quote

    def string(self, text: str) -> str:
        form = self.pick("quoted", "quoted", "sum", "template", "constant", "member", "wrapped")
        cut = len(text) // 2
        if form == "sum":
            return f"({self.quoted(text[:cut])}{self.blank()}+{self.blank()}{self.string(text[cut:])})"
        if form == "template":
            head = "".join(self.letter(letter, "`") for letter in text[:cut])
            return f"`{head}${{{self.blank()}{self.string(text[cut:])}{self.blank()}}}`"
        if form == "constant":
            return self.constant(self.string(text))
        if form == "member":
            name = self.constant(f"{{ x: {self.quoted('no')}, s: {self.string(text)} }}")
            return self.pick(f"{name}.s", f"{name}['s']", f"({name}!).s")
        return f"({self.wrapped(self.quoted(text))})" if form == "wrapped" else self.quoted(text)

    def key(self, name: str) -> str:
        return self.pick(name, name, self.quoted(name).replace("`", "'"), f"[{self.blank()}{self.string(name)}]")

    def object(self, members: list[tuple[str, str]]) -> str:
        parts = []
        if self.chance():
            parts.append(f"serviceName: {self.quoted('replaced')}")
        for name, value in members:
            member = f"{self.key(name)}{self.blank()}:{self.blank()}{value}"
            if self.chance():
                member = "..." + self.pick(f"{{ {member} }}", self.constant(f"{{ {member} }}"))
            parts.append(self.blank() + member + self.blank())
        return "{" + ",".join(parts) + self.pick("", ",") + "}"

    def entry(self, service: str, aggregate: str) -> str:
        members = [("serviceName", self.string(service)), ("aggregate", self.string(aggregate))]
        members += [("scope", "'property'"), ("conflictPolicy", self.pick("'n/a'", "1", "null", "x => x"))]
        written = self.object(self.random.sample(members, len(members)))
        form = self.pick("plain", "plain", "constant", "frozen")
        if form == "constant":
            return self.constant(written)
        return f"Object.freeze({written})" if form == "frozen" else self.wrapped(written)

    def array(self, names: Names, depth: int = 0) -> str:
        parts: list[str] = []
        while names:
            if depth < 3 and self.chance():
                size = self.random.randint(0, len(names))
                inner, names = names[:size], names[size:]
                spread = self.array(inner, depth + 1)
                parts.append("..." + self.pick(spread, self.constant(spread), f"({self.wrapped(spread)})"))
                if not size:
                    continue
            else:
                parts.append(self.blank() + self.entry(*names[0]) + self.blank())
                names = names[1:]
        return "[" + ",".join(parts) + (self.pick("", ",") if parts else "") + "]"


seeds = st.integers(0, 2**32 - 1)


def module_of(names: Names, seed: int) -> str:
    """The source of a registry that holds exactly these names."""
    writer = Writer(Random(seed))
    array = writer.array(names)
    if writer.chance():
        array = f"Object.freeze({array})"
    form = writer.pick("declared", "typed", "listed", "alias")
    if form == "listed":
        registry = f"const entries = {array};\nexport {{ entries as syncRegistry }};"
    elif form == "alias":
        registry = f"export const syncRegistry = {writer.constant(array)};"
    else:
        registry = (
            f"export const syncRegistry{': readonly any[]' if form == 'typed' else ''} = {writer.wrapped(array)};"
        )
    return "\n".join([writer.blank(), *writer.constants, registry, writer.blank()])


def as_json(names: Names) -> str:
    """The same names as JSON."""
    return json.dumps([{"serviceName": s, "aggregate": a, "scope": "", "conflictPolicy": ""} for s, a in names])
