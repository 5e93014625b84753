"""Docstring -> the same with a heading above its examples: the site then shows them as code, not as quotations."""

from __future__ import annotations

import re
from textwrap import indent
from typing import Any

import griffe


class ExamplesAsSection(griffe.Extension):
    """Docstrings of this package end with their doctests. Google style wants those indented, below ``Examples:``."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Called by griffe for each object that it has read."""
        docstring = obj.docstring
        if docstring is None or re.search(r"^Examples:$", docstring.value, re.MULTILINE):
            return
        text, found, examples = docstring.value.partition("\n>>> ")
        if found:
            docstring.value = f"{text}\nExamples:\n{indent('>>> ' + examples, '    ')}"
