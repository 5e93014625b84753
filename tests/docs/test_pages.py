"""README, docs/ and the other pages: links, fences and tables are held against the code."""

from __future__ import annotations

import ast
import json
import re
import runpy
import sqlite3
import tomllib
import unicodedata
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import click
import pytest
from opentelemetry.metrics import NoOpMeterProvider
from typing_extensions import override

import ghasi_handoff
from ghasi_handoff import (
    _limits,
    errors,
    handshake,
    keyfile,
    keys,
    landing,
    replay,
    rotation,
    testing,
)
from ghasi_handoff.cli import main
from ghasi_handoff.integrations import fastapi as web
from ghasi_handoff.integrations import opentelemetry
from ghasi_handoff.stores import memory, postgres, redis, sqlite
from ghasi_handoff.sync_contract import __all__ as sync_contract_names
from ghasi_handoff.testing import strategies

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
PAGES: Final = sorted(DOCS.rglob("*.md"))
TOP_LEVEL: Final = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "SECURITY", "CHANGELOG")]
FENCE: Final = re.compile(
    r"^(?P<margin> *)(?P<ticks>`{3,}|~{3,})(?P<info>[^\n]*)\n(?P<code>.*?)^(?P=margin)(?P=ticks)[ ]*$", re.M | re.S
)
LINK: Final = re.compile(r"(?<!\\)\[(?:[^\]\[]|\[[^\]]*\])*\]\((?P<target>[^()\s]+)\)")
HEADING: Final = re.compile(r"^#{1,6} +(?P<text>.+?)\s*$", re.M)
OBJECT: Final = re.compile(r"^::: (?P<name>[\w.]+)$", re.M)


def named(path: Path) -> str:
    """A page's path from the root, for the names of tests."""
    return path.relative_to(ROOT).as_posix()


every_page: Final = pytest.mark.parametrize("page", [*TOP_LEVEL, *PAGES], ids=named)


def prose(path: Path) -> str:
    """A page without its fenced blocks and code spans, line for line."""
    text = FENCE.sub(lambda match: "\n" * match.group().count("\n"), path.read_text("utf-8"))
    return re.sub(r"`[^`\n]+`", "``", text)


def slug(heading: str) -> str:
    """A heading's anchor: Python-Markdown and GitHub agree on it for the headings that are used here."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())


def anchors(path: Path) -> set[str]:
    """The anchors that a link to a page may name after ``#``."""
    text = FENCE.sub("", path.read_text("utf-8"))
    return {slug(match["text"]) for match in HEADING.finditer(text)} | {
        match["name"] for match in OBJECT.finditer(text)
    }


