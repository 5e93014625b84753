"""Whatever bytes come: no error of the server, and no trace, unless all of it is valid. By hypothesis."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.handshake.services import AUDIENCE, ISSUER
from tests.landing.both_services import COOKIE, FORM, ORIGIN, Answer, both_services

from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff.handshake import ConsumeCall
from ghasi_handoff.handshake._consume_call import sign_call

from .asgi import FastAPIServices, answer_of
from .published import consumer_app

MANY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
SECRET = b64u_encode(b"G" * 32).encode()
MINE = COOKIE.encode() + b"=" + SECRET
TOKEN = b"<TOKEN>"  # put in when the handoff has been issued

# Bytes that a server lets through in a header: all but CR, LF and NUL.
FIELD = st.binary(max_size=60).map(lambda value: value.translate(None, b"\r\n\x00"))


def pieces(*parts: bytes) -> st.SearchStrategy[bytes]:
    """Random bytes among parts that mean something, in any order and number."""
    return st.lists(st.sampled_from(parts) | FIELD, max_size=6).map(b"".join)


QUERIES = pieces(b"handoff=", b"handoff=" + TOKEN, TOKEN, b"&", b"%", b"=", b";", b"%68andoff=", b"since=1", b"+")
COOKIES = pieces(MINE, COOKIE.encode(), b"=", SECRET, b"; ", b";", b"__host-ghasi_handoff=x", b"a=b", b'"')
ORIGINS = st.sampled_from([ORIGIN.encode(), b"null", b"", b"https://evil.example"]) | FIELD
SITES = st.sampled_from([b"same-origin", b"cross-site", b"none", b"Same-Origin"]) | FIELD
HEADERS = st.lists(
    st.tuples(st.just("Cookie"), COOKIES | st.just(MINE))
    | st.tuples(st.just("Sec-Fetch-Site"), SITES)
    | st.tuples(st.just("Origin"), ORIGINS)
    | st.tuples(st.just("Content-Type"), st.just(FORM.encode()) | FIELD)
    | st.tuples(
        st.sampled_from(
            ["Accept-Language", "Sec-Fetch-Dest", "Sec-Purpose", "Host", "Authorization", "Content-Length"]
        ),
        FIELD,
    ),
    max_size=7,
)
VALID: list[tuple[str, bytes]] = [("Cookie", MINE), ("Sec-Fetch-Site", b"same-origin"), ("Content-Type", FORM.encode())]


@pytest.fixture(params=["sync", pytest.param("asyncio", marks=pytest.mark.thorough)])
def kind(request: pytest.FixtureRequest) -> str:
    """Which handshake."""
    name: str = request.param
    return name


def with_token(value: bytes, token: str) -> bytes:
    return value.replace(TOKEN, token.encode())


def test_any_get(kind: str, tmp_path: Path) -> None:
    """Any query, cookie and headers: an answer of the table, and no row changes whatever it is."""
    with both_services(kind, tmp_path, of=FastAPIServices) as services:
        token = services.issue().token
        before = services.rows()

        @MANY
        @given(query=QUERIES, headers=HEADERS)
        def check(query: bytes, headers: list[tuple[str, bytes]]) -> None:
            answer = services.ask("GET", b"/aurora/handoff?" + with_token(query, token), headers)
            assert answer.status in (200, 400, 403, 503)
            assert answer.status != 503 or any(name == "Sec-Purpose" for name, _ in headers)
            assert services.rows() == before

        check()
        assert (services.consumer.requests, services.redemptions) == ([], [])


def test_any_post(kind: str, tmp_path: Path) -> None:
    """Any form, query, cookie and headers: only a whole valid request redeems, and nothing else leaves a trace."""
    with both_services(kind, tmp_path, of=FastAPIServices) as services:
        seen: set[int] = set()

        @MANY
        @given(
            body=QUERIES | st.just(b"handoff=" + TOKEN),
            query=st.just(b"") | QUERIES,
            headers=st.just(VALID) | HEADERS | HEADERS.map(lambda more: [*VALID, *more]),
        )
        # One of each status, whatever is drawn.
        @example(body=b"handoff=" + TOKEN, query=b"", headers=VALID)
        @example(body=b"", query=b"", headers=VALID)
        @example(body=b"", query=b"", headers=[])
        def check(body: bytes, query: bytes, headers: list[tuple[str, bytes]]) -> None:
            token = services.issue().token
            before = services.rows()
            answer = services.ask(
                "POST", b"/aurora/handoff?" + with_token(query, token), headers, with_token(body, token)
            )
            seen.add(answer.status)
            assert answer.status in (303, 400, 403)
            if answer.status == 303:
                assert is_valid(headers, body, query)
            else:
                assert services.rows() == before

        check()
        assert seen == {303, 400, 403}


def is_valid(headers: list[tuple[str, bytes]], body: bytes, query: bytes) -> bool:
    """What must at least be so where a handoff was redeemed, by another way of reading."""

    def values(name: str) -> list[bytes]:
        return [value for key, value in headers if key == name]

    sites = values("Sec-Fetch-Site")
    same = sites == [b"same-origin"] if sites else values("Origin") == [ORIGIN.encode()]
    exact = [pair.strip(b" \t") for line in values("Cookie") for pair in line.split(b";")]
    return (
        same
        and [pair for pair in exact if pair.partition(b"=")[0].strip(b" \t") == COOKIE.encode()] == [MINE]
        and b"handoff" not in [part.partition(b"=")[0] for part in query.split(b"&")]
        and body.count(b"handoff=" + TOKEN) + body.count(b"%68andoff=" + TOKEN) >= 1
    )


def test_any_consume_call(kind: str, tmp_path: Path) -> None:
    """Any Authorization, body and path: 401 or 404 and no row changes, unless the call is the signed one."""
    with both_services(kind, tmp_path, of=FastAPIServices) as services:
        app = consumer_app(services.log, services.keys, clock=services.clock)
        identifier, now = services.issue().handoff_id, int(services.clock.now)
        signed = ConsumeCall(ISSUER, AUDIENCE, identifier, "a" * 64, now, now)
        header, body = sign_call(signed, services.keys)
        head, path = header.encode(), f"/internal/handoff/{identifier}/consume".encode()
        before = services.rows()

        def ask(target: bytes, authorization: list[bytes], content: bytes) -> Answer:
            fields: Any = [("Authorization", value) for value in authorization]
            return services.runner.run(answer_of(app, "POST", target, fields, content))

        @MANY
        @given(
            segment=st.just(identifier.encode()) | st.binary(min_size=1, max_size=20).map(bytes.hex).map(str.encode),
            authorization=st.lists(pieces(head, b"GHASI-CONSUME ", b"kid=k", b", ", b"mac=", b"A" * 43), max_size=2),
            content=pieces(body, body[:50], body[50:], b" ", b"\n", b"{", b"}") | st.binary(max_size=2000),
        )
        def check(segment: bytes, authorization: list[bytes], content: bytes) -> None:
            valid = (segment, authorization, content) == (identifier.encode(), [head], body)
            if valid:
                return
            answer = ask(b"/internal/handoff/" + segment + b"/consume", authorization, content)
            assert answer.status == (404 if (authorization, content) == ([head], body) else 401)
            assert services.rows() == before

        check()

        @MANY
        @given(position=st.integers(0, len(body) - 1), bit=st.integers(0, 7), in_header=st.booleans())
        def check_bit(position: int, bit: int, in_header: bool) -> None:
            text = bytearray(head if in_header else body)
            text[position % len(text)] ^= 1 << bit
            other = bytes(text)
            answer = ask(path, [other] if in_header else [head], body if in_header else other)
            assert answer.status == 401
            assert services.rows() == before

        check_bit()
        assert ask(path, [head], body).status == 200
