"""The suites, in fresh processes -> one file of pytest-benchmark's, with each benchmark's ratio to its yardstick.

Run with ``make bench-save`` or ``make bench-compare``. A process can be unlucky: with its memory's layout, or with what
else the machine does just then. So the suites run in several, one after the other, and each gives the ratio of a
benchmark to the yardstick that took turns with it, see `benchmarks.measured`. `benchmarks.compare` looks at the median
of these.

The file has, for each benchmark, what pytest-benchmark said in the process whose ratio is the middle one, and under
``extra_info`` the ratios of all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from benchmarks import surroundings
from benchmarks.measured import FASTEST


class Stats(TypedDict):
    """What is read of pytest-benchmark's figures: the seconds of each round. They are not saved."""

    data: list[float]


class Extra(TypedDict):
    """What is added to it: by a suite (see `benchmarks.measured`), and the ratios of all processes, here."""

    yardstick: float
    ratios: list[float]


class Entry(TypedDict):
    """What is read of one benchmark."""

    group: str
    name: str
    extra_info: Extra
    stats: Stats


class Saved(TypedDict):
    """What is read of a file."""

    machine_info: dict[str, str]
    commit_info: dict[str, Any]
    benchmarks: list[Entry]


def run(processes: int) -> Saved:
    """The suites in so many processes, with one server of each kind for all of them."""
    runs = []
    with surroundings.postgres() as postgres_url, surroundings.redis_server() as redis_url:
        for number in range(processes):
            runs.append(_one_process({"GHASI_TEST_POSTGRES_URL": postgres_url, "GHASI_TEST_REDIS_URL": redis_url}))
            surroundings.tell(f"suites: {number + 1} of {processes} processes")
        saved = merged(runs)
        saved["machine_info"] |= {
            "postgresql": surroundings.postgres_settings(postgres_url)["version"],
            "redis": surroundings.redis_settings(redis_url)["version"],
            "processes": str(processes),
        }
    return saved


def _one_process(servers: Mapping[str, str]) -> Saved:
    here = Path(__file__).parent
    with tempfile.TemporaryDirectory(prefix="ghasi-bench-") as folder:
        file = Path(folder, "run.json")
        command = [sys.executable, "-m", "pytest", "--quiet", *map(str, sorted(here.glob("test_*.py")))]
        command += ["--benchmark-enable", "--benchmark-quiet", f"--benchmark-json={file}"]
        done = subprocess.run(
            command, env={**os.environ, **servers}, cwd=here.parent, stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode != 0:
            sys.exit(f"{done.stdout}\nthe suites failed; nothing is written")
        saved: Saved = json.loads(file.read_text(encoding="utf-8"))
    return saved


def merged(runs: Sequence[Saved]) -> Saved:
    """The first run, with each benchmark's entry from the run whose ratio is the middle one, and the ratios of all."""
    entries = []
    for same in zip(*(run["benchmarks"] for run in runs), strict=True):  # one benchmark, in each process
        ratios = [
            surroundings.percentile(entry["stats"]["data"], FASTEST) / entry["extra_info"]["yardstick"]
            for entry in same
        ]
        middle = same[sorted(range(len(ratios)), key=ratios.__getitem__)[len(ratios) // 2]]
        stats: Any = middle["stats"]
        del stats["data"]  # every round: a hundred times the size of all else
        middle["extra_info"]["ratios"] = [round(ratio, 4) for ratio in ratios]
        entries.append(middle)
    return {**runs[0], "benchmarks": entries}


def main() -> None:
    """Run, and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path, help="where the run is written to")
    parser.add_argument("--processes", type=int, default=5, help="how many fresh processes")
    options = parser.parse_args()
    found = run(options.processes)
    options.file.parent.mkdir(parents=True, exist_ok=True)
    options.file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(f"{len(found['benchmarks'])} benchmarks in {options.file}")


if __name__ == "__main__":
    main()
