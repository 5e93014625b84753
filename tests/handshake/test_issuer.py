"""The issuer: a token that is given out is in the handoff log."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from ghasi_handoff import ConfigurationError, HandoffLogError, KeyRing, Minter
from ghasi_handoff.handshake import (
    AsyncHandoffIssuer,
    AsyncSQLiteHandoffLog,
    HandoffIssuer,
    HandoffRecord,
    HandoffState,
    SQLiteHandoffLog,
)

from .services import AUDIENCE, ISSUER, STAY, TENANT, UNHURRIED, Clock, issue


def test_what_the_issuer_gives_out_is_in_the_log(log: Any, keys: KeyRing, clock: Clock) -> None:
    """The row of an issued handoff says what the token says."""
    minted = issue(keys, log, clock)
    record = log.find(minted.handoff_id)
    assert (record.issuer, record.audience, record.tenant, record.kid) == (ISSUER, AUDIENCE, TENANT, minted.kid)
    assert (record.issued_at, record.expires_at) == (minted.issued_at.timestamp(), minted.expires_at.timestamp())


def test_no_token_without_its_row(keys: KeyRing, clock: Clock, tmp_path: Path) -> None:
    """When the log cannot be written, no token is given out."""
    log = SQLiteHandoffLog(tmp_path / "missing" / "log.db", clock=clock)
    with pytest.raises(HandoffLogError):
        issue(keys, log, clock)


def test_whatever_a_log_raises_is_a_log_in_doubt(keys: KeyRing, clock: Clock, tmp_path: Path) -> None:
    """A log of the application's own may raise anything: no token is given out, and the cause is kept."""

    class Failing(SQLiteHandoffLog):
        @override
        def record(self, record: HandoffRecord) -> None:
            raise LookupError("password=secret")

    with pytest.raises(HandoffLogError, match="^the log raised LookupError$") as caught:
        issue(keys, Failing(tmp_path / "log.db"), clock)
    assert isinstance(caught.value.__cause__, LookupError)


def test_awaited_the_issuer_does_the_same(keys: KeyRing, clock: Clock, tmp_path: Path) -> None:
    """The row first, then the token; no row, no token; and a log of the wrong kind is refused at the start."""

    async def story() -> None:
        minter = Minter(keys, issuer=ISSUER, audience=AUDIENCE, clock=clock)
        async with AsyncSQLiteHandoffLog(tmp_path / "log.db", clock=clock, timeout=UNHURRIED) as log:
            minted = await AsyncHandoffIssuer(minter, log).issue(STAY, tenant=TENANT)
            assert (await log.find(minted.handoff_id)).state is HandoffState.ISSUED  # type: ignore[union-attr]
        async with AsyncSQLiteHandoffLog(tmp_path / "missing" / "log.db") as log:
            with pytest.raises(HandoffLogError):
                await AsyncHandoffIssuer(minter, log).issue(STAY, tenant=TENANT)
        for make in (
            lambda: AsyncHandoffIssuer(minter, SQLiteHandoffLog(tmp_path / "x.db")),  # type: ignore[arg-type]
            lambda: HandoffIssuer(minter, log),  # type: ignore[arg-type]
            lambda: HandoffIssuer(keys, SQLiteHandoffLog(tmp_path / "x.db")),  # type: ignore[arg-type]
            lambda: HandoffIssuer(minter, None),  # type: ignore[arg-type]
        ):
            with pytest.raises(ConfigurationError):
                make()

    asyncio.run(story())
