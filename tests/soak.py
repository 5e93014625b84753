"""The soak tier, whole: races with kill -9, every fault ten times, both services under load. Called by `make soak`.

What came of it is written into the documentation: the races into docs/explanation/soak.md, with commit, command and seed,
and the others into their own pages.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import secrets
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "explanation" / "soak.md"
BEGIN, END = "<!-- soak -->", "<!-- end -->"
COUNTED: Final = (
    "handoffs", "answers", "replays", "in_doubt", "client_kills", "server_kills", "double_holders", "forgotten",
)  # fmt: skip


def race(seed: int, seconds: float) -> tuple[int, list[dict[str, Any]]]:
    """Run the tests of the tier. Their exit status, and what they told of each round."""
    command = [sys.executable, "-m", "pytest", "-m", "soak", "-q", "tests"]
    environment = os.environ | {"GHASI_SOAK_SEED": str(seed), "GHASI_SOAK_SECONDS": str(seconds)}
    rounds = []
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            if line.startswith("{"):
                rounds.append(json.loads(line))
    return process.returncode, rounds


def table(rounds: list[dict[str, Any]]) -> list[str]:
    """A row for each store: the sums of its rounds."""
    sums: dict[str, Counter[str]] = {}
    for one in rounds:
        sums.setdefault(one["store"], Counter(rounds=0)).update({name: one[name] for name in COUNTED} | {"rounds": 1})
    names = ("rounds", *COUNTED)
    head = f"| store | {' | '.join(name.replace('_', ' ') for name in names)} |"
    rows = [f"| {store} | {' | '.join(f'{counts[name]:,}' for name in names)} |" for store, counts in sums.items()]
    return [head, "|---|" + "--:|" * len(names), *rows]


def git(*arguments: str) -> str:
    """What git says of this checkout."""
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    """Run everything, and write down what came of it. 1 if a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32), help="repeats the order of a run")
    parser.add_argument("--seconds", type=float, default=600, help="how long the races take in all")
    parser.add_argument("--races-only", action="store_true", help="leave out faults and load")
    options = parser.parse_args()
    commit = git("rev-parse", "--short=12", "HEAD") + (" with changes" if git("status", "--porcelain") else "")
    begun = time.monotonic()
    failed, rounds = race(options.seed, options.seconds)
    if not options.races_only:
        for arguments in (
            ["tests.faults", "--out", "docs/explanation/faults.md"],
            ["benchmarks.load", "--out", "docs"],
        ):
            failed |= subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, check=False).returncode
    arguments = f"--seed {options.seed} --seconds {options.seconds:g}" + " --races-only" * options.races_only
    lines = [
        f'Commit `{commit}`, `make soak SOAK_ARGS="{arguments}"`, CPython'
        f" {platform.python_version()}, {os.cpu_count()} cores, {time.monotonic() - begun:.0f} s in all.",
        "",
        *table(rounds),
    ]
    before, rest = PAGE.read_text("utf-8").split(BEGIN)
    text = "\n".join(lines)
    PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.split(END)[1]}", "utf-8")
    print(text)
    return int(failed != 0)


if __name__ == "__main__":
    sys.exit(main())
