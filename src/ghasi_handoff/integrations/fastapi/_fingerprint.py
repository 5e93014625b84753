"""ring -> what may be said of it, for the other service's operators. `fingerprint_router`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.integrations.fastapi._openapi import json_operation
from ghasi_handoff.integrations.fastapi._starlette import response_of
from ghasi_handoff.keys import KeyRing, ring_source
from ghasi_handoff.landing._refusals import answer_error
from ghasi_handoff.rotation import fingerprint

_DATE: Final[dict[str, Any]] = {"type": ["string", "null"], "format": "date-time"}
_KEY: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["kid", "state", "hash"],
    "properties": {
        "kid": {"type": "string"},
        "state": {"type": "string", "description": "pending, active, verify-only, retired or revoked."},
        "hash": {"type": "string", "description": "Equal where the secrets are; nothing follows from it."},
        **dict.fromkeys(("created_at", "sign_from", "verify_until", "revoked_at", "last_used_at"), _DATE),
    },
}
_KEYS: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["keys"],
    "properties": {"keys": {"type": "array", "items": _KEY}},
}
_OPERATION: Final = json_operation(
    "handoff_keys",
    "The fingerprint of this process's key ring",
    _KEYS,
    "The keys, without their secrets.",
    {503: "The key ring cannot be read now."},
)


def fingerprint_router(
    keys: KeyRing | Callable[[], KeyRing], *, last_use: Mapping[str, datetime] | None = None
) -> APIRouter:
    """``GET /internal/handoff/keys``: which keys this process has, in which states, and no secret.

    ``ghasi-handoff keys doctor --peer URL`` asks it. Include it in both services, and let only your own machines reach
    it: kids and dates are no secret, but nobody else's business.

    Args:
        keys: The ring, or a callable that returns the present one.
        last_use: When each kid was last seen: a `LastUse`.

    Raises:
        ConfigurationError: `keys` has the wrong type.
    """
    source = ring_source(keys)
    router = APIRouter(tags=["handoff"])

    @router.get("/internal/handoff/keys", **_OPERATION)
    async def show(request: Request) -> Response:
        try:
            text = fingerprint(source(), last_use=last_use).to_json()
        except KeyRingError as exc:
            return response_of(answer_error(exc))
        return Response(text, 200, {"Cache-Control": "no-store"}, "application/json")

    return router
