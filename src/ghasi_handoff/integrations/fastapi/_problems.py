"""error -> problem details, as an application's error handlers. `install_error_handlers`."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ghasi_handoff.errors import HandoffError
from ghasi_handoff.integrations.fastapi._starlette import response_of
from ghasi_handoff.landing._refusals import UNKNOWN_TENANT, answer_error, answer_problem


class UnknownTenantError(HTTPException):
    """The application's ``tenant`` gave None. A plain 404, if `install_error_handlers` was not called."""

    def __init__(self) -> None:
        super().__init__(404)


def install_error_handlers(app: FastAPI) -> None:
    """Answer the library's errors as problem details (RFC 9457): for APIs; the landing pages have their own.

    A problem has the members ``type``, ``title`` (the error's public text), ``status``, ``code`` and ``reference``.
    The reference is logged with the error and its fields, to the logger ``ghasi_handoff``; outsiders are not told why
    a token was refused beyond the code.
    """
    app.add_exception_handler(HandoffError, _answer_error)
    app.add_exception_handler(UnknownTenantError, _answer_unknown_tenant)


async def _answer_error(request: Request, exc: Exception) -> Response:
    return response_of(answer_error(exc if isinstance(exc, HandoffError) else HandoffError(str(exc))))


async def _answer_unknown_tenant(request: Request, exc: Exception) -> Response:
    return response_of(answer_problem(404, UNKNOWN_TENANT, "There is no such site here."))
