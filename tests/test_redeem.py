"""Redeeming: one rule decides, whatever the store's answer and whenever it comes. For both redeemers."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from functools import partial
from hashlib import sha256
from typing import Any

import pytest

from ghasi_handoff import (
    AsyncRedeemer,
    ConfigurationError,
    Consumption,
    ExpiredTokenError,
    InvalidMACError,
    InvalidTokenError,
    MintedHandoff,
    Redeemer,
    Redemption,
    ReplayedTokenError,
    ReplayStoreError,
    WrongTenantError,
)
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore
from tests.minter_and_verifier import NOW, STAY, TENANT, Clock, MinterAndVerifier, at

BROWSER = b"A" * 32
OTHER = b"B" * 32
END = NOW + 300 + 10  # expiry and leeway


class ScriptedStore:
    """A store that answers what it is told: for answers that no real store should give."""

    def __init__(self, answer: Callable[[str, int], object]) -> None:
        self.answer = answer
        self.calls: list[dict[str, Any]] = []

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        self.calls.append(
            {
                "handoff_id": handoff_id,
                "scope": scope,
                "redemption_id": redemption_id,
                "consumed_at": consumed_at,
                "retain_until": retain_until,
            }
        )
        return self.answer(redemption_id, consumed_at)  # type: ignore[return-value]


class AsyncScriptedStore(ScriptedStore):
    async def consume(self, handoff_id: str, **entry: Any) -> Consumption:  # type: ignore[override]
        await asyncio.sleep(0)
        return super().consume(handoff_id, **entry)


Redeem = Callable[..., Redemption]


def sync_redeem(pair: MinterAndVerifier, store: ScriptedStore | None = None) -> Redeem:
    return Redeemer(pair.verifier(), store or MemoryReplayStore()).redeem


def async_redeem(pair: MinterAndVerifier, store: ScriptedStore | None = None) -> Redeem:
    awaited = AsyncMemoryReplayStore() if store is None else AsyncScriptedStore(store.answer)
    if isinstance(awaited, AsyncScriptedStore) and store is not None:
        awaited.calls = store.calls
    redeemer = AsyncRedeemer(pair.verifier(), awaited)
    return lambda *args, **kwargs: asyncio.run(redeemer.redeem(*args, **kwargs))


def redeemed(redeem_with: Callable[..., Redeem]) -> tuple[MinterAndVerifier, MintedHandoff, Redeem, Redemption]:
    """Both sides, and a handoff that a browser has redeemed."""
    pair = MinterAndVerifier()
    minted = pair.mint()
    redeem = redeem_with(pair)
    return pair, minted, redeem, redeem(minted.token, tenant=TENANT, browser_secret=BROWSER)


both = pytest.mark.parametrize("redeem_with", [sync_redeem, async_redeem])


@both
def test_a_redemption_states_its_facts(redeem_with: Callable[..., Redeem]) -> None:
    """The handoff, that it is the first, who redeemed, and when."""
    pair = MinterAndVerifier()
    minted = pair.mint()
    pair.clock.now = NOW + 5.7
    redemption = redeem_with(pair)(minted.token, tenant=TENANT, browser_secret=BROWSER)
    assert redemption.handoff.payload == STAY
    assert redemption.first
    expected = sha256(b"ghasi-redemption/v1\n" + minted.handoff_id.encode() + b"\n" + BROWSER).hexdigest()
    assert redemption.redemption_id == expected
    assert redemption.redeemed_at == at(NOW + 5)


@both
@pytest.mark.parametrize("raised", [RuntimeError("x"), TimeoutError(), KeyError("x"), ConnectionResetError()])
def test_whatever_a_store_raises_is_a_store_in_doubt(redeem_with: Callable[..., Redeem], raised: Exception) -> None:
    """A store of the application's own may raise anything: callers see `ReplayStoreError`, operators the cause."""
    pair = MinterAndVerifier()
    minted = pair.mint()

    def fail(*entry: object) -> object:
        raise raised

    with pytest.raises(ReplayStoreError, match=f"^the store raised {type(raised).__name__}$") as caught:
        redeem_with(pair, ScriptedStore(fail))(minted.token, tenant=TENANT, browser_secret=BROWSER)
    assert caught.value.__cause__ is raised
    assert caught.value.log_fields == {"handoff_id": minted.handoff_id, "tenant": TENANT, "kid": minted.kid}


@both
@pytest.mark.parametrize("raised", [asyncio.CancelledError(), KeyboardInterrupt(), GeneratorExit(), ConfigurationError("x"), ReplayStoreError("x")])  # fmt: skip
def test_what_is_no_failure_of_the_store_passes(redeem_with: Callable[..., Redeem], raised: BaseException) -> None:
    """A cancelled caller, Ctrl-C, and the library's own errors are not taken for a store in doubt."""
    pair = MinterAndVerifier()

    def fail(*entry: object) -> object:
        raise raised

    with pytest.raises(type(raised)) as caught:
        redeem_with(pair, ScriptedStore(fail))(pair.mint().token, tenant=TENANT, browser_secret=BROWSER)
    assert str(caught.value) == str(raised)


