"""The landing page in a FastAPI application, asked by ASGI; a real uvicorn for what only a socket shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote_to_bytes

import uvicorn
from fastapi import FastAPI, Request
from tests.landing.both_services import ORIGIN, SITES, START_URL, Answer, BothServices, Fields
from typing_extensions import override

from ghasi_handoff.integrations.fastapi import install_error_handlers, landing_router


class FastAPIServices(BothServices):
    """Both services, of which the booking side is a FastAPI application."""

    @override
    def make_app(self, **options: Any) -> FastAPI:
        async def tenant(request: Request) -> str | None:
            return SITES.get(request.path_params["site"])

        standard = {"public_origin": lambda request: ORIGIN, "on_redeemed": self.sent_on, "start_url": START_URL}
        app = FastAPI()
        app.include_router(landing_router(self.handshake, tenant=tenant, **{**standard, **options}), prefix="/{site}")
        install_error_handlers(app)
        return app

    @override
    def answer_of(
        self, app: Any, method: str, target: str | bytes, headers: Fields, body: bytes | Iterable[bytes]
    ) -> Answer:
        return self.runner.run(answer_of(app, method, target, headers, body))


def scope_of(method: str, path: bytes, query: bytes, headers: Sequence[tuple[bytes, bytes]]) -> dict[str, Any]:
    """What a server tells an ASGI application of a request."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote_to_bytes(path).decode("utf-8", "replace"),
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": list(headers),
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }


async def answer_of(
    app: Any, method: str, target: str | bytes, headers: Fields = (), body: bytes | Iterable[bytes] = b""
) -> Answer:
    """The answer of an ASGI application to a request, each byte of which is the caller's to choose."""
    raw = target if isinstance(target, bytes) else target.encode("ascii")
    path, _, query = raw.partition(b"?")
    lines = [(name.lower().encode("ascii"), v if isinstance(v, bytes) else v.encode("latin-1")) for name, v in headers]
    if not any(name == b"host" for name, _ in lines):
        lines.append((b"host", b"aurora.example"))
    scope = scope_of(method, path, query, lines)
    chunks = iter((body,) if isinstance(body, bytes) else body)
    sent: list[Any] = []
    read = 0

    async def receive() -> dict[str, Any]:
        nonlocal read
        for chunk in chunks:
            read += 1
            return {"type": "http.request", "body": chunk, "more_body": True}
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    found = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in sent[0]["headers"]]
    return Answer(sent[0]["status"], tuple(found), b"".join(m.get("body", b"") for m in sent[1:]), read)


@contextmanager
def served(app: Any, **options: Any) -> Generator[int]:
    """A real uvicorn on loopback, until the block ends; its port."""
    config = uvicorn.Config(app, port=0, log_config=None, lifespan="off", **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
