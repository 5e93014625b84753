"""A minter and a verifier, each in a process of its own with its own copy of the key file, for test_rotation_live.py.

Their clock is a `SteeredClock`. Whatever happens to them they tell in lines of standard output: ``key KID`` when the
file has brought a key; the minter each token; the verifier ``early`` or ``late``, when the token was issued, its key,
and what came of it.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import deque
from datetime import timedelta
from pathlib import Path

from ghasi_handoff import HandoffError, Minter, Verifier
from ghasi_handoff._token import parse_token
from ghasi_handoff.keyfile import KeyRingEvent, KeyRingReloaded, WatchedKeyRing
from tests.minter_and_verifier import AUDIENCE, ISSUER, STAY, TENANT
from tests.steered_clock import SteeredClock

LIFETIME_SECONDS = 1800
INTERVAL = timedelta(milliseconds=20)

_telling = threading.Lock()


def tell(line: str) -> None:
    """One line, whole: the thread that watches the file tells, too."""
    with _telling:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


def note(event: KeyRingEvent) -> None:
    """Tell which keys have come."""
    if isinstance(event, KeyRingReloaded):
        for kid in event.added:
            tell(f"key {kid}")


def mint(path: str, clock: SteeredClock) -> None:
    """A token each few milliseconds, until standard input ends."""
    ended = threading.Event()

    def wait_for_the_end() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=wait_for_the_end, daemon=True).start()
    with WatchedKeyRing(path, interval=INTERVAL, on_event=note) as keys:
        minter = Minter(
            keys, issuer=ISSUER, audience=AUDIENCE, lifetime=timedelta(seconds=LIFETIME_SECONDS), clock=clock
        )
        while not ended.is_set():
            minted = minter.mint(STAY, tenant=TENANT)
            tell(f"{int(minted.issued_at.timestamp())} {minted.token}")
            time.sleep(0.004)


def verify(path: str, clock: SteeredClock) -> None:
    """Verify each token of standard input at once, and again shortly before its end."""
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

        def judge(line: str, when: str) -> None:
            issued, _, token = line.partition(" ")
            try:
                verifier.verify(token, tenant=TENANT)
                came = "accepted"
            except HandoffError as exc:
                came = exc.code
            tell(f"{when} {issued} {parse_token(token).kid} {came}")

        for line in sys.stdin:
            one = line.rstrip("\n")
            judge(one, "early")
            kept.append((clock() + 0.8 * LIFETIME_SECONDS, one))
            while kept and kept[0][0] <= clock():
                judge(kept.popleft()[1], "late")


if __name__ == "__main__":
    globals()[sys.argv[1]](sys.argv[2], SteeredClock(Path(sys.argv[3])))
