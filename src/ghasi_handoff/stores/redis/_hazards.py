"""What a node says of itself -> the hazards in it. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ghasi_handoff._limits import REDIS_MIN_VERSION
from ghasi_handoff._store_reports import Hazard, present

SAFE_POLICY: Final = "noeviction"

_parse_version: Final = re.compile(r"(\d+)\.(\d+)").match


def node_hazards(facts: Mapping[str, str], version: str) -> list[Hazard]:
    """The hazards in the facts of one node."""
    numbers = _parse_version(version)
    policy, role, evicted = facts["maxmemory_policy"], facts["role"], facts["evicted_keys"]
    needed = ".".join(map(str, REDIS_MIN_VERSION))
    return present(
        (
            policy != SAFE_POLICY,
            "evicting_policy",
            f"maxmemory_policy is {policy}: an evicted entry could be replayed, so every consume is refused",
            f"set maxmemory-policy {SAFE_POLICY}; use a server of its own for a cache",
        ),
        (
            evicted != "0",
            "evicted_keys",
            f"evicted_keys is {evicted}: the server has evicted keys since its start; entries may be among them",
            f"set maxmemory-policy {SAFE_POLICY}, then CONFIG RESETSTAT",
        ),
        (
            facts["aof_enabled"] != "1",
            "aof_off",
            "the append-only file is off: a restart forgets entries, and their handoffs could be replayed",
            "set appendonly yes, and appendfsync everysec or always",
        ),
        (
            role != "master",
            "replica",
            f"the role is {role}: a replica may lack entries, so every consume is refused",
            "name the primary",
        ),
        (
            numbers is None or (int(numbers[1]), int(numbers[2])) < REDIS_MIN_VERSION,
            "old_server",
            f"the server is compatible with Redis {version}; {needed} or newer is needed",
            "update the server",
        ),
    )


def server_name(info: Mapping[str, Any]) -> str:
    """Product and version, from INFO."""
    if "valkey_version" in info:
        return f"Valkey {plain(info['valkey_version'])}"
    return f"Redis {plain(info.get('redis_version'))}"


def plain(value: object) -> str:
    """A value of INFO or CONFIG as text, however the client decodes."""
    return value.decode("ascii", "replace") if isinstance(value, bytes) else str(value)
