"""What a handoff carries. `BookingHandoff`, the default payload, and `HandoffPayload`, the class for your own."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Self

from pydantic import Field, model_validator

from ghasi_handoff._payload_class import HandoffPayload

__all__ = ["BookingHandoff", "HandoffPayload"]

_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,64}$")]


class BookingHandoff(HandoffPayload):
    """What a guest chose, in the words of the booking site. The default payload.

    It has no place for a name, an e-mail address or a session id: a URL ends up in logs and histories, and the issuer
    can join by the handoff id.

    Attributes:
        property_id: 1 to 64 characters of ``A-Z a-z 0-9 . _ : / -``.
        check_in: The first night.
        check_out: The day of departure: after `check_in`, at most 366 days after it.
        adults: 1 to 30.
        room_type_id: As `property_id`, or None.
        rate_plan_id: As `property_id`, or None.
        children_ages: At most 10 ages in years, each 0 to 17.
        currency: Three letters A-Z (ISO 4217), or None. Given if and only if `quoted_total_minor` is.
        quoted_total_minor: The price that the guest saw, in minor units of `currency`, 0 to 2^53-1, or None.
        locale: A language tag such as ``de`` or ``ar-EG``, at most 35 characters, case kept, or None.

    >>> BookingHandoff(
    ...     property_id="htl_0042", check_in=date(2026, 12, 24), check_out=date(2026, 12, 27), adults=2
    ... ).adults
    2
    """

    property_id: _Id
    check_in: date
    check_out: date
    adults: Annotated[int, Field(ge=1, le=30)]
    room_type_id: _Id | None = None
    rate_plan_id: _Id | None = None
    children_ages: Annotated[tuple[Annotated[int, Field(ge=0, le=17)], ...], Field(max_length=10)] = ()
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    quoted_total_minor: Annotated[int, Field(ge=0)] | None = None
    locale: Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] | None = None

    @model_validator(mode="after")
    def _stay_and_quote_make_sense(self) -> Self:
        if not 0 < (self.check_out - self.check_in).days <= 366:
            raise ValueError("check_out must be after check_in, by at most 366 nights")
        if (self.currency is None) != (self.quoted_total_minor is None):
            raise ValueError("currency and quoted_total_minor are given both or neither")
        return self
