"""Both services around one clock: a real bff-consumer on loopback, real SQLite files, and browsers."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import ssl
import time
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from tests.handshake.services import AUDIENCE, ISSUER, STAY, TENANT, Clock, Consumer, consumer

from ghasi_handoff import AsyncRedeemer, KeyRing, MintedHandoff, Minter, Redeemer, Redemption, Verifier
from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff.handshake import (
    AsyncConsumeClient,
    AsyncHandshake,
    ConfirmationFailed,
    ConsumeClient,
    HandoffEvent,
    HandoffIssuer,
    Handshake,
    SQLiteHandoffLog,
)
from ghasi_handoff.landing import Answer as LandingAnswer
from ghasi_handoff.landing import AsyncLanding, GuestRequest, Landing
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore

ORIGIN = "https://aurora.example"
OTHER_TENANT = "tn_borealis"
DATABASES = ("replay.db", "log.db")
SITES = {"aurora": TENANT, "borealis": OTHER_TENANT}
START_URL = "https://rooms.example/search"
COOKIE = "__Host-ghasi_handoff"
LIFETIME, LEEWAY, GRACE = 300, 10, 60
# Whom a client trusts on https. Reading the authorities costs more than all else of a test, and here nobody is asked by it.
TRUSTED = ssl.create_default_context()

Fields = Sequence[tuple[str, str | bytes]]
# What a browser says when a site has sent its guest here, and when it sends the landing page's own form.
ARRIVES: Fields = (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"))
SUBMITS: Fields = (("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"))
# The cookie of a browser that has been here.
KNOWN = ("Cookie", f"{COOKIE}={b64u_encode(b'G' * 32)}")
FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Answer:
    """What an application sent."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    chunks_read: int = 0

    def fields(self, name: str) -> list[str]:
        """The values of every field of that name."""
        return [value for key, value in self.headers if key == name.lower()]

    def field(self, name: str) -> str:
        """The value of the one field of that name."""
        (value,) = self.fields(name)
        return value

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8")

    @property
    def reference(self) -> str:
        """The reference that a page or a problem shows."""
        found = re.search(r'<bdi>(.*?)</bdi>|"reference": "(.*?)"', self.text)
        assert found is not None, "no reference"
        return found[1] or found[2]

    @property
    def uniform(self) -> tuple[int, tuple[tuple[str, str], ...], str]:
        """All of it, without what is new each time: reference and nonce. For problems and pages."""
        text = re.sub(r"<bdi>[2-9A-Z]{8}</bdi>|\"reference\": \"[2-9A-Z]{8}\"", "<REFERENCE>", self.text)
        nonces = re.findall(r'nonce="([^"]+)"', text)
        headers = self.headers
        for nonce in nonces:
            text = text.replace(nonce, "NONCE")
            headers = tuple((name, value.replace(nonce, "NONCE")) for name, value in headers)
        return self.status, headers, text


