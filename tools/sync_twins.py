"""Asyncio modules -> their twins for threads. ``make sync-twins`` writes them, ``make lint`` compares.

Each module is written once, for asyncio, in a file that ends in ``_async.py``; its twin has the same name without that
ending. The twin says that it is generated, and is never edited. psycopg does the same.

Where the two must differ, the source says so, and the twin gets the second branch:

    if True:  # ASYNC
        guard = asyncio.get_running_loop().call_at(deadline, cut)
    else:
        guard = threading.Timer(seconds, cut)
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

SOURCES: Final = "src/ghasi_handoff/**/*_async.py"
HEADER: Final = "# Generated from {name} by tools/sync_twins.py. Do not edit.\n"
# In this order. Each rule is about a word of Python or of asyncio, or about how this package names things.
RULES: Final = tuple(
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        (r"^import asyncio$", "import asyncio\nimport time"),  # what a twin does not use is taken out below
        (r"\basync (def|with|for)\b", r"\1"),
        (r"\bawait ", ""),
        (r"\bAwaitable\[((?:[^\[\]]|\[[^\[\]]*\])*)\]", r"\1"),
        (r"\bCoroutine\[Any, Any, ((?:[^\[\]]|\[[^\[\]]*\])*)\]", r"\1"),
        (r"\bAsyncGenerator\b", "Generator"),
        (r"\basynccontextmanager\b", "contextmanager"),
        (r"__a(enter|exit)__", r"__\1__"),
        (r"\baclose\b", "close"),
        (r"\bTaskGroupCommit\b", "ThreadedGroupCommit"),
        (r"\basyncio\.get_running_loop\(\)\.time\b", "time.monotonic"),
        (r"\basyncio\.sleep\b", "time.sleep"),
        (r"\bAsync(?=[A-Z])", ""),
        (r"\b([a-z_]+)_async\b", r"\1"),
        (r"\bawaited=True\b", "awaited=False"),
        (r" for asyncio\b", " for threads"),
    )
)
_BRANCH: Final = re.compile(
    r"^(?P<margin> *)if True:  # ASYNC\n(?P<asyncio>(?:(?P=margin)    .*\n|\n)+)(?P=margin)else:\n"
    r"(?P<threads>(?:(?P=margin)    .*\n|\n)+)",
    re.M,
)


def twin(source: str, name: str) -> str:
    """The twin of a module, formatted."""
    text = _BRANCH.sub(lambda found: re.sub(r"^    ", "", found["threads"], flags=re.M), source)
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    ruff = [sys.executable, "-m", "ruff"]
    # Sorted anew, since names have changed; what only the other twin uses goes.
    for command in ([*ruff, "check", "--fix-only", "--quiet", "--select=I,F401"], [*ruff, "format", "--quiet"]):
        done = subprocess.run(  # noqa: S603
            [*command, "--stdin-filename", name, "-"], input=text, capture_output=True, text=True, check=True
        )
        text = done.stdout
    return HEADER.format(name=f"{Path(name).stem}_async.py") + text


def main() -> int:
    """Write every twin, or say which differ from what would be written."""
    parser = argparse.ArgumentParser(description="Write the modules for threads.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a twin differs")
    options = parser.parse_args()
    stale = []
    for source in sorted(Path().glob(SOURCES)):
        path = source.with_name(source.name.replace("_async.py", ".py"))
        text = twin(source.read_text("utf-8"), str(path))
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(path)
        if not options.check:
            path.write_text(text, "utf-8")
            print(f"wrote {path}")
    if options.check and stale:
        print(f"not what their sources give; run make sync-twins: {', '.join(map(str, stale))}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
