"""docs/tutorial-services.md, followed to the letter: its two files, its two processes, and browsers that walk through."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx2
import pytest
from tests.forked_commands import folder_of_commands

from ghasi_handoff.testing._browser import Browser
from ghasi_handoff.testing._pages import Page, location

PAGE: Final = Path(__file__).parents[2] / "docs" / "tutorial-services.md"
FILE: Final = re.compile(r"^```python\n(# (?P<name>\w+)\.py\n.*?)^```$", re.M | re.S)
PATIENCE_SECONDS: Final = 60.0


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Reader:
    """Somebody who has saved the page's files, and runs them. The page's ports may be in use here: others stand for them.

    Attributes:
        consumer: Where bff-consumer is.
        booking: Where bff-tenant-booking is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {"consumer": free_port(), "booking": free_port()}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.consumer, self.booking = (f"http://127.0.0.1:{port}" for port in self._ports.values())
        for match in FILE.finditer(PAGE.read_text("utf-8")):
            code = match[1].replace("http://127.0.0.1:8001", self.consumer)
            code = code.replace("http://127.0.0.1:8002", self.booking)
            (folder / f"{match['name']}.py").write_text(code, "utf-8")
        command = folder_of_commands() / "ghasi-handoff"
        subprocess.run([command, "keys", "init", "--keys", "keys.json"], cwd=folder, check=True, capture_output=True)

    def start(self, *names: str) -> None:
        """Run files with uvicorn, beside each other, until each answers."""
        for name in names:
            with (self._folder / f"{name}.log").open("ab") as log:
                self._processes[name] = subprocess.Popen(
                    [sys.executable, "-m", "uvicorn", f"{name}:app", "--port", str(self._ports[name])],
                    cwd=self._folder,
                    stdout=log,
                    stderr=log,
                )
        until = time.monotonic() + PATIENCE_SECONDS
        for name in names:
            while not self._answers(name):
                assert self._processes[name].poll() is None, self.logged(name)
                assert time.monotonic() < until, self.logged(name)
                time.sleep(0.05)

    def _answers(self, name: str) -> bool:
        with closing(socket.socket()) as caller:
            return caller.connect_ex(("127.0.0.1", self._ports[name])) == 0

    def stop(self, name: str) -> None:
        """As with Ctrl-C."""
        process = self._processes.pop(name)
        process.terminate()
        process.wait(PATIENCE_SECONDS)

    def stop_all(self) -> None:
        for name in tuple(self._processes):
            self.stop(name)

    def logged(self, name: str) -> str:
        """What a service's terminal shows."""
        return (self._folder / f"{name}.log").read_text("utf-8")


@pytest.fixture
def reader(tmp_path: Path) -> Generator[Reader]:
    found = Reader(tmp_path)
    try:
        found.start("consumer", "booking")
        yield found
    finally:
        found.stop_all()


def test_what_the_tutorial_tells_happens(reader: Reader) -> None:
    """The booking for the guest, 409 for another browser, 503 while bff-consumer is down; no token in the terminals."""
    with httpx2.Client(timeout=15, trust_env=False) as client:
        guest = Browser(client, reader.booking)
        other = guest.another()
        rooms = guest.navigate(f"{reader.consumer}/", initiator=None)
        booked = guest.submit(rooms)
        assert booked.status_code == 303
        link = location(booked)
        assert link.startswith(f"{reader.booking}/aurora/handoff?handoff=ghasi1.")

        landing = guest.follow(booked)
        redeemed = guest.submit(landing)
        assert (redeemed.status_code, location(redeemed)) == (303, f"{reader.booking}/aurora/booking")
        booking = guest.follow(redeemed)
        assert (booking.status_code, '"property_id":"htl_0042"' in booking.text) == (200, True)
        assert guest.submit(landing).status_code == 303

        late = other.submit(other.navigate(link, initiator=None))
        assert (late.status_code, Page(late).title) == (409, "This link was already used")
        assert other.navigate(location(redeemed)).status_code == 404
        assert guest.navigate(link.replace("/aurora/", "/nowhere/")).status_code == 404

        landing = guest.follow(guest.submit(rooms))
        reader.stop("consumer")
        waiting = guest.submit(landing)
        assert (waiting.status_code, Page(waiting).title) == (503, "Confirming your booking")
        reader.start("consumer")
        assert guest.submit(landing).status_code == 303
    reader.stop_all()
    assert "POST /internal/handoff/" in reader.logged("consumer")
    assert "GET /aurora/handoff?[hidden]" in reader.logged("booking")
    assert "ghasi1." not in reader.logged("booking") + reader.logged("consumer")
