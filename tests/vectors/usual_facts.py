"""Facts that the scenarios of tokens and of consume calls share. Standard library only."""

from __future__ import annotations

import base64
from typing import Final

ISSUER: Final = "bff-consumer"
AUDIENCE: Final = "bff-tenant-booking"
ISSUED: Final = 1795426200  # 2026-11-23 09:30:00 UTC
EXPIRES: Final = ISSUED + 300
LAST_SECOND: Final = 253402300799
NAME_CHARS: Final = "AZaz09._:/-"
LONGEST_NAME: Final = (NAME_CHARS * 6)[:64]


def b64u(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
