"""The comparison of two saved runs: what counts as slower."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.baseline import Entry, Saved, merged
from benchmarks.compare import compared, differences, main


def one_run(seconds: float, *, yardstick: float = 1.0, name: str = "test_mint") -> Saved:
    """A run of one process: one benchmark and its yardstick, in seconds."""
    found: Entry = {
        "group": "mint", "name": name, "extra_info": {"yardstick": yardstick, "ratios": []}, "stats": {"data": [seconds] * 10},
    }  # fmt: skip
    return {"machine_info": {"python": "3.11.7"}, "commit_info": {}, "benchmarks": [found]}


def ratio(seconds: float, *, yardstick: float = 1.0, name: str = "test_mint") -> Saved:
    """The same, as it is saved."""
    return merged([one_run(seconds, yardstick=yardstick, name=name)])


@pytest.mark.parametrize(
    ("after", "verdict"), [(2.0, "same"), (2.49, "same"), (2.51, "slower"), (1.61, "same"), (1.59, "faster")]
)
def test_a_ratio_may_change_by_a_quarter(after: float, verdict: str) -> None:
    """A ratio of 2 may become 2.5, or 1.6; beyond, it is slower, or faster."""
    (row,) = compared(ratio(2.0), ratio(after))
    assert row.verdict == verdict


def test_a_machine_half_as_fast_is_not_slower() -> None:
    """Both the benchmark and its yardstick take twice as long: the ratio is what it was."""
    (row,) = compared(ratio(2.0), ratio(4.0, yardstick=2.0))
    assert (row.verdict, row.change_percent) == ("same", 0.0)


def test_one_unlucky_process_changes_nothing() -> None:
    """The median of the processes counts: one of three that took ten times as long is passed over."""
    saved = merged([one_run(2.0), one_run(20.0), one_run(2.1)])
    (row,) = compared(saved, ratio(2.0))
    assert row.before == 2.1


def test_the_fastest_tenth_counts() -> None:
    """Rounds that waited for something else do not make a benchmark slower."""
    run = one_run(2.0)
    run["benchmarks"][0]["stats"]["data"] = [2.0, 2.0, *[9.0] * 8]
    (row,) = compared(ratio(2.0), merged([run]))
    assert row.after == 2.0


def test_a_ratio_is_of_one_process() -> None:
    """A benchmark is divided by the yardstick of its own process: a slow process has the same ratio."""
    saved = merged([one_run(4.0, yardstick=2.0), one_run(2.0), one_run(1.0, yardstick=0.5)])
    assert saved["benchmarks"][0]["extra_info"]["ratios"] == [2.0, 2.0, 2.0]


def test_a_benchmark_must_not_vanish() -> None:
    """One that only the saved run has is missing; one that only the new run has is new."""
    rows = compared(ratio(2.0), ratio(2.0, name="test_other"))
    assert [(row.name, row.verdict) for row in rows] == [("test_mint", "missing"), ("test_other", "new")]


def test_another_python_is_named() -> None:
    """A difference of the machine is reported even if no ratio has changed."""
    other = ratio(2.0)
    other["machine_info"]["python"] = "3.13.0"
    assert differences(ratio(2.0), other) == ["python: 3.11.7 before, 3.13.0 after"]


@pytest.mark.parametrize(("after", "status"), [(2.0, 0), (2.51, 1)])
def test_the_command_fails_if_something_is_slower(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], after: float, status: int
) -> None:
    """Its status is 1, and its JSON says what it is."""
    for name, seconds in (("saved", 2.0), ("new", after)):
        (tmp_path / name).write_text(json.dumps(ratio(seconds)))
    assert main(["--json", str(tmp_path / "saved"), str(tmp_path / "new")]) == status
    (row,) = json.loads(capsys.readouterr().out)["benchmarks"]
    assert row["verdict"] == ("slower" if status else "same")
