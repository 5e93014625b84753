"""issuer, audience <-> scope: one value, and the one text that stores keep of it. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Scope:
    r"""An issuer and an audience. A handoff id is unique within a scope; the same id in another is another handoff.

    Attributes:
        issuer: The service that mints.
        audience: The service that redeems.

    >>> str(Scope("bff-consumer", "bff-tenant-booking"))
    'bff-consumer\nbff-tenant-booking'
    """

    issuer: str
    audience: str

    def __str__(self) -> str:
        """The text that stores keep: the issuer, LF, the audience. No issuer contains a LF."""
        return f"{self.issuer}\n{self.audience}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The scope in a text that a store has kept.

        A text without a LF gives an empty audience, which no signed call accepts.
        """
        issuer, _, audience = text.partition("\n")
        return cls(issuer, audience)
