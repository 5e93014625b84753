"""error -> status, page or problem (RFC 9457), and a reference that the log explains. No I/O but the log."""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any, Final

from ghasi_handoff import errors
from ghasi_handoff._limits import PAGE_RETRIES_EVERY_SECONDS, PAGE_RETRIES_FOR_SECONDS, REFERENCE_CHARACTERS
from ghasi_handoff.errors import HandoffError, InvalidTokenError
from ghasi_handoff.landing._answer import Answer
from ghasi_handoff.landing._pages import Kind

UNKNOWN_TENANT: Final = "unknown_tenant"
# The form's fields: the token, and since when its page tries again.
PARAMETER: Final = "handoff"
SINCE: Final = "since"

_logger: Final = logging.getLogger("ghasi_handoff")
# Without 0, 1, I, L, O and U: guests read it out on the telephone.
_REFERENCE_ALPHABET: Final = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
# The first that fits. What may pass by itself is a 503.
_TOLD: Final[Mapping[type[HandoffError], tuple[int, Kind]]] = {
    errors.ReplayedTokenError: (409, "replayed"),
    errors.ExpiredTokenError: (410, "expired"),
    errors.RevokedHandoffError: (410, "revoked"),
    errors.UnknownHandoffError: (404, "invalid"),
    InvalidTokenError: (400, "invalid"),
    errors.InvalidHandoffInputError: (422, "unavailable"),
    errors.ConfigurationError: (500, "unavailable"),
    errors.ConfirmationUnavailableError: (503, "confirming"),
    HandoffError: (503, "unavailable"),
}


class RefusedError(Exception):
    """The guest gets a page that says no, or not now. Code and facts are for the log."""

    def __init__(self, kind: Kind, status: int, code: str, facts: Mapping[str, str] | None = None) -> None:
        super().__init__(code)
        self.kind: Kind = kind
        self.status = status
        self.code = code
        self.facts = facts or {}
        self.form: dict[str, Any] = {}  # with what the guest may try again: `fields` and `delay` of `make_page`


def refusal_of(error: HandoffError) -> RefusedError:
    """The page without a form that tells a guest about `error`."""
    status, kind = _told(error)
    return RefusedError(kind, status, error.code, error.log_fields)


def not_now(error: HandoffError, token: str, since: int | None, now: int) -> RefusedError:
    """503: the handoff stays with this browser. Its page tries again for a while, then says that it takes too long."""
    refused = refusal_of(error)
    begun = since if since is not None and since <= now else now
    refused.form = {"fields": {PARAMETER: token, SINCE: str(begun)}}
    if now - begun < PAGE_RETRIES_FOR_SECONDS:
        refused.form["delay"] = 1000 * PAGE_RETRIES_EVERY_SECONDS
    elif refused.kind == "confirming":
        refused.kind = "not_confirmed"
    return refused


def new_reference() -> str:
    """Eight random characters by which support finds a refusal in the log."""
    return "".join(secrets.choice(_REFERENCE_ALPHABET) for _ in range(REFERENCE_CHARACTERS))


def answer_error(error: HandoffError) -> Answer:
    """The problem that tells a program about `error`. The log has the rest, under the same reference."""
    return answer_problem(_told(error)[0], error.code, error.public_text, error)


def answer_problem(status: int, code: str, title: str, error: HandoffError | None = None) -> Answer:
    """A problem (RFC 9457), and the line of the log that explains its reference."""
    reference = new_reference()
    fields = {} if error is None else error.log_fields
    extra = {f"handoff_{name}" if name != "handoff_id" else name: value for name, value in fields.items()}
    _logger.log(
        logging.ERROR if status >= 500 else logging.WARNING,
        "problem %s %s: %s",
        reference,
        code,
        error or title,
        extra={"handoff_event": "problem", "handoff_reference": reference, "handoff_code": code, **extra},
        exc_info=error if status == 500 else None,
    )
    # One code for every refused token: which check has failed is only for the operator to know.
    told = code if status != 400 else InvalidTokenError.code
    body = {"type": "about:blank", "title": title, "status": status, "code": told, "reference": reference}
    headers = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    if status == 503:
        headers["Retry-After"] = f"{PAGE_RETRIES_EVERY_SECONDS}"
    return Answer(status=status, headers=headers, body=json.dumps(body).encode("ascii"))


def _told(error: HandoffError) -> tuple[int, Kind]:
    return next(told for kind, told in _TOLD.items() if isinstance(error, kind))
