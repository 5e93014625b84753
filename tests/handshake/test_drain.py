"""``ghasi-handoff outbox drain`` while nobody answers: it tries once what it took, and stops."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from ghasi_handoff import KeyRing, keyfile
from ghasi_handoff._limits import DELIVERY_BATCH
from ghasi_handoff.cli import main

from .services import SCOPE, Clock, handoff_id

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens


@pytest.mark.parametrize("option", ["--now", "--dead"])
def test_draining_stops_when_nobody_answers(option: str, product: str, url: str, store: Any, keys: KeyRing, clock: Clock, tmp_path: Path) -> None:  # fmt: skip
    """More waits than one lease takes: what it took is postponed, the rest is not touched, and the exit code is 1."""
    at = int(clock.now) - 60
    for _ in range(DELIVERY_BATCH + 3):
        store.consume(
            handoff_id(at), scope=SCOPE, redemption_id=secrets.token_hex(32), consumed_at=at, retain_until=at + 500
        )
    keyfile.save(tmp_path / "keys.json", keys)
    where = url if product == "postgresql" else f"sqlite:///{url}/replay.db"
    arguments = ["--keys", str(tmp_path / "keys.json"), "--store-url", where, "--consumer-url", NOBODY, option]
    variables = {name: None for name in os.environ if name.startswith("GHASI_HANDOFF")}
    done = CliRunner().invoke(main, ["outbox", "drain", *arguments, "--json"], env=variables)
    facts = json.loads(done.stdout)
    assert (done.exit_code, facts["ok"]) == (1, False)
    assert (facts["delivered"], facts["postponed"], facts["pending"]) == (0, DELIVERY_BATCH, DELIVERY_BATCH + 3)
    assert sorted(entry.attempts for entry in store.outbox.entries(limit=99)) == [0] * 3 + [1] * DELIVERY_BATCH
