"""payload class -> its payloads. Walks the schema that validates them."""

from __future__ import annotations

import re
import string
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Final, cast

from hypothesis import reject
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy
from pydantic import ValidationError
from typing_extensions import TypeVar

from ghasi_handoff._limits import MAX_INTEGER, MAX_PAYLOAD_BYTES
from ghasi_handoff._payload_bytes import encode_payload
from ghasi_handoff.errors import ConfigurationError, InvalidHandoffInputError
from ghasi_handoff.payload import BookingHandoff, HandoffPayload
from ghasi_handoff.testing.strategies._texts import ODD_CHARACTERS

_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload, default=BookingHandoff)

# A pattern such as [a-z0-9_]{1,32}.
_ONE_CLASS: Final = re.compile(r"(\[[^\[\]\\^][^\[\]\\]*\])\{(\d{1,4})(?:,(\d{1,4}))?\}")
# Not one alphabet: few characters of a text would be odd.
_ALPHABETS: Final = (ODD_CHARACTERS + string.printable, st.characters(codec="utf-8"))


def payloads(
    payload_type: type[_PayloadT] | None = None, /, **members: SearchStrategy[Any]
) -> SearchStrategy[_PayloadT]:
    """Payloads of a class: each member at its bounds and between them, at its default and off it.

    Bounds, lengths and patterns of the members are kept. Every payload mints: as JSON it has at most 2048 bytes.

    Args:
        payload_type: A payload class; by default `BookingHandoff`.
        members: By a member's name, a strategy in place of the one that follows from its type. Give one where a
            validator of your own takes few values: what the class refuses is drawn anew, and Hypothesis reports a
            failed health check if that happens too often. Of a booking give `check_in` and `check_out` together, and
            `currency` and `quoted_total_minor`.

    Raises:
        ConfigurationError: `payload_type` is no payload class, it has no such member, or a member has a pattern that
            Python does not read; give a strategy for that member.

    >>> from hypothesis import given, settings, strategies as st
    >>> from ghasi_handoff import HandoffPayload
    >>> class SpaHandoff(HandoffPayload):
    ...     spa_id: str
    ...     guests: int = 1
    >>> @settings(max_examples=10, deadline=None)
    ... @given(spa=payloads(SpaHandoff, spa_id=st.sampled_from(["spa_7", "spa_8"])))
    ... def test_a_known_spa(spa):
    ...     assert spa.spa_id in ("spa_7", "spa_8")
    >>> test_a_known_spa()
    """
    # The type variable's default is BookingHandoff: where no class is given, that is what _PayloadT is.
    chosen = cast("type[_PayloadT]", BookingHandoff) if payload_type is None else payload_type
    if not isinstance(chosen, type) or not issubclass(chosen, HandoffPayload):
        raise ConfigurationError("payload_type must be a class derived from HandoffPayload")
    for name in members:
        if name not in chosen.model_fields:
            raise ConfigurationError(f"{chosen.__name__} has no member {name}")
    return _payloads(chosen, members, 1)


def _payloads(
    payload_type: type[_PayloadT], given: Mapping[str, SearchStrategy[Any]], depth: int
) -> SearchStrategy[_PayloadT]:
    # By the schema that validates: it knows every bound, and HandoffPayload lets few kinds of values into it.
    schema: Any = payload_type.__pydantic_core_schema__
    definitions: dict[str, Any] = {}
    while schema["type"] != "model-fields":  # under the definitions, the model itself and its model validators
        definitions |= {definition["ref"]: definition for definition in schema.get("definitions", [])}
        schema = schema["schema"]
    together = []
    if issubclass(payload_type, BookingHandoff):
        # Rules between two members, which the type of neither tells; and a pattern that takes long to be drawn from.
        pairs = (
            (("check_in", "check_out"), _stays()),
            (("currency", "quoted_total_minor"), _quotes()),
            (("locale",), _locales()),
        )
        together = [(names, values) for names, values in pairs if not given.keys() & set(names)]
    done = {*given, *(name for names, _ in together for name in names)}
    always = dict(given)
    at_will: dict[str, SearchStrategy[Any]] = {}
    for name, field in schema["fields"].items():
        if name not in done:
            kind = at_will if field["schema"]["type"] == "default" else always
            kind[name] = _values(field["schema"], definitions, f"{payload_type.__name__}.{name}", depth)
    return _built(payload_type, always, together, at_will)


