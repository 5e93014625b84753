"""A process that saves key files, for test_file.py: to be killed, without rights, or with a disk that is full.

Each function runs as an `OwnProcess`.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable
from multiprocessing.connection import Connection

from ghasi_handoff import KeyRingError, keyfile


def save_again_and_again(pipe: Connection, target: str, one: str, other: str) -> None:
    """Save the ring of the file `one` and that of `other` to `target` in turn, without end."""
    rings = keyfile.load(one), keyfile.load(other)
    pipe.send("saving")
    while True:
        for ring in rings:
            keyfile.save(target, ring)


def save_as_nobody(pipe: Connection, target: str, source: str) -> None:
    """Save the ring of the file `source` to `target` without the rights of root."""
    ring = keyfile.load(source)
    _become_nobody()
    _tell(pipe, "saved", lambda: keyfile.save(target, ring))


def load_as_nobody(pipe: Connection, path: str) -> None:
    """Load the ring of the file `path` without the rights of root, in the group `nobody`."""
    _become_nobody()
    _tell(pipe, "loaded", lambda: keyfile.load(path))


def save_to_a_full_disk(pipe: Connection, target: str, source: str, size: int) -> None:
    """Save the ring of the file `source` to `target` where no file can grow beyond `size` bytes."""
    ring = keyfile.load(source)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    _tell(pipe, "saved", lambda: keyfile.save(target, ring))


def _become_nobody() -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def _tell(pipe: Connection, done: str, work: Callable[[], object]) -> None:
    """Say `done`, or why the work was refused."""
    try:
        work()
    except KeyRingError as exc:
        pipe.send(f"refused: {exc}")
    else:
        pipe.send(done)
