"""Markdown page -> fenced blocks -> tests. No block of README.md or docs/ is only for show.

The blocks of one page run in their order, in one namespace and in one empty temporary directory. What happens to a
block follows from its language alone, and a language that is not in the table at the end of this file fails:

- ``python`` runs; a block that begins with ``>>>`` is compared as a doctest.
- ``console`` runs with bash, this package's command and the interpreter's own directory first on PATH. Lines with
  ``$ `` are commands, lines with ``> `` continue them, the rest is the expected output: ``...`` in a line stands for
  anything in it, a line of its own for any lines.
- ``json``, ``toml``, ``yaml``, ``ini`` and ``ts`` must parse.
- ``sh`` holds commands that a test cannot run. Each has to be of a known kind that can be looked up instead.
- ``sql`` must be a migration of the library, word by word.
- ``abnf`` belongs in docs/spec, where tests/docs/test_grammar.py turns it into a recogniser.
- ``text`` is output or a drawing.
"""

from __future__ import annotations

import configparser
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterable
from doctest import ELLIPSIS
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from sybil import Document, Example, Region, Sybil
from sybil.evaluators.doctest import DocTestEvaluator
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.abstract.doctest import DocTestStringParser
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

ROOT: Final = Path(__file__).parent
# Imports a tool that builds the site and is not there where only the tests run.
collect_ignore: Final = ["docs/.examples.py"]
CONSOLE_TIMEOUT_SECONDS: Final = 60
# The tiers besides "fast", in which every test without one of these marks is. See tests/README.md.
SLOW_TIERS: Final = frozenset({"thorough", "soak"})
# Tools that not every machine has, and how they introduce themselves. Where one is missing, its blocks are skipped.
OPTIONAL_TOOLS: Final = {
    "openssl": r"OpenSSL ([3-9]|\d\d)\.",
    "basenc": r"basenc \(GNU",
    "sha256sum": r"sha256sum \(GNU",
}
# Under tests/, beside the files of tests/ itself: where coverage of the core is measured. It doubles what a test costs.
MEASURED: Final = (
    "handshake",
    "rotation",
    "stores/test_memory.py",
    "stores/test_contract.py",
    "stores/test_handoff_log.py",
)

_fences: Final = RawFencedCodeBlockLexer(info_pattern=re.compile(r"(?P<language>[^\n]*)\n"))
_doctests: Final = DocTestStringParser(DocTestEvaluator(ELLIPSIS))
_run_python: Final = PythonEvaluator()


def parse(document: Document) -> Iterable[Region]:
    """Every fenced block of a page, as the regions that its language makes of it."""
    for region in _fences(document):
        language, source = region.lexemes["language"].strip(), region.lexemes["source"]
        if language == "python" and source.startswith(">>>"):
            for part in _doctests(source, document.path):
                part.adjust(region, source)
                yield part
        else:
            region.parsed = source
            region.evaluator = EVALUATORS.get(language, refuse_language)
            yield region


def refuse_language(example: Example) -> str:
    """A block without a language, or of one that nobody checks."""
    return f"the language {example.region.lexemes['language']!r} is not one of {', '.join(sorted(EVALUATORS))}"


def run_console(example: Example) -> str | None:
    """Run the commands of a console session and compare what they print.

    A command that fails must be followed by ``echo $?``: a page must not hide it.
    """
    from tests.forked_commands import folder_of_commands

    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("console blocks need bash")
    session = _session(str(example.parsed))
    if isinstance(session, str):
        return session
    for tool, version in OPTIONAL_TOOLS.items():
        if any(re.search(rf"\b{tool}\b", command) for command, _ in session) and not _has(tool, version):
            pytest.skip(f"this block needs {tool}, and its version to begin with {version}")
    mark = "\x1e"  # a byte that no command here prints
    script = "".join(f"{command}\n__=$?; printf '{mark}%d{mark}' $__; (exit $__)\n" for command, _ in session)
    # What a block exports, the next block of the page finds.
    script = f"if [ -f .exported ]; then . ./.exported; fi\n{script}export -p > .exported\n"
    folders = (folder_of_commands(), Path(sys.executable).parent, os.environ.get("PATH", os.defpath))
    path = os.pathsep.join(map(str, folders))
    as_for_a_reader = {"PATH": path, "LC_ALL": "C", "PYTHONUTF8": "1", "COLUMNS": "80", "NO_COLOR": "1"}
    done = subprocess.run(  # noqa: S603 - the commands are this repository's own documentation
        [bash, "-c", script],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **as_for_a_reader, "PYTEST_ADDOPTS": without_other_plugins()},
        timeout=CONSOLE_TIMEOUT_SECONDS,
        check=False,
    )
    answers = done.stdout.decode("utf-8").split(mark)
    for number, (command, expected) in enumerate(session):
        if len(answers) < 2 * number + 2:
            return f"$ {command}\nended the shell: {answers[-1]}"
        output, status = answers[2 * number], int(answers[2 * number + 1])
        if not _matches(expected, output):
            return f"$ {command}\nexpected:\n{expected}got:\n{output}"
        following = session[number + 1][0] if number + 1 < len(session) else ""
        if status != 0 and following != "echo $?":
            return f"$ {command}\nends with {status}; show that with $ echo $?"
    return None


