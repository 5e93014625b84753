"""The comparison of two saved runs: what counts as slower."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.baseline import Entry, Saved, merged
from benchmarks.compare import compared, differences, main


def entry(name: str, median: float, group: str = "mint") -> Entry:
    return {"group": group, "name": name, "extra_info": {}, "stats": {"median": median}}


def one_run(median: float, *, yardstick: float = 1.0, name: str = "test_mint") -> Saved:
    """A run of one process: a benchmark and its yardstick, in seconds."""
    benchmarks = [entry("test_yardstick", yardstick), entry(name, median)]
    return {"machine_info": {"python": "3.11.7"}, "commit_info": {}, "benchmarks": benchmarks}


def ratio(median: float, *, yardstick: float = 1.0, name: str = "test_mint") -> Saved:
    return merged([one_run(median, yardstick=yardstick, name=name)])


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
    # The figures that are shown beside it are those of the middle process, whole.
    assert [found["stats"]["median"] for found in saved["benchmarks"]] == [1.0, 2.1]


def test_a_ratio_is_of_one_process() -> None:
    """Each benchmark is divided by the yardstick of its own process and its own group."""
    slow, fast = one_run(4.0, yardstick=2.0), one_run(2.0, yardstick=1.0)
    for run in (slow, fast):
        run["benchmarks"] += [entry("test_yardstick", 5.0, "verify"), entry("test_good", 10.0, "verify")]
    saved = merged([slow, fast])
    assert {found["name"]: found["extra_info"]["ratios"] for found in saved["benchmarks"]} == {
        "test_yardstick": [1.0, 1.0],
        "test_mint": [2.0, 2.0],
        "test_good": [2.0, 2.0],
    }


def test_a_benchmark_must_not_vanish() -> None:
    """One that only the saved run has is missing; one that only the new run has is new."""
    rows = compared(ratio(2.0), ratio(2.0, name="test_other"))
    assert [(row.name, row.verdict) for row in rows] == [("test_mint", "missing"), ("test_other", "new")]


def test_another_python_is_named() -> None:
    """What differs about the machine is told, whatever the ratios say."""
    other = ratio(2.0)
    other["machine_info"]["python"] = "3.13.0"
    assert differences(ratio(2.0), other) == ["python: 3.11.7 before, 3.13.0 after"]


@pytest.mark.parametrize(("after", "status"), [(2.0, 0), (2.51, 1)])
def test_the_command_fails_if_something_is_slower(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], after: float, status: int
) -> None:
    """Its status is 1, and its JSON says what it is."""
    for name, median in (("saved", 2.0), ("new", after)):
        (tmp_path / name).write_text(json.dumps(ratio(median)))
    assert main(["--json", str(tmp_path / "saved"), str(tmp_path / "new")]) == status
    (row,) = json.loads(capsys.readouterr().out)["benchmarks"]
    assert row["verdict"] == ("slower" if status else "same")
