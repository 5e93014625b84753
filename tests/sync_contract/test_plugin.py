"""The pytest plugin: a test for each registry that is named, for those who load it with -p."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from .registries import SERVICE, entry, module, write

ROOT = Path(__file__).parents[2]
# The plugins of this environment load what they like, for seconds; they are none of ours.
NO_OTHERS = [f"-pno:{one.name}" for one in entry_points(group="pytest11")]
OURS = ["-p", "ghasi_handoff_pytest"]


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a folder of its own, without this repository's configuration."""
    (folder / "pytest.ini").write_text("[pytest]\n", "utf-8")
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("others", [NO_OTHERS, pytest.param(["-pno:randomly"], marks=pytest.mark.thorough)])
def test_clean_registry_is_a_test_that_passes(tmp_path: Path, others: list[str]) -> None:
    """Naming a registry adds one test, also where there are no others; and beside any other plugin."""
    write(tmp_path, module())
    done = run_pytest(tmp_path, *others, *OURS, "--sync-registry", "registry.ts", "-v")
    assert (done.returncode, done.stderr) == (0, "")
    assert "sync-registry[registry.ts] PASSED" in done.stdout


def test_finding_is_a_test_that_fails(tmp_path: Path) -> None:
    """The failure says file, line and reason, and no traceback."""
    path = write(tmp_path, module(entry(SERVICE, "Wishlist")))
    done = run_pytest(tmp_path, *NO_OTHERS, *OURS, f"--sync-registry={path}")
    assert done.returncode == 1
    assert f"{path}:3: Wishlist belongs to bff-consumer-service" in done.stdout
    assert "Traceback" not in done.stdout
    assert "1 failed" in done.stdout


@pytest.mark.parametrize("name", ["missing.ts", "registry.yaml"])
def test_unreadable_registry_fails(tmp_path: Path, name: str) -> None:
    """What cannot be read is a failure, not a test that is left out."""
    done = run_pytest(tmp_path, *NO_OTHERS, *OURS, "--sync-registry", name)
    assert done.returncode == 1
    assert f"{name}:1: " in done.stdout


def test_each_registry_is_checked_beside_the_other_tests(tmp_path: Path) -> None:
    """The option may be repeated; -k chooses among the other tests, and does not leave a registry out."""
    write(tmp_path, module())
    write(tmp_path, "[]", "registry.json")
    (tmp_path / "test_own.py").write_text("def test_a(): pass\ndef test_b(): pass\n", "utf-8")
    named = ("--sync-registry=registry.ts", "--sync-registry=registry.json")
    done = run_pytest(tmp_path, *NO_OTHERS, *OURS, *named, "-k", "test_a")
    assert done.returncode == 0
    assert "3 passed, 1 deselected" in done.stdout


def test_without_the_option_nothing_is_loaded(tmp_path: Path) -> None:
    """Who loads the plugin and names no registry imports neither the package, nor pydantic, nor the parser."""
    (tmp_path / "test_modules.py").write_text(
        "import sys\n"
        "def test_modules():\n"
        "    assert 'ghasi_handoff_pytest' in sys.modules\n"
        "    loaded = {name.split('.')[0] for name in sys.modules}\n"
        "    assert not loaded & {'ghasi_handoff', 'pydantic', 'tree_sitter', 'cryptography', 'click'}\n",
        "utf-8",
    )
    done = run_pytest(tmp_path, *NO_OTHERS, *OURS)
    assert done.returncode == 0, done.stdout


def test_pytest_does_not_load_it_unasked(tmp_path: Path) -> None:
    """Without -p, pytest does not know the option, though the package is installed."""
    write(tmp_path, module())
    done = run_pytest(tmp_path, "--sync-registry", "registry.ts")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "unrecognized arguments: --sync-registry" in done.stderr


def test_wheel_has_the_plugin(tmp_path: Path) -> None:
    """What is installed from a wheel has the package and, beside it, the plugin."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"ghasi_handoff_pytest.py", "ghasi_handoff/__init__.py", "ghasi_handoff/sync_contract/__init__.py"} <= set(
        names
    )
    assert {name.split("/")[0] for name in names} == {
        "ghasi_handoff_pytest.py",
        "ghasi_handoff",
        names[-1].split("/")[0],
    }
