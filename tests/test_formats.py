"""The names of formats keep one use of a key, or one kind of file, from every other."""

from __future__ import annotations

import re
from itertools import permutations

from ghasi_handoff import _formats

# The versions of a database schema are numbers, and stand in a table of the database.
NAMES = {name: value for name, value in vars(_formats).items() if name.isupper() and not isinstance(value, int)}


def test_no_two_formats_have_one_name() -> None:
    """The first line of what is signed, and the format of a file, decide what it is; so none begins another."""
    assert not [(one, other) for one, other in permutations(NAMES.values(), 2) if other.startswith(one)]


def test_each_format_names_its_version() -> None:
    """A change of a format is a new name, so each carries a number. The algorithm is fixed by the token's version."""
    assert [name for name, text in NAMES.items() if not re.fullmatch(r"ghasi(1|(-[a-z]+)+/v1)", text)] == [
        "MAC_ALGORITHM"
    ]


def test_no_name_can_run_into_the_next_line() -> None:
    """A line feed ends a name in everything that is signed; a name that held one could be read as two lines."""
    assert not [name for name, text in NAMES.items() if "\n" in text or not text.isascii()]
