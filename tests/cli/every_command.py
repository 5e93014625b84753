"""Every command, with arguments for which it works and arguments for which it is refused, and the files that these name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

import click

from ghasi_handoff import KeyRing
from ghasi_handoff.cli import main
from ghasi_handoff.handshake import ConsumeCall, SQLiteHandoffLog
from ghasi_handoff.rotation import fingerprint
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from ..handshake.services import handoff_id, issue
from ..stores.entries import entry
from ..sync_contract.registries import FIXTURES, SERVICE, module, write
from ..sync_contract.registries import entry as registry_entry
from .command_runner import AUDIENCE, ISSUER, TENANT, CommandRunner

_NOBODY: Final = "http://127.0.0.1:9"


# What stands in braces is a file or a value that `prepared` makes.
# Arguments for which each command works, and what it then says, among else.
WORKS: Final = {
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
    "redeem": ("--keys {keys} {parties} --store-url {store} {token}", "redeemed"),
    "signing-string": ("{token}", "ghasi-handoff/v1\nHMAC-SHA256\n2026-11\n"),
    "store init": ("--store-url {new_url}", "ready"),
    "store check": ("--store-url {store}", "no hazards"),
    "store stats": ("--store-url {store}", "entries"),
    "store maintain": ("--store-url {store}", "removed 0 entries"),
    "handoff init": ("--log-url {new_url}", "ready"),
    "handoff trace": ("--log-url {log} --store-url {undelivered} {id}", "not redeemed"),
    "handoff find": ("--log-url {log}", "{id}"),
    "handoff revoke": ("--log-url {log} {id}", "revoked"),
    "handoff maintain": ("--log-url {log}", "removed 0 rows"),
    "outbox list": ("--store-url {store}", "0 waiting"),
    "outbox drain": ("--store-url {store} --keys {keys} --consumer-url {nobody}", "0 delivered"),
    "sync-contract check": ("{fixtures}/registry.ts", ""),
    "sync-contract matrix": ("{fixtures}/services", "| `CleaningTask` |"),
    "sync-contract show": ("", "`Wishlist`"),
}
# Arguments for which a command is refused, or says that something is wrong, and the code for that.
REFUSED: Final = [
    ("demo", "--data {keys}", "configuration"),
    ("keys init", "--keys {keys}", "key_ring"),
    ("keys list", "--keys {new}", "key_ring"),
    ("keys rotate", "--keys {keys} --propagation 1s", "short_propagation"),
    ("keys rotate", "--keys {new}", "key_ring"),
    ("keys revoke", "--keys {keys} 2026-10", "key_ring"),
    ("keys prune", "--keys {new}", "key_ring"),
    ("keys fingerprint", "--keys {new}", "key_ring"),
    ("keys doctor", "--keys {keys} --peer {stranger}", "alarm"),
    ("keys doctor", "--keys {keys} --peer {new}", "configuration"),
    ("keys seal", "--keys {new} --kek-file {keys}", "key_ring"),
    ("mint", "--keys {keys} {parties} {long_stay}", "invalid_input"),
    ("inspect", "x", "malformed"),
    ("verify", "--keys {keys} {parties} --tenant x {token}", "wrong_tenant"),
    ("redeem", "--keys {keys} {parties} --tenant x --store-url {store} {token}", "wrong_tenant"),
    ("redeem", "--keys {keys} {parties} {token}", "configuration"),
    ("signing-string", "x", "malformed"),
    ("store init", "--store-url mysql://x", "configuration"),
    ("store check", "--store-url {empty}", "hazards"),
    ("store check", "--store-url {new_url}", "store_unavailable"),
    ("store stats", "--store-url {new_url}", "store_unavailable"),
    ("store maintain", "--store-url {new_url}", "store_unavailable"),
    ("handoff init", "--log-url redis://localhost", "configuration"),
    ("handoff trace", "--log-url {log} {unknown_id}", "unknown_handoff"),
    ("handoff trace", "--log-url {log} x", "invalid_input"),
    ("handoff find", "--log-url {log} --since yesterday", "invalid_input"),
    ("handoff revoke", "--log-url {log} {redeemed_id}", "not_revoked"),
    ("handoff revoke", "--log-url {log} {unknown_id}", "unknown_handoff"),
    ("handoff maintain", "--log-url {new_url}", "log_unavailable"),
    ("outbox list", "--store-url {undelivered}", "given_up"),
    ("outbox drain", "--store-url {undelivered} --keys {keys} --consumer-url {nobody} --now", "undelivered"),
    ("sync-contract check", "{planted}", "findings"),
    ("sync-contract check", "{unreadable} {planted}", "unreadable"),
    ("sync-contract matrix", "{services}", "findings"),
    ("sync-contract matrix", "{new}", "configuration"),
]
# Where a command prints something else with it.
ALSO_WORKS: Final = {"store init": "--sql", "handoff init": "--sql"}


def command_names() -> list[str]:
    """The commands that there are, as they are called."""

    def below(command: click.Command, *above: str) -> list[str]:
        if not isinstance(command, click.Group):
            return [" ".join(above)]
        return [name for word, inner in command.commands.items() for name in below(inner, *above, word)]

    return below(main)


def prepared(folder: Path) -> dict[str, str]:
    """What the arguments name, made in `folder`: keys, tokens, logs, stores, registries."""
    runner, now = CommandRunner(folder, KeyRing.generate("2026-11")), int(time.time())
    with SQLiteHandoffLog(folder / "log.db") as log:
        minted, redeemed = issue(runner.ring, log), issue(runner.ring, log)
        log.consume(ConsumeCall(ISSUER, AUDIENCE, redeemed.handoff_id, "f" * 64, now, now), now)
    with SQLiteReplayStore(folder / "replay.db", outbox=True) as store:
        store.create_schema()
    with SQLiteReplayStore(folder / "undelivered.db", outbox=True) as store:
        for _ in range(2):
            store.consume(handoff_id(now), **entry(1, at=now))
        assert store.outbox is not None
        store.outbox.bury(store.outbox.entries(limit=1)[0], dead_at=now, outcome="status_401")
    (folder / "empty.db").touch()
    services = folder / "services" / SERVICE
    services.mkdir(parents=True)
    contract = (FIXTURES / "services" / SERVICE / "SYNC_CONTRACT.md").read_text("utf-8")
    (services / "SYNC_CONTRACT.md").write_text(contract.replace("`BotScore` | No", "`BotScore` | Yes"), "utf-8")
    stay = "--property-id htl_0042 --check-in 2026-12-24 --check-out 2026-12-27 --adults"
    return {
        "keys": runner.key_file,
        "new": str(folder / "new"),
        "new_url": f"sqlite:///{folder}/new",
        **{name: f"sqlite:///{folder}/{file}.db" for name, file in (("log", "log"), ("store", "replay"))},
        **{name: f"sqlite:///{folder}/{name}.db" for name in ("undelivered", "empty")},
        "peer": runner.file("peer.json", fingerprint(runner.ring).to_json().encode("ascii")),
        "stranger": runner.file("stranger.json", fingerprint(KeyRing.generate("other")).to_json().encode("ascii")),
        "token": minted.token,
        "id": minted.handoff_id,
        "redeemed_id": redeemed.handoff_id,
        "unknown_id": "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71",
        "parties": f"--issuer {ISSUER} --audience {AUDIENCE} --tenant {TENANT}",
        "stay": f"{stay} 2",
        "long_stay": f"{stay} 31",
        "nobody": _NOBODY,
        "fixtures": str(FIXTURES),
        "services": str(folder / "services"),
        "planted": str(write(folder, module(registry_entry(SERVICE, "Wishlist")), "planted.ts")),
        "unreadable": str(write(folder, module("...more()"), "unreadable.ts")),
    }
