"""command line -> library -> answer. The command ``ghasi-handoff``, of the extra ``[cli]``."""

from __future__ import annotations

import json
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
        message = "the command line needs the package click: install ghasi-handoff[cli]"
        if "--json" in sys.argv:
            sys.stdout.write(json.dumps({"ok": False, "code": "configuration", "message": message}) + "\n")
        else:
            sys.stderr.write(f"ghasi-handoff: {message}\n")
        sys.exit(2)
