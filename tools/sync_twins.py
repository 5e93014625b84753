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

ROOT: Final = Path(__file__).parents[1]
PACKAGE: Final = ROOT / "src" / "ghasi_handoff"
HEADER: Final = "# Generated from {name} by tools/sync_twins.py. Do not edit.\n"
# In this order. Each rule is about a word of Python or of asyncio, or about how this package names things.
RULES: Final = tuple(
    (re.compile(pattern, re.MULTILINE), replacement)
    for pattern, replacement in (
        (r"^import asyncio$", "import asyncio\nimport time"),  # what a twin does not use is taken out below
        (r"\basync (def|with|for)\b", r"\1"),
        (r"\bawait ", ""),
        (r"\bAwaitable\[((?:[^\[\]]|\[[^\[\]]*\])*)\]", r"\1"),
        (r"\bAsyncGenerator\b", "Generator"),
        (r"\basynccontextmanager\b", "contextmanager"),
        (r"\bAbstractAsync", "Abstract"),
        (r"\bredis\.asyncio\b", "redis"),
        (r"__a(enter|exit)__", r"__\1__"),
        (r"\baclose\b", "close"),
        (r"\bTaskGroupCommit\b", "ThreadedGroupCommit"),
        (r"\b_task_(commit|servers)\b", r"_thread_\1"),
        (r"\bASYNC_(?=[A-Z])", ""),
        (r"\basyncio\.get_running_loop\(\)\.time\b", "time.monotonic"),
        (r"\basyncio\.to_thread\(([\w.]+)(?:,\s*)?", r"\1("),  # what blocks is called where it is
        (r"\bAsync(?=[A-Z])", ""),
        (r"\b([a-z_]+)_async\b", r"\1"),
        (r"\bawaited=True\b", "awaited=False"),
        (r" for asyncio\b", " for threads"),
    )
)
# Lines of docstrings that are true of one twin only.
PHRASES: Final = (
    (
        """\
    Consumes that come while another is on its way share one connection and one round trip. A caller that is cancelled
    leaves the question open, never half answered: the same consume repeated gets the truth.
""",
        """\
    A caller whose time is up leaves the question open, never half answered: the same consume repeated gets the truth.
""",
    ),
    (
        """\
        client: `redis.asyncio.Redis` or `redis.asyncio.cluster.RedisCluster`; never closed by the store. It
            may retry and have any time-outs: the store keeps its own deadline.
""",
        """\
        client: `redis.Redis` or `redis.cluster.RedisCluster`; never closed by the store. Nothing can end its wait from
            outside, so it must be bounded: its ``socket_timeout`` and ``socket_connect_timeout`` together must fit in
            `timeout` (for a cluster twice), without retries.
""",
    ),
    (
        "is not valid, or the client is not of such a type.",
        "is not valid, or the client could wait longer than `timeout`.",
    ),
)
_BRANCH: Final = re.compile(
    r"^(?P<margin> *)if True:  # ASYNC\n(?P<asyncio>(?:(?P=margin)    .*\n|\n)+)(?P=margin)else:\n"
    r"(?P<threads>(?:(?P=margin)    .*\n|\n)+)",
    re.M,
)


def twin(source: str, name: str) -> str:
    """The twin of a module, formatted."""
    text = _BRANCH.sub(lambda found: re.sub(r"^    ", "", found["threads"], flags=re.M), source)
    for phrase, other in PHRASES:
        text = text.replace(phrase, other)
    for pattern, replacement in RULES:
        text = pattern.sub(replacement, text)
    ruff = [sys.executable, "-m", "ruff"]
    # Sorted anew, since names have changed; what only the other twin uses goes.
    for command in ([*ruff, "check", "--fix-only", "--quiet", "--select=I,F401"], [*ruff, "format", "--quiet"]):
        done = subprocess.run(  # noqa: S603
            [*command, "--stdin-filename", name, "-"], input=text, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise SystemExit(f"sync_twins.py: the rules make no module of {name} out of its source:\n{done.stderr}")
        text = done.stdout
    return HEADER.format(name=f"{Path(name).stem}_async.py") + text


def main() -> int:
    """Write every twin, or say which differ from what would be written."""
    parser = argparse.ArgumentParser(description="Write the modules for threads.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a twin differs")
    options = parser.parse_args()
    sources = sorted(PACKAGE.rglob("*_async.py"))
    if not sources:
        parser.error(f"no module under {PACKAGE} ends in _async.py")
    texts = [source.read_text("utf-8") for source in sources]
    for phrase, _ in PHRASES:
        if not any(phrase in text for text in texts):
            parser.error(f"no source has this phrase any more: {phrase.strip()}")
    twins = {source.with_name(source.name.replace("_async.py", ".py")): source for source in sources}
    begin = HEADER.partition("{")[0]
    stale = [path for path in PACKAGE.rglob("*.py") if path.read_text("utf-8").startswith(begin) and path not in twins]
    for path, source in twins.items():
        text = twin(source.read_text("utf-8"), str(path))
        if path.exists() and path.read_text("utf-8") == text:
            continue
        if options.check:
            stale.append(path)
        else:
            path.write_text(text, "utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
    for path in stale:
        known = path in twins
        why = "is not what its source gives; run make sync-twins" if known else "is generated, and has no source"
        print(f"{path.relative_to(ROOT)} {why}", file=sys.stderr)
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
