"""Two services with their databases, and a guest's handoff, for what an operator asks at night."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ghasi_handoff import KeyRing, MintedHandoff, keyfile
from ghasi_handoff.handshake import ConsumeClient, Handshake

from ..handshake.services import GUEST, TENANT, Clock, consumer, issue, redeemer
from .command_runner import run_here

NOBODY = "http://127.0.0.1:9"


class TwoServices:
    """Both, and commands that look at them."""

    def __init__(self, log_url: str, store_url: str, log: Any, store: Any, folder: Path) -> None:
        self.log_url, self.store_url, self.log, self.store, self.folder = log_url, store_url, log, store, folder
        self.clock = Clock()
        self.keys = KeyRing.generate()
        keyfile.save(folder / "keys.json", self.keys)
        self.clock.now = time.time()
        self.minted = issue(self.keys, log, self.clock)

    @property
    def variables(self) -> dict[str, str]:
        return {"GHASI_HANDOFF_LOG_URL": self.log_url, "GHASI_HANDOFF_STORE_URL": self.store_url}

    def redeem(self, browser: bytes = GUEST, mode: Any = "strict", minted: MintedHandoff | None = None) -> None:
        with (
            consumer(self.log, self.keys, self.clock) as service,
            ConsumeClient(service.url, keys=self.keys, clock=self.clock) as client,
        ):
            handshake = Handshake(redeemer(self.keys, self.store, self.clock), client, mode)
            handshake.redeem((minted or self.minted).token, tenant=TENANT, browser_secret=browser)

    def ask(self, *arguments: str, status: int = 0, stdin: str = "") -> dict[str, Any]:
        done = run_here(*arguments, "--json", stdin=stdin, **self.variables)
        assert done.returncode == status, done.stdout + done.stderr
        facts: dict[str, Any] = json.loads(done.stdout)
        return facts

    def trace(self, which: str | None = None, status: int = 0) -> dict[str, Any]:
        return self.ask("handoff", "trace", which or self.minted.handoff_id, status=status)
