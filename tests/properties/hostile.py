"""Objects that do harm when they are touched, and texts that come near a token."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Final, NoReturn

from hypothesis import strategies as st

from ghasi_handoff.testing.strategies import hostile_texts

from . import oracle
from .strategies import KID_CHARACTERS, NAME_CHARACTERS, NOW, SITE, STAY, free_bits, names


class TouchedError(Exception):
    """Something that should not be touched was."""


def _touched(*_args: object, **_kwargs: object) -> NoReturn:
    raise TouchedError


def _yes(*_args: object) -> bool:
    return True


def _no(*_args: object) -> bool:
    return False


_METHODS: Final = [
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__str__", "__repr__", "__format__"),
    *("__len__", "__iter__", "__contains__", "__bool__", "__getitem__", "__add__", "__radd__", "__mod__", "__int__"),
    *("__index__", "__float__", "__bytes__", "__buffer__", "__call__", "__getattr__", "__getattribute__", "__fspath__"),
    *("__reduce_ex__", "__sizeof__", "__dir__", "encode", "decode", "split", "translate", "isascii", "isdigit"),
    *("startswith", "strip", "join", "replace", "lower", "casefold"),
]


class Refuser:
    """Raises whatever is asked of it, its class included."""

    __class__ = property(_touched)  # pyright: ignore[reportIncompatibleMethodOverride]


class Liar:
    """Says that it is a str, and equal to everything."""

    __class__ = str  # type: ignore[assignment]
    __eq__ = _yes
    __ne__ = _no
    __hash__ = object.__hash__


class BytesLiar(Liar):
    """Says that it is bytes, 32 of them."""

    __class__ = bytes  # type: ignore[assignment]

    def __len__(self) -> int:
        """As a browser secret."""
        return 32


def nameless() -> Any:
    """An object whose class raises when it is asked for its name."""
    metaclass = type("Metaclass", (type,), {"__name__": property(_touched)})
    # Nothing of this stays in the module: whoever collects doctests there would touch it.
    made = metaclass("Nameless", (), {})
    for name in ("__eq__", "__repr__", "__str__", "__instancecheck__", "__subclasscheck__"):
        setattr(metaclass, name, _touched)
    return made()


class EqualText(str):
    """A str that says it equals everything."""

    __slots__ = ()
    __eq__ = _yes
    __ne__ = _no
    __hash__ = str.__hash__


class Tenant(str, Enum):  # noqa: UP042
    """How a program may well name its tenants: format() of a member is "Tenant.AURORA", its value the tenant."""

    AURORA = "tn_aurora"


for _name in _METHODS:
    setattr(Refuser, _name, _touched)


def refusing(base: type[Any], *arguments: object) -> Any:
    """An instance of a subclass of `base` of which every method raises."""
    instance = type("Refusing", (base,), {"__slots__": ()})(*arguments)
    for name in _METHODS:
        setattr(type(instance), name, _touched)
    return instance


def _ill_tempered() -> Iterator[str]:
    _touched()
    yield ""


def _endless() -> list[object]:
    loop: list[object] = []
    loop.append(loop)
    return loop


def _deep() -> list[object]:
    outer: list[object] = []
    for _ in range(10_000):
        outer = [outer]
    return outer


@dataclass(frozen=True)
class Boxed:
    """An object in a box that can be shown: the object itself may not stand that. Each opening makes it anew."""

    name: str
    open: Callable[[], Any] = field(repr=False)


def _boxed(value: object) -> Boxed:
    return Boxed(repr(value), lambda: value)


_HOSTILE: Final = [
    Boxed("raises whatever is asked", Refuser),
    Boxed("the class of that", lambda: Refuser),
    Boxed("says it is a str", Liar),
    Boxed("says it is 32 bytes", BytesLiar),
    Boxed("its class hides its name", nameless),
    Boxed("the class of that", lambda: type(nameless())),
    Boxed("object", object),
    Boxed("generator that raises", _ill_tempered),
    Boxed("list that holds itself", _endless),
    Boxed("deep list", _deep),
    Boxed("bytes that raise", lambda: refusing(bytes, b"x" * 32)),
    Boxed("int that raises", lambda: refusing(int, 7)),
    Boxed("list that raises", lambda: refusing(list)),
    Boxed("dict that raises", lambda: refusing(dict)),
    Boxed("error that raises", lambda: refusing(Exception)),
    Boxed("method", lambda: {}.keys),
    Boxed("enum member", lambda: Tenant.AURORA),
    Boxed("memoryview", lambda: memoryview(b"x" * 32)),
    Boxed("date", lambda: date(2026, 11, 23)),
    Boxed("decimal", lambda: Decimal("NaN")),
    Boxed("payload", lambda: STAY),
]


def known_objects(right: str) -> list[Boxed]:
    """Objects that are no plain str: look-alikes of the `right` text, and such as raise when touched."""
    return [
        *_HOSTILE,
        Boxed("text that equals everything", lambda: EqualText("other")),
        Boxed("right text that raises", lambda: refusing(str, right)),
        Boxed("other text that raises", lambda: refusing(str, "other")),
        Boxed("bytes of the text", right.encode),
        Boxed("bytearray of the text", lambda: bytearray(right.encode())),
        Boxed("list of the text", lambda: [right]),
        Boxed("tuple of the text", lambda: (right,)),
        Boxed("dict of the text", lambda: {right: right}),
        Boxed("list of characters", lambda: list(right)),
    ]


def hostile_objects(right: str) -> st.SearchStrategy[Boxed]:
    """Any object but a plain str: those that are known to do harm, and any builtin."""
    plain = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.binary())
    nested = st.recursive(
        plain, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2)
    )
    return st.one_of(st.sampled_from(known_objects(right)), plain.map(_boxed), nested.map(_boxed))


any_texts: Final = hostile_texts(max_size=100_000)
LARGE_TEXTS: Final = [
    unit * 2_000_000
    for unit in ("a", ".", "=", "\x00", "\ud800", "\U0001f600", "ghasi1.", "ghasi1.k.", "\n", "ghasi1.k.aaaa.")
]

_B64U: Final = KID_CHARACTERS
# Fragments of the grammar, right and wrong, of which near-tokens are built.
_fragments: Final = st.one_of(
    st.sampled_from(
        ["ghasi1", "ghasi2", "GHASI1", ".", ".", ".", "..", SITE.kid, "k", "=", "==", "+", "/", " ", "\n", "\ud800"]
    ),
    st.text(_B64U, max_size=50),
    st.text(_B64U, min_size=43, max_size=43),
    st.binary(max_size=60).map(oracle.b64u),
)


def _mostly(right: st.SearchStrategy[str], wrong: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.integers(0, 9).flatmap(lambda luck: wrong if luck == 9 else right)


@st.composite
def near_tokens(draw: st.DrawFn) -> str:
    """Texts built from the fragments of the token's grammar."""
    if draw(st.booleans()):
        return "".join(draw(st.lists(_fragments, max_size=12)))
    version = draw(_mostly(st.just("ghasi1"), st.sampled_from(["ghasi", "ghasi11", "ghasi2", "GHASI1", ""])))
    kid = draw(
        _mostly(
            st.sampled_from([SITE.kid, "other", "K" * 32, "K" * 33, "-", "_"]),
            st.sampled_from(["", "a/b", "a+b", "a b", "a=", "\u212a", "a\n"]) | st.text(KID_CHARACTERS),
        )
    )
    body = draw(_mostly(st.binary(max_size=200).map(oracle.b64u), st.text(_B64U, max_size=50)))
    mac = draw(
        _mostly(
            st.binary(min_size=32, max_size=32).map(oracle.b64u), st.binary(min_size=31, max_size=33).map(oracle.b64u)
        )
        | st.text(_B64U, min_size=42, max_size=44)
    )
    return ".".join((version, kid, body, mac))


