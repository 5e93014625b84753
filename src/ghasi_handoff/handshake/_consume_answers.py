"""A consume request and its answer: status, headers and body for each verdict, made here and read here. No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from ghasi_handoff.errors import (
    ExpiredTokenError,
    HandoffError,
    HandoffLogError,
    ReplayedTokenError,
    RevokedHandoffError,
)
from ghasi_handoff.handshake._consume_call import SCHEME
from ghasi_handoff.handshake._verdict import Verdict
from ghasi_handoff.stores._handoff_log import ConsumeCall, HandoffRecord

UNAUTHENTICATED: Final = "unauthenticated_call"
_PROBLEMS: Final[Mapping[Verdict, tuple[int, str]]] = {
    Verdict.REPLAYED: (409, "The handoff was redeemed by another browser."),
    Verdict.REVOKED: (410, "The handoff was revoked."),
    Verdict.EXPIRED: (410, "The handoff was redeemed too late."),
    Verdict.UNKNOWN: (404, "There is no such handoff."),
}
# Final for the caller, whatever else the answer holds, if its code is the right one for its status.
_FINAL: Final[Mapping[int, tuple[type[HandoffError], ...]]] = {
    409: (ReplayedTokenError,),
    410: (RevokedHandoffError, ExpiredTokenError),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumeRequest:
    """What a web framework took from ``POST /internal/handoff/{id}/consume``.

    Attributes:
        path_id: The path's id, decoded once. Not trusted.
        authorization: The values of the ``Authorization`` fields, in order; none, or several, are refused.
        body: The body. More than 1024 bytes need not be read: any longer one is refused.
    """

    path_id: str
    authorization: Sequence[str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumeAnswer:
    """What to send back, as it is.

    Attributes:
        status: The HTTP status.
        headers: Content type, caching, and with a 401 the scheme.
        body: JSON: the redemption with a 200, else a problem (RFC 9457) with its ``code``.
        code: The problem's code; None with a 200.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    code: str | None


def confirmed(record: HandoffRecord) -> ConsumeAnswer:
    """200: the handoff is redeemed, by the redemption that the call names."""
    body = (
        f'{{"consumed_at":{record.consumed_at},"handoff_id":"{record.handoff_id}",'
        f'"redemption_id":"{record.redemption_id}"}}'
    )
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return ConsumeAnswer(status=200, headers=headers, body=body.encode("ascii"), code=None)


def refused(verdict: Verdict) -> ConsumeAnswer:
    """404, 409 or 410."""
    status, title = _PROBLEMS[verdict]
    return _problem(status, verdict.value, title)


def unauthenticated() -> ConsumeAnswer:
    """401, without the reason."""
    return _problem(401, UNAUTHENTICATED, "The call is not authentic.", {"WWW-Authenticate": SCHEME})


def unavailable() -> ConsumeAnswer:
    """503: try again."""
    return _problem(503, HandoffLogError.code, "The handoff log cannot answer now.", {"Retry-After": "1"})


def _problem(status: int, code: str, title: str, headers: Mapping[str, str] | None = None) -> ConsumeAnswer:
    body = f'{{"code":"{code}","status":{status},"title":"{title}","type":"about:blank"}}'
    general = {"Content-Type": "application/problem+json", "Cache-Control": "no-store"}
    return ConsumeAnswer(status=status, headers={**general, **(headers or {})}, body=body.encode("ascii"), code=code)


def understood(call: ConsumeCall, status: int, content_type: str, answer: bytes) -> HandoffError | str | None:
    """What an answer to `call` says: None if confirmed, the error of a final refusal, a word for everything else."""
    kind = content_type.partition(";")[0].strip().lower()
    if status == 200:
        # Whatever stands between us may answer 200, too: a login page, a default host. Ours names what it confirms.
        wanted = f'"handoff_id":"{call.handoff_id}","redemption_id":"{call.redemption_id}"}}'.encode("ascii")
        is_ours = kind == "application/json" and answer.startswith(b'{"consumed_at":') and answer.endswith(wanted)
        return None if is_ours else "invalid_answer"
    if kind == "application/problem+json":
        for error in _FINAL.get(status, ()):
            if f'"code":"{error.code}"'.encode("ascii") in answer:
                return error(f"bff-consumer answered {status} {error.code}", handoff_id=call.handoff_id)
    return f"status_{status}"
