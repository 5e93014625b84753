"""Around the benchmarks of the stores: servers, ids, a folder on a disk, fresh processes, the machine's description.

Nothing here is measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import random
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Generator, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypedDict, TypeVar

import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from tests import servers

SCOPE: Final = "bff-consumer\nbff-tenant-booking"
RETAINED_SECONDS: Final = 440
_SHOWN_POSTGRES: Final = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "wal_sync_method",
    "shared_buffers",
    "max_wal_size",
)
_SHOWN_REDIS: Final = ("appendonly", "appendfsync", "save", "maxmemory-policy")


class Told(TypedDict):
    """What a store is told beside the handoff id."""

    scope: str
    redemption_id: str
    consumed_at: int
    retain_until: int


class Figure(TypedDict):
    """One figure over fresh processes."""

    median: float
    lowest: float
    highest: float
    processes: int


def handoff_id(milliseconds: int) -> str:
    """A UUIDv7 of that time."""
    bits = random.getrandbits(74)
    return str(uuid.UUID(int=milliseconds << 80 | 7 << 76 | (bits >> 62) << 64 | 2 << 62 | bits & (1 << 62) - 1))


def fresh_ids(count: int) -> list[str]:
    """Ids of the last minute, in no order: handoffs are redeemed some seconds after they were made."""
    now = int(time.time() * 1000)
    return [handoff_id(now - random.randrange(60_000)) for _ in range(count)]


def told() -> Told:
    """The entry of some browser, now."""
    now = int(time.time())
    return Told(
        scope=SCOPE, redemption_id=random.randbytes(32).hex(), consumed_at=now, retain_until=now + RETAINED_SECONDS
    )


@contextlib.contextmanager
def postgres() -> Generator[str]:
    """The URL of a new database, on a server of our own or one that GHASI_TEST_POSTGRES_URL names."""
    with _running(servers.postgres()) as server, database(server.url) as url:
        yield url


@contextlib.contextmanager
def redis_server() -> Generator[str]:
    """The URL of a server of our own, or of one that GHASI_TEST_REDIS_URL names: its database is emptied."""
    with _running(servers.redis_one()) as server:
        with redis.Redis.from_url(server.url) as client:
            client.flushdb()
        yield server.url


_AnyServer = TypeVar("_AnyServer", bound=servers.OwnServer | servers.ExistingServer)


@contextlib.contextmanager
def _running(server: _AnyServer) -> Generator[_AnyServer]:
    """A server of our own is removed in the end, another is left alone."""
    if isinstance(server, servers.OwnServer):
        with server:
            yield server
    else:
        yield server


@contextlib.contextmanager
def database(url: str, *, template: str | None = None) -> Generator[str]:
    """The URL of a new database on the server of `url`: empty, or a copy of another, which nobody may be using."""
    source = conninfo_to_dict(template)["dbname"] if template else "template1"
    name = f"bench_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}"'.encode())
    try:
        yield make_conninfo(url, dbname=name)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@contextlib.contextmanager
def disk_folder() -> Generator[Path]:
    """A new folder for files that must be on a disk: in the first place that is no memory.

    Raises:
        RuntimeError: There is none.
    """
    for place in (tempfile.gettempdir(), "/var/tmp", "."):  # noqa: S108 - only its file system matters
        if os.path.isdir(place) and file_system(place) not in ("tmpfs", "ramfs"):
            with tempfile.TemporaryDirectory(prefix="ghasi-bench-", dir=place) as folder:
                yield Path(folder)
            return
    raise RuntimeError("there is no folder on a disk; set TMPDIR to one")


@contextlib.contextmanager
def memory_folder() -> Generator[Path]:
    """A new folder in memory, where the system has a place for that: no commit waits for a disk."""
    place = "/dev/shm"  # noqa: S108 - only its file system matters
    with tempfile.TemporaryDirectory(prefix="ghasi-bench-", dir=place if os.path.isdir(place) else None) as folder:
        yield Path(folder)


def file_system(place: str | os.PathLike[str]) -> str:
    """The kind of file system that holds `place`, such as ext4."""
    path = os.path.realpath(place)
    found = ("", "unknown")
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, mount, kind, *_ = line.split(" ")
            inside = path == mount or path.startswith(mount.rstrip("/") + "/")
            if inside and len(mount) >= len(found[0]):
                found = (mount, kind)
    return found[1]


def machine(folder: str | os.PathLike[str]) -> dict[str, str]:
    """What the figures depend on. Neither the machine's name nor a path."""
    processor = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    return {
        "processor": f"{processor}, {os.cpu_count()} cores",
        "kernel": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "file_system": file_system(folder),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "psycopg": f"{version('psycopg')} ({psycopg.pq.__impl__}), pool {version('psycopg-pool')}",
        "redis_py": f"{version('redis')}, {'with' if _has_hiredis() else 'without'} hiredis",
    }


def _has_hiredis() -> bool:
    from redis.utils import HIREDIS_AVAILABLE

    return bool(HIREDIS_AVAILABLE)


def postgres_settings(url: str) -> dict[str, str]:
    """The version, and the settings that the figures depend on."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT name, current_setting(name) FROM unnest(%s::text[]) WITH ORDINALITY AS s (name, n) ORDER BY n",
            (["server_version", *_SHOWN_POSTGRES],),
        ).fetchall()
    return {str(name).replace("server_version", "version"): str(value) for name, value in rows}


def redis_settings(url: str) -> dict[str, str]:
    """As `postgres_settings`."""
    with redis.Redis.from_url(url, decode_responses=True) as client:
        information: Any = client.info("server")
        found: dict[Any, Any] = {"version": information["redis_version"]}
        for name in _SHOWN_REDIS:
            found |= client.config_get(name)
    return {name: str(value) or '""' for name, value in found.items()}


def sqlite_settings(path: str | os.PathLike[str]) -> dict[str, str]:
    """What the file is set to. `synchronous` is a connection's own: see the code that measures."""
    connection = sqlite3.connect(path)
    try:
        (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    finally:
        connection.close()
    return {"version": sqlite3.sqlite_version, "journal_mode": str(mode), "synchronous": "FULL"}


def in_fresh_process(module: str, arguments: Sequence[str]) -> Any:
    """The JSON that ``python -m module`` prints."""
    command = [sys.executable, "-m", module, *arguments]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def summary(values: Iterable[float]) -> Figure:
    """Median and range."""
    found = sorted(values)
    return Figure(
        median=round(statistics.median(found), 4),
        lowest=round(found[0], 4),
        highest=round(found[-1], 4),
        processes=len(found),
    )


def percentile(values: Sequence[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    found = sorted(values)
    return found[min(len(found) - 1, int(share * len(found)))]


def tell(text: str) -> None:
    """How far it is, for whoever waits."""
    print(text, file=sys.stderr, flush=True)
