"""Every fault, many times: ``python -m tests.faults --trials 10 --out docs/explanation/faults.md``."""

from __future__ import annotations

import argparse
import logging
import os
import platform
import sqlite3
import sys
from pathlib import Path

from ..servers import PostgresServer, RedisServer
from .judge import Tally
from .trials import FAULTS, LOSSY, servers

BEGIN, END = "<!-- trials -->", "<!-- end -->"


def main() -> int:
    """Make each fault `trials` times, print the table, and write it between the marks of a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    logging.getLogger("psycopg.pool").setLevel(logging.CRITICAL)
    with PostgresServer() as postgres, RedisServer() as redis:
        versions = f"PostgreSQL {postgres.version}, Redis {redis.version}, SQLite {sqlite3.sqlite_version}"
    lines = [
        f"{versions}; CPython {platform.python_version()}, Linux, {os.cpu_count()} cores.",
        "",
        "| fault | store | trials | answers | in doubt | two holders | forgotten |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    bad = False
    with servers() as on:
        for (fault, store), make in FAULTS.items():
            tally = Tally()
            for number in range(options.trials):
                tally += make(on)
                print(f"\r{fault}, {store}: {number + 1} of {options.trials}", end="", file=sys.stderr, flush=True)
            print(file=sys.stderr)
            bad |= fault != LOSSY and (tally.two_holders, tally.forgotten) != (0, 0)
            lines.append(
                f"| {fault} | {store} | {tally.trials} | {tally.acknowledged} | {tally.in_doubt} | {tally.two_holders} |"
                f" {tally.forgotten} |"
            )
    table = "\n".join(lines)
    print(table)
    if options.out is not None:
        page = options.out.read_text("utf-8")
        before, rest = page.split(BEGIN)
        options.out.write_text(f"{before}{BEGIN}\n\n{table}\n\n{END}{rest.split(END)[1]}", "utf-8")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
