"""The faults, each a function that makes it once, in the middle of load, on real servers and processes."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg

from .. import in_memory as memory
from ..servers import OwnServer, PostgresServer, RedisServer, wait_until
from .client import __name__ as client_module
from .judge import Call, Ledger, Tally
from .products import opened

ROOT: Final = Path(__file__).parent.parent.parent
HORIZON: Final = 3840
CALLERS: Final = 9
# What a busy machine may need on top of a timeout.
SLACK_SECONDS: Final = 10.0

_numbers = itertools.count(1)
_purges = itertools.count()


def call(number: int, by: int, *, minted: int | None = None) -> Call:
    """The consume of handoff `number` by browser `by`."""
    minted = int(time.time()) - 5 if minted is None else minted
    handoff_id = uuid.UUID(int=((minted * 1000) << 80) | (7 << 76) | (2 << 62) | number)
    return Call(str(handoff_id), f"{by:064x}", minted + 5 + by, minted + 440)


@contextmanager
def load(store: Any, ledger: Ledger, *, handoffs: int = 600, pause: float = 0.002) -> Generator[list[float]]:
    """Nine callers, three browsers for each handoff, for as long as the fault lasts and then to the end of a round.

    Yields the list of how long each call took, in seconds.
    """
    start, minted = next(_numbers) * 1_000_000, int(time.time()) - 5
    over, took, begin = threading.Event(), [0.0], random.randint(CALLERS, handoffs)

    def ask(caller: int) -> None:
        mine = random.sample(range(handoffs), handoffs)
        for count, number in enumerate(mine):
            if over.is_set() and count >= handoffs // 4:
                return
            begun = time.monotonic()
            ledger.ask(store, call(start + number, caller % 3 + 1, minted=minted))
            took.append(time.monotonic() - begun)
            time.sleep(random.random() * pause)

    with ThreadPoolExecutor(CALLERS) as threads:
        asking = [threads.submit(ask, caller) for caller in range(CALLERS)]
        try:
            wait_until(lambda: ledger.answers > begin, "for the load to begin")
            yield took
        finally:
            over.set()
        for each in asking:
            each.result()


def server_killed(server: OwnServer) -> Tally:
    """Kill -9 of the server, and a restart."""
    ledger = Ledger()
    with opened(server.url) as store:
        with load(store, ledger):
            server.kill()
            server.start()
        answering(store)
    with opened(server.url) as judge:
        return ledger.judged(judge)


def server_stopped(server: OwnServer) -> Tally:
    """SIGSTOP of the server for longer than the timeout; every call must end in time."""
    ledger, timeout = Ledger(), 0.6
    with opened(server.url, timeout=timeout) as store:
        with load(store, ledger) as took:
            server.pause()
            time.sleep(1.5)
            server.resume()
        answering(store)
    if max(took) > timeout + SLACK_SECONDS:
        raise AssertionError(f"a call took {max(took):.2f} s under a timeout of {timeout:g} s")
    with opened(server.url) as judge:
        return ledger.judged(judge)


def connections_cut(server: OwnServer) -> Tally:
    """Every connection is cut, ten times."""
    ledger = Ledger()
    with opened(server.url) as store:
        with load(store, ledger):
            for _ in range(10):
                if isinstance(server, PostgresServer):
                    with psycopg.connect(server.url, autocommit=True) as admin:
                        admin.execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
                        )
                elif isinstance(server, RedisServer):
                    with server.client() as redis_admin:
                        redis_admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
                time.sleep(0.05)
        answering(store)
    with opened(server.url) as judge:
        return ledger.judged(judge)


def pool_exhausted(server: PostgresServer) -> Tally:
    """Somebody else holds every connection of the pool for longer than the timeout."""
    ledger = Ledger()
    with opened(server.url, timeout=0.5) as store:
        with load(store, ledger), ExitStack() as held:
            for _ in range(4):
                held.enter_context(store._pool._pool.connection(timeout=30))
            time.sleep(1.2)
        answering(store)
    with opened(server.url) as judge:
        return ledger.judged(judge)


def client_killed(url: str) -> Tally:
    """Kill -9 of a process between two consumes, or between a consume and its answer."""
    ledger, start = Ledger(), next(_numbers) * 1_000_000
    calls = [call(start + number, 1) for number in range(4000)]
    with client(url, "load") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        # Between two answers, or in the middle of a consume.
        last, killer = random.randint(1, 500), threading.Timer(random.random() * 0.005, process.kill)
        for count, each in enumerate(calls):
            if count == last:
                killer.start()
            with suppress(BrokenPipeError):
                process.stdin.write(" ".join(map(str, each)) + "\n")
                process.stdin.flush()
            answer = process.stdout.readline().split()
            if len(answer) != 2:  # killed; nobody knows what became of this one
                ledger.write(each, None)
                break
            ledger.write(each, (answer[0], int(answer[1])))
        killer.cancel()
    with opened(url) as judge:
        stranger = Ledger()
        for each, told in list(ledger.told):
            other = stranger.ask(judge, each._replace(redemption_id=f"{9:064x}"))
            if told is not None and other != told:
                raise AssertionError("a stranger was given what a killed process had been acknowledged")
        ledger.told += [(each, told) for each, told in stranger.told if told is not None]
        return ledger.judged(judge)


def stalled_past_retention(url: str) -> Tally:
    """A process is stopped with an entry in its hand; when it goes on, its handoff was redeemed and purged long ago."""
    number = next(_numbers) * 1_000_000
    now = int(time.time()) + 200 * next(_purges)  # each trial beyond the mark that the last one left
    old = call(number, 1, minted=now - HORIZON - 100)
    ledger = Ledger()
    with opened(url) as store, client(url, "stall") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(" ".join(map(str, old)) + "\n")
        process.stdin.flush()
        if process.stdout.readline() != "ready\n":
            raise AssertionError("the process does not start")
        os.kill(process.pid, signal.SIGSTOP)
        ledger.ask(store, old._replace(redemption_id=f"{2:064x}"))
        ledger.ask(store, call(number + 1, 2, minted=now))
        if store.purge(now=now + 10**6) < 1:
            raise AssertionError("the purge removed nothing")
        os.kill(process.pid, signal.SIGCONT)
        process.stdin.write("go\n")
        process.stdin.flush()
        answer = process.stdout.readline().split()
        ledger.write(old, None if len(answer) != 2 else (answer[0], int(answer[1])))
        return ledger.judged(store, again=lambda each: each.handoff_id != old.handoff_id)


def disk_full(path: str) -> Tally:
    """A process that may let no file grow any more; afterwards there is space again."""
    ledger, start = Ledger(), next(_numbers) * 1_000_000
    with opened(path) as store:
        ledger.ask(store, call(start, 1))
    size = max(file.stat().st_size for file in Path(path).parent.iterdir()) + 100_000
    with client(path, "load", size) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for number in range(1, 400):
            each = call(start + number, 1)
            process.stdin.write(" ".join(map(str, each)) + "\n")
            process.stdin.flush()
            answer = process.stdout.readline().split()
            ledger.write(each, (answer[0], int(answer[1])) if len(answer) == 2 else None)
    with opened(path) as judge:
        return ledger.judged(judge)


def out_of_memory(server: RedisServer) -> Tally:
    """Redis reaches maxmemory under noeviction; afterwards it has room again."""
    ledger = Ledger()
    with server.client() as admin, opened(server.url) as store:
        try:
            with load(store, ledger):
                admin.config_set("maxmemory", 1)
                start = next(_numbers) * 1_000_000
                if any(ledger.ask(store, call(start + number, 1)) is not None for number in range(200)):
                    raise AssertionError("a full server took an entry")
        finally:
            admin.config_set("maxmemory", 0)
        answering(store)
        return ledger.judged(store)


def failover_to_a_lagging_replica(primary: RedisServer) -> Tally:
    """The replica hangs, the primary goes on, then is killed, and the replica takes over."""
    ledger, start = Ledger(), next(_numbers) * 1_000_000
    with RedisServer() as replica, opened(primary.url) as store:
        with replica.client() as admin:
            admin.execute_command("REPLICAOF", "127.0.0.1", primary.port)
            wait_until(lambda: admin.info("replication").get("master_link_status") == "up", "for the replica to follow")
        for number in range(50):
            ledger.ask(store, call(start + number, 1))
        with primary.client() as admin:
            admin.execute_command("WAIT", 1, 5000)
        replica.pause()
        with primary.client() as admin:
            admin.execute_command("CLIENT", "KILL", "TYPE", "replica")  # else the writes wait in its socket
        for number in range(50, 100):
            ledger.ask(store, call(start + number, 1))
        primary.kill()
        replica.resume()
        with replica.client() as admin:
            admin.execute_command("REPLICAOF", "NO", "ONE")
        stranger = Ledger()
        with opened(replica.url) as judge:
            for each, _ in ledger.told:
                told = stranger.ask(judge, each._replace(redemption_id=f"{2:064x}"))
                if told is None:
                    raise AssertionError("the new primary does not answer")
            tally = ledger.judged(judge)
    primary.start()
    return tally


def answering(store: Any) -> None:
    """Wait until the store answers again."""
    number = next(_numbers) * 1_000_000
    wait_until(lambda: Ledger().ask(store, call(number, 1)) is not None, "for the store to answer after the fault", 60)


def start_client(url: str, mode: str, limit: int | None = None) -> subprocess.Popen[str]:
    """Start a process that consumes; see client.py."""
    command = [sys.executable, "-m", client_module, url, mode, *([] if limit is None else [str(limit)])]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )


@contextmanager
def client(url: str, mode: str, limit: int | None = None) -> Generator[subprocess.Popen[str]]:
    """A process of its own that consumes, ended afterwards."""
    process = start_client(url, mode, limit)
    try:
        yield process
    finally:
        process.kill()
        # Its input may hold something that it never read; to close it sends that once more.
        with suppress(BrokenPipeError):
            process.communicate()


@dataclass(frozen=True)
class Servers:
    """The servers, and the file, on which faults are made."""

    hard: PostgresServer
    soft: PostgresServer
    always: RedisServer
    everysec: RedisServer
    path: str


@contextmanager
def servers(*, in_memory: bool = False) -> Generator[Servers]:
    """All that the faults need, running. `in_memory`: where their files are."""
    with ExitStack() as stack:
        place = memory.place() if in_memory else None
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-", dir=place)))
        made = Servers(
            hard=stack.enter_context(PostgresServer(in_memory=in_memory)),
            soft=stack.enter_context(PostgresServer({"synchronous_commit": "off"}, in_memory=in_memory)),
            always=stack.enter_context(RedisServer({"appendfsync": "always"}, in_memory=in_memory)),
            everysec=stack.enter_context(RedisServer({"appendfsync": "everysec"}, in_memory=in_memory)),
            path=str(folder / "replay.db"),
        )
        for url in (made.hard.url, made.soft.url, made.path):
            with opened(url) as store:
                store.create_schema()
        yield made


LOSSY: Final = "failover to a replica without the last 50 writes"
# Each fault of each store.
FAULTS: Final[dict[tuple[str, str], Callable[[Servers], Tally]]] = {
    ("kill -9 of the server under load, restart", "PostgreSQL"): lambda on: server_killed(on.hard),
    ("the same, sessions with synchronous_commit off", "PostgreSQL"): lambda on: server_killed(on.soft),
    ("kill -9 of the server under load, restart", "Redis, appendfsync always"): lambda on: server_killed(on.always),
    ("kill -9 of the server under load, restart", "Redis, appendfsync everysec"): lambda on: server_killed(on.everysec),
    ("kill -9 of a consuming process", "SQLite"): lambda on: client_killed(on.path),
    ("kill -9 of a consuming process", "PostgreSQL"): lambda on: client_killed(on.hard.url),
    ("kill -9 of a consuming process", "Redis"): lambda on: client_killed(on.everysec.url),
    ("the server stopped (SIGSTOP) for 1.5 s", "PostgreSQL"): lambda on: server_stopped(on.hard),
    ("the server stopped (SIGSTOP) for 1.5 s", "Redis"): lambda on: server_stopped(on.everysec),
    ("every connection cut, ten times", "PostgreSQL"): lambda on: connections_cut(on.hard),
    ("every connection cut, ten times", "Redis"): lambda on: connections_cut(on.everysec),
    ("the pool held by others for 1.2 s", "PostgreSQL"): lambda on: pool_exhausted(on.hard),
    ("a process stalled past retention and purge", "SQLite"): lambda on: stalled_past_retention(on.path),
    ("a process stalled past retention and purge", "PostgreSQL"): lambda on: stalled_past_retention(on.hard.url),
    ("the disk full", "SQLite"): lambda on: disk_full(on.path),
    ("out of memory under noeviction", "Redis"): lambda on: out_of_memory(on.everysec),
    (LOSSY, "Redis"): lambda on: failover_to_a_lagging_replica(on.everysec),
}
