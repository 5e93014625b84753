"""Payload bytes near those of a booking: every member right or wrong, every spelling canonical or not."""

from __future__ import annotations

import json
from datetime import date
from typing import Final

from hypothesis import strategies as st

from ghasi_handoff.testing.strategies import payloads

from . import oracle
from .strategies import integers, names
from .test_canonical_json import mutated

_odd_values: Final = st.one_of(
    st.none(),
    st.booleans(),
    integers,
    st.floats(),
    st.integers(-(10**30), 10**30),
    st.text(max_size=5),
    st.lists(st.integers(-1, 18), max_size=11),
    st.just({}),
    st.just([[1]]),
    st.just({"a": 1}),
)
_days: Final = st.one_of(
    st.sampled_from(
        [
            *("2026-12-24", "2026-12-25", "2026-12-27", "2027-12-25", "2027-12-26", "2028-02-29", "2027-02-29"),
            *("0001-01-01", "0000-01-01", "9999-12-31", "10000-01-01", "2026-1-1", "20261224", "2026-W52-4", "", "x"),
            *(
                "2026-12-24T00:00:00",
                "2026-12-24T00:00:00Z",
                "1798070400",
                "2026-12-24 ",
                " 2026-12-24",
                "2026-12-24\n",
            ),
            *("+2026-12-24", "\uff12\uff10\uff12\uff16-12-24"),
        ]
    ),
    st.dates().map(date.isoformat),
    st.integers(-(10**10), 10**10),
)
_ids: Final = st.one_of(names, st.sampled_from(["", "a" * 65, "a b", "a\n", "é", "a\x00", "A.b_C:/-"]))
_members: Final = {
    "adults": st.sampled_from([0, 1, 2, 30, 31, -1, True, 1.0, "2", None]),
    "check_in": _days,
    "check_out": _days,
    "children_ages": st.lists(st.integers(-1, 18), max_size=11)
    | st.sampled_from([[], None, [True], [1.0], ["1"], [[]], "1", {}]),
    "currency": st.sampled_from(["EUR", "eur", "EU", "EURO", "", "EUR\n", "\uff25\uff35\uff32", None, 978]),
    "locale": st.sampled_from(
        [
            *(
                "de",
                "ar-EG",
                "d",
                "de-",
                "-de",
                "de_DE",
                "de--DE",
                "abcdefghi",
                "de-abcdefgh",
                "de-abcdefghi",
                "",
                "de\n",
            ),
            *("ab-cdefghij-cdefghij-cdefghij-klmno", "ab-cdefghij-cdefghij-cdefghij-klmnop", "é-de", "de-é", None, 1),
        ]
    ),
    "property_id": _ids,
    "quoted_total_minor": st.sampled_from(
        [0, 1, oracle.MAX_INTEGER, oracle.MAX_INTEGER + 1, -1, 1.5, None, True, "1", -0.0]
    ),
    "rate_plan_id": _ids,
    "room_type_id": _ids,
    "unknown": _odd_values,
    "Adults": _odd_values,
    "__proto__": _odd_values,
}


@st.composite
def _changed(draw: st.DrawFn) -> bytes:
    """A booking with up to two members exchanged, added or left out, in some spelling, with up to three places edited."""
    members = oracle.json_value(draw(payloads()))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
        name = draw(st.sampled_from(sorted(_members)))
        how = draw(st.sampled_from(["likely", "likely", "odd", "absent"]))
        if how == "absent":
            members.pop(name, None)
        else:
            members[name] = draw(_members[name] if how == "likely" else _odd_values)
    spell = draw(st.sampled_from(["canonical"] * 6 + ["unsorted", "spaced", "ascii", "doubled"]))
    if spell == "doubled" and members:
        name = draw(st.sampled_from(sorted(members)))
        data = oracle.canonical_json(members)
        return data[:-1] + b"," + oracle.canonical_json({name: draw(_odd_values)})[1:]
    if spell == "unsorted":
        return json.dumps(dict(reversed(members.items())), ensure_ascii=False, separators=(",", ":")).encode()
    if spell == "spaced":
        return json.dumps(members, sort_keys=True, ensure_ascii=False).encode()
    if spell == "ascii":
        return json.dumps(members, sort_keys=True, separators=(",", ":")).encode()
    return oracle.canonical_json(members)


right_texts: Final = payloads().map(oracle.json_value).map(oracle.canonical_json)
booking_texts: Final = st.one_of(
    right_texts, _changed(), mutated(right_texts), mutated(_changed()), st.binary(max_size=50)
)