@both
def test_the_same_browser_gets_the_same_redemption(redeem_with: Callable[..., Redeem]) -> None:
    """A refresh, a double click or a lost reply changes nothing but `first`."""
    pair, minted, redeem, first = redeemed(redeem_with)
    pair.clock.now = NOW + 60
    again = redeem(minted.token, tenant=TENANT, browser_secret=BROWSER)
    assert (again.redemption_id, again.redeemed_at, again.first) == (first.redemption_id, first.redeemed_at, False)


@both
def test_another_browser_is_a_replay(redeem_with: Callable[..., Redeem]) -> None:
    """The handoff stays with the first; the error names the handoff, and not who holds it."""
    _, minted, redeem, first = redeemed(redeem_with)
    with pytest.raises(ReplayedTokenError) as caught:
        redeem(minted.token, tenant=TENANT, browser_secret=OTHER)
    assert caught.value.log_fields == {"handoff_id": minted.handoff_id, "tenant": TENANT, "kid": "a"}
    assert first.redemption_id not in str(caught.value)


@both
def test_without_a_secret_every_second_call_is_a_replay(redeem_with: Callable[..., Redeem]) -> None:
    """A fresh secret each call: strictly once."""
    pair = MinterAndVerifier()
    redeem = redeem_with(pair)
    token = pair.mint().token
    redeem(token, tenant=TENANT)
    for _ in range(2):
        with pytest.raises(ReplayedTokenError):
            redeem(token, tenant=TENANT)


@both
@pytest.mark.parametrize(
    "wrong", [None, b"", b"A" * 31, b"A" * 33, "A" * 32, bytearray(32), memoryview(b"A" * 32), 32, ...]
)
def test_a_browser_secret_is_32_bytes(redeem_with: Callable[..., Redeem], wrong: object) -> None:
    """None is a cookie that was not there: a mistake, not a wish. Nothing reaches the store."""
    store = ScriptedStore(lambda ours, now: Consumption(ours, True, now))
    pair = MinterAndVerifier()
    with pytest.raises(ConfigurationError, match="browser_secret"):
        redeem_with(pair, store)(pair.mint().token, tenant=TENANT, browser_secret=wrong)
    assert store.calls == []


@both
def test_the_store_is_told_what_the_design_says(redeem_with: Callable[..., Redeem]) -> None:
    """Scope, the clock as the entry is handed over, and a retention that outlasts every retry."""
    store = ScriptedStore(lambda ours, now: Consumption(ours, True, now))
    pair = MinterAndVerifier()
    minted = pair.mint()
    readings = iter([NOW + 1, NOW + 2, NOW + 3])
    pair.clock = type("Readings", (Clock,), {"__call__": lambda self: next(readings)})()
    redeem_with(pair, store)(minted.token, tenant=TENANT, browser_secret=BROWSER)
    assert store.calls == [
        {
            "handoff_id": minted.handoff_id,
            "scope": "bff-consumer\nbff-tenant-booking",
            "redemption_id": sha256(
                b"ghasi-redemption/v1\n" + minted.handoff_id.encode() + b"\n" + BROWSER
            ).hexdigest(),
            "consumed_at": NOW + 2,
            "retain_until": NOW + 300 + 2 * 10 + 120,
        }
    ]


@both
def test_a_refused_token_never_reaches_the_store(redeem_with: Callable[..., Redeem]) -> None:
    """A forged, foreign or expired token costs no store call: nobody can fill it with them."""
    store = ScriptedStore(lambda ours, now: Consumption(ours, True, now))
    pair = MinterAndVerifier()
    redeem = redeem_with(pair, store)
    token = pair.mint().token
    with pytest.raises(InvalidMACError):
        redeem(token[:-1] + ("A" if token[-1] != "A" else "B"), tenant=TENANT, browser_secret=BROWSER)
    with pytest.raises(WrongTenantError):
        redeem(token, tenant="tn_borealis", browser_secret=BROWSER)
    pair.clock.now = END
    with pytest.raises(ExpiredTokenError):
        redeem(token, tenant=TENANT)
    pair.clock.now = END + 60
    with pytest.raises(ExpiredTokenError):
        redeem(token, tenant=TENANT, browser_secret=BROWSER)
    assert store.calls == []


@both
def test_a_browser_finds_its_own_redemption_for_a_minute_more(redeem_with: Callable[..., Redeem]) -> None:
    """Until expires_at + leeway + 60 s the redeemer may repeat; whoever comes first then is too late."""
    pair = MinterAndVerifier()
    redeem = redeem_with(pair)
    redeemed, unused = pair.mint().token, pair.mint().token
    pair.clock.now = END - 1
    redeem(redeemed, tenant=TENANT, browser_secret=BROWSER)
    pair.clock.now = END + 59
    assert redeem(redeemed, tenant=TENANT, browser_secret=BROWSER).redeemed_at == at(END - 1)
    with pytest.raises(ReplayedTokenError):
        redeem(redeemed, tenant=TENANT, browser_secret=OTHER)
    for _ in range(2):
        with pytest.raises(ExpiredTokenError, match="too late"):
            redeem(unused, tenant=TENANT, browser_secret=BROWSER)


