"""Markdown -> the one table below a heading. Stricter than Markdown: what it would fill up or cut off is an error."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from ghasi_handoff.sync_contract._models import UnreadableError

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING: Final = re.compile(r" {0,3}#{1,6}[ \t]+(?P<text>.*?)[ \t]*#*[ \t]*")
_NUMBER: Final = re.compile(r"\d+(\.\d+)*[.):]?\s+")
_DELIMITER: Final = re.compile(r"\|(?:\s*:?-+:?\s*\|)+")
_BAR: Final = re.compile(r"(?<!\\)\|")
_CODE: Final = re.compile(r"`[^`\n]+`")


def read_table(file: str, text: str, *, heading: str, columns: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """The rows of the one table below the one heading `heading`: the line of each, and its cells by column.

    Other columns than `columns` may stand there too.
    """
    start, rows = _rows_below(file, text, heading)
    if len(rows) < 2 or _DELIMITER.fullmatch(rows[1][1]) is None:
        line = rows[0][0] if rows else start
        raise UnreadableError(file, line, f'there is no table with a head and a line of dashes below "{heading}"')
    head = _cells(*rows[0], file=file)
    names = [" ".join(plain(cell).split()) for cell in head]
    by_fold = {column.casefold(): column for column in columns}
    names = [by_fold.get(name.casefold(), name) for name in names]
    for column in columns:
        if names.count(column) != 1:
            raise UnreadableError(file, rows[0][0], f'the table needs one column "{column}"')
    if len(set(names)) != len(names) or not all(names):
        raise UnreadableError(file, rows[0][0], "each column of the table needs a name of its own")
    table: list[tuple[int, dict[str, str]]] = []
    for line, row in rows[1:]:
        cells = _cells(line, row, file=file)
        if len(cells) != len(names):
            raise UnreadableError(file, line, f"this row has {len(cells)} cells, the head of the table {len(names)}")
        table.append((line, dict(zip(names, cells, strict=True))))
    return table[1:]


def plain(cell: str) -> str:
    """A cell's text without the marks of emphasis or code around it."""
    text = cell.strip()
    for mark in ("**", "*", "`"):
        if len(text) > 2 * len(mark) and text.startswith(mark) and text.endswith(mark):
            text = text[len(mark) : -len(mark)].strip()
    return text


def _rows_below(file: str, text: str, heading: str) -> tuple[int, list[tuple[int, str]]]:
    start, inside = 0, False
    rows: list[tuple[int, str]] = []
    for number, line in _visible(file, text):
        match = _HEADING.fullmatch(line)
        if match is not None:
            title = _NUMBER.sub("", plain(match["text"]), count=1)
            inside = " ".join(title.split()).casefold() == heading.casefold()
            if inside and start:
                raise UnreadableError(file, number, f'a second heading "{heading}"; which one holds?')
            start = number if inside else start
        elif inside and line.strip().startswith("|"):
            if rows and rows[-1][0] != number - 1:
                raise UnreadableError(file, number, f'a second table below "{heading}"; which one holds?')
            rows.append((number, line.strip()))
        elif inside and _BAR.search(_CODE.sub("", line)):
            raise UnreadableError(file, number, "a row of a table begins and ends with |")
    if not start:
        raise UnreadableError(file, 1, f'there is no heading "{heading}"')
    return start, rows


def _cells(line: int, row: str, *, file: str) -> list[str]:
    parts = _BAR.split(row)
    if len(parts) < 3 or parts[-1].strip():
        raise UnreadableError(file, line, "a row of a table begins and ends with |")
    return [part.strip().replace("\\|", "|") for part in parts[1:-1]]


def _visible(file: str, text: str) -> Iterator[tuple[int, str]]:
    """The lines that show, with their numbers: none of a fenced block or of a comment."""
    fence, opened, comment = "", 0, False
    for number, whole in enumerate(text.split("\n"), 1):
        line = whole.rstrip("\r")
        match = _FENCE.match(line)
        if fence:
            closing = line.strip()
            if closing.startswith(fence) and not closing.strip(fence[0]):
                fence = ""
            continue
        if not comment and match is not None:
            fence, opened = match[1], number
            continue
        shown, comment, opened = _without_comments(line, comment, number, opened)
        yield number, shown
    if fence or comment:
        raise UnreadableError(file, opened, "this block or comment has no end")


def _without_comments(line: str, comment: bool, number: int, opened: int) -> tuple[str, bool, int]:
    shown = ""
    while line:
        if comment:
            _, end, line = line.partition("-->")
            comment = not end
        else:
            before, begin, line = line.partition("<!--")
            shown += before
            if begin:
                comment, opened = True, number
    return shown, comment, opened
