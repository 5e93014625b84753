"""`demo --serve`: both services are up for a browser, until Ctrl-C; they end with the command, however it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from tests.cli.command_runner import environment, executable
from tests.servers import free_port

from .story_command import run

PATIENCE_SECONDS = 60.0
# A shell that starts this in the background ignores SIGINT, and that would be inherited.
WITH_SIGINT = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)


def alive(pid: int) -> bool:
    """Whether a process runs. One that has ended and is not waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()]


def eventually(condition: Callable[[], bool]) -> bool:
    """Wait for something."""
    until = time.monotonic() + PATIENCE_SECONDS
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


class Demo:
    """A running `demo --serve`: its process, its services' processes, what it has printed so far."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self.process = process
        self.output = output
        assert eventually(lambda: "Ctrl-C stops" in output.read_text("utf-8") or process.poll() is not None)
        assert process.poll() is None, output.read_text("utf-8")
        self.services = children(process.pid)

    @property
    def printed(self) -> str:
        return self.output.read_text("utf-8")

    @property
    def url(self) -> str:
        found = re.search(r"http://127\.0\.0\.1:\d+/", self.printed)
        assert found
        return found[0]

    def ends(self) -> int:
        """Its exit code; with it, both services have ended."""
        code = self.process.wait(PATIENCE_SECONDS)
        assert eventually(lambda: not any(map(alive, self.services)))
        return code


@contextmanager
def serving(tmp_path: Path, *arguments: str) -> Generator[Demo]:
    """`demo --serve` in a process group of its own, as in a terminal."""
    output = tmp_path / "output"
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    with output.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-c", WITH_SIGINT, executable(), "demo", "--serve", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment({"TMPDIR": str(temporary)}),
            process_group=0,
        )
    try:
        yield Demo(process, output)
    finally:
        process.kill()
        process.wait()


def test_up_until_ctrl_c(tmp_path: Path) -> None:
    """It prints where to go, serves there, shows what both log without a token, and leaves nothing behind."""
    consumer, booking = free_port(), free_port()
    with serving(tmp_path, "--consumer-port", str(consumer), "--booking-port", str(booking)) as demo:
        assert demo.url == f"http://127.0.0.1:{consumer}/"
        assert len(demo.services) == 2
        form = {"room": "aurora-double", "check_in": "2036-12-24", "check_out": "2036-12-27", "adults": "2"}
        with httpx2.Client(trust_env=False) as client:
            assert "Rooms for your journey" in client.get(demo.url).text
            sent = client.post(f"{demo.url}book", data=form)
            assert sent.status_code == 303
            assert sent.headers["location"].startswith(f"http://127.0.0.1:{booking}/aurora/handoff?handoff=ghasi1.")
            assert client.get(sent.headers["location"]).status_code == 200
        os.killpg(demo.process.pid, signal.SIGINT)
        assert demo.ends() == 130
        assert re.search(r"bff-consumer +http POST /book 303\n", demo.printed)
        assert re.search(r"bff-tenant-booking +http GET /aurora/handoff\?\[hidden\] 200\n", demo.printed)
        assert "ghasi1" not in demo.printed
        assert "Traceback" not in demo.printed
        assert demo.printed.endswith("\nstopping both services\ninterrupted\n")
        assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.thorough
@pytest.mark.parametrize(("index", "name"), [(0, "bff-consumer"), (1, "bff-tenant-booking")])
def test_a_service_that_dies(tmp_path: Path, index: int, name: str) -> None:
    """It says which one, stops the other and exits with 1."""
    with serving(tmp_path) as demo:
        os.kill(demo.services[index], signal.SIGKILL)
        assert demo.ends() == 1
        assert demo.printed.endswith(f"failed: {name} has ended by signal 9\n")
        assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.thorough
def test_kill_9_leaves_no_service(tmp_path: Path) -> None:
    """The services end by themselves when the command can stop nothing any more."""
    with serving(tmp_path) as demo:
        assert all(map(alive, demo.services))
        demo.process.kill()
        assert demo.ends() == -signal.SIGKILL


@pytest.mark.thorough
def test_sigterm(tmp_path: Path) -> None:
    """A supervisor's SIGTERM stops both, and removes the folder."""
    with serving(tmp_path) as demo:
        demo.process.terminate()
        assert demo.ends() == 128 + signal.SIGTERM
        assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.thorough
def test_a_port_in_use(tmp_path: Path) -> None:
    """A port that somebody uses is refused at once: also when that is another demo."""
    with serving(tmp_path) as demo:
        port = demo.url.rsplit(":", 1)[1].rstrip("/")
        for arguments in (("--consumer-port", port), ("--booking-port", port)):
            done = run("--serve", *arguments)
            assert (done.exit_code, done.stdout) == (2, "")
            assert done.stderr.startswith(f"error: configuration: {arguments[0]} {port} cannot be used: ")


def test_the_same_port_for_both() -> None:
    """Two services cannot share a port."""
    port = str(free_port())
    done = run("--serve", "--consumer-port", port, "--booking-port", port)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr == "error: configuration: the two services need a port each\n"
