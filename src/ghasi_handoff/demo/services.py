"""Both services as processes of their own, on loopback. They never outlive this one. `Services`."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, NoReturn, Self
from urllib.parse import quote

from ghasi_handoff import keyfile
from ghasi_handoff._times import read_clock
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.keys import KeyRing
from ghasi_handoff.stores._open import product_of

# As in __main__.py, which needs the extra [fastapi]; this module does not.
LOOPBACK: Final = "127.0.0.1"
# A new interpreter on a busy machine takes its time.
_PATIENCE_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 5.0
_LOG_LINE: Final = re.compile(r"\d\d:\d\d:\d\d \S+ +(.*)")


class ServiceError(Exception):
    """A service did not start, or has ended by itself. Its text says which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrangement:
    """How the services are to run.

    Attributes:
        folder: Where files go for which no other place is named.
        keys_file: The key file; None makes one in `folder`.
        log_url: bff-consumer's handoff log; None is an SQLite file in `folder`.
        store_url: The booking side's replay store; None is an SQLite file in `folder`.
        mode: ``strict`` or ``deferred``.
        consumer_port: 0 is any that is free.
        booking_port: 0 is any that is free.
    """

    folder: Path
    keys_file: Path | None = None
    log_url: str | None = None
    store_url: str | None = None
    mode: str = "strict"
    consumer_port: int = 0
    booking_port: int = 0


class Service:
    """One of the two, which can be started, stopped and killed.

    Args:
        name: As it is called in the story.
        which: As `ghasi_handoff.demo.__main__` calls it.
        port: Held for it, so that it comes back where it was.
        log: Where its output goes; None is this process's.

    Attributes:
        name: Its name.
        origin: ``http://127.0.0.1:PORT``.
        environment: What it is started with.
    """

    def __init__(self, name: str, which: Literal["consumer", "booking"], port: _Port, log: Path | None) -> None:
        self.name = name
        self.origin = f"http://{LOOPBACK}:{port.number}"
        self.environment: dict[str, str] = {}
        self._which = which
        self._port = port
        self._log = log
        self._read = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of its process."""
        return self._running().pid

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            ServiceError: It ends instead.
        """
        self.begin()
        self.wait()

    def begin(self) -> None:
        """Start it."""
        with ExitStack() as stack:
            output = None if self._log is None else stack.enter_context(self._log.open("ab"))
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                # -P: never a module of that name out of the present folder.
                [sys.executable, "-P", "-m", "ghasi_handoff.demo", self._which, str(self._port.number)],
                # The pipe that it lives by: closed when this process ends, however it ends.
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=None if output is None else subprocess.STDOUT,
                env=self.environment,
                # Ctrl-C in a terminal goes to this process alone, which then stops both.
                process_group=0,
            )

    def wait(self) -> None:
        """Wait until it answers.

        Raises:
            ServiceError: It ends instead.
        """
        until = time.monotonic() + _PATIENCE_SECONDS
        while not self._port.answers():
            self.check_running()
            if time.monotonic() > until:
                raise ServiceError(f"{self.name} did not answer for {_PATIENCE_SECONDS:g} s")
            time.sleep(0.02)

    def check_running(self) -> None:
        """Whether it still runs.

        Raises:
            ServiceError: It does not.
        """
        status = self._running().poll()
        if status is not None:
            how = f"with status {status}" if status >= 0 else f"by signal {-status}"
            lines = [] if self._log is None else self._log.read_text("utf-8", "replace").splitlines()
            said = f"; it said: {lines[-1]}" if lines else ""
            raise ServiceError(f"{self.name} has ended {how}{said}")

    def kill(self) -> None:
        """End it as a power failure would: SIGKILL."""
        process = self._running()
        process.kill()
        self._forget(process)

    def stop(self) -> None:
        """Let it end in peace; if it does not, kill it. Does nothing if it was never started, or has ended."""
        process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        finally:
            self._forget(process)

    def logged(self) -> list[str]:
        """What it has logged since this was asked last, without requests, times and its name."""
        if self._log is None:
            return []
        with self._log.open("rb") as file:
            file.seek(self._read)
            # A line that is being written is left for the next time.
            complete = file.read().rpartition(b"\n")[0]
        self._read += len(complete) + 1 if complete else 0
        found = [_LOG_LINE.fullmatch(line) for line in complete.decode("utf-8", "replace").splitlines()]
        return [match[1] for match in found if match is not None and not match[1].startswith("http ")]

    def log_text(self) -> str:
        """Everything that it has ever written."""
        return "" if self._log is None else self._log.read_text("utf-8", "replace")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServiceError(f"{self.name} does not run")
        return self._process

    def _forget(self, process: subprocess.Popen[bytes]) -> None:
        process.wait()
        if process.stdin is not None:
            process.stdin.close()
        self._process = None