def table(path: Path, heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its head."""
    below = path.read_text("utf-8").split(f"\n## {heading}\n", 1)[1]
    rows = re.findall(r"^\|(.*)\|$", below.split("\n## ", 1)[0], re.M)
    return [[cell.strip().strip("`") for cell in re.split(r"(?<!\\)\|", row)] for row in rows[2:]]


@every_page
def test_every_link_leads_somewhere(page: Path) -> None:
    """A relative link names a file and an anchor that are there, and from the site it does not leave the site."""
    for match in LINK.finditer(prose(page)):
        target, _, anchor = match["target"].partition("#")
        if target.startswith("https://"):
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{match['target']}: no such file"
        if DOCS in page.parents:
            assert DOCS in file.parents, f"{match['target']}: outside of the site"
        if anchor:
            assert anchor in anchors(file), f"{match['target']}: no such anchor"


@every_page
def test_every_heading_has_an_anchor_of_its_own(page: Path) -> None:
    """No two headings of a page have the same anchor, so a link can't lead to the wrong one."""
    slugs = [slug(match["text"]) for match in HEADING.finditer(FENCE.sub("", page.read_text("utf-8")))]
    if page.name == "CHANGELOG.md":
        return  # "Added" stands below each version
    assert len(slugs) == len(set(slugs))


@every_page
def test_code_is_fenced(page: Path) -> None:
    """An indented block would escape the tests of code blocks. The one formula of each specification may stay."""
    found = []
    item = previous = ""
    for line in prose(page).splitlines():
        if line.startswith("    ") and not previous and not item:
            found.append(line.strip())
        if line and not line.startswith(" "):
            item = line if re.match(r"(?:[-*+]|\d+\.|:|:::|!!!) ", line) else ""
        previous = line.strip()
    assert found == (["mac = HMAC-SHA256(secret of kid, signing-string)"] if page.parent.name == "spec" else [])


@pytest.mark.parametrize("page", TOP_LEVEL[2:], ids=named)
def test_pages_that_are_not_run_have_no_code(page: Path) -> None:
    """Code blocks are run in README.md, CONTRIBUTING.md and docs/ only, so there are none elsewhere."""
    assert "```" not in page.read_text("utf-8")


def test_every_page_is_in_the_navigation_once() -> None:
    """The site's navigation names each page of docs/, and no page that is not there."""
    project = tomllib.loads((ROOT / "zensical.toml").read_text("utf-8"))["project"]
    listed = re.findall(r"'([\w/.-]+\.md)'", repr(project["nav"]))
    assert sorted(listed) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


def test_every_decision_is_in_the_index() -> None:
    """docs/adr/README.md lists each decision with its number."""
    decisions = sorted(page.name for page in (DOCS / "adr").glob("0*.md"))
    assert (
        re.findall(r"^\| \[\d{4}\]\(([\w.-]+)\) \|", (DOCS / "adr" / "README.md").read_text("utf-8"), re.M) == decisions
    )
    for name in decisions:
        assert (DOCS / "adr" / name).read_text("utf-8").startswith(f"# {name[:4]}: ")


def test_every_public_name_is_in_the_reference() -> None:
    """Every public name is described once."""
    described = [
        match["name"].removeprefix("ghasi_handoff.")
        for page in (DOCS / "reference").glob("*.md")
        for match in OBJECT.finditer(page.read_text("utf-8"))
    ]
    public = set(ghasi_handoff.__all__) - {"__version__"}
    for store in (memory, postgres, redis, sqlite):
        # The logs are described where they are used: with the handshake.
        own = {name for name in store.__all__ if not name.endswith("SCHEMA")} - set(handshake.__all__)
        public |= {f"stores.{store.__name__.rpartition('.')[2]}.{name}" for name in own}
    public |= {f"handshake.{name}" for name in handshake.__all__}
    public |= {f"integrations.fastapi.{name}" for name in web.__all__ if name != "TEXTS"}
    public |= {f"landing.{name}" for name in landing.__all__ if name not in web.__all__}
    public |= {f"integrations.opentelemetry.{name}" for name in opentelemetry.__all__}
    public |= {f"testing.{name}" for name in testing.__all__}
    public |= {f"testing.strategies.{name}" for name in strategies.__all__}
    public |= {f"sync_contract.{name}" for name in sync_contract_names}
    public |= {f"replay.{name}" for name in replay.__all__ if name not in ghasi_handoff.__all__} - {
        "replay.HORIZON_SECONDS", "replay.check_entry",
    }  # fmt: skip
    public |= {f"rotation.{name}" for name in rotation.__all__ if name != "LEAST_PROPAGATION"}
    public |= {f"keyfile.{name}" for name in keyfile.__all__ if name != "DEFAULT_PURPOSE"}
    assert sorted(described) == sorted(public)


ERRORS: Final[dict[str, type[errors.HandoffError]]] = {
    name: value for name, value in vars(errors).items() if isinstance(value, type)
}


def test_the_table_of_errors_is_the_code() -> None:
    """docs/reference/errors.md has the code, the class and the public text of every leaf."""
    written = {(row[0], row[1].split("`")[1], row[2]) for row in table(DOCS / "reference" / "errors.md", ERROR_TABLE)}
    leaves = {name: kind for name, kind in ERRORS.items() if name not in {"HandoffError", "InvalidTokenError"}}
    assert written == {(cls.code, name, cls.public_text) for name, cls in leaves.items()}


ERROR_TABLE: Final = "Codes, public texts and status codes"


def test_the_tree_of_errors_is_the_code() -> None:
    """docs/how-to/handle-refusals.md draws the tree as it is: each class with its code, below its base."""
    page = (DOCS / "how-to" / "handle-refusals.md").read_text("utf-8")
    drawn: dict[str, tuple[str, str]] = {}
    above: list[str] = []
    for line in re.findall(r"^```text\n(HandoffError\n.*?)^```$", page, re.M | re.S)[0].splitlines():
        match = re.match(r"(?P<margin>[│├└─ ]*)(?P<name>\w+)(?: +(?P<code>[a-z]+(?:_[a-z]+)*)(?=  |$))?", line)
        assert match is not None
        depth = len(match["margin"]) // 4
        above[depth:] = [match["name"]]
        drawn[match["name"]] = (above[depth - 1] if depth else "Exception", match["code"] or "")
    true = {name: (kind.__bases__[0].__name__, kind.code) for name, kind in ERRORS.items()}
    true["HandoffError"], true["InvalidTokenError"] = ("Exception", ""), ("HandoffError", "")
    assert drawn == true


def test_the_table_of_defaults_is_the_code() -> None:
    """docs/reference/api.md states the numbers that signatures only name."""

    def seconds(duration: timedelta | float) -> str:
        return f"{duration.total_seconds() if isinstance(duration, timedelta) else duration:g} s"

    most = seconds(_limits.MAX_LIFETIME_SECONDS)
    assert [row[1:] for row in table(DOCS / "reference" / "api.md", "Defaults and caps")] == [
        [seconds(_limits.DEFAULT_LIFETIME), most],
        [seconds(_limits.DEFAULT_MAX_LIFETIME), most],
        [seconds(_limits.DEFAULT_LEEWAY), seconds(_limits.MAX_LEEWAY_SECONDS)],
        [seconds(_limits.DEFAULT_PROPAGATION), ""],
        [seconds(_limits.DEFAULT_STORE_TIMEOUT_SECONDS), "60 s"],
        [str(_limits.DEFAULT_MEMORY_CAPACITY), ""],
        ["", f"{_limits.MAX_TOKEN_CHARACTERS} characters"],
        ["", f"{_limits.MAX_PAYLOAD_BYTES} bytes"],
        ["", str(_limits.MAX_PAYLOAD_DEPTH)],
    ]


def test_every_command_has_its_section() -> None:
    """docs/reference/cli.md has a section for each command, after what holds for all of them, and none for another."""

    def paths(command: click.Command, *above: str) -> list[str]:
        if not isinstance(command, click.Group):
            return [" ".join(above)]
        return [path for name, below in command.commands.items() for path in paths(below, *above, name)]

    page = FENCE.sub("", (DOCS / "reference" / "cli.md").read_text("utf-8"))
    assert re.findall(r"^## (.+)$", page, re.M) == ["JSON", "Settings", *paths(main)]  # type: ignore[arg-type,unused-ignore]


def test_the_key_file_of_the_reference_is_one() -> None:
    """docs/reference/keyfile.md shows a file that the library reads, and members in the order that it writes."""
    page = (DOCS / "reference" / "keyfile.md").read_text("utf-8")
    text, sealed = re.findall(r"^```json\n(.*?)^```$", page, re.M | re.S)
    assert json.loads(keys.KeyRing.from_json(text).to_json()) == json.loads(text)
    assert keys.KeyRing.from_json(text).to_json() == text
    vector = json.loads((ROOT / "tests" / "vectors" / "sealed" / "opens.json").read_text("ascii"))
    assert sealed == vector["file"]
    assert f"`{vector['kek']}`" in page


def test_the_table_of_instruments_is_the_code() -> None:
    """docs/how-to/telemetry.md has the name, kind and unit of every instrument that is made."""
    made: set[tuple[str, str, str]] = set()

    class Meters(NoOpMeterProvider):
        @override
        def get_meter(self, name: str, *args: Any, **options: Any) -> Any:
            return self

        def __getattr__(self, method: str) -> Any:
            kind = method.removeprefix("create_").removeprefix("observable_")

            def create(name: str, *args: Any, **options: Any) -> None:
                made.add((name, kind, next(argument for argument in args if isinstance(argument, str))))

            return create

    opentelemetry.HandoffTelemetry(keys.KeyRing.generate(), meter_provider=Meters())
    rows = table(DOCS / "how-to" / "telemetry.md", "Instruments")
    assert sorted((name, kind, unit) for name, kind, unit, *_ in rows) == sorted(made)


def test_the_picture_of_the_states_is_drawn_from_the_code() -> None:
    """docs/assets/key-states.svg is what its script draws, which asks a ring for every state."""
    script = runpy.run_path(str(DOCS / ".key_states.py"))
    assert (DOCS / "assets" / "key-states.svg").read_text("utf-8") == script["drawing"]()


def message_patterns() -> list[re.Pattern[str]]:
    """What the texts of stores/ and replay.py can become: a pattern for each text, loose where a value is filled in."""
    package = ROOT / "src" / "ghasi_handoff"
    patterns = []
    for path in (package / "replay.py", *(package / "stores").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            parts = node.values if isinstance(node, ast.JoinedStr) else [node]
            fixed = [part.value if isinstance(part, ast.Constant) else None for part in parts]
            if sum(len(text) for text in fixed if isinstance(text, str)) >= 12:  # shorter ones would fit anything
                found = (re.escape(text) if isinstance(text, str) else ".+" for text in fixed)
                patterns.append(re.compile("".join(found)))
    return patterns


def test_the_messages_of_stores_are_quoted_as_they_are() -> None:
    """Each message in the table of choose-a-store.md is a text of the source, or names an error of SQLite."""
    page = (DOCS / "how-to" / "choose-a-store.md").read_text("utf-8")
    table = page.partition("| message | it means | do |\n|---|---|---|\n")[2].partition("\n\n")[0]
    messages = [message for row in table.splitlines() for message in re.findall("`([^`]+)`", row.split("|")[1])]
    assert len(messages) > 12
    patterns = message_patterns()
    for message in messages:
        code = re.search("SQLITE_[A-Z]+", message)
        known = hasattr(sqlite3, code[0]) if code else any(pattern.fullmatch(message) for pattern in patterns)
        assert known, message