@st.composite
def _built(
    draw: DrawFn,
    payload_type: type[_PayloadT],
    always: Mapping[str, SearchStrategy[Any]],
    together: Sequence[tuple[tuple[str, ...], SearchStrategy[tuple[Any, ...]]]],
    at_will: Mapping[str, SearchStrategy[Any]],
) -> _PayloadT:
    members = {name: draw(values) for name, values in always.items()}
    for names, values in together:
        members |= zip(names, draw(values), strict=True)
    # One draw says which of them are off their default: a draw each would take as long as the values.
    off_default = draw(st.integers(0, 2 ** len(at_will) - 1))
    members |= {name: draw(values) for bit, (name, values) in enumerate(at_will.items()) if off_default >> bit & 1}
    try:
        # What mint refuses, a payload of more than 2048 bytes say, is refused here.
        return encode_payload(payload_type(**members))[0]
    except (ValidationError, InvalidHandoffInputError):
        reject()


def _values(schema: Any, definitions: Mapping[str, Any], place: str, depth: int) -> SearchStrategy[Any]:
    """Values of a member, or of what is inside it, None apart: that can only be a member's default."""
    kind = schema["type"]
    if kind == "definition-ref":
        return _values(definitions[schema["schema_ref"]], definitions, place, depth)
    if kind == "model":
        return _payloads(schema["cls"], {}, depth + 1)
    if kind == "tuple":
        return _tuples(schema, definitions, place, depth)
    if kind in ("enum", "literal"):
        return st.sampled_from(list(schema["members" if kind == "enum" else "expected"]))
    if kind == "bool":
        return st.booleans()
    if kind == "int":
        return _integers(schema)
    if kind == "date":
        return _dates(schema)
    if kind == "str":
        return _texts(schema, place)
    # The member's default or None, or a validator around it: what that refuses is drawn anew.
    return _values(schema["schema"], definitions, place, depth)


def _tuples(schema: Any, definitions: Mapping[str, Any], place: str, depth: int) -> SearchStrategy[tuple[Any, ...]]:
    items = [_values(item, definitions, place, depth + 1) for item in schema["items_schema"]]
    if schema.get("variadic_item_index") is None:
        return st.tuples(*items)
    least, most = schema.get("min_length", 0), schema.get("max_length", MAX_PAYLOAD_BYTES)
    # Fewer in those that are inside others, or most payloads would be too long.
    usual = 4 if depth == 1 else 2 if depth < 4 else 1
    some = st.lists(items[0], min_size=least, max_size=min(most, max(least, usual)))
    if depth == 1 and usual < most <= 32:
        some |= st.lists(items[0], min_size=most, max_size=most)
    return some.map(tuple)


