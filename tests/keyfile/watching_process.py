"""A process that watches key files, for test_reader.py and test_sources.py: forked, or reading while a mounted secret is swapped.

Each function runs as an `OwnProcess`.
"""

from __future__ import annotations

import os
import time
import warnings
from datetime import timedelta
from multiprocessing.connection import Connection

from ghasi_handoff.keyfile import KeyRingEvent, KeyRingReloadFailed, WatchedKeyRing


def fork_and_follow(pipe: Connection, path: str) -> None:
    """Watch, fork, and tell from the child which keys it has, once they are others than at the fork."""
    warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside a thread: it is what is tested here
    watched = WatchedKeyRing(path, interval=timedelta(milliseconds=50))
    child = os.fork()
    if child == 0:
        before = watched()
        pipe.send("forked")
        until = time.monotonic() + 60
        while watched() is before and time.monotonic() < until:
            time.sleep(0.01)
        pipe.send(",".join(key.kid for key in watched().keys))
        os._exit(0)
    os.waitpid(child, 0)


def read_while_swapped(pipe: Connection, path: str) -> None:
    """Watch a mounted secret until the test says something. Tell each new list of kids, and then what has failed."""
    failures: list[str] = []

    def count(event: KeyRingEvent) -> None:
        if isinstance(event, KeyRingReloadFailed):
            failures.append(event.reason)

    seen: set[str] = set()
    with WatchedKeyRing(path, interval=timedelta(milliseconds=10), on_event=count) as watched:
        pipe.send("watching")
        while not pipe.poll(0.0005):
            kids = ",".join(key.kid for key in watched().keys)
            if kids not in seen:
                seen.add(kids)
                pipe.send(kids)
    pipe.send(failures)
