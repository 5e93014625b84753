"""value <-> payload bytes: the JSON Canonicalization Scheme (RFC 8785), narrowed as the specification says."""

from __future__ import annotations

import json
import string

from hypothesis import example, given
from hypothesis import strategies as st

from ghasi_handoff import HandoffPayload
from ghasi_handoff._canonical_json import is_canonical_payload

from . import oracle
from .strategies import SITE, any_payloads, integers, share, words

member_names = st.sampled_from(["a", "b", "a1", "a10", "a2", "a_", "aa", "z", "adults"]) | st.text(
    string.ascii_lowercase + string.digits + "_", max_size=5
).map(lambda rest: "m" + rest)
scalars = st.one_of(st.booleans(), integers, words)
# Also nearly everything that is refused: null, fractions, integers and names outside the bounds, nesting.
loose_scalars = st.one_of(scalars, st.none(), st.integers(2**53 - 2, 2**53 + 1), st.floats(), st.just(-0.0))
loose_names = member_names | st.sampled_from(["", "A", "_", "1", "é", "a-b", "a.b", "\uff41", "a\n", "__proto__"])


def objects_of(
    leaves: st.SearchStrategy[object], labels: st.SearchStrategy[str]
) -> st.SearchStrategy[dict[str, object]]:
    """JSON objects, nested."""
    inside = st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(labels, inner, max_size=3),
        max_leaves=5,
    )
    return st.dictionaries(labels, inside, max_size=4)


@st.composite
def deep_texts(draw: st.DrawFn) -> str:
    """An object nested as deep as drawn, in objects and arrays by turns."""
    text = draw(st.sampled_from(["1", "[]", "{}", '"[[[[[[[[["', '"\\"{{{{{{{{{"', "[[],[]]"]))
    turns = draw(st.lists(st.booleans(), min_size=9, max_size=9))
    for turn in range(draw(st.sampled_from([5, 6, 7, 8, 9, 1000]))):
        text = f"[{text}]" if turns[turn % 9] else f'{{"a":{text}}}'
    return f'{{"a":{text}}}'


# What a mutation puts into a text: the tokens of JSON, escapes that are canonical and that are not, bytes that are not UTF-8.
pieces = st.sampled_from(
    [
        *(bytes([byte]) for byte in b'{}[]:,"\\ \t\n\r/-+.eE0123456789abtnfru\x00\x1f\x7f\x80\xc0\xe2\xed\xf0\xff'),
        *(
            b"null",
            b"true",
            b"false",
            b"NaN",
            b"Infinity",
            b"-0",
            b"1.0",
            b"1e2",
            b"01",
            b"9007199254740992",
            b"1" * 400,
        ),
        *(
            b"\\u0000",
            b"\\u001f",
            b"\\u001F",
            b"\\u000a",
            b"\\u0061",
            b"\\u007f",
            b"\\ud800",
            b"\\ud83d\\ude00",
            b"\\n",
            b"\\/",
        ),
        *(
            b"\xef\xbb\xbf",
            b"\xed\xa0\x80",
            b"\xc3\xa9",
            b"\xe2\x80\xa8",
            b'"a":1',
            b',"a":1',
            b'"a":1,',
            b"[]",
            b"{}",
            b'""',
        ),
    ]
)


@st.composite
def mutated(draw: st.DrawFn, texts: st.SearchStrategy[bytes]) -> bytes:
    """A text with up to three places changed; often none."""
    text = draw(texts)
    for _ in range(draw(st.sampled_from([0, 0, 1, 1, 2, 3]))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.sampled_from([0, 0, 1, 1, 2, 5])))
        text = text[:start] + draw(pieces | st.just(b"")) + text[end:]
    return text


@st.composite
def spellings(draw: st.DrawFn) -> bytes:
    """A JSON object in one of the ways in which programs write it."""
    value = draw(objects_of(loose_scalars, loose_names))
    if draw(st.booleans()):
        value = dict(reversed(value.items()))
    text = json.dumps(
        value,
        sort_keys=draw(st.booleans()),
        ensure_ascii=draw(st.booleans()),
        separators=draw(st.sampled_from([(",", ":"), (", ", ": "), (",", ": ")])),
        indent=draw(st.sampled_from([None, None, None, 1])),
    )
    return text.encode("utf-8")


canonical_texts = objects_of(scalars, member_names).map(oracle.canonical_json)
# Right but for a value or a name, maybe.
near_texts = st.one_of(
    objects_of(st.one_of(scalars, scalars, loose_scalars), member_names),
    objects_of(scalars, member_names | loose_names),
).map(oracle.canonical_json)


@share(2)
@given(payload=any_payloads)
def test_token_carries_canonical_json(payload: HandoffPayload) -> None:
    """The payload's bytes in a token are those that an independent canonicalisation gives."""
    token = SITE.minter().mint(payload, tenant=SITE.tenant).token
    assert oracle.payload_of(token) == oracle.canonical_json(oracle.json_value(payload))


@given(payload=any_payloads)
def test_what_is_minted_is_canonical(payload: HandoffPayload) -> None:
    """Both judges of canonical form take what is minted."""
    data = oracle.payload_of(SITE.minter().mint(payload, tenant=SITE.tenant).token)
    assert is_canonical_payload(data)
    assert oracle.is_canonical(data)


@share(2)
@given(value=objects_of(scalars, member_names))
def test_canonical_spelling_is_taken(value: dict[str, object]) -> None:
    """The canonical spelling of a value within the bounds is taken."""
    data = oracle.canonical_json(value)
    assert is_canonical_payload(data) is (len(data) <= 2048)


@given(data=spellings())
def test_no_other_spelling_is_taken(data: bytes) -> None:
    """Only the canonical spelling of a value is accepted."""
    assert not is_canonical_payload(data) or data == oracle.canonical_json(json.loads(data))


@share(4)
@given(
    data=st.one_of(
        mutated(canonical_texts), near_texts, mutated(spellings()), mutated(deep_texts().map(str.encode)), st.binary()
    )
)
@example(data=b'{"a":' + b"]" * 9 + b"[" * 5000)
@example(data=b'{"a":"' + b"\\" * 2000)
def test_both_judges_agree(data: bytes) -> None:
    """A text is canonical for the library exactly when it is for the second verifier."""
    assert is_canonical_payload(data) is oracle.is_canonical(data)


@given(fill=st.sampled_from([b"a", b"\\n", "é".encode(), "\U0001f600".encode()]), extra=st.integers(-2, 2))
def test_2048_bytes_are_the_most(fill: bytes, extra: int) -> None:
    """A canonical text of 2048 bytes is taken, one of 2049 is not."""
    filled, rest = divmod(2048 + extra - len(b'{"a":""}'), len(fill))
    data = b'{"a":"' + fill * filled + b"a" * rest + b'"}'
    assert len(data) == 2048 + extra
    assert is_canonical_payload(data) is (extra <= 0)
