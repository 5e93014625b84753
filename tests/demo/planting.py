"""A program that each service runs before anything else: by it a test plants a fault, or another clock."""

from __future__ import annotations

from pathlib import Path

# Programs of more than one test.
STORE = "from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore as Store; consume = Store.consume\n"
EVERYBODY_HOLDS = (
    STORE
    + """
async def fault(self, handoff_id, *, redemption_id, **entry):
    from ghasi_handoff import Consumption
    answer = await consume(self, handoff_id, redemption_id=redemption_id, **entry)
    return Consumption(redemption_id, answer.first, answer.consumed_at)
Store.consume = fault"""
)


def planted(folder: Path, program: str) -> dict[str, str]:
    """An environment in which every Python process first runs `program`."""
    (folder / "sitecustomize.py").write_text(program, encoding="utf-8")
    return {"PYTHONPATH": str(folder)}