@both
def test_an_answer_that_comes_too_late_is_no_redemption(redeem_with: Callable[..., Redeem]) -> None:
    """The clock is read again after the store: a process that slept past the end must not open a session."""
    pair = MinterAndVerifier()
    token = pair.mint().token

    def slow(seconds: int) -> Callable[[str, int], object]:
        def answer(ours: str, now: int) -> Consumption:
            pair.clock.now = seconds
            return Consumption(ours, True, now)

        return answer

    redeem_with(pair, ScriptedStore(slow(END + 59)))(token, tenant=TENANT, browser_secret=BROWSER)
    pair.clock.now = NOW
    with pytest.raises(ExpiredTokenError, match="after the last moment"):
        redeem_with(pair, ScriptedStore(slow(END + 60)))(token, tenant=TENANT, browser_secret=BROWSER)


def consumed(first: bool, consumed_at: int, ours: str, now: int) -> Consumption:
    return Consumption(ours, first, consumed_at)


@both
@pytest.mark.parametrize(("consumed_at", "accepted"), [(END - 1, True), (END, False), (0, True)])
def test_lateness_is_judged_by_when_it_was_consumed(
    redeem_with: Callable[..., Redeem], consumed_at: int, accepted: bool
) -> None:
    """Ours and in time is a redemption, ours but late is expired; `first` decides nothing."""
    pair = MinterAndVerifier()
    token = pair.mint().token
    for first in (True, False):
        redeem = redeem_with(pair, ScriptedStore(partial(consumed, first, consumed_at)))
        if accepted:
            assert redeem(token, tenant=TENANT, browser_secret=BROWSER).redeemed_at == at(consumed_at)
        else:
            with pytest.raises(ExpiredTokenError):
                redeem(token, tenant=TENANT, browser_secret=BROWSER)


@both
def test_first_does_not_make_a_holder(redeem_with: Callable[..., Redeem]) -> None:
    """A store that says "first" and names another is believed about the other."""
    pair = MinterAndVerifier()
    redeem = redeem_with(pair, ScriptedStore(lambda ours, now: Consumption("0" * 64, True, now)))
    with pytest.raises(ReplayedTokenError):
        redeem(pair.mint().token, tenant=TENANT, browser_secret=BROWSER)


@both
@pytest.mark.parametrize("answer", [None, True, ("x", True, 0), {"holder": "x"}])
def test_an_unknown_answer_is_no_success(redeem_with: Callable[..., Redeem], answer: object) -> None:
    """An answer of another type than Consumption is an error of the store."""
    pair = MinterAndVerifier()
    redeem = redeem_with(pair, ScriptedStore(lambda ours, now: answer))
    with pytest.raises(ReplayStoreError, match="not Consumption"):
        redeem(pair.mint().token, tenant=TENANT, browser_secret=BROWSER)


@both
def test_a_failing_store_opens_nothing(redeem_with: Callable[..., Redeem]) -> None:
    """The store's error reaches the caller as it is: fail closed."""

    def fail(ours: str, now: int) -> object:
        raise ReplayStoreError("down")

    pair = MinterAndVerifier()
    with pytest.raises(ReplayStoreError, match="down"):
        redeem_with(pair, ScriptedStore(fail))(pair.mint().token, tenant=TENANT, browser_secret=BROWSER)


def test_a_redeemer_is_made_of_a_verifier_and_its_kind_of_store() -> None:
    """The sync redeemer takes a sync store, the async one an async store: mixing them up shows at start-up, not at the first guest."""
    verifier = MinterAndVerifier().verifier()
    for make in (
        lambda: Redeemer(verifier, AsyncMemoryReplayStore()),  # type: ignore[arg-type]
        lambda: AsyncRedeemer(verifier, MemoryReplayStore()),  # type: ignore[arg-type]
        lambda: Redeemer(verifier, {}),  # type: ignore[arg-type]
        lambda: Redeemer("verifier", MemoryReplayStore()),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigurationError):
            make()


def test_the_default_secret_explains_itself() -> None:
    """help() says what leaving the secret out means."""
    assert "browser_secret: bytes = <a fresh secret>" in str(inspect.signature(Redeemer.redeem)).replace(
        "'bytes'", "bytes"
    )


@both
@pytest.mark.parametrize("token", [None, 5, b"x", "x", "\ud800", [], object()])
def test_no_token_is_an_invalid_token(redeem_with: Callable[..., Redeem], token: object) -> None:
    """Redeem ends in an error of the tree for any value at all."""
    with pytest.raises(InvalidTokenError):
        redeem_with(MinterAndVerifier())(token, tenant=TENANT, browser_secret=BROWSER)
