"""Strict base64url, the canonical payload form, and whole seconds."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest

from ghasi_handoff import ConfigurationError
from ghasi_handoff._base64url import b64u_decode, b64u_encode
from ghasi_handoff._canonical_json import is_canonical_payload
from ghasi_handoff._times import from_seconds, read_clock, to_seconds, whole_seconds


def test_encoding_is_base64url_without_padding() -> None:
    """Every length modulo 3 is encoded as RFC 4648, section 5, says, without the padding."""
    data = bytes(range(256))
    for length in range(257):
        text = b64u_encode(data[:length])
        assert text == base64.urlsafe_b64encode(data[:length]).decode().rstrip("=")
        assert b64u_decode(text) == data[:length]


@pytest.mark.parametrize(
    "text",
    [
        "A", "AAAAA", "QQ==", "QQ=", "QR", "QUK", "QUJ=", "QUJD=", "QUJ\n", " QUJ", "QU J", "QU+D", "QU/D", "Q\u0391==", "QU\u212aD", "\ud800AAA",
        "QUJD\x00", "QUJDé", "====", "=",
    ],
)  # fmt: skip
def test_other_spellings_are_not_decoded(text: str) -> None:
    """Padding, white space, the other alphabet, letters that look alike, unused bits: none of them decodes."""
    assert b64u_decode(text) is None


def test_last_character_must_leave_no_bits_over() -> None:
    """Of all last characters of a partial group, just those decode that the encoder would write."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert [last for last in alphabet if b64u_decode("A" + last) is not None] == list("AQgw")
    assert [last for last in alphabet if b64u_decode("AA" + last) is not None] == list("AEIMQUYcgkosw048")


def nested(depth: int) -> bytes:
    """An object nested `depth` deep."""
    return b'{"a":' * (depth - 1) + b"{}" + b"}" * (depth - 1)


@pytest.mark.parametrize(
    "data",
    [
        b"{}", b'{"a":1}', b'{"a":-1,"b":true,"c":false,"d":"","e":[],"f":{}}', b'{"a":[[1,2],"x",{"b":0}]}', b'{"a0":1,"a_":2,"aa":3}',
        '{"a":"é\u20ac\U0001f600\x7f"}'.encode(), b'{"a":"\\"\\\\\\b\\t\\n\\f\\r\\u0000\\u001f/"}', b'{"a":9007199254740991,"b":-9007199254740991}',
        b'{"a":"[[[[[[[[[[{"}', b'{"a":"\\\\"}', nested(8), b'{"a":"' + b"x" * 2040 + b'"}',
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


@pytest.mark.parametrize(
    "reading", [float("nan"), float("inf"), -float("inf"), -1, -0.5, 253402300800, 1e300, "5", None, True]
)
def test_a_broken_clock_is_refused(reading: object) -> None:
    """A clock that does not give Unix seconds between 1970 and 9999 is an error, not a time."""
    with pytest.raises(ConfigurationError):
        read_clock(lambda: reading)  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("reading", [0, 0.0, 5, 5.9, 253402300799])
def test_a_clock_may_give_fractions(reading: float) -> None:
    """Whole and fractional readings are both fine."""
    assert read_clock(lambda: reading) == reading


def test_datetimes_are_floored_exactly() -> None:
    """The last microsecond of a second belongs to it, in any time zone, without floating-point error."""
    late = datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)
    assert to_seconds(late, name="x", error=ConfigurationError) == 253402300799
    east = datetime(2026, 11, 23, 11, 30, 0, 999999, timezone(timedelta(hours=2)))
    assert to_seconds(east, name="x", error=ConfigurationError) == 1795426200
    assert from_seconds(1795426200) == datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment", [datetime(2026, 11, 23), datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC), 5, None, "2026-11-23"]
)
def test_a_moment_must_be_an_aware_datetime(moment: object) -> None:
    """A naive datetime, one before 1970 or another type is refused, by name."""
    with pytest.raises(ConfigurationError, match="^sign_from must"):
        to_seconds(moment, name="sign_from", error=ConfigurationError)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "duration", [timedelta(0), timedelta(seconds=-1), timedelta(seconds=61), timedelta(seconds=1.5), 5, None]
)
def test_a_duration_must_be_whole_seconds_within_bounds(duration: object) -> None:
    """Zero, negative, over the cap, fractional or no timedelta: refused, by name."""
    with pytest.raises(ConfigurationError, match="^leeway must"):
        whole_seconds(duration, name="leeway", least=1, most=60, error=ConfigurationError)  # type: ignore[arg-type]
