"""A minter and a verifier, each in a process of its own with its own copy of the key file, for test_rotation_live.py.

Their clock runs `factor` times as fast as the machine's, from `NOW` at the reading `origin` of the monotonic clock,
which all processes share.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from datetime import timedelta

from ghasi_handoff import HandoffError, Minter, Verifier
from ghasi_handoff.keyfile import KeyRingEvent, KeyRingReloaded, WatchedKeyRing
from tests.minter_and_verifier import AUDIENCE, ISSUER, NOW, STAY, TENANT

LIFETIME_SECONDS = 1800
INTERVAL = timedelta(milliseconds=20)


def fast_clock(origin: str, factor: str) -> Callable[[], float]:
    """The compressed clock."""
    began, speed = float(origin), float(factor)
    return lambda: NOW + (time.monotonic() - began) * speed


def mint(path: str, origin: str, factor: str) -> None:
    """Print a token each few milliseconds, until standard input ends."""
    clock = fast_clock(origin, factor)
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    with WatchedKeyRing(path, interval=INTERVAL) as keys:
        minter = Minter(
            keys, issuer=ISSUER, audience=AUDIENCE, lifetime=timedelta(seconds=LIFETIME_SECONDS), clock=clock
        )
        while not ended.is_set():
            print(minter.mint(STAY, tenant=TENANT).token, flush=True)
            time.sleep(0.004)


def verify(path: str, origin: str, factor: str) -> None:
    """Verify each token of standard input at once and again shortly before its end; print what came of them."""
    clock = fast_clock(origin, factor)
    arrived: dict[str, float] = {}

    def note(event: KeyRingEvent) -> None:
        if isinstance(event, KeyRingReloaded):
            arrived.update({kid: clock() for kid in event.added})

    found: Counter[str] = Counter()
    kids: set[str] = set()
    kept: deque[tuple[float, str]] = deque()
    with WatchedKeyRing(path, interval=INTERVAL, on_event=note) as keys:
        verifier = Verifier(
            keys,
            issuer=ISSUER,
            audience=AUDIENCE,
            max_lifetime=timedelta(seconds=3600),
            leeway=timedelta(seconds=60),
            clock=clock,
        )

        def judge(token: str, when: str) -> None:
            try:
                kids.add(verifier.verify(token, tenant=TENANT).kid)
                found[f"{when} accepted"] += 1
            except HandoffError as exc:
                found[f"{when} {exc.code}"] += 1

        for line in sys.stdin:
            token = line.rstrip("\n")
            judge(token, "early")
            kept.append((clock() + 0.8 * LIFETIME_SECONDS, token))
            while kept and kept[0][0] <= clock():
                judge(kept.popleft()[1], "late")
    print(json.dumps({"found": found, "kids": sorted(kids), "arrived": arrived}), flush=True)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
