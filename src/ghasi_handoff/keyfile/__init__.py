"""Key file or environment <-> `KeyRing`, in the clear or sealed; and `WatchedKeyRing`, which follows a file.

A file is read only if nobody else can, and written whole or not at all.
"""

from __future__ import annotations

from ghasi_handoff.keyfile._events import KeyRingEvent, KeyRingReloaded, KeyRingReloadFailed
from ghasi_handoff.keyfile._kek import KeyEncryptionKey, LocalKeyEncryptionKey
from ghasi_handoff.keyfile._open import from_env, load, save
from ghasi_handoff.keyfile._seal import DEFAULT_PURPOSE
from ghasi_handoff.keyfile._watch import WatchedKeyRing, catch_up

__all__ = [
    "DEFAULT_PURPOSE",
    "KeyEncryptionKey",
    "KeyRingEvent",
    "KeyRingReloadFailed",
    "KeyRingReloaded",
    "LocalKeyEncryptionKey",
    "WatchedKeyRing",
    "catch_up",
    "from_env",
    "load",
    "save",
]
