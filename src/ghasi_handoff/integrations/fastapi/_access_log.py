"""a line of the access log -> the same line without the token."""

from __future__ import annotations

import logging
from typing import Final

from typing_extensions import override

from ghasi_handoff.landing._guest_request import unescaped

_HIDDEN: Final = "[hidden]"


class AccessLogFilter(logging.Filter):
    """Keeps tokens out of uvicorn's access log.

    Who reads logs could otherwise redeem a handoff before its guest does. The query of a request that holds a token,
    or the parameter ``handoff``, is replaced as a whole; so is a path that holds a token.

    >>> import logging
    >>> record = logging.LogRecord(
    ...     "uvicorn.access", logging.INFO, "", 0, '%s - "%s %s HTTP/%s" %d',
    ...     ("127.0.0.1:1", "GET", "/handoff?handoff=ghasi1.k.Ym9keQ.bWFj", "1.1", 200), None,
    ... )
    >>> AccessLogFilter().filter(record)
    True
    >>> record.getMessage()
    '127.0.0.1:1 - "GET /handoff?[hidden] HTTP/1.1" 200'
    """

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        """Hide what must be hidden. Every record is let through."""
        if isinstance(record.args, tuple):
            record.args = tuple(_hidden(value) if isinstance(value, str) else value for value in record.args)
        return True


def _hidden(value: str) -> str:
    path, mark, query = value.partition("?")
    if _holds(path, "ghasi1."):
        path = _HIDDEN
    if mark and _holds(query, "handoff", "ghasi1."):
        query = _HIDDEN
    return f"{path}{mark}{query}"


def _holds(text: str, *words: str) -> bool:
    plain = unescaped(text).lower()
    return any(word in plain for word in words)
