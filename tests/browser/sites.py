"""Both services, a sibling and an attacker, as real processes under host names of their own; what arrived at them.

    https://www.ghasi.test       bff-consumer
    https://booking.hotels.test  bff-tenant-booking
    https://evil.hotels.test     a sibling of it: another origin, the same site
    https://attacker.test        any other site

All over one TLS front on one port, as behind an ingress; with ``tls=False``, the two services alone on 127.0.0.1.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlencode

from ghasi_handoff import KeyRing, MintedHandoff, Minter, keyfile
from ghasi_handoff.handshake import HandoffIssuer, HandoffRecord, SQLiteHandoffLog
from tests.handshake.services import STAY as PLAIN_STAY

from .. import servers
from .apps import RECORD_FILE
from .certificates import make_certificate
from .processes import Process

ROOT = Path(__file__).parents[2]
STAY = PLAIN_STAY.model_copy(update={"room_type_id": "rt_double", "currency": "EUR", "quoted_total_minor": 45900})


@dataclass(frozen=True)
class Arrival:
    """A request, as a site got it, and what it answered."""

    site: str
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    status: int
    sent: list[tuple[str, str]]

    def header(self, name: str) -> str | None:
        """The one request header of this name; None if there is none."""
        values = [value for field, value in self.headers if field == name]
        assert len(values) < 2, values
        return values[0] if values else None

    @property
    def cookies(self) -> list[str]:
        """Names of the cookies that came."""
        return [pair.partition("=")[0].strip() for pair in (self.header("cookie") or "").split(";") if pair]

    @property
    def set_cookies(self) -> list[str]:
        """What the answer set."""
        return [value for field, value in self.sent if field == "set-cookie"]


class Sites:
    """The processes, their addresses and their data."""

    def __init__(self, folder: Path, *, tls: bool = True) -> None:
        self._folder = folder
        self._record = folder / "record"
        self._record.touch()
        # Old enough for handoffs that have expired.
        self.ring = KeyRing.generate(now=datetime.now(UTC) - timedelta(hours=1))
        keyfile.save(folder / "keys.json", self.ring)
        self.log = SQLiteHandoffLog(folder / "log.db")
        ports = {name: servers.free_port() for name in ("consumer", "booking", "strangers", "front")}
        self._ports = ports
        if tls:
            names = {"www.ghasi.test": "consumer", "booking.hotels.test": "booking"}
            names |= {"evil.hotels.test": "strangers", "attacker.test": "strangers"}
            self.consumer, self.booking, self.sibling, self.attacker = (
                f"https://{name}:{ports['front']}" for name in names
            )
            self.trusted = make_certificate(folder / "front.pem", list(names))
            routes = [f"{name}={ports[site]}" for name, site in names.items()]
            front = ["-m", "tests.browser.front", str(ports["front"]), str(folder / "front.pem"), *routes]
            self._front = {"front": self._process("front", front)}
        else:
            self.consumer, self.booking = (f"http://127.0.0.1:{ports[name]}" for name in ("consumer", "booking"))
            self._front = {}
        self.processes = {
            name: self._service(name) for name in ("consumer", "booking", *(["strangers"] if tls else []))
        }
        self.processes |= self._front

    def start(self, *names: str) -> None:
        """Start processes, and wait until they answer."""
        for name in names:
            self.processes[name].start()
        for name in names:
            self.processes[name].wait_until(partial(_answers, self._ports[name]), f"for {name}")

    def stop(self, name: str) -> None:
        """Kill a process."""
        self.processes[name].kill()

    @contextmanager
    def halted(self, name: str) -> Generator[None]:
        """While it lasts, a process does nothing: it is called, and does not answer."""
        self.processes[name].signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.processes[name].signal(signal.SIGCONT)

    def mint(self, *, keys: KeyRing | None = None, age: int = 0, recorded: bool = True) -> MintedHandoff:
        """A handoff for Hotel Aurora, `age` seconds old, issued as bff-consumer does it."""
        minter = Minter(
            keys or self.ring, issuer="bff-consumer", audience="bff-tenant-booking", clock=lambda: time.time() - age
        )
        if not recorded:
            return minter.mint(STAY, tenant="tn_aurora")
        return HandoffIssuer(minter, self.log).issue(STAY, tenant="tn_aurora")

    def link(self, minted: MintedHandoff, hotel: str = "aurora") -> str:
        """Where bff-consumer would send the guest."""
        return minted.url(f"{self.booking}/{hotel}/handoff")

    def said(self, site: str, html: str, *headers: str) -> str:
        """The address of a page of any site that consists of `html`."""
        return f"{site}/said?{urlencode([('html', html), *(('header', line) for line in headers)], quote_via=quote)}"

    def logged(self, minted: MintedHandoff) -> HandoffRecord:
        """bff-consumer's row."""
        record = self.log.find(minted.handoff_id)
        assert record is not None
        return record

    def bookings(self, minted: MintedHandoff) -> list[str]:
        """Numbers of the bookings that were made of a handoff."""
        with closing(sqlite3.connect(self._folder / "bookings.db")) as connection:
            rows = connection.execute("SELECT number FROM bookings WHERE handoff_id = ?", (minted.handoff_id,))
            return [number for (number,) in rows]

    @contextmanager
    def locked_store(self) -> Generator[None]:
        """While it lasts, the replay store cannot be written."""
        with closing(sqlite3.connect(self._folder / "replay.db", isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield
            connection.execute("ROLLBACK")

    @property
    def position(self) -> int:
        """How much has been recorded."""
        return self._record.stat().st_size

    def arrivals(self, since: int) -> list[Arrival]:
        """Requests that came after `since`, in the order of their answers."""
        with self._record.open("rb") as file:
            file.seek(since)
            lines = file.read().splitlines(keepends=True)
        fields = [json.loads(line) for line in lines if line.endswith(b"\n")]
        return [
            Arrival(**{**field, "headers": _pairs(field["headers"]), "sent": _pairs(field["sent"])}) for field in fields
        ]

    def output(self, name: str) -> str:
        """What a process has logged."""
        return self.processes[name].output()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(self.__exit__)
            self.start(*self.processes)
            stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self.processes.values():
            process.kill()
        self.log.close()

    def _service(self, name: str) -> Process:
        arguments = ["-m", "uvicorn", "--factory", f"tests.browser.apps:{name}", "--port", str(self._ports[name])]
        return self._process(name, [*arguments, "--timeout-keep-alive", "60"])

    def _process(self, name: str, arguments: list[str]) -> Process:
        kept = {key: value for key, value in os.environ.items() if not key.startswith("GHASI_")}
        settings = {
            "KEYS_FILE": f"{self._folder / 'keys.json'}",
            "LOG_URL": f"sqlite:///{self._folder / 'log.db'}",
            "STORE_URL": f"sqlite:///{self._folder / 'replay.db'}",
            "BOOKINGS_FILE": f"{self._folder / 'bookings.db'}",
            "CONSUMER_URL": f"http://127.0.0.1:{self._ports['consumer']}",
            "BOOKING_ORIGIN": self.booking,
            "PUBLIC_ORIGIN": self.booking,
            "START_URL": f"{self.consumer}/",
        }
        environment = kept | {f"GHASI_HANDOFF_{key}": value for key, value in settings.items()}
        environment |= {RECORD_FILE: str(self._record), "PYTHONPATH": str(ROOT)}
        return Process([sys.executable, *arguments], self._folder / f"{name}.log", environment)


def _answers(port: int) -> bool:
    with closing(socket.socket()) as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def _pairs(lists: Any) -> list[tuple[str, str]]:
    return [(name, value) for name, value in lists]
