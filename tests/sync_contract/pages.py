"""The contract -> the table of docs/reference/sync-contract.md.

``python -m tests.sync_contract.pages`` writes it; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ghasi_handoff.sync_contract import BFF_CONSUMER

PAGE: Final = Path(__file__).parents[2] / "docs" / "reference" / "sync-contract.md"
BEGIN, END = "<!-- generated: python -m tests.sync_contract.pages -->\n", "<!-- end -->\n"


def generated() -> str:
    """What has to stand between the two marks."""
    return f"\n{BFF_CONSUMER.to_markdown()}\n\n"


def written() -> str:
    """What stands there."""
    (found,) = re.findall(f"{re.escape(BEGIN)}(.*?){re.escape(END)}", PAGE.read_text("utf-8"), re.DOTALL)
    return str(found)


if __name__ == "__main__":
    before, rest = PAGE.read_text("utf-8").split(BEGIN)
    PAGE.write_text(before + BEGIN + generated() + END + rest.split(END, 1)[1], "utf-8")
