"""For any registry: what is read is what the module holds when it runs, and nothing of bff-consumer passes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from ghasi_handoff.sync_contract import UnreadableError, check_entries, check_registry, read_registry

from .registries import names
from .spelled import Names, as_json, harmless, module_of, planted, seeds
from .typescript import Runner

_numbers = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for all examples."""
    return tmp_path_factory.mktemp("registries")


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    """A Node for all examples."""
    with Runner() as running:
        yield running


def saved(folder: Path, text: str) -> Path:
    """A new file each time: Node runs a module once."""
    path = folder / f"registry{next(_numbers)}.mts"
    path.write_bytes(text.encode("utf-8"))
    return path


def with_planted(data: st.DataObject) -> Names:
    entries = data.draw(harmless)
    entries.insert(data.draw(st.integers(0, len(entries))), data.draw(planted))
    return entries


@given(data=st.data())
def test_no_registry_with_an_entry_of_bff_consumer_passes(folder: Path, data: st.DataObject) -> None:
    """However it is written, as TypeScript or as JSON, and whatever stands around it."""
    entries = with_planted(data)
    found = check_registry(saved(folder, module_of(entries, data.draw(seeds))))
    assert found
    (folder / "registry.json").write_text(as_json(entries), "utf-8")
    in_json = check_registry(folder / "registry.json")
    assert [(one.rule, one.service_name, one.aggregate) for one in in_json] == [
        (one.rule, one.service_name, one.aggregate) for one in found
    ]


@given(data=st.data(), entries=harmless)
def test_every_registry_without_one_passes(folder: Path, data: st.DataObject, entries: Names) -> None:
    """No spelling of what belongs there is a finding or an error."""
    path = saved(folder, module_of(entries, data.draw(seeds)))
    assert names(read_registry(path)) == entries
    assert check_registry(path) == ()


@given(data=st.data())
def test_what_is_read_is_what_runs(folder: Path, runner: Runner, data: st.DataObject) -> None:
    """The reader, which runs nothing, and Node, which runs the module, see the same entries."""
    entries = with_planted(data) if data.draw(st.booleans()) else data.draw(harmless)
    path = saved(folder, module_of(entries, data.draw(seeds)))
    assert names(read_registry(path)) == entries
    assert runner.names(path) == entries


SNIPPETS = [
    *(
        "'",
        '"',
        "`",
        "\\",
        "/",
        "*",
        "/*",
        "*/",
        "//",
        "\n",
        "\r",
        "\u2028",
        "<!--",
        "-->",
        "${",
        "}",
        "{",
        "[",
        "]",
        "(",
        ")",
    ),
    *(
        ",",
        ";",
        ":",
        "...",
        "=",
        "+",
        "!",
        "?",
        "as const",
        " satisfies any",
        "<any>",
        "syncRegistry",
        "c0",
        "c1",
        "const c0",
    ),
    *(
        ".push(c0)",
        "[0]",
        ".length = 0",
        ".serviceName = 'x'",
        "Object.freeze",
        "export ",
        "let ",
        "var ",
        "\\u0041",
        "null",
    ),
    *(
        "syncRegistry.push({serviceName:'x',aggregate:'y'});",
        "c0.serviceName='x';",
        "=>",
        "get ",
        "__proto__: c0,",
        "||",
        "-",
    ),
    *(
        "syncRegistry.forEach(e => e.aggregate);",
        "syncRegistry.map(e => { e.aggregate = 'x' });",
        "'aggregate': 'z',",
        "#",
        "@",
    ),
]


@given(data=st.data(), entries=harmless)
def test_what_is_read_of_a_broken_registry_is_what_runs(
    folder: Path, runner: Runner, data: st.DataObject, entries: Names
) -> None:
    """Text put in, taken out or doubled anywhere: what the reader still accepts, and Node still runs, they see alike."""
    text = module_of(entries, data.draw(seeds))
    for _ in range(data.draw(st.integers(1, 2))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.sampled_from([0, 0, 0, 1, 2, 20])))
        put_in = data.draw(st.sampled_from(["", text[start : start + 30], *SNIPPETS]))
        text = text[:start] + put_in + text[end:]
    path = saved(folder, text)
    try:
        read = names(read_registry(path))
    except UnreadableError:
        event("the reader refuses it")
        return
    ran = runner.names(path)
    event("only the reader accepts it" if ran is None else "both accept it")
    if ran is not None:
        assert read == ran
        assert bool(check_entries(read_registry(path))) == bool(check_registry(path))
