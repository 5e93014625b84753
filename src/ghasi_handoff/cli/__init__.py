"""command line -> library -> answer. The command ``ghasi-handoff``, of the extra ``[cli]``."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

__all__ = ["main"]

# Looked for first: without the extra, the installed command must say what to install, not show a traceback.
if TYPE_CHECKING or find_spec("click") is not None:
    from ghasi_handoff.cli._group import main
else:

    def main() -> None:
        """Say what is missing, and end as for any wrong installation or usage: with exit code 2."""
        sys.stderr.write("ghasi-handoff: the command line needs the package click: install ghasi-handoff[cli]\n")
        sys.exit(2)
