"""error -> RFC 9457 problem details, with a reference that the log explains. `install_error_handlers`."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ghasi_handoff.errors import (
    ConfigurationError,
    ExpiredTokenError,
    HandoffError,
    InvalidHandoffInputError,
    InvalidTokenError,
    ReplayedTokenError,
    RevokedHandoffError,
    UnknownHandoffError,
)

_logger: Final = logging.getLogger("ghasi_handoff")
# Without 0, 1, I, L, O and U: it is read out on the telephone.
_REFERENCE_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_REFERENCE_LENGTH: Final = 8

UNKNOWN_TENANT: Final = "unknown_tenant"
_STATUS: Final[Mapping[type[HandoffError], int]] = {
    ReplayedTokenError: 409,
    ExpiredTokenError: 410,
    RevokedHandoffError: 410,
    UnknownHandoffError: 404,
    InvalidTokenError: 400,
    InvalidHandoffInputError: 422,
    ConfigurationError: 500,
}


def status_of(error: HandoffError) -> int:
    """The HTTP status of an error: 503 for everything that may pass by itself."""
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 503)


def new_reference() -> str:
    """Eight random characters by which support finds a refusal in the log."""
    return "".join(secrets.choice(_REFERENCE_ALPHABET) for _ in range(_REFERENCE_LENGTH))


def problem(status: int, code: str, title: str, reference: str) -> Response:
    """An ``application/problem+json`` answer."""
    body = {"type": "about:blank", "title": title, "status": status, "code": code, "reference": reference}
    headers = {"Cache-Control": "no-store"} | ({"Retry-After": "2"} if status == 503 else {})
    return Response(json.dumps(body), status, headers, "application/problem+json")


def problem_responses(descriptions: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """The same for OpenAPI: status to description."""
    schema = {
        "type": "object",
        "required": ["type", "title", "status", "code"],
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string", "description": "For people; it may be shown to anybody."},
            "status": {"type": "integer"},
            "code": {"type": "string", "description": "Stable, for programs."},
            "reference": {"type": "string", "description": "By it the log is searched."},
        },
    }
    content = {"application/problem+json": {"schema": schema}}
    return {status: {"description": text, "content": content} for status, text in descriptions.items()}


class UnknownTenantError(HTTPException):
    """The application's ``tenant`` callable said None. A plain 404, where no handler of ours is installed."""

    def __init__(self) -> None:
        super().__init__(404)


def install_error_handlers(app: FastAPI) -> None:
    """Answer the library's errors as problem details (RFC 9457): for APIs; the landing pages have their own.

    A problem has the members ``type``, ``title`` (the error's public text), ``status``, ``code`` and ``reference``.
    The reference is logged with the error and its fields, to the logger ``ghasi_handoff``; outsiders are not told why
    a token was refused beyond the code.

    Args:
        app: The application.
    """
    app.add_exception_handler(HandoffError, _answer_error)
    app.add_exception_handler(UnknownTenantError, _answer_unknown_tenant)


async def _answer_error(request: Request, exc: Exception) -> Response:
    return answer_error(exc if isinstance(exc, HandoffError) else HandoffError(str(exc)))


def answer_error(error: HandoffError) -> Response:
    """The problem that tells an outsider about `error`; the log gets the rest, under the same reference."""
    status, reference = status_of(error), new_reference()
    extra = {f"handoff_{name}" if name != "handoff_id" else name: value for name, value in error.log_fields.items()}
    _logger.log(
        logging.ERROR if status >= 500 else logging.WARNING,
        "problem %s %s: %s",
        reference,
        error.code,
        error,
        extra={"handoff_event": "problem", "handoff_reference": reference, "handoff_code": error.code, **extra},
        exc_info=error if status == 500 else None,
    )
    # One code for all that an outsider could learn from: which check a token failed is the operator's to know.
    told = error.code if status != 400 else InvalidTokenError.code
    return problem(status, told, error.public_text, reference)


async def _answer_unknown_tenant(request: Request, exc: Exception) -> Response:
    reference = new_reference()
    _logger.warning(
        "problem %s %s",
        reference,
        UNKNOWN_TENANT,
        extra={"handoff_event": "problem", "handoff_reference": reference, "handoff_code": UNKNOWN_TENANT},
    )
    return problem(404, UNKNOWN_TENANT, "There is no such site here.", reference)