@functools.cache
def without_other_plugins() -> str:
    """The options of a pytest without the plugins that are installed here: they take seconds to import."""
    return " ".join(f"-p no:{one.name}" for one in entry_points(group="pytest11"))


def check_lookup(example: Example) -> str | None:
    """Each line must be a command of a known kind, and what it names must exist."""
    for line in str(example.parsed).splitlines():
        for pattern, exists in LOOKUPS:
            match = re.fullmatch(pattern, line)
            if match is not None:
                problem = exists(*match.groups(default=""))
                break
        else:
            problem = "is no command of a known kind"
        if problem:
            return f"{line}: {problem}"
    return None


def check_ini(example: Example) -> None:
    """The block must parse as an INI file, as systemd reads its units."""
    configparser.ConfigParser(interpolation=None, strict=False).read_string(str(example.parsed))


def check_json(example: Example) -> None:
    """The block must be one JSON value."""
    json.loads(str(example.parsed))


def check_toml(example: Example) -> None:
    """The block must be a TOML document."""
    tomllib.loads(str(example.parsed))


def check_yaml(example: Example) -> None:
    """The block must be a YAML document."""
    yaml.safe_load(str(example.parsed))


def check_typescript(example: Example) -> None:
    """The block must be TypeScript. The one that is a test runs in tests/sync_contract/test_vitest.py."""
    from ghasi_handoff.sync_contract._source import parse

    parse(example.path, str(example.parsed).encode("utf-8"))


def check_abnf(example: Example) -> str | None:
    """Only the specifications have a grammar; it is tested elsewhere."""
    here = Path(example.path).relative_to(ROOT).parent.as_posix()
    return None if here == "docs/spec" else "a grammar belongs in docs/spec, where it is tested"


def check_sql(example: Example) -> str | None:
    """The only SQL is the migrations, and they must be the ones that the library runs."""
    from ghasi_handoff.stores.postgres import LOG_SCHEMA, SCHEMA

    known = (SCHEMA.strip(), LOG_SCHEMA.strip())
    return None if str(example.parsed).strip() in known else "this is neither the store's migration nor the log's"


def is_make_target(target: str) -> str:
    """Why `target` is no target of the Makefile, or nothing."""
    found = re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    return "" if found else "the Makefile has no such target"


