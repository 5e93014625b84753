"""bff-consumer as a real HTTP server on loopback, with faults on request; tokens, browsers and clocks for both sides."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from ghasi_handoff import BookingHandoff, KeyRing, MintedHandoff, Minter, Redeemer, Verifier
from ghasi_handoff.handshake import ConsumeClient, ConsumeRequest, HandoffIssuer, HandoffLog, answer_consume

# How long an answer that is held back is held at most. It is longer than any client waits, so it is let go only in vain.
HELD_SECONDS: Final = 60
# The seconds that a log or store may take, where it does not matter how many.
UNHURRIED: Final = 30.0
# Of a client: limits that a busy machine does not reach; and no certificates, which cost 20 ms to load and serve no http.
PATIENT: Final[dict[str, Any]] = {
    "connect_timeout": 10.0, "timeout": 10.0, "verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
}  # fmt: skip
ISSUER, AUDIENCE, TENANT = "bff-consumer", "bff-tenant-booking", "tn_aurora"
SCOPE = f"{ISSUER}\n{AUDIENCE}"
STAY = BookingHandoff(property_id="htl_0042", check_in=date(2026, 12, 24), check_out=date(2026, 12, 27), adults=2)
GUEST, STRANGER = b"G" * 32, b"S" * 32


class Clock:
    """A clock that a test moves."""

    def __init__(self, now: float | None = None) -> None:
        self.now = float(int(time.time())) if now is None else now

    def __call__(self) -> float:
        return self.now


@contextmanager
def quick_folder() -> Generator[Path]:
    """A new folder, in memory where the machine has a place for it. No test here shows what outlives a power cut."""
    memory = "/dev/shm"
    with tempfile.TemporaryDirectory(prefix="handshake-", dir=memory if os.access(memory, os.W_OK) else None) as name:
        yield Path(name)


def handoff_id(seconds: int) -> str:
    """A new id of that time."""
    stamp, rest = f"{seconds * 1000:012x}", secrets.token_hex(9)
    return f"{stamp[:8]}-{stamp[8:]}-7{rest[:3]}-8{rest[3:6]}-{rest[6:18]}"


def issue(keys: KeyRing, log: HandoffLog, clock: Callable[[], float] = time.time) -> MintedHandoff:
    """A handoff that both sides know."""
    return HandoffIssuer(Minter(keys, issuer=ISSUER, audience=AUDIENCE, clock=clock), log).issue(STAY, tenant=TENANT)


def redeemer(keys: KeyRing | Callable[[], KeyRing], store: Any, clock: Callable[[], float] = time.time) -> Redeemer:
    """The booking side's redeemer."""
    return Redeemer(Verifier(keys, issuer=ISSUER, audience=AUDIENCE, clock=clock), store)


@dataclass
class Consumer:
    """A running bff-consumer.

    Attributes:
        url: Its base URL.
        faults: What happens to the next requests, one each: ``"lost"`` (answered, but the reply never arrives),
            ``"reset"`` (not even looked at), ``"slow"`` (recorded, and not answered in any client's time), ``"drip"``
            (a byte at a time), ``"redirect"`` (to the same path under another name), a number (that status and no
            sense), or a tuple of status, content type and body. ``None`` is no fault.
        always: A fault of every request after those.
        requests: Every request that came, in order: path, Authorization values, body.
        held_back: What is called when an answer is held back: once for ``"slow"``, after each byte for ``"drip"``.
    """

    url: str
    faults: list[Any] = field(default_factory=list)
    always: Any = None
    requests: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    held_back: Callable[[], object] = lambda: None


def let_pass(loop: asyncio.AbstractEventLoop, seconds: float) -> None:
    """Let these seconds pass for everything that an event loop waits for: no test has to wait, or to be quick."""
    time_of_loop = loop.time
    loop.time = lambda: time_of_loop() + seconds  # type: ignore[method-assign]
    loop.call_soon_threadsafe(lambda: None)  # so that it looks at the time


@contextmanager
def consumer(log: Any, keys: Any, clock: Callable[[], float] = time.time) -> Generator[Consumer]:
    """bff-consumer over `log`, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are two writes, and the second would wait for 40 ms

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            authorization = self.headers.get_all("Authorization", [])
            running.requests.append((self.path, authorization, body))
            fault = running.faults.pop(0) if running.faults else running.always
            if fault == "reset":
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()
                return
            if fault == "redirect":
                self._send(307, {"Location": f"http://localhost:{server.server_port}{self.path}"}, b"")
                return
            if isinstance(fault, (int, tuple)):
                status, kind, text = (fault, "text/html", b"<h1>nonsense</h1>") if isinstance(fault, int) else fault
                self._send(status, {"Content-Type": kind}, text)
                return
            path_id = self.path.removeprefix("/internal/handoff/").removesuffix("/consume")
            request = ConsumeRequest(path_id=path_id, authorization=authorization, body=body)
            answer = answer_consume(request, log=log, keys=keys, clock=clock)
            if fault == "lost":
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            if fault == "slow":
                running.held_back()
                stopping.wait(HELD_SECONDS)
            self._send(answer.status, dict(answer.headers), answer.body, drip=fault == "drip")

        def _send(self, status: int, headers: dict[str, str], body: bytes, *, drip: bool = False) -> None:
            try:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                for position in range(len(body)) if drip else ():
                    self.wfile.write(body[position : position + 1])
                    running.held_back()
                    if stopping.wait(0.1):
                        return
                if not drip:
                    self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the caller did not wait

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
            return

    stopping = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    running = Consumer(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def patient_client(service: Consumer, keys: KeyRing, clock: Callable[[], float]) -> Generator[ConsumeClient]:
    """A client that no busy machine makes time out. Where `service` holds an answer back, the client's time-out passes."""
    held_back: Counter[int] = Counter()

    def pass_the_time_out() -> None:
        """Once in each try. Of one that trickles in, no byte takes as long as the whole may: three of them do."""
        held_back[len(service.requests)] += 1
        bytes_sent, share = (3, 0.4) if service.always == "drip" else (1, 1.0)
        if held_back[len(service.requests)] <= bytes_sent:
            let_pass(loop_of(client), share * PATIENT["timeout"])

    with ConsumeClient(service.url, keys=keys, clock=clock, **PATIENT) as client:
        service.held_back = pass_the_time_out
        yield client


def loop_of(client: ConsumeClient) -> asyncio.AbstractEventLoop:
    """The event loop in which a client waits, once it has been used."""
    loop = client._loop_thread.loop
    assert loop is not None
    return loop
