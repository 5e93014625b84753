"""The names of all formats and their versions, once. Each keeps one use of a key, or one kind of file, from the others.

A new version of a format is a new name here. No algorithm is read from a token: its version fixes it.
"""

from __future__ import annotations

from typing import Final

TOKEN_VERSION: Final = "ghasi1"  # noqa: S105 - a name
MAC_ALGORITHM: Final = "HMAC-SHA256"

# First lines of what is signed or hashed
SIGNING_STRING: Final = "ghasi-handoff/v1"
REDEMPTION: Final = "ghasi-redemption/v1"
CONSUME_CALL: Final = "ghasi-consume/v1"
KEY_FINGERPRINT: Final = "ghasi-fingerprint/v1"

# Formats of files and documents
KEY_RING: Final = "ghasi-handoff-keys/v1"
SEALED_KEY_RING: Final = "ghasi-handoff-sealed-keys/v1"
FINGERPRINT_DOCUMENT: Final = "ghasi-handoff-fingerprint/v1"

# Versions of database schemas. That of SQLite is the number of scripts in its file.
POSTGRES_REPLAY_SCHEMA: Final = 2
POSTGRES_HANDOFF_LOG_SCHEMA: Final = 1