def is_extra(extra: str) -> str:
    """Why `extra` is no extra of the package, or nothing."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return "" if not extra or extra in project["optional-dependencies"] else "the package has no such extra"


def is_tutorial_file(module: str) -> str:
    """Why the tutorial does not say what is in `module`, or nothing."""
    page = (ROOT / "docs" / "tutorial-services.md").read_text("utf-8")
    return "" if f"```python\n# {module}.py\n" in page else "the tutorial has no such file"


# What cannot run in a test, and what is looked up instead.
LOOKUPS: Final[tuple[tuple[str, Callable[..., str]], ...]] = (
    # It would start the test suite in the test suite, or build a virtual environment.
    (r"make ([a-z-]+)(?: (?:FILE|PYTHON)=[\w./]+)?", is_make_target),
    # It would change the environment that the test runs in.
    (r"python -m pip install 'ghasi-handoff(?:\[([a-z-]+)\])?'", is_extra),
    # They would not come back, or ask those that did not; tests/docs/test_tutorial.py does what the page tells.
    (r"uvicorn (\w+):app --port 800[12]", is_tutorial_file),
    (r"curl --silent --head --request POST http://127\.0\.0\.1:8001/book", lambda: ""),
)

EVALUATORS: Final[dict[str, Callable[[Example], str | None]]] = {
    "python": _run_python,
    "console": run_console,
    "json": check_json,
    "toml": check_toml,
    "yaml": check_yaml,
    "ini": check_ini,
    "ts": check_typescript,
    "sh": check_lookup,
    "abnf": check_abnf,
    "sql": check_sql,
    "text": lambda example: None,
}


def _session(source: str) -> list[tuple[str, str]] | str:
    """Commands and their expected output, or what is wrong with the block."""
    session: list[tuple[str, str]] = []
    for line in source.splitlines(keepends=True):
        if line.startswith("$ "):
            session.append((line[2:].rstrip("\n"), ""))
        elif not session:
            return "a console block begins with a command: $ ..."
        elif line.startswith("> ") and not session[-1][1]:
            session[-1] = (f"{session[-1][0]}\n{line[2:].rstrip()}", "")
        else:
            session[-1] = (session[-1][0], session[-1][1] + line)
    return session or "a console block without a command"


def _matches(expected: str, output: str) -> bool:
    pattern = ""
    for line in expected.splitlines():
        if line == "...":
            pattern += r"(?:[^\n]*\n)*"
        else:
            pattern += "[^\n]*".join(map(re.escape, line.split("..."))) + r"\n"
    # A last line that does not end (base64 without a line break) is shown as one that does.
    complete = output if output.endswith("\n") or not output else output + "\n"
    return re.fullmatch(pattern, complete) is not None


@functools.cache
def _has(tool: str, version: str) -> bool:
    found = shutil.which(tool)
    if found is None:
        return False
    argument = "version" if tool == "openssl" else "--version"
    done = subprocess.run([found, argument], capture_output=True, text=True, check=False)  # noqa: S603
    return re.match(version, done.stdout) is not None


def enter_directory(namespace: dict[str, Any]) -> None:
    """Give the page a directory and an environment of its own."""
    from ghasi_handoff.keyfile._reader import readers

    namespace["__name__"] = "page"
    namespace["_readers"] = list(readers)
    namespace["_environment"] = dict(os.environ)
    namespace["_left"] = Path.cwd()
    namespace["_entered"] = tempfile.TemporaryDirectory(prefix="page-")
    os.chdir(namespace["_entered"].name)


def leave_directory(namespace: dict[str, Any]) -> None:
    """Go back, and remove what the page left behind: variables, files, and watched rings, which would go on to log."""
    from ghasi_handoff.keyfile._reader import readers

    for reader in [reader for reader in readers if reader not in namespace["_readers"]]:
        reader.close()
    os.environ.clear()
    os.environ.update(namespace["_environment"])
    os.chdir(namespace["_left"])
    namespace["_entered"].cleanup()
    namespace.clear()


pytest_collect_file = Sybil(
    parsers=[parse],
    pattern="*.md",
    setup=enter_directory,
    teardown=leave_directory,
).pytest()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The one option of our own."""
    parser.addoption("--no-skips", action="store_true", help="a skipped test fails the run, as in the gate")


# Before pytest selects by -m, which must find the mark.
def pytest_itemcollected(item: pytest.Item) -> None:
    """Put each test in its one tier, and measure coverage only where it is asked for."""
    tiers = {mark.name for mark in item.iter_markers() if mark.name in SLOW_TIERS}
    if len(tiers) > 1:
        raise pytest.UsageError(f"{item.nodeid} is in more than one tier: {', '.join(sorted(tiers))}")
    if not tiers:
        item.add_marker("fast")
    measured = any(item.path.is_relative_to(ROOT / "tests" / name) for name in MEASURED)
    if not measured and item.path.parent != ROOT / "tests":
        item.add_marker("no_cover")


# After pytest-randomly, which would also shuffle the blocks of a page.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the blocks of a page in the page's order."""
    pages: dict[Path, list[pytest.Item]] = {}
    for item in items:
        if item.path.suffix == ".md":
            pages.setdefault(item.path, []).append(item)
    for blocks in pages.values():
        blocks.sort(key=lambda item: item.reportinfo()[1] or 0, reverse=True)
    items[:] = [pages[item.path].pop() if item.path in pages else item for item in items]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With --no-skips a skipped test is a failure: a gate that lacks a tool must not pass for one that used it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if session.config.getoption("no_skips") and skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_unconfigure() -> None:
    """End the process that the commands of this one came from."""
    from tests.forked_commands import end_commands

    end_commands()
