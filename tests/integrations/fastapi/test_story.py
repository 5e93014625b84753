"""Both applications under real servers: the consume call between them, and bodies as they come over a socket."""

from __future__ import annotations

import http.client
import select
import socket
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.handshake.services import AUDIENCE, ISSUER, STAY, TENANT, Clock
from tests.landing.both_services import COOKIE, FORM, TRUSTED

from ghasi_handoff import AsyncRedeemer, KeyRing, Minter, Redeemer, Verifier
from ghasi_handoff.handshake import (
    AsyncConsumeClient,
    AsyncHandshake,
    AsyncSQLiteHandoffLog,
    ConsumeClient,
    HandoffIssuer,
    HandoffState,
    Handshake,
    SQLiteHandoffLog,
)
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore

from .asgi import served
from .published import booking_app, consumer_app


class Street:
    """Both services on loopback, with a log that a test can look into."""

    def __init__(self, kind: str, folder: Path, stack: ExitStack) -> None:
        self.keys = KeyRing.generate(now=datetime.fromtimestamp(Clock().now - 60, UTC))
        # The longest there are: a busy machine may take its time.
        store_options: Any = {"timeout": 60}
        client_options: Any = {"keys": self.keys, "verify": TRUSTED, "connect_timeout": 10, "timeout": 10}
        self.log = stack.enter_context(SQLiteHandoffLog(folder / "log.db", **store_options))
        self.log.create_schema()
        verifier = Verifier(self.keys, issuer=ISSUER, audience=AUDIENCE)
        handshake: Any
        to_close: list[Any] = []
        if kind == "sync":
            self.consumer_port = stack.enter_context(served(consumer_app(self.log, self.keys)))
            store = stack.enter_context(SQLiteReplayStore(folder / "replay.db", **store_options))
            client = stack.enter_context(ConsumeClient(self.consumer_url, **client_options))
            handshake = Handshake(Redeemer(verifier, store), client)
        else:
            # Made here, used in the servers' event loops.
            log, async_store = (
                AsyncSQLiteHandoffLog(folder / "log.db", **store_options),
                AsyncSQLiteReplayStore(folder / "replay.db", **store_options),
            )
            self.consumer_port = stack.enter_context(served(consumer_app(log, self.keys)))
            async_client = AsyncConsumeClient(self.consumer_url, **client_options)
            handshake = AsyncHandshake(AsyncRedeemer(verifier, async_store), async_client)
            to_close += [async_client, async_store, log]
        app = booking_app(handshake)

        async def close() -> None:
            for each in to_close:
                await each.aclose()

        app.add_api_route("/close", close, methods=["POST"])
        self.booking_port = stack.enter_context(served(app))
        stack.callback(self.ask, self.booking_port, "POST", "/close")

    @property
    def consumer_url(self) -> str:
        """bff-consumer's base URL."""
        return f"http://127.0.0.1:{self.consumer_port}"

    def issue(self) -> Any:
        """A handoff."""
        return HandoffIssuer(Minter(self.keys, issuer=ISSUER, audience=AUDIENCE), self.log).issue(STAY, tenant=TENANT)

    def ask(self, port: int, method: str, target: str, headers: Any = None, body: Any = None) -> tuple[int, Any, bytes]:
        """Status, headers and body of an answer."""
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            connection.request(
                method, target, body, headers or {}, encode_chunked=not isinstance(body, (bytes, str, type(None)))
            )
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()


@pytest.fixture(scope="module")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Street]]:
    """Both services of a kind. Each test has a handoff of its own, so they may be shared."""
    made: dict[str, Street] = {}
    with ExitStack() as stack:

        def street(kind: str) -> Street:
            if kind not in made:
                made[kind] = Street(kind, tmp_path_factory.mktemp(kind), stack)
            return made[kind]

        yield street


@pytest.fixture
def street(kind: str, streets: Callable[[str], Street]) -> Street:
    """Both services."""
    return streets(kind)


@contextmanager
def connected(port: int) -> Generator[socket.socket]:
    """A connection, for bytes that no client library would send."""
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        yield connection


def test_the_redirect_is_followed_and_the_form_sent(street: Street) -> None:
    """GET, POST, 303, and the log has it; a second browser gets 409."""
    minted = street.issue()

    def arrive() -> tuple[int, Any, bytes]:
        status, headers, _ = street.ask(street.booking_port, "GET", f"/handoff?handoff={minted.token}")
        assert status == 200
        cookie = headers["Set-Cookie"].partition(";")[0]
        assert cookie.startswith(f"{COOKIE}=")
        sent = {"Cookie": cookie, "Sec-Fetch-Site": "same-origin", "Content-Type": FORM}
        return street.ask(street.booking_port, "POST", "/handoff", sent, urlencode({"handoff": minted.token}))

    status, headers, body = arrive()
    assert (status, headers["Location"], body) == (303, "/booking", b"")
    record = street.log.find(minted.handoff_id)
    assert record is not None and record.state is HandoffState.CONSUMED
    assert arrive()[0] == 409


@pytest.mark.parametrize("service", ["booking", "consumer"])
def test_an_endless_chunked_body_is_answered(street: Street, service: str) -> None:
    """Chunks without an end: the answer comes while they are still being sent, and the connection ends."""
    identifier = street.issue().handoff_id
    if service == "booking":
        port, target, status = street.booking_port, "/handoff", b"400"
    else:
        port, target, status = street.consumer_port, f"/internal/handoff/{identifier}/consume", b"401"
    head = (
        f"POST {target} HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nContent-Type: {FORM}\r\n"
        f"Cookie: {COOKIE}={'A' * 43}\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    with connected(port) as connection:
        connection.sendall(head.encode())
        answered, sent = False, 0
        while not answered and sent < 10_000_000:
            connection.sendall(b"3e8\r\n" + b"x" * 1000 + b"\r\n")
            sent += 1000
            answered = bool(select.select([connection], [], [], 0.01)[0])
        assert connection.recv(12) == b"HTTP/1.1 " + status
    record = street.log.find(identifier)
    assert record is not None and record.state is HandoffState.ISSUED


def test_a_guest_who_goes_away_is_no_error(street: Street, caplog: pytest.LogCaptureFixture) -> None:
    """A connection that breaks in the middle of the form: nothing is redeemed, nothing is logged as an error."""
    minted = street.issue()
    head = (
        f"POST /handoff HTTP/1.1\r\nHost: x\r\nSec-Fetch-Site: same-origin\r\nContent-Type: {FORM}\r\n"
        f"Cookie: {COOKIE}={'A' * 43}\r\nContent-Length: 5000\r\n\r\nhandoff={minted.token}&x="
    )
    with connected(street.booking_port) as connection:
        connection.sendall(head.encode())
    assert street.ask(street.booking_port, "GET", "/handoff")[0] == 400
    record = street.log.find(minted.handoff_id)
    assert record is not None and record.state is HandoffState.ISSUED
    assert not [r for r in caplog.records if r.levelname in ("ERROR", "CRITICAL")]


def test_raw_bytes_in_the_query_are_no_error(street: Street) -> None:
    """What a server lets through is answered with 400."""
    with connected(street.booking_port) as connection:
        connection.sendall(b"GET /handoff?handoff=\xff\xfe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 400"
