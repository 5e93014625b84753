"""mint and verify against the careful by-hand version: medians, interleaved in one process.

Run with ``make bench``. Every contender is timed once a round, in shuffled order, with the garbage collector off;
what counts is the ratio of the medians over all rounds of one process. Now and then the allocations of a process lie
so badly that one contender, now ours, now the other, takes half as long again in it. So all is repeated in fresh
processes, and the table gives each figure's median and range over them. Absolute times are those of the machine that
ran it.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from benchmarks import booking, by_hand
from ghasi_handoff import KeyRing, Minter, Verifier

TENANT = "tn_aurora"
SLICE_SECONDS = 0.001
AIMS = {"verify": 0.80, "mint": 1.20}


def contenders() -> dict[str, Callable[[], object]]:
    """Name -> one operation on a booking with ten members set. Each is tried once: none is fast because it fails."""
    ring = KeyRing.generate(kid="2026-11a").rotate(kid="2026-12a")
    secrets = {key.kid: key.secret for key in ring.keys}
    minter = Minter(ring, issuer="bff-consumer", audience="bff-tenant-booking")
    verifier = Verifier(ring, issuer="bff-consumer", audience="bff-tenant-booking")
    stay, facts = booking.STAY, booking.FACTS
    model = by_hand.Booking.model_validate(facts)
    token = minter.mint(stay, tenant=TENANT).token
    plain = by_hand.mint(secrets, "2026-11a", facts, TENANT)
    assert verifier.verify(token, tenant=TENANT).payload == stay
    assert by_hand.verify(secrets, plain, TENANT) == model
    return {
        "mint: ghasi_handoff": lambda: minter.mint(stay, tenant=TENANT),
        "mint: by hand, from a dict": lambda: by_hand.mint(secrets, "2026-11a", facts, TENANT),
        "mint: by hand, from a model": lambda: by_hand.mint_model(secrets, "2026-11a", model, TENANT),
        "verify: ghasi_handoff": lambda: verifier.verify(token, tenant=TENANT),
        "verify: by hand": lambda: by_hand.verify(secrets, plain, TENANT),
    }


def measure(rounds: int) -> dict[str, list[float]]:
    """Microseconds per operation, one figure a round."""
    work = contenders()
    repeats = {name: _repeats(operation) for name, operation in work.items()}
    times: dict[str, list[float]] = {name: [] for name in work}
    gc.disable()
    try:
        for _ in range(rounds):
            names = list(work)
            random.shuffle(names)
            for name in names:
                operation, count = work[name], repeats[name]
                start = time.perf_counter()
                for _ in range(count):
                    operation()
                times[name].append((time.perf_counter() - start) / count * 1e6)
            gc.collect()
    finally:
        gc.enable()
    return times


def _repeats(operation: Callable[[], object]) -> int:
    start = time.perf_counter()
    for _ in range(50):
        operation()
    return max(1, int(SLICE_SECONDS / ((time.perf_counter() - start) / 50)))


def one_process(rounds: int) -> dict[str, dict[str, float]]:
    """The medians in microseconds and their ratios, as this process finds them."""
    times = measure(rounds)
    medians = {name: statistics.median(values) for name, values in times.items()}
    ratios = {
        "verify / by hand": medians["verify: ghasi_handoff"] / medians["verify: by hand"],
        "mint / by hand, from a dict": medians["mint: ghasi_handoff"] / medians["mint: by hand, from a dict"],
        "mint / by hand, from a model": medians["mint: ghasi_handoff"] / medians["mint: by hand, from a model"],
    }
    return {"median_us": medians, "ratio": ratios}


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300, help="rounds in each process")
    parser.add_argument("--processes", type=int, default=7, help="how many fresh processes")
    parser.add_argument("--json", action="store_true", help="one JSON object, with the figures of every process")
    parser.add_argument("--in-this-process", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.in_this_process:
        print(json.dumps(one_process(options.rounds)))
        return
    runs = []
    for number in range(options.processes):
        command = [sys.executable, "-m", "benchmarks.peers", "--in-this-process", "--rounds", str(options.rounds)]
        runs.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        if sys.stderr.isatty():
            print(f"\r{number + 1} of {options.processes} processes", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)
    if options.json:
        print(json.dumps({"python": platform.python_version(), "rounds": options.rounds, "processes": runs}, indent=2))
        return
    size = f"{options.processes} processes of {options.rounds} rounds"
    print(f"Python {platform.python_version()}, {platform.machine()}, {size}\n")
    print(f"{'':32}{'median':>9}{'lowest':>9}{'highest':>9}")
    for kind, unit in (("median_us", "µs"), ("ratio", "x ")):
        for name in runs[0][kind]:
            figures = sorted(run[kind][name] for run in runs)
            aim = f"   (aim: at most {AIMS[name.split(' ')[0]]:.2f})" if kind == "ratio" else ""
            middle = statistics.median(figures)
            print(f"{name:32}{middle:9.2f}{figures[0]:9.2f}{figures[-1]:9.2f} {unit}{aim}")
        print()


if __name__ == "__main__":
    main()
