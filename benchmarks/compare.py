"""Two saved runs -> each benchmark's ratio to its yardstick before and after, and what became slower.

``python -m benchmarks.compare SAVED NEW`` ends with 1 if a benchmark is slower by more than the bound, or is missing
from the new run. Times are not compared: machines are not equally fast, nor is one machine twice. A ratio to a
yardstick that is no part of the library stands still while the library does.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from benchmarks.baseline import Saved

# Wide: two runs of the same code are to agree, on a machine that does other things, too.
BOUND_PERCENT: Final = 25.0

Verdict: TypeAlias = Literal["slower", "faster", "same", "missing", "new"]


class Row(NamedTuple):
    """One benchmark in both runs. A ratio is None where a run does not have it."""

    group: str
    name: str
    before: float | None
    after: float | None
    change_percent: float | None
    verdict: Verdict


def compared(saved: Saved, new: Saved, *, bound_percent: float = BOUND_PERCENT) -> list[Row]:
    """A row for each benchmark of either run. It is its group and name that make it the same one."""
    before, after = _ratios(saved), _ratios(new)
    return [_row(key, before.get(key), after.get(key), 1 + bound_percent / 100) for key in {**before, **after}]


def _ratios(saved: Saved) -> dict[tuple[str, str], float]:
    return {
        (entry["group"], entry["name"]): statistics.median(entry["extra_info"]["ratios"])
        for entry in saved["benchmarks"]
    }


def _row(key: tuple[str, str], before: float | None, after: float | None, bound: float) -> Row:
    if before is None or after is None:
        return Row(*key, before, after, None, "new" if before is None else "missing")
    factor = after / before
    verdict: Verdict = "slower" if factor > bound else "faster" if factor < 1 / bound else "same"
    return Row(*key, before, after, round(100 * (factor - 1), 1), verdict)


def differences(saved: Saved, new: Saved) -> list[str]:
    """Other differences: ratios of different Pythons or servers may differ without a change of the code."""
    before, after = saved["machine_info"], new["machine_info"]
    return [
        f"{name}: {before.get(name)} before, {after.get(name)} after"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def text(rows: Sequence[Row]) -> str:
    """A table, each group under its name."""
    lines, group = [f"{'ratio to the yardstick':42}{'before':>9}{'after':>9}{'change':>10}"], ""
    for row in sorted(rows, key=lambda row: row.group):
        if row.group != group:
            group = row.group
            lines.append(group)
        figures = "".join(f"{'-' if ratio is None else f'{ratio:.2f}':>9}" for ratio in (row.before, row.after))
        change = "-" if row.change_percent is None else f"{row.change_percent:+.1f} %"
        lines.append(f"  {row.name:40}{figures}{change:>10}{'' if row.verdict == 'same' else f'  {row.verdict}'}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("saved", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--bound", type=float, default=BOUND_PERCENT, help="per cent that a ratio may grow by")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    options = parser.parse_args(arguments)
    saved, new = (json.loads(file.read_text(encoding="utf-8")) for file in (options.saved, options.new))
    rows = compared(saved, new, bound_percent=options.bound)
    failed = [row for row in rows if row.verdict in ("slower", "missing")]
    if options.json:
        found = {
            "bound_percent": options.bound,
            "differences": differences(saved, new),
            "benchmarks": [row._asdict() for row in rows],
        }
        print(json.dumps(found, indent=2))
    else:
        print("\n".join([*differences(saved, new), text(rows)]))
        print(f"\n{len(rows)} benchmarks, {len(failed)} slower by more than {options.bound:g} % or missing")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
