"""The model of the handshake: the protocol keeps its promises in every state, and each planted mistake breaks one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from .model import DEFERRED, RIGHT, WRONG, ViolationError, explore


def test_strict_keeps_every_promise() -> None:
    """With crashes, a lost reply, a lost row, an expiry and a revocation at any moment: never two owners, never a guest locked out."""
    explored = explore(RIGHT)
    assert explored.states > 20_000
    assert explored.ends > 100


@pytest.mark.thorough
def test_strict_keeps_every_promise_with_the_issuer_asked_first() -> None:
    """With derived ids the order would not matter; local first is chosen because losers then never reach bff-consumer."""
    assert explore(replace(RIGHT, remote_first=True)).states > 10_000


def test_deferred_keeps_them_on_a_store_that_keeps_its_rows() -> None:
    """Where no row is lost, letting the guest through before bff-consumer knows makes no second owner, and bff-consumer learns of it."""
    assert explore(DEFERRED).states > 5_000


@pytest.mark.parametrize("name", WRONG)
def test_a_planted_mistake_is_caught(name: str) -> None:
    """Each wrong variant breaks the promise that it should, and the message has the steps that lead there."""
    variant, promises = WRONG[name]
    with pytest.raises(ViolationError) as caught:
        explore(variant)
    assert caught.value.promise in promises
    assert str(caught.value).count("\n") >= 2
