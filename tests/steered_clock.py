"""A clock that a test moves, for processes that the test has started: eight bytes of a file that all of them map.

Time that passes by itself would have to be outrun: on a busy machine a file arrives too late, and the test has shown
nothing. Here no second passes before everybody has got as far as the test wants them.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Final, Self

VARIABLE: Final = "GHASI_TEST_CLOCK"
# A sitecustomize.py by which any Python process lives by the clock of the file that the environment names.
PROGRAM: Final = f"""
import os, time
if "{VARIABLE}" in os.environ:
    import mmap, struct
    with open(os.environ["{VARIABLE}"], "rb") as file:
        shared = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    time.time = lambda: struct.unpack_from("d", shared)[0]
"""


class SteeredClock:
    """Unix seconds, of the file `path`. `made` makes the file."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8)

    @classmethod
    def made(cls, path: Path, now: float) -> Self:
        """A clock that shows `now`."""
        path.write_bytes(struct.pack("d", now))
        return cls(path)

    def __call__(self) -> float:
        """The time that it shows, in Unix seconds."""
        now: float = struct.unpack_from("d", self._shared)[0]
        return now

    def forward(self, seconds: float) -> None:
        """Move it, for everybody at once."""
        struct.pack_into("d", self._shared, 0, self() + seconds)
