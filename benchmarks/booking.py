"""The booking that is minted and verified: ten members set, as JSON has it, and as the library has it."""

from __future__ import annotations

from typing import Any

from ghasi_handoff import BookingHandoff

FACTS: dict[str, Any] = {
    "property_id": "htl_0042",
    "check_in": "2026-12-24",
    "check_out": "2026-12-27",
    "adults": 2,
    "room_type_id": "rt_double",
    "rate_plan_id": "rp_flex",
    "children_ages": [4, 7],
    "currency": "EUR",
    "quoted_total_minor": 45900,
    "locale": "de-DE",
}
STAY = BookingHandoff.from_input(FACTS)
