"""A new payload member, deployed replica by replica: verifiers first loses no handoff, minters first does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from itertools import pairwise, product
from typing import Annotated, TypeAlias

import pytest
from pydantic import Field

from ghasi_handoff import HandoffPayload, InvalidPayloadError, KeyRing, Minter, Verifier

NOW = 1_795_426_200
KEYS = KeyRing.generate(now=datetime.fromtimestamp(NOW, UTC))


class StayBefore(HandoffPayload):
    """The class as it was."""

    property_id: Annotated[str, Field(max_length=64)]
    check_in: date


class StayAfter(HandoffPayload):
    """The class with one more member, which has a default."""

    property_id: Annotated[str, Field(max_length=64)]
    check_in: date
    campaign: Annotated[str, Field(max_length=16)] | None = None


def minted(stay: HandoffPayload) -> str:
    minter = Minter(KEYS, issuer="bff-consumer", audience="bff-tenant-booking", clock=lambda: NOW)
    return minter.mint(stay, tenant="tn_aurora").token


def old_minter() -> str:
    return minted(StayBefore(property_id="htl_0042", check_in=date(2026, 12, 24)))


def new_minter_silent() -> str:
    """New code, which does not set the member yet."""
    return minted(StayAfter(property_id="htl_0042", check_in=date(2026, 12, 24)))


def new_minter() -> str:
    return minted(StayAfter(property_id="htl_0042", check_in=date(2026, 12, 24), campaign="winter"))


def read(token: str, payload_type: type[HandoffPayload]) -> HandoffPayload:
    verifier = Verifier(
        KEYS, issuer="bff-consumer", audience="bff-tenant-booking", payload_type=payload_type, clock=lambda: NOW + 5
    )
    return verifier.verify(token, tenant="tn_aurora").payload


# Which code runs at each moment of a deploy, on the minters and on the verifiers.
Moment: TypeAlias = tuple[list[Callable[[], str]], list[type[HandoffPayload]]]
VERIFIERS_FIRST: list[Moment] = [
    ([old_minter], [StayBefore]),
    ([old_minter], [StayBefore, StayAfter]),  # the verifiers, replica by replica
    ([old_minter], [StayAfter]),
    ([old_minter, new_minter_silent], [StayAfter]),  # the minters, replica by replica
    ([new_minter_silent, new_minter], [StayAfter]),  # the member is set, replica by replica
    ([new_minter], [StayAfter]),
]
MEMBER_NOT_SET: Moment = ([new_minter_silent], [StayBefore])
MINTERS_FIRST: Moment = ([old_minter, new_minter], [StayBefore, StayAfter])


def refused(minters: list[Callable[[], str]], verifiers: list[type[HandoffPayload]]) -> list[tuple[str, str]]:
    """Each minter's handoff at each verifier: which pairs refuse."""
    pairs = []
    for mint, payload_type in product(minters, verifiers):
        try:
            read(mint(), payload_type)
        except InvalidPayloadError:
            pairs.append((mint.__name__, payload_type.__name__))
    return pairs


def test_verifiers_first_loses_no_handoff() -> None:
    """At each moment of the documented order, every verifier reads what every minter mints."""
    assert [refused(*moment) for moment in VERIFIERS_FIRST] == [[]] * len(VERIFIERS_FIRST)


def test_a_handoff_under_way_survives_each_step() -> None:
    """A handoff that was minted before a step of the deploy is read after it."""
    for (minters, _), (_, verifiers) in pairwise(VERIFIERS_FIRST):
        assert refused(minters, verifiers) == []


def test_new_code_that_does_not_set_the_member_is_read_by_old_verifiers() -> None:
    """A member at its default is not in the token: only setting it needs the verifiers, not the code itself."""
    assert refused(*MEMBER_NOT_SET) == []
    assert read(new_minter_silent(), StayBefore) == StayBefore(property_id="htl_0042", check_in=date(2026, 12, 24))


def test_minters_first_loses_handoffs() -> None:
    """The other order refuses guests: so this test of the order can fail."""
    assert refused(*MINTERS_FIRST) == [("new_minter", "StayBefore")]


def test_rolling_back_the_verifiers_needs_the_minters_first() -> None:
    """After a rollback of verifiers alone, handoffs with the member are refused, and the error says by which class."""
    with pytest.raises(InvalidPayloadError, match="StayBefore"):
        read(new_minter(), StayBefore)
    assert read(old_minter(), StayBefore) == read(new_minter_silent(), StayBefore)
