"""The figures of several processes -> medians and ranges -> a table, a JSON file, plots, the tables of the docs page.

Files are written only with ``--out``.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias, TypedDict

from benchmarks import surroundings
from benchmarks.surroundings import Figure

# What one process found: figure -> value. The unit is the last word of its name; a ratio has "÷" in it.
Found: TypeAlias = dict[str, float]

# Of the figures without an aim, those that the docs page leaves to the JSON file.
_in_detail: Final = re.compile(r".*(consume|before it) p[0-9.]+ ms|.* entries: p99 µs").fullmatch

ASSETS: Final = Path("assets", "benchmarks")
PAGE: Final = Path("explanation", "performance.md")


class Aim(NamedTuple):
    """The value that a figure should reach."""

    direction: Literal["≥", "≤"]
    value: float

    def reached(self, figure: float) -> bool:
        """Whether this figure does."""
        return figure >= self.value if self.direction == "≥" else figure <= self.value


class StatedFigure(TypedDict):
    """A figure and its aim, as the JSON file has them."""

    median: float
    lowest: float
    highest: float
    processes: int
    aim: str | None
    reached: bool | None


class Part(TypedDict):
    """Everything that one benchmark found."""

    machine: dict[str, str]
    servers: dict[str, dict[str, str]]
    size: Mapping[str, object]
    figures: dict[str, StatedFigure]


def part(
    machine: dict[str, str],
    servers: dict[str, dict[str, str]],
    size: Mapping[str, object],
    found: Sequence[Sequence[Found]],
    aims: Mapping[str, Aim],
) -> Part:
    """Medians and ranges over the processes, beside the aims. `found` has one list for each group of processes."""
    figures = {}
    for group in found:
        for name in group[0]:
            figures[name] = _stated(surroundings.summary(one[name] for one in group), aims.get(name))
    missing = set(aims) - set(figures)
    assert not missing, f"aims without a figure: {missing}"
    return Part(machine=machine, servers=servers, size=size, figures=figures)


def _stated(figure: Figure, aim: Aim | None) -> StatedFigure:
    return StatedFigure(
        median=figure["median"],
        lowest=figure["lowest"],
        highest=figure["highest"],
        processes=figure["processes"],
        aim=None if aim is None else f"{aim.direction} {aim.value:g}",
        reached=None if aim is None else aim.reached(figure["median"]),
    )


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say where the figures go."""
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    parser.add_argument(
        "--out", type=Path, help="the folder docs: also write the JSON file, the plots and the tables of the page there"
    )


def deliver(name: str, one: Part, options: argparse.Namespace) -> None:
    """Print the figures, and write them if that is wanted."""
    print(json.dumps(one, indent=2, ensure_ascii=False) if options.json else text(one))
    if options.out is not None:
        publish(name, one, options.out)


def publish(name: str, one: Part, docs: Path) -> None:
    """Put one benchmark's figures into the JSON file, and draw and write all anew."""
    from benchmarks import plots  # matplotlib: a tool of the developers, not of the tests

    folder = docs / ASSETS
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "stores.json"
    parts: dict[str, Part] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    parts[name] = one
    path.write_text(json.dumps(parts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    plots.draw(parts, folder)
    page = docs / PAGE
    if page.exists():
        written = page.read_text(encoding="utf-8")
        for which, found in parts.items():
            written = put(written, which, markdown(found))
            written = put(written, f"{which}-servers", markdown_servers(found))
        page.write_text(written, encoding="utf-8")


def put(page: str, which: str, table: str) -> str:
    """Replace what stands between the comments ``<!-- which -->`` and ``<!-- end -->``."""
    pattern = re.compile(rf"(<!-- {re.escape(which)} -->\n).*?(<!-- end -->)", re.DOTALL)
    return pattern.sub(lambda match: f"{match[1]}\n{table}\n\n{match[2]}", page)


def text(one: Part) -> str:
    """For a console."""
    lines = [f"{name}: {value}" for name, value in one["machine"].items()]
    for server, settings in one["servers"].items():
        lines.append(f"{server}: " + ", ".join(f"{name} {value}" for name, value in settings.items()))
    lines.append(", ".join(f"{name} {value}" for name, value in one["size"].items()))
    lines += ["", f"{'':64}{'median':>10}{'lowest':>10}{'highest':>10}"]
    for name, figure in one["figures"].items():
        values = "".join(f"{_number(figure[key]):>10}" for key in ("median", "lowest", "highest"))
        aim = f"   {figure['aim']}: {'reached' if figure['reached'] else 'NOT reached'}" if figure["aim"] else ""
        lines.append(f"{name:64}{values}{aim}")
    return "\n".join(lines)


def markdown(one: Part) -> str:
    """A table of the figures with an aim, and a table of the rest, without those that only the JSON file has."""
    judged = {name: figure for name, figure in one["figures"].items() if figure["aim"]}
    others = {name: figure for name, figure in one["figures"].items() if not figure["aim"] and not _in_detail(name)}
    lines = ["| figure | median | range | aim | reached |", "|---|--:|--:|--:|:-:|"]
    for name, figure in judged.items():
        reached = "yes" if figure["reached"] else "**no**"
        lines.append(f"| {name} | {_number(figure['median'])} | {_range(figure)} | {figure['aim']} | {reached} |")
    if others:
        lines += ["", "| for information | median | range |", "|---|--:|--:|"]
        lines += [f"| {name} | {_number(figure['median'])} | {_range(figure)} |" for name, figure in others.items()]
    return "\n".join(lines)


def markdown_servers(one: Part) -> str:
    """Machine, versions and settings."""
    lines = ["| | |", "|---|---|"]
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in one["machine"].items()]
    for server, settings in one["servers"].items():
        shown = ", ".join(f"`{name} = {value}`" for name, value in settings.items() if name != "version")
        lines.append(f"| {server} {settings['version']} | {shown} |")
    lines += [f"| {name.replace('_', ' ')} | {value} |" for name, value in one["size"].items()]
    return "\n".join(lines)


def _range(figure: StatedFigure) -> str:
    return f"{_number(figure['lowest'])} to {_number(figure['highest'])}"


def _number(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
