"""What a minted and a verified handoff have in common: the signed lines, the key's name, the payload."""

from __future__ import annotations

from datetime import datetime
from typing import Generic

from typing_extensions import TypeVar, override

from ghasi_handoff._signing_string import Body
from ghasi_handoff._times import from_seconds
from ghasi_handoff.payload import BookingHandoff, HandoffPayload

_PayloadT_co = TypeVar("_PayloadT_co", bound=HandoffPayload, default=BookingHandoff, covariant=True)


class Handoff(Generic[_PayloadT_co]):
    """A handoff's facts. Frozen."""

    __slots__ = ("_body", "_kid", "_payload")

    def __init__(self, body: Body, kid: str, payload: _PayloadT_co) -> None:
        self._body = body
        self._kid = kid
        self._payload = payload

    @property
    def body(self) -> Body:
        """The signed lines: names as text, times in Unix seconds, the payload's bytes."""
        return self._body

    @property
    def payload(self) -> _PayloadT_co:
        """What is handed over."""
        return self._payload

    @property
    def handoff_id(self) -> str:
        """The token's unique id, for logs and joins."""
        return self._body.handoff_id

    @property
    def tenant(self) -> str:
        """The hotel that the token is for."""
        return self._body.tenant

    @property
    def kid(self) -> str:
        """The name of the key that signed."""
        return self._kid

    @property
    def issuer(self) -> str:
        """The service that minted it."""
        return self._body.issuer

    @property
    def audience(self) -> str:
        """The service that it is for."""
        return self._body.audience

    @property
    def issued_at(self) -> datetime:
        """When it was minted. Aware datetime in UTC, whole seconds."""
        return from_seconds(self._body.issued_at)

    @property
    def expires_at(self) -> datetime:
        """From when on it is refused; a verifier adds its leeway. Aware datetime in UTC, whole seconds."""
        return from_seconds(self._body.expires_at)

    @override
    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._shown()})"

    def _shown(self) -> str:
        return (
            f"handoff_id={self.handoff_id!r}, tenant={self.tenant!r}, kid={self._kid!r},"
            f" issued_at={self.issued_at.isoformat()}, expires_at={self.expires_at.isoformat()}"
        )
