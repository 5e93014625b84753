"""CONTRIBUTING.md -> the paths, targets and names that it gives a newcomer. Each of them is there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = ROOT / "src" / "ghasi_handoff"
PAGE: Final = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
SPANS: Final = sorted({span for span in re.findall(r"`([^`\n]+)`", PAGE) if not span.startswith("``")})
TARGETS: Final = sorted(
    set(re.findall(r"\bmake ([a-z-]+)\b", "\n".join([*SPANS, *re.findall(r"^make .*$", PAGE, re.M)])))
)
# The first column of the tables of tests/README.md: folders and modules.
LISTED: Final = re.findall(r"^\| `([\w/]+(?:/|\.py))` \|", (ROOT / "tests" / "README.md").read_text("utf-8"), re.M)
FILES: Final = set(re.findall(r"\bFILE=(\S+)", PAGE))
PATHS: Final = sorted(FILES | {span for span in SPANS if re.fullmatch(r"[\w./-]*(?:/|\.\w+)[\w./-]*", span)})
NAMES: Final = [span for span in SPANS if re.fullmatch(r"\w+", span)]


def test_the_page_names_something() -> None:
    """The page's paths, targets and names are found: the tests below are about more than nothing."""
    assert len(PATHS) > 20
    assert len(LISTED) > 10
    assert {"test-one", "check", "format", "test-all"} <= set(TARGETS)
    assert "ReplayStoreConformance" in NAMES


@pytest.mark.parametrize("path", PATHS)
def test_every_path_is_there(path: str) -> None:
    """A file or folder, from the root or below the package; what ends in a slash is a folder."""
    found = [place / path for place in (ROOT, PACKAGE) if (place / path).exists()] or list(PACKAGE.rglob(path))
    assert found
    assert not path.endswith("/") or found[0].is_dir()


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_is_in_the_help(target: str) -> None:
    """``make help`` lists it with a line that says what it does."""
    listed = subprocess.run(
        ["make", "--no-print-directory", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert re.search(rf"^  {target} +\S", listed.stdout, re.M)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_in_the_source(name: str) -> None:
    """A class, function or variable that the page names is in the package or the Makefile."""
    sources = [*PACKAGE.rglob("*.py"), ROOT / "Makefile"]
    assert any(re.search(rf"\b{name}\b", source.read_text("utf-8")) for source in sources)


@pytest.mark.parametrize("name", LISTED)
def test_what_the_page_of_the_tests_lists_is_there(name: str) -> None:
    """Each folder and helper module that tests/README.md describes exists."""
    assert (ROOT / "tests" / name).exists()
