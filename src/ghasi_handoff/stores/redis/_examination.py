# Generated from _examination_async.py by tools/sync_twins.py. Do not edit.
"""Every node of a server or a cluster -> is it fit to hold entries, what is wrong with it, how much does it hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, TypeAlias

from redis import exceptions

from ghasi_handoff._limits import REDIS_SCAN_COUNT
from ghasi_handoff._signing_string import as_handoff_id, handoff_id_seconds
from ghasi_handoff._store_reports import Hazard, StoreReport, StoreStats, clock_hazards, present
from ghasi_handoff._times import read_clock
from ghasi_handoff.errors import ReplayStoreError
from ghasi_handoff.stores.redis._hazards import SAFE_POLICY, node_hazards, plain, server_name

HANDOFF_ID_LENGTH: Final = 36

# Runs one command on a node of a cluster, or on the only server: None.
Execute: TypeAlias = Callable[[tuple[str | int, ...], str | None], Any]


def require_fit(execute: Execute, nodes: Sequence[str | None]) -> None:
    """Refuse servers that could forget an entry before its time, or that are no primary."""
    for node in nodes:
        info = execute(("INFO",), node)
        where = f" of {node}" if node else ""
        role, policy = info.get("role"), info.get("maxmemory_policy")
        if role != "master":
            raise ReplayStoreError(f"Redis: refused: the role{where} is {plain(role)}, not master")
        if policy != SAFE_POLICY:
            raise ReplayStoreError(
                f"Redis: refused: maxmemory_policy{where} is {plain(policy)}, not {SAFE_POLICY}: entries could be"
                " evicted, and their handoffs replayed"
            )


def examine(
    execute: Execute, nodes: Sequence[str | None], clock: Callable[[], float], leeway: timedelta
) -> StoreReport:
    """Ask every node for what could break the store's promises."""
    settings: dict[str, str] = {}
    found: list[Hazard] = []
    servers: list[str] = []
    for node in nodes:
        info = execute(("INFO",), node)
        seconds, microseconds = execute(("TIME",), node)
        theirs = int(seconds) + int(microseconds) / 1_000_000
        ours = read_clock(clock)
        try:
            config = execute(("CONFIG GET", "appendfsync"), node)
        except exceptions.ResponseError:  # blocked, as on many managed servers
            config = {}
        facts = {
            name: plain(info.get(name))
            for name in ("role", "maxmemory_policy", "maxmemory", "used_memory", "evicted_keys", "aof_enabled")
        }
        if isinstance(config, Mapping):
            facts.update({plain(name): plain(value) for name, value in config.items()})
        where = f"{node}: " if node else ""
        settings.update({f"{where}{name}": value for name, value in facts.items()})
        servers.append(server_name(info))
        hazards = node_hazards(facts, plain(info.get("redis_version"))) + clock_hazards(ours, theirs, None, leeway)
        if node is not None:
            state = plain((execute(("CLUSTER INFO",), node)).get("cluster_state"))
            remedy = "bring back the primaries whose slots nobody serves"
            hazards += present(
                (state != "ok", "cluster_down", f"cluster_state is {state}: it refuses consumes", remedy)
            )
        found += [Hazard(hazard.code, where + hazard.text, hazard.remedy) for hazard in hazards]
    return StoreReport(", ".join(dict.fromkeys(servers)), settings, tuple(found))


def count_entries(execute: Execute, nodes: Sequence[str | None], prefix: str) -> StoreStats:
    """Look through the keys, some at a time."""
    entries = 0
    oldest = newest = ""
    for node in nodes:
        cursor = 0
        while True:
            position, keys = execute(("SCAN", cursor, "MATCH", f"{prefix}:*", "COUNT", REDIS_SCAN_COUNT), node)
            for key in keys:
                handoff_id = as_handoff_id(plain(key)[-HANDOFF_ID_LENGTH:])
                if handoff_id is not None:
                    entries += 1
                    oldest = min(oldest or handoff_id, handoff_id)
                    newest = max(newest, handoff_id)
            cursor = int(position)
            if cursor == 0:
                break
    if not entries:
        return StoreStats(0, None, None)
    return StoreStats(entries, handoff_id_seconds(oldest), handoff_id_seconds(newest))
