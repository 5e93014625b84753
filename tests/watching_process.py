"""A process that watches key files, for test_watched_keyring.py: forked, or reading while a mounted secret is swapped."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import warnings
from datetime import timedelta

from ghasi_handoff.keyfile import KeyRingEvent, KeyRingReloadFailed, WatchedKeyRing


def fork_and_follow(path: str) -> None:
    """Watch, fork, and tell from the child which keys it has, once they are others than at the fork."""
    warnings.simplefilter("ignore", DeprecationWarning)  # a fork beside a thread: it is what is tested here
    watched = WatchedKeyRing(path, interval=timedelta(milliseconds=50))
    child = os.fork()
    if child == 0:
        before = watched()
        say("forked")
        until = time.monotonic() + 20
        while watched() is before and time.monotonic() < until:
            time.sleep(0.01)
        say(",".join(key.kid for key in watched().keys))
        os._exit(0)
    os.waitpid(child, 0)


def read_while_swapped(path: str) -> None:
    """Watch a mounted secret until standard input ends; tell what was seen and what failed."""
    failures: list[str] = []

    def count(event: KeyRingEvent) -> None:
        if isinstance(event, KeyRingReloadFailed):
            failures.append(event.reason)

    seen: set[str] = set()
    with WatchedKeyRing(path, interval=timedelta(milliseconds=10), on_event=count) as watched:
        ended = threading.Event()

        def wait_for_the_end() -> None:
            sys.stdin.read()
            ended.set()

        threading.Thread(target=wait_for_the_end, daemon=True).start()
        say("watching")
        while not ended.is_set():
            seen.add(",".join(key.kid for key in watched().keys))
            time.sleep(0.0005)
    say(json.dumps({"seen": sorted(seen), "failures": failures}))


def say(line: str) -> None:
    """Write one line, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
