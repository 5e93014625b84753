"""What cannot be read with certainty: file, line, column and reason. Never an empty list of findings."""

from __future__ import annotations

from typing import NoReturn

from typing_extensions import override


class UnreadableError(Exception):
    """A registry or contract that cannot be read with certainty, so that nothing can be said about it.

    Not a `HandoffError`: this room stands apart from the handoff, and imports nothing of it.

    Attributes:
        file: The path as it was given.
        line: From 1.
        column: From 1, in characters.
        reason: What could not be read, and what would be.
    """

    def __init__(self, file: str, line: int, reason: str, *, column: int = 1) -> None:
        super().__init__(file, line, reason, column)
        self.file = file
        self.line = line
        self.column = column
        self.reason = reason

    @override
    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


def unreadable(file: str, line: int, reason: str, *, column: int = 1) -> NoReturn:
    """Raise `UnreadableError`: an expression's shorter form, for where a type checker must see that nothing follows."""
    raise UnreadableError(file, line, reason, column=column)
