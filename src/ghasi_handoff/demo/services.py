"""Both services on loopback, with their keys, databases and ports. They never outlive this process. `Services`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, Final, NoReturn
from urllib.parse import quote

from ghasi_handoff import keyfile
from ghasi_handoff.demo.service_process import Service, ServiceError, held_port
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.keys import KeyRing
from ghasi_handoff.stores._open import product_of

_WATCH_SECONDS: Final = 0.2


class Services(AbstractContextManager["Services"]):
    """Both services. A context manager: at the end it stops what it has started.

    Without a key file, one is made in `folder`; without a URL, an SQLite file is. Port 0 is any that is free.
    If `quiet`, their output goes into files of the folder; otherwise it is this process's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        quiet: bool,
        keys_file: Path | None = None,
        log_url: str = "",
        store_url: str = "",
        mode: str = "strict",
        consumer_port: int = 0,
        booking_port: int = 0,
    ) -> None:
        self.folder = folder = folder.absolute()
        self.mode = mode
        log_url = log_url or _sqlite_url(folder / "handoff-log.db")
        store_url = store_url or _sqlite_url(folder / "replay.db")
        log, store = product_of(log_url, "log"), product_of(store_url, "store")
        if mode == "deferred" and not store.has_outbox:
            raise ConfigurationError(f"a {store.name} store has no outbox, so it cannot be deferred: use --mode strict")
        if consumer_port == booking_port != 0:
            raise ConfigurationError("the two services need a port each")
        self._tables = [command for command, product in (("handoff", log), ("store", store)) if product.needs_init]
        if keys_file is None and not (folder / "keys.json").exists():
            keyfile.save(folder / "keys.json", KeyRing.generate(kid="demo"))
        keys_file = (keys_file or folder / "keys.json").absolute()
        self.keys = keyfile.load(keys_file)
        self.keys.signing_key(int(time.time()))  # an error now, and not for the first guest
        with ExitStack() as ports:
            for_consumer = ports.enter_context(held_port(consumer_port, "--consumer-port"))
            for_booking = ports.enter_context(held_port(booking_port, "--booking-port"))
            self._ending = ports.pop_all()
        self.consumer = Service("consumer", for_consumer, folder / "bff-consumer.log" if quiet else None)
        self.booking = Service("booking", for_booking, folder / "bff-tenant-booking.log" if quiet else None)
        self._ending.callback(self.consumer.stop)
        self._ending.callback(self.booking.stop)
        # Variables of a real service on this machine must neither steer the demo nor be used by it.
        both = {name: value for name, value in os.environ.items() if not name.startswith("GHASI_HANDOFF_")}
        both["GHASI_HANDOFF_KEYS_FILE"] = str(keys_file)
        databases = {"GHASI_HANDOFF_LOG_URL": log_url, "GHASI_HANDOFF_STORE_URL": store_url}
        # Each has its own database only; the operator has both.
        self.environment = both | databases | {"GHASI_HANDOFF_CONSUMER_URL": self.consumer.origin}
        self.consumer.environment = both | {
            "GHASI_HANDOFF_LOG_URL": log_url,
            "GHASI_HANDOFF_BOOKING_ORIGIN": self.booking.origin,
        }
        self.booking.environment = both | {
            "GHASI_HANDOFF_STORE_URL": store_url,
            "GHASI_HANDOFF_CONSUMER_URL": self.consumer.origin,
            "GHASI_HANDOFF_PUBLIC_ORIGIN": self.booking.origin,
            "GHASI_HANDOFF_START_URL": f"{self.consumer.origin}/",
            "GHASI_HANDOFF_MODE": self.mode,
            "GHASI_HANDOFF_BOOKINGS_FILE": str(folder / "bookings.db"),
        }

    def __exit__(self, *_: object) -> None:
        self._ending.close()

    @property
    def both(self) -> tuple[Service, Service]:
        """bff-consumer, bff-tenant-booking."""
        return self.consumer, self.booking

    def start(self) -> None:
        """Make PostgreSQL's tables, where it is used, and start both. `ServiceError` if one of these fails."""
        for command in self._tables:
            self.operate(command, "init")
        for service in self.both:
            service.begin()
        for service in self.both:
            service.wait()

    def operate(self, *arguments: str) -> dict[str, Any]:
        """What the operator's ``ghasi-handoff ARGUMENTS --json`` answers; `ServiceError` for a refusal."""
        # In a process of its own, as operators have it. The URLs may hold a password: so they are in its environment.
        command = [sys.executable, "-P", "-c", "from ghasi_handoff.cli import main; main()", *arguments, "--json"]
        done = subprocess.run(  # noqa: S603 - our own command
            command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        return answer_of(arguments, done.stdout, done.stderr)


def answer_of(arguments: tuple[str, ...], output: str, errors: str = "") -> dict[str, Any]:
    """The JSON object that an operator's command printed; `ServiceError` for a refusal, or none."""
    try:
        facts: dict[str, Any] = json.loads(output)
    except ValueError:
        facts = {"message": errors.strip()}
    if not facts.get("ok"):
        raise ServiceError(f"ghasi-handoff {arguments[0]} {arguments[1]}: {facts.get('message', 'refused')}")
    return facts


def watch(services: Services) -> NoReturn:
    """Wait until a service ends by itself: `ServiceError` says which."""
    while True:
        for service in services.both:
            service.check_running()
        time.sleep(_WATCH_SECONDS)


def _sqlite_url(path: Path) -> str:
    return f"sqlite:///{quote(str(path))}"