_numbers: Final = st.one_of(
    st.sampled_from(
        ["0", "00", "01", "-1", "+1", "", " ", "1e9", "1.0", "9" * 11, "9" * 12, "9" * 13, str(oracle.MAX_SECONDS)]
    ).map(str),
    st.integers(NOW - 4000, NOW + 4000).map(str),
    st.integers(0, 10**13).map(str),
    st.sampled_from(
        [str(NOW), str(NOW + 300), str(NOW - 10), str(NOW + 10), str(NOW - 310), str(NOW - 309), str(NOW + 600)]
    ),
)


_wrong_names: Final = (
    names
    | st.sampled_from(["bff-other", "BFF-CONSUMER", "bff-consumer/", "tn_other"])
    | st.text(NAME_CHARACTERS + " \n\x00é", max_size=66)
)


@st.composite
def bodies(draw: st.DrawFn, payload_texts: st.SearchStrategy[bytes]) -> bytes:
    """Bodies near the grammar: each line mostly right, sometimes not, then one of the payloads; or any bytes at all."""
    if draw(st.integers(0, 19)) == 19:
        return draw(st.binary(max_size=400))
    issued_at = draw(
        st.sampled_from([NOW, NOW, NOW - 309, NOW - 310, NOW + 10, NOW + 11]) | st.integers(NOW - 4000, NOW + 4000)
    )
    lifetime = draw(st.sampled_from([300, 300, 300, 600, 601, 0, -1, 1, 3600, 3601]) | st.integers(-10, 4000))
    milliseconds = issued_at * 1000 + draw(st.sampled_from([0, 0, 0, 1, 500, 999, 999, -1, 1000]))
    handoff_id = oracle.handoff_id(milliseconds, draw(free_bits))
    edited = st.builds(
        lambda place, other: handoff_id[:place] + other + handoff_id[place + 1 :],
        st.integers(0, 36),
        st.sampled_from([*"0123456789abcdefABCDEFg-{ \n", "", "00"]),
    )
    lines = [
        draw(_mostly(st.just(SITE.issuer), _wrong_names)),
        draw(_mostly(st.just(SITE.audience), _wrong_names)),
        draw(_mostly(st.just(SITE.tenant), _wrong_names)),
        draw(_mostly(st.just(handoff_id), edited)),
        draw(_mostly(st.just(str(issued_at)), _numbers)),
        draw(_mostly(st.just(str(issued_at + lifetime)), _numbers)),
    ]
    ends = [draw(st.integers(0, 199)) for _ in lines]
    head = "".join(
        line + ("\r\n" if end == 199 else "" if end == 198 else "\n") for line, end in zip(lines, ends, strict=True)
    )
    return head.encode("utf-8", "surrogatepass") + draw(payload_texts)
