"""Each command once as it is installed: the executable, in a process of its own. What it can do is shown elsewhere."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from ghasi_handoff import KeyRing
from ghasi_handoff.cli import main
from ghasi_handoff.handshake import SQLiteHandoffLog
from ghasi_handoff.rotation import fingerprint
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from ..handshake.services import issue
from .command_runner import CommandRunner, run_executable

FIXTURES = Path(__file__).parents[1] / "sync_contract" / "fixtures"
STAY = "--property-id htl_0042 --check-in 2026-12-24 --check-out 2026-12-27 --adults 2"
PARTIES = "--issuer bff-consumer --audience bff-tenant-booking --tenant tn_aurora"
# What to give to each, and what it then says. {token} and {id} are those of one handoff.
COMMANDS = {
    "demo": ("", "behaved as told"),
    "keys init": ("--keys {new}", "signs from"),
    "keys list": ("--keys {keys}", "2026-11  active"),
    "keys rotate": ("--keys {keys} --dry-run", "nothing was written"),
    "keys revoke": ("--keys {keys} 2026-11 --dry-run", "No key signs"),
    "keys prune": ("--keys {keys}", "removed  nothing"),
    "keys fingerprint": ("--keys {keys}", "2026-11"),
    "keys doctor": ("--keys {keys} --peer {peer}", "2026-11"),
    "keys seal": ("--keys {keys} --kek-file {new} --make-kek", "sealed"),
    "mint": ("--keys {keys} {parties} {stay}", "ghasi1.2026-11."),
    "inspect": ("{token}", "NOT VERIFIED"),
    "verify": ("--keys {keys} {parties} {token}", "verified"),
    "redeem": ("--keys {keys} {parties} --store {store} {token}", "redeemed"),
    "signing-string": ("{token}", "ghasi-handoff/v1\nHMAC-SHA256\n2026-11\n"),
    "store init": ("sqlite:///{new}", "ready"),
    "store check": ("sqlite:///{store}", "no hazards"),
    "store stats": ("sqlite:///{store}", "entries"),
    "store maintain": ("sqlite:///{store}", "removed 0 entries"),
    "handoff init": ("--log-url sqlite:///{new}", "ready"),
    "handoff trace": ("--log-url sqlite:///{log} {id}", "not redeemed"),
    "handoff find": ("--log-url sqlite:///{log}", "{id}"),
    "handoff revoke": ("--log-url sqlite:///{log} {id}", "revoked"),
    "handoff maintain": ("--log-url sqlite:///{log}", "removed 0 rows"),
    "outbox list": ("--store-url sqlite:///{store}", "0 waiting"),
    "outbox drain": ("--store-url sqlite:///{store} --keys {keys} --consumer-url http://127.0.0.1:9", "0 delivered"),
    "sync-contract check": ("{fixtures}/registry.ts", ""),
    "sync-contract matrix": ("{fixtures}/services", "| `CleaningTask` |"),
    "sync-contract show": ("", "`Wishlist`"),
}


def test_every_command_is_here() -> None:
    """No command is left out of the table."""

    def paths(command: click.Command, *above: str) -> list[str]:
        if not isinstance(command, click.Group):
            return [" ".join(above)]
        return [path for name, below in command.commands.items() for path in paths(below, *above, name)]

    assert isinstance(main, click.Group)
    assert sorted(COMMANDS) == sorted(paths(main))


@pytest.mark.parametrize(
    "command", [pytest.param(name, marks=[pytest.mark.thorough] if name == "demo" else []) for name in COMMANDS]
)
def test_a_command_runs_as_installed(tmp_path: Path, command: str) -> None:
    """The installed executable does the command's work, by the clock of the machine, and says so."""
    runner = CommandRunner(tmp_path, KeyRing.generate("2026-11"))
    log, store = tmp_path / "log.db", tmp_path / "replay.db"
    with SQLiteHandoffLog(log) as opened, SQLiteReplayStore(store, outbox=True) as made:
        minted = issue(runner.ring, opened)
        made.create_schema()
    names = {
        "keys": runner.key_file,
        "log": str(log),
        "store": str(store),
        "new": str(tmp_path / "new"),
        "peer": runner.file("peer.json", fingerprint(runner.ring).to_json().encode("ascii")),
        "token": minted.token,
        "id": minted.handoff_id,
        "parties": PARTIES,
        "stay": STAY,
        "fixtures": str(FIXTURES),
    }
    arguments, said = (text.format(**names) for text in COMMANDS[command])
    done = run_executable(*command.split(), *arguments.split())
    assert (done.returncode, done.stderr) == (0, b"")
    assert said in done.stdout.decode("utf-8")