def _integers(schema: Any) -> SearchStrategy[int]:
    step = schema.get("multiple_of", 1)
    least = max(schema["ge"], schema["gt"] + 1 if "gt" in schema else schema["ge"])
    most = min(schema["le"], schema["lt"] - 1 if "lt" in schema else schema["le"])
    least, most = -(-least // step), most // step
    values = st.integers(least, most)
    if most - least > 100:
        edges = sorted({least, most} | {edge for edge in (-1, 0, 1, 9, 10, 2**31, 2**32) if least <= edge <= most})
        values |= st.sampled_from(edges)
    return values if step == 1 else values.map(lambda value: value * step)


def _dates(schema: Any) -> SearchStrategy[date]:
    day = timedelta(days=1)
    least = max(schema.get("ge", date.min), schema["gt"] + day if "gt" in schema else date.min)
    most = min(schema.get("le", date.max), schema["lt"] - day if "lt" in schema else date.max)
    edges = (date(999, 12, 31), date(1000, 1, 1), date(2000, 2, 29), date(2026, 12, 24), date(2028, 2, 29))
    days = st.integers(least.toordinal(), most.toordinal()).map(date.fromordinal)
    return st.sampled_from([least, most, *(edge for edge in edges if least <= edge <= most)]) | days


def _texts(schema: Any, place: str) -> SearchStrategy[str]:
    least, most = schema.get("min_length", 0), schema.get("max_length", MAX_PAYLOAD_BYTES)
    if "pattern" in schema:
        return _matching(schema["pattern"], least, most, place)
    whole = ["", "é", "e\u0301", "\ufeff", "null", "</script>", "\x00" * 8, "\U0010ffff" * 8]
    whole += [unit * length for length in (least, min(most, 64)) for unit in ("a", "\U0001f600")]
    texts = [st.text(some, min_size=least, max_size=min(most, max(least, 24))) for some in _ALPHABETS]
    return st.one_of(st.sampled_from([text for text in whole if least <= len(text) <= most]), *texts)


def _matching(pattern: str | re.Pattern[str], least: int, most: int, place: str) -> SearchStrategy[str]:
    text, flags = (pattern, 0) if isinstance(pattern, str) else (pattern.pattern, pattern.flags)
    # pydantic's "$" is the end, Python's admits a line break before it. What matches as a whole without "^" and "$"
    # matches with them, in both.
    text = text.removeprefix("^")
    core = text if text.endswith(r"\$") else text.removesuffix("$")
    one_class = _ONE_CLASS.fullmatch(core)
    try:
        if one_class is not None:  # the usual case; from_regex would take three times as long
            least = max(least, int(one_class[2]))
            most = min(most, int(one_class[3] or one_class[2]))
            alphabet = [character for character in map(chr, range(128)) if re.fullmatch(one_class[1], character, flags)]
            if alphabet and least <= most:
                return st.sampled_from([alphabet[0] * least, alphabet[-1] * most]) | st.text(
                    alphabet, min_size=least, max_size=min(most, max(least, 16))
                )
        matching = st.from_regex(re.compile(core, flags), fullmatch=True)
    except re.error as exc:
        raise ConfigurationError(f"{place}: Python does not read this pattern; give a strategy for it") from exc
    return matching.filter(lambda text: least <= len(text) <= most)


@st.composite
def _stays(draw: DrawFn) -> tuple[date, date]:
    """Check-in and check-out."""
    nights = draw(st.sampled_from([1, 2, 365, 366]) | st.integers(1, 366))
    last = date.max - timedelta(days=nights)
    edges = st.sampled_from([date(2026, 12, 24), date.min, date(2027, 2, 28), last])
    check_in = draw(edges | st.integers(1, last.toordinal()).map(date.fromordinal))
    return check_in, check_in + timedelta(days=nights)


def _quotes() -> SearchStrategy[tuple[str | None, int | None]]:
    """Currency and total: both or neither."""
    currencies = st.sampled_from(["EUR", "AAA", "ZZZ"]) | st.text(string.ascii_uppercase, min_size=3, max_size=3)
    totals = st.sampled_from([0, 1, 45_000, MAX_INTEGER]) | st.integers(0, MAX_INTEGER)
    return st.just((None, None)) | st.tuples(currencies, totals)


def _locales() -> SearchStrategy[tuple[str | None]]:
    """A language tag, or none."""
    known = ["de", "ar-EG", "abcdefgh", "zh-Hant-TW", "DE-at-1996", "ab-cdefghij-cdefghij-cdefghij-klmno"]
    letters = string.ascii_letters + string.digits
    tags = st.lists(st.text(letters, min_size=1, max_size=8), min_size=1, max_size=3)
    return st.tuples(st.sampled_from([None, *known]) | tags.map(lambda more: "-".join(["en", *more])))