class Services:
    """Both services. A context manager: in the end it stops what it has started.

    Args:
        arrangement: How they are to run.
        quiet: Their output goes into files of the folder; otherwise it is this process's.
        clock: Returns Unix seconds: only to see whether a key can sign.

    Attributes:
        consumer: bff-consumer.
        booking: bff-tenant-booking.
        keys: The ring that both have.
        log_url: The handoff log.
        store_url: The replay store.
        mode: ``strict`` or ``deferred``.
        environment: Of the operator's commands.

    Raises:
        ConfigurationError: A port is in use, a URL is of another kind, or Redis is to be deferred.
        KeyRingError: The key file cannot be used, or has no key that signs now.
    """

    def __init__(self, arrangement: Arrangement, *, quiet: bool, clock: Callable[[], float] = time.time) -> None:
        folder = arrangement.folder.absolute()
        self.mode = arrangement.mode
        self.log_url = arrangement.log_url or _sqlite_url(folder / "handoff-log.db")
        self.store_url = arrangement.store_url or _sqlite_url(folder / "replay.db")
        products = {"handoff": product_of(self.log_url, "log"), "store": product_of(self.store_url, "store")}
        if self.mode == "deferred" and not products["store"].has_outbox:
            raise ConfigurationError(
                f"{products['store'].name} has no outbox, so it cannot be deferred: use --mode strict"
            )
        if arrangement.consumer_port == arrangement.booking_port != 0:
            raise ConfigurationError("the two services need a port each")
        self._tables = [command for command, product in products.items() if product.needs_init]
        keys_file = (arrangement.keys_file or folder / "keys.json").absolute()
        if arrangement.keys_file is None and not keys_file.exists():
            keyfile.save(keys_file, KeyRing.generate(kid="demo"))
        self.keys = keyfile.load(keys_file)
        self.keys.signing_key(int(read_clock(clock)))  # says at once what the first guest would find out
        self._ports = ExitStack()
        with ExitStack() as ports:
            consumer_port = ports.enter_context(_Port(arrangement.consumer_port, "--consumer-port"))
            booking_port = ports.enter_context(_Port(arrangement.booking_port, "--booking-port"))
            self._ports = ports.pop_all()
        self.consumer = Service(
            "bff-consumer", "consumer", consumer_port, folder / "bff-consumer.log" if quiet else None
        )
        self.booking = Service(
            "bff-tenant-booking", "booking", booking_port, folder / "bff-tenant-booking.log" if quiet else None
        )
        # Only what the demo itself says: variables of a real service on this machine must not steer it, nor be used.
        own = {name: value for name, value in os.environ.items() if not name.startswith("GHASI_HANDOFF_")}
        self.environment = own | {
            "GHASI_HANDOFF_KEYS_FILE": str(keys_file),
            "GHASI_HANDOFF_LOG_URL": self.log_url,
            "GHASI_HANDOFF_STORE_URL": self.store_url,
            "GHASI_HANDOFF_CONSUMER_URL": self.consumer.origin,
        }
        self.consumer.environment = own | {
            "GHASI_HANDOFF_KEYS_FILE": str(keys_file),
            "GHASI_HANDOFF_LOG_URL": self.log_url,
            "GHASI_HANDOFF_BOOKING_ORIGIN": self.booking.origin,
        }
        self.booking.environment = own | {
            "GHASI_HANDOFF_KEYS_FILE": str(keys_file),
            "GHASI_HANDOFF_STORE_URL": self.store_url,
            "GHASI_HANDOFF_CONSUMER_URL": self.consumer.origin,
            "GHASI_HANDOFF_PUBLIC_ORIGIN": self.booking.origin,
            "GHASI_HANDOFF_START_URL": f"{self.consumer.origin}/",
            "GHASI_HANDOFF_MODE": self.mode,
            "GHASI_HANDOFF_BOOKINGS_FILE": str(folder / "bookings.db"),
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._ports:
            try:
                self.booking.stop()
            finally:
                self.consumer.stop()

    @property
    def both(self) -> tuple[Service, Service]:
        """bff-consumer, bff-tenant-booking."""
        return self.consumer, self.booking

    def start(self) -> None:
        """Make PostgreSQL's tables, where it is used, and start both.

        Raises:
            ServiceError: One of them does not start, or the tables cannot be made.
        """
        for command in self._tables:
            self.operate(command, "init")
        for service in self.both:
            service.begin()
        for service in self.both:
            service.wait()

    def operate(self, *arguments: str) -> dict[str, Any]:
        """What the operator's ``ghasi-handoff ARGUMENTS --json`` says of these services' log and store.

        Raises:
            ServiceError: It says nothing that counts.
        """
        # In a process of its own, as operators have it. The URLs may hold a password: so they are in its environment.
        command = [sys.executable, "-P", "-c", "from ghasi_handoff.cli import main; main()", *arguments, "--json"]
        done = subprocess.run(  # noqa: S603 - our own command
            command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
        )
        try:
            facts: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            raise ServiceError(f"ghasi-handoff {arguments[0]} {arguments[1]}: {done.stderr.strip()}") from None
        if not facts.get("ok"):
            raise ServiceError(f"ghasi-handoff {arguments[0]} {arguments[1]}: {facts.get('message', 'refused')}")
        return facts


def watch(services: Services) -> NoReturn:
    """Wait until a service ends by itself.

    Raises:
        ServiceError: One has: it says which.
    """
    while True:
        for service in services.both:
            service.check_running()
        time.sleep(0.2)


class _Port:
    """A port of this machine's loopback, held without listening: connections are refused while its service is down.

    Args:
        number: Which; 0 is any that is free.
        option: Its name in messages.
    """

    def __init__(self, number: int, option: str) -> None:
        self._holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if number:
                # SO_REUSEPORT would also share a port with another demo of this user: so it is tried without, first.
                with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((LOOPBACK, number))
                    probe.listen(1)
            self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            self._holder.bind((LOOPBACK, number))
        except OSError as exc:
            self._holder.close()
            raise ConfigurationError(f"{option} {number} cannot be used: {exc.strerror}") from exc
        self.number: int = self._holder.getsockname()[1]

    def answers(self) -> bool:
        """Whether somebody listens there."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as caller:
            caller.settimeout(1)
            return caller.connect_ex((LOOPBACK, self.number)) == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._holder.close()


def _sqlite_url(path: Path) -> str:
    return f"sqlite:///{quote(str(path))}"
