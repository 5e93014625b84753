"""A process that consumes, to be killed, stopped or starved: ``python -m tests.faults.client URL MODE [LIMIT]``.

It reads one handoff a line, "id redemption-id consumed-at retain-until", and answers each: "holder consumed-at" or
"error". With the mode "stall" it says "ready" once it holds the entry and waits for one more line before it consumes.
"""

from __future__ import annotations

import resource
import signal
import sys

from ghasi_handoff import ReplayStoreError

from .products import SCOPE, opened


def main() -> None:
    """Serve until the input ends."""
    url, mode, *limit = sys.argv[1:]
    if limit:  # a disk that is full: no file may grow beyond this
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit[0]), resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
    with opened(url) as store:
        for line in sys.stdin:
            handoff_id, redemption_id, consumed_at, retain_until = line.split()
            if mode == "stall":
                print("ready", flush=True)
                sys.stdin.readline()
            try:
                answer = store.consume(
                    handoff_id,
                    scope=SCOPE,
                    redemption_id=redemption_id,
                    consumed_at=int(consumed_at),
                    retain_until=int(retain_until),
                )
            except ReplayStoreError:
                print("error", flush=True)
            else:
                print(answer.holder, answer.consumed_at, flush=True)


if __name__ == "__main__":
    main()
