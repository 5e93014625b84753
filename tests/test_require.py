"""A collaborator of the wrong kind is refused when a service starts, not when a guest arrives."""

from __future__ import annotations

import pytest

from ghasi_handoff import ConfigurationError
from ghasi_handoff._require import require, require_callables


class Called:
    def consume(self) -> None:
        """Returns at once."""


class Awaited:
    async def consume(self) -> None:
        """Is awaited."""


class Attribute:
    consume = "not a method"


@pytest.mark.parametrize(("part", "awaited"), [(Called(), False), (Awaited(), True)])
def test_a_part_of_the_wanted_kind_is_given_back(part: object, awaited: bool) -> None:
    """The very object comes back."""
    assert require(part, "consume", awaited=awaited, name="store", kind="a store") is part


@pytest.mark.parametrize(
    ("part", "awaited"), [(Called(), True), (Awaited(), False), (Attribute(), False), (None, True), (object(), False)]
)
def test_any_other_part_is_refused(part: object, awaited: bool) -> None:
    """One for threads where asyncio is meant, the reverse, or without the method: refused, by its name and type."""
    with pytest.raises(ConfigurationError, match=f"^the store must be a store; {type(part).__name__} is not$"):
        require(part, "consume", awaited=awaited, name="store", kind="a store")


def test_what_cannot_be_called_is_refused_by_its_name() -> None:
    """An option that could only fail while a guest waits is refused first; None counts as given."""
    require_callables(tenant=len, render=print)
    for wrong in (None, "aurora"):
        with pytest.raises(ConfigurationError, match=f"^tenant must be a callable, not {type(wrong).__name__}$"):
            require_callables(render=print, tenant=wrong)
