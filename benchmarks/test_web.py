"""The landing page's two requests and the answer to a consume call, in process: no socket, no other service.

The landing page is in a FastAPI application that is called over ASGI, on one event loop that is kept open: each request
is one ``run_until_complete``. The store is in memory, and bff-consumer's confirmation is not waited for: what is left
is what the library and the framework do. The yardstick is a bare route of the same application that reads as much and
answers alike.

The answer to a consume call is measured at the function that every framework calls, over a handoff log in SQLite. Its
yardstick makes the HMAC and the UPDATE, in a transaction of its own under the same pragmas. Both files are in memory.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import sqlite3
import time
from collections.abc import Callable, Generator
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import pytest
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from tests.integrations.fastapi.asgi import scope_of
from typing_extensions import override

from benchmarks import surroundings
from benchmarks.measured import Benchmark, measure, measure_each
from ghasi_handoff import AsyncRedeemer, BookingHandoff, KeyRing, Minter, Redemption, Verifier
from ghasi_handoff.handshake import (
    AsyncConsumeClient,
    AsyncHandshake,
    ConsumeAnswer,
    ConsumeRequest,
    HandoffIssuer,
    SQLiteHandoffLog,
    answer_consume,
    consume_signing_string,
)
from ghasi_handoff.integrations.fastapi import landing_router
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore

TENANT: Final = "tn_aurora"
ORIGIN: Final = "https://aurora.example"
ROUNDS: Final = 400
SECRET: Final = b"\x5a" * 32
# Of one browser, whose cookie is good for every handoff of a run.
COOKIE: Final = (b"cookie", b"__Host-ghasi_handoff=" + base64.urlsafe_b64encode(b"B" * 32).rstrip(b"="))
ARRIVES: Final = (
    (b"host", b"aurora.example"),
    (b"accept-language", b"en-GB,en;q=0.9"),
    (b"sec-fetch-site", b"cross-site"),
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-dest", b"document"),
)
SUBMITS: Final = (
    (b"host", b"aurora.example"),
    (b"accept-language", b"en-GB,en;q=0.9"),
    (b"origin", ORIGIN.encode()),
    (b"content-type", b"application/x-www-form-urlencoded"),
    (b"sec-fetch-site", b"same-origin"),
    (b"sec-fetch-mode", b"navigate"),
    (b"sec-fetch-dest", b"document"),
    COOKIE,
)


class Answer(NamedTuple):
    """The answer that an application sent."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Confirming(AsyncConsumeClient):
    """Confirms every redemption at once."""

    @override
    async def consume(
        self, handoff_id: str, *, issuer: str, audience: str, redemption_id: str, consumed_at: int
    ) -> None:
        return None


@pytest.fixture(scope="module")
def app(ring: KeyRing, verifier: Verifier) -> FastAPI:
    """A booking site with the landing page, and two bare routes."""

    async def tenant(request: Request) -> str:
        return TENANT

    async def public_origin(request: Request) -> str:
        return ORIGIN

    async def on_redeemed(request: Request, redemption: Redemption[BookingHandoff]) -> str:
        return "/booking"

    async def bare_page(request: Request) -> Response:
        return HTMLResponse(f"<p>{request.query_params['handoff']}</p>")

    async def bare_form(request: Request) -> Response:
        await request.body()
        return RedirectResponse("/booking", 303)

    redeemer = AsyncRedeemer(verifier, AsyncMemoryReplayStore())
    handshake = AsyncHandshake(redeemer, Confirming("https://bff-consumer.example", keys=ring))
    app = FastAPI()
    app.include_router(landing_router(handshake, tenant=tenant, public_origin=public_origin, on_redeemed=on_redeemed))
    app.add_api_route("/bare", bare_page, methods=["GET"])
    app.add_api_route("/bare", bare_form, methods=["POST"])
    return app


Ask = Callable[[str, str, bytes], Answer]


@pytest.fixture(scope="module")
def ask(app: FastAPI, loop: asyncio.AbstractEventLoop) -> Ask:
    """Gives the answer to method, path and what comes with it: a query, or a form."""

    async def answer_of(method: str, path: str, fields: bytes) -> Answer:
        get = method == "GET"
        scope = scope_of(method, path.encode(), fields if get else b"", ARRIVES if get else SUBMITS)
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": fields if method == "POST" else b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await app(scope, receive, send)
        return Answer(sent[0]["status"], dict(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:]))

    return lambda method, path, fields: loop.run_until_complete(answer_of(method, path, fields))


@pytest.fixture
def handoffs(minter: Minter, stay: BookingHandoff) -> Callable[[int], list[bytes]]:
    """Makes as many handoffs as a run needs: each a query, or a form."""
    return lambda count: [urlencode({"handoff": minter.mint(stay, tenant=TENANT).token}).encode() for _ in range(count)]


