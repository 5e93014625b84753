"""The attributes that several metrics and spans share. What an outsider may choose freely is never a value of one."""

from __future__ import annotations

from typing import Final

ERROR_TYPE: Final = "error.type"  # of the semantic conventions
KEY_STATE: Final = "ghasi_handoff.key.state"
OUTCOME: Final = "ghasi_handoff.outcome"
REASON: Final = "ghasi_handoff.reason"
TENANT: Final = "ghasi_handoff.tenant"
