"""The demo's two services, and strangers -> the same ASGI applications, with every request written down.

Factories for uvicorn. Each site also has a page ``/said``, which says what its query tells it to: by it a test plays
another page of the same site, or a sibling, or an attacker.
"""

from __future__ import annotations

import json
import logging
import os
from typing import Any, Final
from urllib.parse import parse_qs

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ghasi_handoff.demo import booking as booking_service
from ghasi_handoff.demo import consumer as consumer_service

RECORD_FILE: Final = "GHASI_TEST_RECORD_FILE"
_FORM_ACTION_SELF: Final = b"form-action=self"
# A parameter of a landing page's link: some proxy on the way drops the header.
LOST_PURPOSE: Final = "lost=sec-purpose"


def consumer() -> ASGIApp:
    """bff-consumer. With the query ``form-action=self`` its page forgets to allow the booking sites."""
    return Recorder(consumer_service.create_app(), "consumer")


def booking() -> ASGIApp:
    """bff-tenant-booking."""
    return Recorder(booking_service.create_app(), "booking")


def strangers() -> ASGIApp:
    """Everybody else."""
    return Recorder(FastAPI(openapi_url=None), "strangers")


class Recorder:
    """Writes a line of JSON for each request when its answer begins."""

    def __init__(self, app: ASGIApp, site: str) -> None:
        # The services leave that to who runs them, and uvicorn shows no other loggers than its own.
        logging.basicConfig(level=logging.INFO)
        self._app = app
        self._site = site
        self._file = os.open(os.environ[RECORD_FILE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                if scope["query_string"] == _FORM_ACTION_SELF:
                    message["headers"] = [_without_booking_origin(field) for field in message["headers"]]
                self._record(scope, message)
            await send(message)

        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/said":
            await _say(scope, recorded)
        else:
            await self._app(_on_its_way(scope), receive, recorded)

    def _record(self, scope: Scope, answer: Message) -> None:
        line = {
            "site": self._site,
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode("latin-1"),
            "headers": _text(scope["headers"]),
            "status": answer["status"],
            "sent": _text(answer["headers"]),
        }
        os.write(self._file, json.dumps(line).encode() + b"\n")


def _on_its_way(scope: Scope) -> Scope:
    if LOST_PURPOSE.encode() not in scope["query_string"]:
        return scope
    return {**scope, "headers": [(name, value) for name, value in scope["headers"] if name != b"sec-purpose"]}


async def _say(scope: Scope, send: Send) -> None:
    query = parse_qs(scope["query_string"].decode("ascii"))
    headers = [line.encode("latin-1").split(b": ", 1) for line in query.get("header", [])]
    html = query.get("html", [""])[0].encode()
    start: dict[str, Any] = {"type": "http.response.start", "status": 200}
    await send({**start, "headers": [[b"content-type", b"text/html; charset=utf-8"], *headers]})
    await send({"type": "http.response.body", "body": b"<!doctype html>" + html})


def _without_booking_origin(field: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = field
    return name, value.replace(os.environ["GHASI_HANDOFF_BOOKING_ORIGIN"].encode(), b"")


def _text(fields: Any) -> list[tuple[str, str]]:
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in fields]
