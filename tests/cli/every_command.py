"""Every command, with arguments for which it works and arguments for which it is refused, and the files that these name."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, NamedTuple

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


class Use(NamedTuple):
    """How a command is used.

    Attributes:
        works: The arguments for which it works.
        says: What it then says, among else.
        refused: Each code for which it is refused, or says that something is wrong, with the arguments for that.
    """

    works: str
    says: str
    refused: dict[str, str] = {}  # noqa: RUF012 - nobody changes it


# What stands in braces is a file or a value that `prepared` makes.
USES: Final = {
    "demo": Use("", "behaved as told", {"configuration": "--data {keys}"}),
    "keys init": Use("--keys {new}", "signs from", {"key_ring": "--keys {keys}"}),
    "keys list": Use("--keys {keys}", "2026-11  active", {"key_ring": "--keys {new}"}),
    "keys rotate": Use(
        "--keys {keys} --dry-run",
        "nothing was written",
        {"short_propagation": "--keys {keys} --propagation 1s", "key_ring": "--keys {new}"},
    ),
    "keys revoke": Use("--keys {keys} 2026-11 --dry-run", "No key signs", {"key_ring": "--keys {keys} 2026-10"}),
    "keys prune": Use("--keys {keys}", "removed  nothing", {"key_ring": "--keys {new}"}),
    "keys fingerprint": Use("--keys {keys}", "2026-11", {"key_ring": "--keys {new}"}),
    "keys doctor": Use(
        "--keys {keys} --peer {peer}",
        "2026-11",
        {"alarm": "--keys {keys} --peer {stranger}", "configuration": "--keys {keys} --peer {new}"},
    ),
    "keys seal": Use(
        "--keys {keys} --kek-file {new} --make-kek", "sealed", {"key_ring": "--keys {new} --kek-file {keys}"}
    ),
    "mint": Use(
        "--keys {keys} {parties} {stay}", "ghasi1.2026-11.", {"invalid_input": "--keys {keys} {parties} {long_stay}"}
    ),
    "inspect": Use("{token}", "NOT VERIFIED", {"malformed": "x"}),
    "verify": Use(
        "--keys {keys} {parties} {token}", "verified", {"wrong_tenant": "--keys {keys} {parties} --tenant x {token}"}
    ),
    "redeem": Use(
        "--keys {keys} {parties} --store-url {store} {token}",
        "redeemed",
        {
            "wrong_tenant": "--keys {keys} {parties} --tenant x --store-url {store} {token}",
            "configuration": "--keys {keys} {parties} {token}",
        },
    ),
    "signing-string": Use("{token}", "ghasi-handoff/v1\nHMAC-SHA256\n2026-11\n", {"malformed": "x"}),
    "store init": Use("--store-url {new_url}", "ready", {"configuration": "--store-url mysql://x"}),
    "store check": Use(
        "--store-url {store}",
        "no hazards",
        {"hazards": "--store-url {empty}", "store_unavailable": "--store-url {new_url}"},
    ),
    "store stats": Use("--store-url {store}", "entries", {"store_unavailable": "--store-url {new_url}"}),
    "store maintain": Use("--store-url {store}", "removed 0 entries", {"store_unavailable": "--store-url {new_url}"}),
    "handoff init": Use("--log-url {new_url}", "ready", {"configuration": "--log-url redis://localhost"}),
    "handoff trace": Use(
        "--log-url {log} --store-url {undelivered} {id}",
        "not redeemed",
        {"unknown_handoff": "--log-url {log} {unknown_id}", "invalid_input": "--log-url {log} x"},
    ),
    "handoff find": Use("--log-url {log}", "{id}", {"invalid_input": "--log-url {log} --since yesterday"}),
    "handoff revoke": Use(
        "--log-url {log} {id}",
        "revoked",
        {"not_revoked": "--log-url {log} {redeemed_id}", "unknown_handoff": "--log-url {log} {unknown_id}"},
    ),
    "handoff maintain": Use("--log-url {log}", "removed 0 rows", {"log_unavailable": "--log-url {new_url}"}),
    "outbox list": Use("--store-url {store}", "0 waiting", {"given_up": "--store-url {undelivered}"}),
    "outbox drain": Use(
        "--store-url {store} --keys {keys} --consumer-url {nobody}",
        "0 delivered",
        {"undelivered": "--store-url {undelivered} --keys {keys} --consumer-url {nobody} --now"},
    ),
    "sync-contract check": Use(
        "{fixtures}/registry.ts", "", {"findings": "{planted}", "unreadable": "{unreadable} {planted}"}
    ),
    "sync-contract matrix": Use(
        "{fixtures}/services", "| `CleaningTask` |", {"findings": "{services}", "configuration": "{new}"}
    ),
    "sync-contract show": Use("", "`Wishlist`"),
}
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
