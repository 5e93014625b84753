"""The careful version that a good engineer writes in an afternoon: json, hmac.digest, and pydantic after the MAC.

It checks what such code checks: the MAC in constant time, issuer, audience, tenant, both times with leeway, the
lifetime, and the payload's rules. It does not check what `ghasi_handoff` checks besides: one spelling, the id against
the time, key states and dates, canonical JSON.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
import uuid
from datetime import date
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:/-]{1,64}$")]


class Booking(BaseModel):
    """The same members and rules as `BookingHandoff`, as one would write them without it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    property_id: Id
    check_in: date
    check_out: date
    adults: Annotated[int, Field(ge=1, le=30)]
    room_type_id: Id | None = None
    rate_plan_id: Id | None = None
    children_ages: Annotated[tuple[Annotated[int, Field(ge=0, le=17)], ...], Field(max_length=10)] = ()
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    quoted_total_minor: Annotated[int, Field(ge=0)] | None = None
    locale: Annotated[str, Field(max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")] | None = None

    @model_validator(mode="after")
    def _rules(self) -> Self:
        if not 0 < (self.check_out - self.check_in).days <= 366:
            raise ValueError("check_out")
        if (self.currency is None) != (self.quoted_total_minor is None):
            raise ValueError("currency")
        return self


def mint(secrets: dict[str, bytes], kid: str, booking: dict[str, Any], tenant: str) -> str:
    """A token from a dict of JSON values, which nobody validates."""
    now = int(time.time())
    claims = {
        "iss": "bff-consumer",
        "aud": "bff-tenant-booking",
        "tenant": tenant,
        "jti": str(uuid.uuid4()),
        "iat": now,
        "exp": now + 300,
        "booking": booking,
    }
    body = base64.urlsafe_b64encode(json.dumps(claims, separators=(",", ":")).encode()).rstrip(b"=").decode()
    signed = f"v1.{kid}.{body}"
    mac = hmac.digest(secrets[kid], signed.encode(), "sha256")
    return f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def mint_model(secrets: dict[str, bytes], kid: str, booking: Booking, tenant: str) -> str:
    """A token from a model that was validated when it was made."""
    return mint(secrets, kid, booking.model_dump(mode="json", exclude_none=True), tenant)


def verify(secrets: dict[str, bytes], token: str, tenant: str) -> Booking:
    """The booking of a token, or ValueError."""
    version, kid, body, mac_text = token.split(".")
    if version != "v1":
        raise ValueError("version")
    mac = base64.urlsafe_b64decode(mac_text + "=" * (-len(mac_text) % 4))
    if not hmac.compare_digest(mac, hmac.digest(secrets[kid], f"v1.{kid}.{body}".encode(), "sha256")):
        raise ValueError("mac")
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    now = int(time.time())
    if claims["iss"] != "bff-consumer" or claims["aud"] != "bff-tenant-booking" or claims["tenant"] != tenant:
        raise ValueError("addressee")
    if not claims["iat"] <= now + 10 or not now < claims["exp"] + 10 or not 0 < claims["exp"] - claims["iat"] <= 600:
        raise ValueError("time")
    return Booking.model_validate(claims["booking"])
