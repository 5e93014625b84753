"""Figures -> SVG plots for the docs page: readable on a phone, on light and on dark pages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmarks.report import Part, StatedFigure

OURS: Final = "#2563a8"
OTHER: Final = "#c2571a"
AIM: Final = "#1d1d1f"
PALE: Final = "#d9dce1"

# The letters stay text, drawn in a font of the reader's machine. Wide and large: a phone shows all at half the size.
mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "ghasi-handoff",
        "font.family": ["DejaVu Sans"],
        "font.size": 15,
        "axes.titlesize": 17,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlepad": 14,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#6b7078",
        "axes.axisbelow": True,
        "grid.color": PALE,
        "legend.frameon": False,
        "figure.facecolor": "white",
    }
)
_METADATA: Final = {"Date": None, "Creator": "benchmarks/plots.py"}
_FONTS: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


def draw(parts: Mapping[str, Part], folder: Path, kind: str = "svg") -> None:
    """Every plot that the parts have figures for."""
    if "stores" in parts:
        _save(throughput(parts["stores"]["figures"]), folder / f"throughput.{kind}")
        _save(latency(parts["stores"]["figures"]), folder / f"latency.{kind}")
    if "growth" in parts:
        _save(growth(parts["growth"]["figures"]), folder / f"growth.{kind}")
    if "purge" in parts:
        _save(purge(parts["purge"]["figures"]), folder / f"purge.{kind}")


def throughput(figures: Mapping[str, StatedFigure]) -> Figure:
    """Ratios at 64 callers: higher is better."""
    return _ratios(
        "64 callers at once: throughput ÷ peer's",
        "times the peer's consumes a second; higher is better\nbar: median, line: range of processes",
        [
            ("PostgreSQL, asyncio,\npool of 10", "PostgreSQL, asyncio, pool of 10: rows/s ÷ bare INSERT"),
            ("PostgreSQL, asyncio,\npool of 20", "PostgreSQL, asyncio, pool of 20: rows/s ÷ bare INSERT"),
            ("PostgreSQL, threads", "PostgreSQL, threads, pool of 10: rows/s ÷ bare INSERT"),
            ("SQLite, asyncio", "SQLite, asyncio: rows/s ÷ a transaction each"),
            ("SQLite, threads", "SQLite, threads: rows/s ÷ a transaction each"),
            ("Redis, asyncio", "Redis, asyncio: consumes/s ÷ SET NX PX"),
        ],
        figures,
    )


def latency(figures: Mapping[str, StatedFigure]) -> Figure:
    """Ratios of one caller: lower is better."""
    return _ratios(
        "One caller alone: latency ÷ peer's",
        "times the peer's median; lower is better\nbar: median, line: range of processes",
        [
            ("PostgreSQL, asyncio", "PostgreSQL, asyncio, alone: median ÷ bare INSERT"),
            ("PostgreSQL, threads", "PostgreSQL, threads, alone: median ÷ bare INSERT"),
            ("SQLite, asyncio", "SQLite, asyncio, alone: median ÷ a transaction each"),
            ("SQLite, threads", "SQLite, threads, alone: median ÷ a transaction each"),
            ("Redis, asyncio", "Redis, asyncio, alone: median ÷ SET NX PX"),
            ("Redis, no asyncio", "Redis, alone: median ÷ SET NX PX"),
        ],
        figures,
    )


def growth(figures: Mapping[str, StatedFigure]) -> Figure:
    """p50 by the number of entries."""
    figure, axes = _canvas(8, 5, "A consume as the store fills up")
    counts: list[int] = []
    for product, colour in (("PostgreSQL", OTHER), ("SQLite", OURS)):
        found = _by_count(product, "p50", figures)
        counts = [count for count, _ in found]
        middles = [value["median"] / 1000 for _, value in found]
        lowest, highest = ([value[end] / 1000 for _, value in found] for end in ("lowest", "highest"))
        axes.fill_between(counts, lowest, highest, color=colour, alpha=0.15, linewidth=0)
        axes.plot(counts, middles, color=colour, marker="o", markersize=8, linewidth=2.5, label=product)
    axes.set_xscale("log")
    axes.set_ylim(0, 1.15 * axes.get_ylim()[1])
    axes.set_xticks(counts, [_short(count) for count in counts])
    axes.minorticks_off()
    axes.grid(axis="y")
    axes.set_xlabel("entries in the store")
    axes.set_ylabel("p50 in ms")
    _legend(axes, columns=2)
    axes.annotate("line: median, band: range of processes", (0.5, 0.04), xycoords="axes fraction", ha="center")
    return figure


def _short(count: int) -> str:
    return f"{count // 1_000_000} M" if count >= 1_000_000 else f"{count // 1000} k"


def purge(figures: Mapping[str, StatedFigure]) -> Figure:
    """The longest waits, before and during a purge."""
    rows = [
        (f"{product},\nin {where}", f"{product}, purge in {where}")
        for product in ("SQLite", "PostgreSQL")
        for where in ("the same process", "another process")
    ]
    figure, axes = _canvas(8, 6.6, "How long a consume waits while half is purged")
    for position, (_, name) in enumerate(rows):
        for offset, which, colour in ((-0.19, "consume before it", PALE), (0.19, "consume", OURS)):
            longest = figures[f"{name}: {which} max ms"]
            axes.barh(position + offset, longest["median"], 0.34, color=colour)
            axes.plot([longest["lowest"], longest["highest"]], [position + offset] * 2, color="#6b7078", linewidth=2.5)
            typical = figures[f"{name}: {which} p99 ms"]["median"]
            axes.plot([typical], [position + offset], marker="|", markersize=16, markeredgewidth=3, color=OTHER)
            axes.annotate(
                f"{longest['median']:.0f} ms",
                (longest["highest"], position + offset),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
            )
    axes.barh([0], [0], color=PALE, label="max, no purge")
    axes.barh([0], [0], color=OURS, label="max, during the purge")
    axes.plot([], [], marker="|", markersize=16, markeredgewidth=3, color=OTHER, linestyle="", label="p99")
    axes.axvline(50, color=AIM, linewidth=1.8, linestyle=(0, (4, 3)), label="aim: under 50 ms")
    axes.set_yticks(range(len(rows)), [label for label, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.16 * max(50.0, *(figures[f"{name}: consume max ms"]["highest"] for _, name in rows)))
    axes.grid(axis="x")
    axes.set_xlabel("ms from when the consume was due\nbar: median, line: range of processes")
    _legend(axes, columns=2, below=0.2)
    return figure


def _ratios(title: str, unit: str, rows: Iterable[tuple[str, str]], figures: Mapping[str, StatedFigure]) -> Figure:
    shown = [(label, figures[name]) for label, name in rows]
    figure, axes = _canvas(8, 5.6, title)
    labelled = False
    for position, (_, value) in enumerate(shown):
        axes.barh(position, value["median"], 0.6, color=OURS if value["aim"] else "#8fb3d9")
        axes.plot([value["lowest"], value["highest"]], [position] * 2, color="#0f2f52", linewidth=3)
        if value["aim"]:
            aim = float(value["aim"].split(" ")[1])
            axes.plot(
                [aim, aim],
                [position - 0.42, position + 0.42],
                color=OTHER,
                linewidth=3,
                label="" if labelled else "aim",
            )
            labelled = True
        axes.annotate(
            f"{value['median']:.2f}",
            (max(value["highest"], float(value["aim"].split(" ")[1]) if value["aim"] else 0), position),
            xytext=(8, 0),
            textcoords="offset points",
            va="center",
            fontweight="bold",
        )
    axes.set_yticks(range(len(shown)), [label for label, _ in shown])
    axes.invert_yaxis()
    right = max(max(value["highest"], float((value["aim"] or "≤ 0").split(" ")[1])) for _, value in shown)
    axes.set_xlim(0, 1.15 * right)
    axes.axvline(1, color="#6b7078", linewidth=1.5, linestyle=(0, (2, 2)), label="the peer")
    axes.barh([0], [0], color="#8fb3d9", label="no aim")
    axes.grid(axis="x")
    axes.set_xlabel(unit)
    _legend(axes, columns=3, below=0.24)
    return figure


def _by_count(product: str, word: str, figures: Mapping[str, StatedFigure]) -> list[tuple[int, StatedFigure]]:
    found = []
    for name, value in figures.items():
        match = re.fullmatch(rf"{product}, (\d+)\u00a0([kM]) entries: {word} µs", name)
        if match:
            found.append((int(match[1]) * {"k": 1000, "M": 1_000_000}[match[2]], value))
    return sorted(found, key=lambda pair: pair[0])


def _canvas(width: float, height: float, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    # Over the whole width, not only that of the axes: labels are long.
    figure.suptitle(title, x=0.01, ha="left", fontsize=18, fontweight="bold")
    return figure, axes


def _legend(axes: Axes, *, columns: int, below: float = 0.18) -> None:
    axes.legend(loc="upper center", bbox_to_anchor=(0.4, -below), ncols=columns, columnspacing=1.2, handlelength=1.6)


def _save(figure: Figure, path: Path) -> None:
    if path.suffix != ".svg":
        figure.savefig(path, dpi=100)
        return
    figure.savefig(path, metadata=_METADATA)
    written = path.read_text(encoding="utf-8")
    written = re.sub(r"'?DejaVu Sans'?(?=[;\",])", _FONTS, written)
    # No size of its own: as wide as the page.
    written = re.sub(r'(<svg [^>]*?)width="[^"]*"', r'\1width="100%"', written, count=1)
    written = re.sub(r'(<svg [^>]*?)\sheight="[^"]*"', r"\1", written, count=1)
    path.write_text("\n".join(line.rstrip() for line in written.splitlines()) + "\n", encoding="utf-8")
