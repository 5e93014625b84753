"""The adapter of docs/reference/landing.md under a real WSGI server: the landing needs no framework."""

from __future__ import annotations

import http.client
import re
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest

from .both_services import FORM, BothServices

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "landing.md"


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        return


@pytest.fixture
def kind() -> str:
    """WSGI is for threads."""
    return "sync"


@pytest.fixture
def port(services: BothServices) -> Iterator[int]:
    """Where the server listens."""
    adapter: dict[str, Any] = {}
    (code,) = re.findall(r"```python\n(.*?def wsgi_application.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    exec(code, adapter)
    application = adapter["wsgi_application"](services.app)
    with make_server("127.0.0.1", 0, application, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def ask(port: int, method: str, target: str, headers: dict[str, str] | None = None, body: str | None = None) -> Any:
    """The answer, its body read."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode("utf-8")


def test_a_guest_arrives_and_is_sent_on(services: BothServices, port: int) -> None:
    """GET, the form with its cookie, POST, 303; the form of another site is a 403."""
    token = services.issue().token
    status, headers, page = ask(port, "GET", f"/aurora/handoff?handoff={token}")
    assert (status, token in page, headers["Content-Type"]) == (200, True, "text/html; charset=utf-8")
    sent = {"Cookie": headers["Set-Cookie"].partition(";")[0], "Content-Type": FORM, "Sec-Fetch-Site": "cross-site"}
    form = urlencode({"handoff": token})
    assert ask(port, "POST", "/aurora/handoff", sent, form)[0] == 403
    status, headers, page = ask(port, "POST", "/aurora/handoff", {**sent, "Sec-Fetch-Site": "same-origin"}, form)
    assert (status, headers["Location"], page) == (303, "/aurora/booking", "")
    assert len(services.redemptions) == 1


def test_other_requests(port: int) -> None:
    """A method that there is not, a slash too many, a token that is none."""
    assert ask(port, "PUT", "/aurora/handoff")[0] == 405
    status, headers, _ = ask(port, "GET", "/aurora/handoff/?handoff=x")
    assert (status, headers["Location"]) == (307, "../handoff?handoff=x")
    assert ask(port, "GET", "/aurora/handoff?handoff=x")[0] == 400