@pytest.mark.benchmark(group="landing page", disable_gc=True)
class TestLanding:
    """The guest's two requests. The yardsticks are bare routes: a page, and a form that is read and redirected."""

    def test_get(self, benchmark: Benchmark, ask: Ask, handoffs: Callable[[int], list[bytes]]) -> None:
        """A page with a form, nothing consumed, each time of another handoff."""
        (query,) = handoffs(1)
        answer = ask("GET", "/handoff", query)
        assert answer.status == ask("GET", "/bare", query).status == 200
        assert b'<form id="handoff" method="post"' in answer.body
        measure_each(
            benchmark,
            lambda query: ask("GET", "/handoff", query),
            lambda query: ask("GET", "/bare", query),
            handoffs,
            rounds=ROUNDS,
        )

    def test_post(self, benchmark: Benchmark, ask: Ask, handoffs: Callable[[int], list[bytes]]) -> None:
        """A first redemption, each time of another handoff."""
        (form,) = handoffs(1)
        answer = ask("POST", "/handoff", form)
        assert answer.status == ask("POST", "/bare", form).status == 303
        assert answer.headers[b"location"] == b"/booking"
        measure_each(
            benchmark,
            lambda form: ask("POST", "/handoff", form),
            lambda form: ask("POST", "/bare", form),
            handoffs,
            rounds=ROUNDS,
        )


class Calls(NamedTuple):
    """Both ends of the consume call."""

    make: Callable[[int], list[ConsumeRequest]]
    answer: Callable[[ConsumeRequest], ConsumeAnswer]
    bare: Callable[[ConsumeRequest], object]


@pytest.fixture(scope="module")
def calls(ring: KeyRing, minter: Minter, stay: BookingHandoff) -> Generator[Calls]:
    """A handoff log with rows in state "issued", a table with the same rows, and calls for them."""
    with (
        surroundings.memory_folder() as folder,
        SQLiteHandoffLog(folder / "log.db") as log,
        contextlib.closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as bare_log,
    ):
        log.create_schema()
        issuer = HandoffIssuer(minter, log)
        bare_log.execute("PRAGMA journal_mode = WAL")
        bare_log.execute("PRAGMA synchronous = FULL")
        bare_log.execute(
            "CREATE TABLE bare_log (handoff_id TEXT NOT NULL PRIMARY KEY, redemption_id TEXT) STRICT, WITHOUT ROWID"
        )

        def make(count: int) -> list[ConsumeRequest]:
            ids = [issuer.issue(stay, tenant=TENANT).handoff_id for _ in range(count)]
            bare_log.execute("BEGIN")
            bare_log.executemany("INSERT INTO bare_log VALUES (?, NULL)", [(handoff_id,) for handoff_id in ids])
            bare_log.execute("COMMIT")
            return [signed_call(ring, handoff_id) for handoff_id in ids]

        def bare(request: ConsumeRequest) -> None:
            hmac.compare_digest(hmac.digest(SECRET, request.body, "sha256"), SECRET)
            call = json.loads(request.body)
            bare_log.execute("BEGIN IMMEDIATE")
            bare_log.execute(
                "UPDATE bare_log SET redemption_id = ? WHERE handoff_id = ? AND redemption_id IS NULL",
                (call["redemption_id"], call["handoff_id"]),
            )
            bare_log.execute("COMMIT")

        yield Calls(make, lambda request: answer_consume(request, log=log, keys=ring), bare)


def signed_call(ring: KeyRing, handoff_id: str) -> ConsumeRequest:
    """As a booking service sends it, after the specification: docs/spec/consume-v1.md."""
    key, now = ring.keys[0], int(time.time())
    call: dict[str, Any] = {
        "issuer": "bff-consumer",
        "audience": "bff-tenant-booking",
        "handoff_id": handoff_id,
        "redemption_id": "0a" * 32,
        "consumed_at": now,
        "sent_at": now,
    }
    mac = hmac.digest(key.secret, consume_signing_string(kid=key.kid, **call), "sha256")
    mac_text = base64.urlsafe_b64encode(mac).rstrip(b"=").decode()
    return ConsumeRequest(
        path_id=handoff_id,
        authorization=[f"GHASI-CONSUME kid={key.kid}, mac={mac_text}"],
        body=json.dumps(call, sort_keys=True, separators=(",", ":")).encode(),
    )


@pytest.mark.benchmark(group="answer to a consume call", disable_gc=True)
class TestConsumeCall:
    """bff-consumer is told of a redemption. The yardstick: HMAC and JSON, and an UPDATE in a transaction of its own."""

    def test_first(self, benchmark: Benchmark, calls: Calls) -> None:
        """An authentic call to a 200, each time of another handoff."""
        (call,) = calls.make(1)
        assert calls.answer(call).status == 200
        measure_each(benchmark, calls.answer, calls.bare, calls.make, rounds=ROUNDS)

    def test_repeated(self, benchmark: Benchmark, calls: Calls) -> None:
        """The same call to the same 200, after a lost reply; the UPDATE of the yardstick finds nothing to do."""
        (call,) = calls.make(1)
        assert calls.answer(call).body == calls.answer(call).body
        calls.bare(call)
        measure(benchmark, lambda: calls.answer(call), lambda: calls.bare(call), rounds=ROUNDS)