@dataclass(frozen=True)
class OwnResponse:
    """A response of the application's own: a framework has a class of this kind."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Body:
    """The body of a request, in the pieces in which it comes."""

    def __init__(self, body: bytes | Iterable[bytes]) -> None:
        self._chunks = iter((body,) if isinstance(body, bytes) else body)
        self.chunks_read = 0

    def read(self, most: int) -> bytes:
        """All of it, or as many pieces as hold more than `most` bytes."""
        found = b""
        for chunk in self._chunks:
            self.chunks_read += 1
            found += chunk
            if len(found) > most:
                break
        return found

    async def read_async(self, most: int) -> bytes:
        """The same, awaited."""
        return self.read(most)


@dataclass
class BothServices:
    """The booking side, and the bff-consumer it calls.

    Attributes:
        kind: ``sync`` or ``asyncio``: the handshake's.
        verifying: The ring that the booking side has now; a test may put another.
        redemptions: What it got, in order.
        events: What the handshake reported.
    """

    kind: str
    folder: Path
    clock: Clock
    keys: KeyRing
    log: SQLiteHandoffLog
    consumer: Consumer
    runner: asyncio.Runner
    verifying: KeyRing
    redemptions: list[Redemption] = field(default_factory=list)
    events: list[HandoffEvent] = field(default_factory=list)
    handshake: Any = None
    app: Any = None
    begun: float = 0.0
    new: dict[tuple[str, str], list[Any]] = field(default_factory=dict)

    def issue(self, tenant: str = TENANT) -> MintedHandoff:
        """A handoff that both sides know."""
        minter = Minter(self.keys, issuer=ISSUER, audience=AUDIENCE, clock=self.clock)
        return HandoffIssuer(minter, self.log).issue(STAY, tenant=tenant)

    def make_app(self, **options: Any) -> Any:
        """The landing, for a site below each of `SITES`, of the twin that fits the handshake."""
        functions: dict[str, Any] = {
            "tenant": lambda request: SITES.get(site_of(request)),
            "public_origin": lambda request: ORIGIN,
            "on_redeemed": self.sent_on,
        }
        options = {"start_url": START_URL, "response_type": OwnResponse, **functions, **options}
        if self.kind == "sync":
            return Landing(self.handshake, **options)
        called = {name: awaited(options[name]) for name in (*functions, "render") if name in options}
        return AsyncLanding(self.handshake, **{**options, **called})

    def sent_on(self, request: Any, redemption: Redemption) -> str:
        """What the application does with a redemption, unless a test says otherwise."""
        self.redemptions.append(redemption)
        return "/aurora/booking"

    def ask(
        self,
        method: str,
        target: str | bytes,
        headers: Fields = (),
        body: bytes | Iterable[bytes] = b"",
        app: Any = None,
    ) -> Answer:
        """The answer to one request."""
        return self.answer_of(app or self.app, method, target, headers, body)

    def answer_of(
        self, app: Any, method: str, target: str | bytes, headers: Fields, body: bytes | Iterable[bytes]
    ) -> Answer:
        """The answer of an application that `make_app` has made."""
        path, _, query = (target if isinstance(target, bytes) else target.encode("ascii")).partition(b"?")
        lines = [(name, value.decode("latin-1") if isinstance(value, bytes) else value) for name, value in headers]
        request = GuestRequest(
            method=method, path=path.decode("latin-1"), query=query.decode("latin-1"), headers=lines, native=self
        )
        content = Body(body)
        if self.kind == "sync":
            found: LandingAnswer = app.answer(request, content.read)
        else:
            found = self.runner.run(app.answer(request, content.read_async))
        own = found.response or OwnResponse(found.status, tuple(found.headers.items()), found.body)
        added = [] if found.response is None else found.beside(name for name, _ in own.headers)
        fields = tuple((name.lower(), value) for name, value in (*own.headers, *added))
        return Answer(own.status, fields, own.body, content.chunks_read)

    def plain(self) -> Answer:
        """The answer to no token at all."""
        return self.ask("GET", "/aurora/handoff", ARRIVES)

    def rows(self, *, with_refused: bool = True) -> list[str]:
        """Everything that both databases hold, each row with its table's name."""
        found = []
        for name in DATABASES:
            with closing(sqlite3.connect(self.folder / name)) as connection:
                found += [f"{table} {row!r}" for table in _tables(connection) for row in _held(connection, table)]
        return [row for row in found if with_refused or "refused" not in row]

    def renew(self) -> None:
        """Make it what it was when it was new: time, data, and what was seen."""
        for name in DATABASES:
            with closing(sqlite3.connect(self.folder / name)) as connection, connection:
                for table in _tables(connection):
                    _put(connection, table, self.new.get((name, table), []))
        self.clock.now = self.begun
        self.verifying = self.keys
        for seen in (self.redemptions, self.events, self.consumer.requests, self.consumer.faults):
            seen.clear()
        self.consumer.always = None

    @property
    def is_spoiled(self) -> bool:
        """Whether a call to bff-consumer has failed: its client remembers that, for some seconds."""
        return any(isinstance(event, ConfirmationFailed) for event in self.events)

    def browser(self) -> Browser:
        """A browser that has not been here."""
        return Browser(self)


@dataclass
class Browser:
    """A guest's browser: it keeps the cookie, and says what browsers say."""

    services: BothServices
    cookie: str | None = None
    app: Any = None

    def get(self, token: str, headers: Fields = ARRIVES, site: str = "aurora") -> Answer:
        """Follow the redirect."""
        return self._kept("GET", f"/{site}/handoff?handoff={quote(token)}", headers)

    def post(
        self, token: str, headers: Fields = SUBMITS, site: str = "aurora", *, query: str = "", **more: str
    ) -> Answer:
        """Send the form."""
        body = urlencode({"handoff": token, **more}).encode("ascii")
        return self._kept("POST", f"/{site}/handoff{query}", (*headers, ("Content-Type", FORM)), body)

    def arrive(self, token: str) -> Answer:
        """Follow the redirect and send the form that came."""
        assert self.get(token).status == 200
        return self.post(token)

    def _kept(self, method: str, target: str, headers: Fields, body: bytes = b"") -> Answer:
        if self.cookie is not None and not any(name.lower() == "cookie" for name, _ in headers):
            headers = (*headers, ("Cookie", f"{COOKIE}={self.cookie}"))
        answer = self.services.ask(method, target, headers, body, self.app)
        for line in answer.fields("set-cookie"):
            name, _, value = line.partition(";")[0].partition("=")
            if name == COOKIE:
                self.cookie = value
        return answer


def site_of(request: GuestRequest) -> str:
    """The site whose landing page was asked for."""
    return request.path.split("/")[1]


