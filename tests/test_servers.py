"""The servers of the tests: real ones, that can be killed and paused, and that leave nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import MovedError
from redis.retry import Retry

from . import server_watcher
from .servers import PostgresServer, RedisCluster, RedisServer


def test_postgres_keeps_what_was_committed_when_it_is_killed() -> None:
    """A killed PostgreSQL is gone at once, and after a restart at the same URL has what was committed."""
    with PostgresServer(in_memory=True) as server:
        members = server_watcher.family(server.pid)
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept (n integer)")
            connection.execute("INSERT INTO kept VALUES (7)")
            server.kill()
            assert not any(map(server_watcher.is_running, members))
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT n FROM kept").fetchall() == [(7,)]
            assert connection.execute("SHOW fsync").fetchone() == ("on",)


def test_postgres_leaves_no_shared_memory() -> None:
    """A PostgreSQL that is ended, even a paused one, gives its shared memory back: nobody else would."""
    with PostgresServer(in_memory=True) as server:
        pid = server.pid
        shared = {Path(found) for found in re.findall(r"/dev/shm/PostgreSQL\S+", Path(f"/proc/{pid}/maps").read_text())}
        assert shared
        assert pid in owners_of_shared_memory()
        server.pause()
    assert not any(segment.exists() for segment in shared)
    assert pid not in owners_of_shared_memory()


def owners_of_shared_memory() -> set[int]:
    """The processes that made the System V segments of this machine."""
    heading, *segments = Path("/proc/sysvipc/shm").read_text().splitlines()
    column = heading.split().index("cpid")
    return {int(segment.split()[column]) for segment in segments}


def test_redis_keeps_what_was_written_when_it_is_killed() -> None:
    """A killed Redis, restarted, has what its append-only file has: with appendfsync always, all that was answered."""
    with RedisServer({"appendfsync": "always"}, in_memory=True) as server:
        with server.client() as client:
            client.set("kept", 7)
        server.kill()
        assert not server.alive
        server.start()
        with server.client() as client:
            assert client.get("kept") == "7"


def test_paused_server_hangs_and_goes_on() -> None:
    """A paused server takes connections and answers nothing, until it is resumed."""
    with RedisServer(in_memory=True) as server:
        server.pause()
        hurried = redis.Redis(port=server.port, socket_timeout=0.2, retry=Retry(NoBackoff(), 0))
        with hurried, pytest.raises(redis.TimeoutError):
            hurried.ping()
        server.resume()
        with server.client() as client:
            assert client.ping()


def test_settings_reach_the_server() -> None:
    """The server runs with the settings of the test, also after a restart with further ones."""
    with RedisServer({"maxmemory-policy": "allkeys-lru"}, in_memory=True) as server:
        server.restart(appendonly="no")
        with server.client() as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lru"}
            assert client.config_get("appendonly") == {"appendonly": "no"}


@pytest.mark.thorough  # a cluster waits for two seconds; stores/redis/test_cluster.py uses one in the fast tier
def test_cluster_has_all_slots() -> None:
    """Three nodes share all slots: each of many keys is taken by exactly one of them."""
    with RedisCluster(in_memory=True) as cluster:
        taken = []
        for node in cluster.nodes:
            with node.client() as client:
                for number in range(50):
                    try:
                        client.set(f"key {number}", number)
                    except MovedError:
                        continue  # another node's
                    taken.append((number, node))
    assert sorted(number for number, _ in taken) == list(range(50))
    assert len({id(node) for _, node in taken}) == 3


def test_nothing_is_left_when_the_tests_are_killed(tmp_path: Path) -> None:
    """Servers die with the process that started them, even if that is killed, and their folder goes."""
    program = (
        "import os, time\n"
        "from tests.servers import RedisServer\n"
        "server = RedisServer(in_memory=True); server.start()\n"
        "print(server.pid, server.folder, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent
    ) as process:
        assert process.stdout is not None
        pid, folder = process.stdout.readline().decode().split()
        assert server_watcher.is_running(int(pid))
        process.kill()
    deadline = time.monotonic() + 60
    while server_watcher.is_running(int(pid)) or Path(folder).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.thorough  # two runs of pytest
def test_missing_server_is_named_and_its_tests_are_left_out(tmp_path: Path) -> None:
    """Where no server can be had, the run names each test that it left out, and fails if asked to."""
    (tmp_path / "test_it.py").write_text(
        "from tests.conftest import *\ndef test_redis(redis_url: str) -> None:\n    'Needs one.'\n", "utf-8"
    )
    hide = (
        "import sys, pytest\nfrom tests import servers\n"
        "def none(kind):\n    raise servers.NoServerError(f'no {kind.name} server: hidden')\n"
        "servers.executable = none\n"
        "for options in ([], ['--no-skips']):\n    print(f'ended with {pytest.main([*sys.argv[1:], *options]):d}')\n"
    )
    root = Path(__file__).parent.parent
    arguments = [
        "-c",
        str(root / "pyproject.toml"),
        "--rootdir",
        str(root),
        "-q",
        "-p",
        "tests.conftest",
        "-p",
        "conftest",
    ]
    done = subprocess.run(
        [sys.executable, "-c", hide, *arguments, str(tmp_path / "test_it.py")],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    )
    left_out, failed, rest = re.split(r"^ended with (?:0|1)\n", done.stdout, flags=re.MULTILINE)
    assert re.findall(r"^ended with (.*)$", done.stdout, re.MULTILINE) == ["0", "1"], done.stdout
    for run in (left_out, failed):
        assert "left out for want of a server" in run, done.stdout + done.stderr
        assert "::test_redis" in run
    assert rest == ""
