"""What stands in the access log of a real uvicorn, with the filter."""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import quote

import pytest
from starlette.types import Receive, Scope, Send
from tests.handshake.services import AUDIENCE, ISSUER, STAY, TENANT
from uvicorn.logging import AccessFormatter

from ghasi_handoff import KeyRing, Minter
from ghasi_handoff.integrations.fastapi import AccessLogFilter

from .asgi import served

TOKEN = Minter(KeyRing.generate(), issuer=ISSUER, audience=AUDIENCE).mint(STAY, tenant=TENANT).token


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that has nothing to say."""
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})


class Lines(logging.Handler):
    """The formatted lines, as uvicorn's own formatter makes them."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.setFormatter(AccessFormatter('%(client_addr)s - "%(request_line)s" %(status_code)s', use_colors=False))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture(scope="module", params=["h11", "auto"])
def server(request: pytest.FixtureRequest) -> Iterator[tuple[int, Lines]]:
    """Uvicorn on loopback; its port, and what it logs."""
    lines = Lines()
    logger = logging.getLogger("uvicorn.access")
    hider = AccessLogFilter()
    logger.addFilter(hider)
    logger.addHandler(lines)
    before = logger.level
    logger.setLevel(logging.INFO)
    with served(app, http=request.param) as port:
        yield port, lines
    logger.removeHandler(lines)
    logger.removeFilter(hider)
    logger.setLevel(before)


def line_of(server: tuple[int, Lines], target: str, method: str = "GET") -> str:
    """What the server logs of a request."""
    port, lines = server
    lines.lines.clear()
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
        while connection.recv(4096):
            pass
    deadline = time.monotonic() + 60
    while not lines.lines and time.monotonic() < deadline:
        time.sleep(0.01)
    (line,) = lines.lines
    return line.partition(" - ")[2]


def twice(text: str) -> str:
    return quote(quote(text, safe=""), safe="")


ESCAPED = "".join(f"%{ord(character):02x}" for character in TOKEN)


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        (f"/handoff?handoff={TOKEN}", "/handoff?[hidden]"),
        (f"/aurora/handoff?a=b&handoff={TOKEN}&c=d", "/aurora/handoff?[hidden]"),
        (f"/handoff?handoff={ESCAPED}", "/handoff?[hidden]"),
        (f"/handoff?h%61ndoff={TOKEN}", "/handoff?[hidden]"),
        (f"/x?next={quote(f'/handoff?handoff={TOKEN}', safe='')}", "/x?[hidden]"),
        (f"/x?next={twice(f'/handoff?handoff={TOKEN}')}", "/x?[hidden]"),
        (f"/x?t={TOKEN}", "/x?[hidden]"),
        (f"/x?t={ESCAPED}", "/x?[hidden]"),
        (f"/x?t={twice(ESCAPED)}", "/x?[hidden]"),
        (f"/x?{TOKEN}", "/x?[hidden]"),
        (f"/x?T={TOKEN.upper()}", "/x?[hidden]"),
        (f"/handoff/{TOKEN}", "[hidden]"),
        (f"/handoff/{ESCAPED}", "[hidden]"),
        (f"/handoff/{twice(ESCAPED)}", "[hidden]"),
        (f"/{TOKEN}?a=b", "[hidden]?a=b"),
        (f"/{TOKEN}?handoff={TOKEN}", "[hidden]?[hidden]"),
        ("/handoff?handoff=", "/handoff?[hidden]"),
        ("/", "/"),
        ("/handoff", "/handoff"),
        (
            "/internal/handoff/01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71/consume",
            "/internal/handoff/01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71/consume",
        ),
        ("/search?city=K%C3%B6ln&adults=2", "/search?city=K%C3%B6ln&adults=2"),
        ("/search?q=%25%2525&x=a?b", "/search?q=%25%2525&x=a?b"),
        ("/search?", "/search"),
    ],
)
def test_the_token_is_hidden_and_nothing_else(server: tuple[int, Lines], target: str, shown: str) -> None:
    """In the query under any name, in the path, escaped once or twice; ordinary requests are logged as they are."""
    assert line_of(server, target) == f'"GET {shown} HTTP/1.1" 204 No Content'


def test_every_method_is_covered(server: tuple[int, Lines]) -> None:
    """HEAD and POST as GET."""
    for method in ("HEAD", "POST"):
        assert (
            line_of(server, f"/handoff?handoff={TOKEN}", method)
            == f'"{method} /handoff?[hidden] HTTP/1.1" 204 No Content'
        )


def test_other_records_pass() -> None:
    """A record of another shape is left as it is."""
    for args in ((), (1, None, 2.5), ({"a": "b"},)):
        record = logging.LogRecord("x", logging.INFO, "", 0, "m", args, None)
        before = record.args
        assert AccessLogFilter().filter(record) is True
        assert record.args == before