def awaited(function: Any) -> Any:
    """The same function for asyncio; what cannot be called is left as it is."""
    if not callable(function):
        return function

    async def call(*arguments: Any) -> Any:
        return function(*arguments)

    return call


def _tables(connection: sqlite3.Connection) -> list[str]:
    return [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")]


def _held(connection: sqlite3.Connection, table: str) -> list[Any]:
    return connection.execute(f"SELECT * FROM {table}").fetchall()


def _put(connection: sqlite3.Connection, table: str, rows: list[Any]) -> None:
    if _held(connection, table) != rows:
        connection.execute(f"DELETE FROM {table}")
        for row in rows:
            connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


class Pool:
    """Both services of each kind, made once, and as new for each test that borrows them."""

    def __init__(self, folder: Path, of: type[BothServices] | None = None) -> None:
        self._folder = folder
        self._of = of or BothServices
        self._made: dict[str, tuple[ExitStack, BothServices]] = {}
        self._number = 0

    @contextmanager
    def borrowed(self, kind: str) -> Generator[BothServices]:
        """The services of that kind, until the block ends."""
        if kind not in self._made:
            self._number += 1
            folder = self._folder / f"{kind}-{self._number}"
            folder.mkdir()
            with ExitStack() as stack:
                services = stack.enter_context(both_services(kind, folder, of=self._of))
                self._made[kind] = stack.pop_all(), services
        stack, services = self._made[kind]
        services.renew()
        yield services
        if services.is_spoiled:
            del self._made[kind]
            stack.close()

    def close(self) -> None:
        """Stop them all."""
        with ExitStack() as everything:
            for stack, _ in self._made.values():
                everything.push(stack)
        self._made.clear()


@contextmanager
def both_services(
    kind: str,
    folder: Path,
    mode: str = "strict",
    keys: Any = None,
    *,
    of: type[BothServices] = BothServices,
    store_seconds: float = 60,
    call_seconds: float = 10,
) -> Generator[BothServices]:
    """The two services, until the block ends. Their time-outs are the longest there are: a busy machine may take its time."""
    built: BothServices
    clock = Clock()
    ring = KeyRing.generate(now=datetime.fromtimestamp(clock.now - 60, UTC))
    verifier = Verifier(keys or (lambda: built.verifying), issuer=ISSUER, audience=AUDIENCE, clock=clock)
    with (
        asyncio.Runner() as runner,
        SQLiteHandoffLog(folder / "log.db", timeout=60, clock=clock) as log,
        consumer(log, ring, clock) as running,
    ):
        log.create_schema()
        built = of(kind, folder, clock, ring, log, running, runner, ring)
        path = folder / "replay.db"
        options: dict[str, Any] = {"outbox": True, "timeout": store_seconds, "clock": clock}
        calls: dict[str, Any] = {"keys": ring, "verify": TRUSTED, "clock": clock}
        calls |= {"connect_timeout": call_seconds, "timeout": call_seconds}
        if kind == "sync":
            with (
                SQLiteReplayStore(path, **options) as store,
                ConsumeClient(running.url, **calls) as client,
            ):
                store.create_schema()
                built.handshake = Handshake(Redeemer(verifier, store), client, mode, on_event=built.events.append)  # type: ignore[arg-type]
                built.app = built.make_app()
                _note_what_is_new(built)
                yield built
            return
        async_store = AsyncSQLiteReplayStore(path, **options)
        async_client = AsyncConsumeClient(running.url, **calls)
        runner.run(async_store.create_schema())
        built.handshake = AsyncHandshake(
            AsyncRedeemer(verifier, async_store),
            async_client,
            mode,  # type: ignore[arg-type]
            on_event=built.events.append,
        )
        built.app = built.make_app()
        _note_what_is_new(built)
        try:
            yield built
        finally:
            runner.run(async_client.aclose())
            runner.run(async_store.aclose())


def _note_what_is_new(services: BothServices) -> None:
    services.begun = services.clock.now
    for name in DATABASES:
        with closing(sqlite3.connect(services.folder / name)) as connection:
            services.new |= {(name, table): _held(connection, table) for table in _tables(connection)}


def sent_on(browser: Browser, token: str) -> bool:
    """Whether a guest comes through at last, whose page tries again as long as it is told to wait."""
    until = time.monotonic() + 60
    while (status := browser.post(token).status) == 503 and time.monotonic() < until:
        time.sleep(0.05)
    return status == 303


@contextmanager
def locked(path: Path) -> Generator[None]:
    """Nobody can write into this SQLite file, until the block ends."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def endless(chunk: bytes = b"x" * 1000) -> Iterator[bytes]:
    """A body that never ends; who reads far too much of it fails, where it would hang."""
    for _ in range(1000):
        yield chunk
    raise AssertionError("the body is read without end")
