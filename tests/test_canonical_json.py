"""The canonical form of a payload. tests/properties/test_canonical_json.py has the same for generated values."""

from __future__ import annotations

import pytest

from ghasi_handoff._canonical_json import is_canonical_payload


def nested(depth: int) -> bytes:
    """An object nested `depth` deep."""
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


@pytest.mark.parametrize(
    "data",
    [
        b"{}", b'{"a":1}', b'{"a":-1,"b":true,"c":false,"d":"","e":[],"f":{}}', b'{"a":[[1,2],"x",{"b":0}]}', b'{"a0":1,"a_":2,"aa":3}',
        '{"a":"é\u20ac\U0001f600\x7f"}'.encode(), b'{"a":"\\"\\\\\\b\\t\\n\\f\\r\\u0000\\u001f/"}', b'{"a":9007199254740991,"b":-9007199254740991}',
        b'{"a":"[[[[[[[[[[{"}', b'{"a":"\\\\"}', b'{"a":"null"}', nested(8), b'{"a":"' + b"x" * 2040 + b'"}',
    ],
)  # fmt: skip
def test_canonical_payloads_are_accepted(data: bytes) -> None:
    """Everything that the specification's payload section allows."""
    assert is_canonical_payload(data)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{", b"[]", b"null", b'"a"', b"1", b" {}", b"{} ", b"{}\n", b'{"a": 1}', b'{"a":1 }', b'{"a":null}', b'{"a":[null]}', b'{"a":{"b":null}}',
        b'{"a":1.0}', b'{"a":1e2}', b'{"a":1E2}', b'{"a":-0}', b'{"a":01}', b'{"a":+1}', b'{"a":9007199254740992}', b'{"a":-9007199254740992}',
        b'{"a":' + b"9" * 400 + b"}", b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b'{"b":1,"a":1}', b'{"a":1,"a":1}', b'{"a":1,"\\u0061":1}',
        b'{"A":1}', b'{"":1}', b'{"0a":1}', b'{"a-b":1}', b'{"_a":1}', '{"é":1}'.encode(), b'{"a":"\\/"}', b'{"a":"\\u0041"}', b'{"a":"\\u001F"}',
        b'{"a":"\\u0008"}', b'{"a":"\\ud800"}', b'{"a":"\\udc00\\ud800"}', b'{"a":"\\ud83d\\ude00"}', b'{"a":"\n"}', b'{"a":"\xff"}', b'{"a":"\xc0\xaf"}',
        b'{"a":"\xed\xa0\x80"}', b'{"a":"\xf4\x90\x80\x80"}', b"\xef\xbb\xbf{}", nested(9), b'{"a":' * 1000, b"{" + b"[" * 2000, b'{"a":[}',
        b'{"a":"' + b"x" * 2041 + b'"}', b'{"a":1,}', b"{'a':1}", b'{"a":1}{}', b'{"a":"\\', b'{"a":1}//',
    ],
)  # fmt: skip
def test_other_payloads_are_refused(data: bytes) -> None:
    """Another spelling, another kind of value, another encoding, too long or too deep: not canonical, and never an exception."""
    assert not is_canonical_payload(data)
