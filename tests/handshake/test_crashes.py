"""kill -9 at every named step, of real processes, on SQLite and PostgreSQL: what the next caller gets, and what both logs say."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ghasi_handoff import KeyRing, Verifier, keyfile
from ghasi_handoff._limits import DELIVERY_LEASE_SECONDS
from ghasi_handoff.handshake import HandoffQuery, HandoffState
from ghasi_handoff.handshake._steps import Step

from ..own_process import KILLED, OwnProcess
from .handshake_process import act
from .services import AUDIENCE, GUEST, ISSUER, SCOPE, STRANGER, TENANT, consumer, issue

NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens


class MinterAndVerifier:
    """Two services of which any process may die, and both logs to look into afterwards."""

    def __init__(self, url: str, keys_file: Path, keys: KeyRing, log: Any, store: Any) -> None:
        self.url, self.keys_file, self.keys, self.log, self.store = url, keys_file, keys, log, store
        self.minted = issue(keys, log)

    def act(self, role: str, die_at: Step | None = None, **task: Any) -> dict[str, Any] | None:
        """Let a process do its part. Its answer; None if it was killed before it had one."""
        with OwnProcess(act, self._task(role, die_at, task)) as process:
            answer: dict[str, Any] | None = None
            with suppress(EOFError):
                answer = process.hear()
            assert process.end() == (0 if die_at is None else KILLED), (role, die_at)
            assert (answer is None) is (die_at is not None), "it dies before it can answer"
            return answer

    def redeem(self, base: str, mode: str, browser: bytes = GUEST, die_at: Step | None = None) -> dict[str, Any] | None:
        return self.act("redeem", die_at, base=base, mode=mode, token=self.minted.token, browser=browser.hex())

    @contextmanager
    def consumer(self, die_at: Step | None = None) -> Generator[str]:
        """bff-consumer in a process of its own. With a step, it dies there and is not restarted."""
        with OwnProcess(act, self._task("consumer", die_at, {})) as process:
            yield process.hear()["base"]
            assert process.end() == (0 if die_at is None else KILLED)

    def _task(self, role: str, die_at: Step | None, task: dict[str, Any]) -> dict[str, Any]:
        return {"role": role, "url": self.url, "keys": str(self.keys_file), "die_at": die_at, **task}

    @property
    def state(self) -> HandoffState:
        """What bff-consumer's log says."""
        state: HandoffState = self.log.find(self.minted.handoff_id).state
        return state

    @property
    def logged_redemption(self) -> str | None:
        """Who bff-consumer's log says redeemed."""
        redemption_id: str | None = self.log.find(self.minted.handoff_id).redemption_id
        return redemption_id

    @property
    def held_by(self) -> str | None:
        """Who the booking side's store says redeemed."""
        records = self.store.trace(self.minted.handoff_id).records
        return records[0].redemption_id if records else None

    @property
    def waiting(self) -> int:
        """How many entries are still to be delivered."""
        return len(self.store.trace(self.minted.handoff_id).outbox)


@pytest.fixture
def pair(url: str, keys: KeyRing, log: Any, store: Any, tmp_path: Path) -> MinterAndVerifier:
    """A handoff that was issued, and nothing else yet."""
    keys_file = tmp_path / "keys.json"
    keyfile.save(keys_file, keys)
    return MinterAndVerifier(url, keys_file, keys, log, store)


def succeeded(pair: MinterAndVerifier, answer: dict[str, Any] | None) -> None:
    """The guest is through, both logs name the same redemption, and nothing waits."""
    assert answer is not None
    assert answer.get("redemption_id") == pair.held_by == pair.logged_redemption
    assert pair.state is HandoffState.CONSUMED
    assert pair.waiting == 0


def a_reload_succeeds(pair: MinterAndVerifier) -> None:
    """Both services run again, and the guest's next try goes through."""
    with pair.consumer() as base:
        succeeded(pair, pair.redeem(base, "strict"))


def issue_dies_before_the_log(pair: MinterAndVerifier) -> None:
    """Nobody has the token and nobody knows of it: the guest clicks again."""
    pair.act("issue", Step.ISSUE_MINTED)
    assert len(pair.log.search(HandoffQuery())) == 1, "only the pair's own"
    assert pair.act("issue") is not None
    assert len(pair.log.search(HandoffQuery())) == 2


def issue_dies_after_the_log(pair: MinterAndVerifier) -> None:
    """A row without a token: it stays issued until it is purged, and a token in the world is always in the log."""
    pair.act("issue", Step.ISSUE_LOGGED)
    rows = pair.log.search(HandoffQuery())
    assert [row.state for row in rows] == [HandoffState.ISSUED] * 2
    answer = pair.act("issue")
    assert answer is not None
    verified = Verifier(pair.keys, issuer=ISSUER, audience=AUDIENCE).verify(answer["token"], tenant=TENANT)
    assert pair.log.find(verified.handoff_id) is not None


def redeem_dies_before_the_commit(pair: MinterAndVerifier) -> None:
    """Nothing is stored; a reload is the first redemption."""
    for mode in ("strict", "deferred"):
        pair.redeem(NOBODY, mode, die_at=Step.REDEEM_VERIFIED)
        assert (pair.held_by, pair.waiting, pair.state) == (None, 0, HandoffState.ISSUED)
    a_reload_succeeds(pair)


def redeem_dies_after_the_commit(pair: MinterAndVerifier) -> None:
    """The handoff is this browser's, and the outbox remembers; a reload succeeds, another browser does not."""
    pair.redeem(NOBODY, "strict", die_at=Step.REDEEM_CONSUMED)
    assert pair.held_by is not None
    assert (pair.waiting, pair.state) == (1, HandoffState.ISSUED)
    assert pair.redeem(NOBODY, "strict", STRANGER) == {"code": "replayed"}
    a_reload_succeeds(pair)


def the_consumer_dies(pair: MinterAndVerifier, step: Step, state: HandoffState) -> None:
    """It dies there, so no answer comes; its log then says `state`, and the redemption waits in the outbox."""
    with pair.consumer(die_at=step) as base:
        assert pair.redeem(base, "strict") == {"code": "confirmation_unavailable"}
    assert (pair.state, pair.waiting) == (state, 1)


def consumer_dies_before_its_log(pair: MinterAndVerifier) -> None:
    """No answer, nothing recorded; the handoff stays the guest's, and the next call records it."""
    the_consumer_dies(pair, Step.CALL_CHECKED, HandoffState.ISSUED)
    assert pair.redeem(NOBODY, "strict", STRANGER) == {"code": "replayed"}
    a_reload_succeeds(pair)


def consumer_dies_after_its_log(pair: MinterAndVerifier) -> None:
    """Recorded, but nobody heard: the reload gets the same answer, for it is the same redemption."""
    the_consumer_dies(pair, Step.CALL_RECORDED, HandoffState.CONSUMED)
    assert pair.logged_redemption == pair.held_by
    a_reload_succeeds(pair)


def redeem_dies_after_the_confirmation(pair: MinterAndVerifier) -> None:
    """Confirmed, and the outbox entry is still there: the reload settles it, or a worker does, with the same answer."""
    with pair.consumer() as base:
        pair.redeem(base, "strict", die_at=Step.REDEEM_CONFIRMED)
        assert (pair.state, pair.waiting) == (HandoffState.CONSUMED, 1)
        succeeded(pair, pair.redeem(base, "strict"))


def redeem_dies_before_its_answer(pair: MinterAndVerifier) -> None:
    """All is done, and the guest has not heard: the reload is the same success."""
    with pair.consumer() as base:
        pair.redeem(base, "strict", die_at=Step.REDEEM_SETTLED)
        assert (pair.state, pair.waiting) == (HandoffState.CONSUMED, 0)
        succeeded(pair, pair.redeem(base, "strict"))


def worker_dies_with_a_lease(pair: MinterAndVerifier) -> None:
    """The entries are another worker's after the lease, not before; the guest was let through all the while."""
    answer = pair.redeem(NOBODY, "deferred")
    pair.act("deliver", Step.DELIVERY_LEASED, base=NOBODY, ahead=10)
    assert (pair.state, pair.waiting) == (HandoffState.ISSUED, 1)
    with pair.consumer() as base:
        assert pair.act("deliver", base=base, ahead=10 + DELIVERY_LEASE_SECONDS // 2) == {"delivered": 0}
        assert pair.act("deliver", base=base, ahead=60 + DELIVERY_LEASE_SECONDS) == {"delivered": 1}
    succeeded(pair, answer)


def the_worker_dies(pair: MinterAndVerifier, step: Step, waiting: int) -> None:
    """It dies there, when bff-consumer knows already; the next worker delivers what still waits, and all is well."""
    answer = pair.redeem(NOBODY, "deferred")
    with pair.consumer() as base:
        pair.act("deliver", step, base=base, ahead=10)
        assert (pair.state, pair.waiting) == (HandoffState.CONSUMED, waiting)
        assert pair.act("deliver", base=base, ahead=60 + DELIVERY_LEASE_SECONDS) == {"delivered": waiting}
    succeeded(pair, answer)


def worker_dies_after_the_answer(pair: MinterAndVerifier) -> None:
    """Delivered, and not settled: delivered once more, with the same answer."""
    the_worker_dies(pair, Step.DELIVERY_ANSWERED, waiting=1)


def worker_dies_after_settling(pair: MinterAndVerifier) -> None:
    """Delivered and settled: nothing is left for the next worker."""
    the_worker_dies(pair, Step.DELIVERY_SETTLED, waiting=0)


DEATHS: dict[Step, Callable[[MinterAndVerifier], None]] = {
    Step.ISSUE_MINTED: issue_dies_before_the_log,
    Step.ISSUE_LOGGED: issue_dies_after_the_log,
    Step.REDEEM_VERIFIED: redeem_dies_before_the_commit,
    Step.REDEEM_CONSUMED: redeem_dies_after_the_commit,
    Step.CALL_CHECKED: consumer_dies_before_its_log,
    Step.CALL_RECORDED: consumer_dies_after_its_log,
    Step.REDEEM_CONFIRMED: redeem_dies_after_the_confirmation,
    Step.REDEEM_SETTLED: redeem_dies_before_its_answer,
    Step.DELIVERY_LEASED: worker_dies_with_a_lease,
    Step.DELIVERY_ANSWERED: worker_dies_after_the_answer,
    Step.DELIVERY_SETTLED: worker_dies_after_settling,
}


# One for each side and each mode; the others are in the thorough tier.
IN_SHORT = (Step.ISSUE_LOGGED, Step.REDEEM_CONSUMED, Step.CALL_RECORDED, Step.DELIVERY_ANSWERED)


def test_every_step_has_its_death() -> None:
    """A step that is added to the handshake must get a kill -9 of its own here."""
    assert set(DEATHS) == set(Step)


@pytest.mark.parametrize(
    "step", [pytest.param(step, marks=[] if step in IN_SHORT else pytest.mark.thorough) for step in DEATHS], ids=str
)
def test_kill_at(step: Step, pair: MinterAndVerifier) -> None:
    """Killed at this step, no handoff has two owners, the guest gets through, and both logs agree in the end."""
    DEATHS[step](pair)


@pytest.mark.thorough
def test_an_abandoned_redemption_is_delivered_without_the_guest(pair: MinterAndVerifier) -> None:
    """The guest never comes back after the crash: a worker tells bff-consumer all the same."""
    pair.redeem(NOBODY, "strict", die_at=Step.REDEEM_CONSUMED)
    with pair.consumer() as base:
        assert pair.act("deliver", base=base, ahead=10) == {"delivered": 1}
    succeeded(pair, {"redemption_id": pair.held_by})


@pytest.mark.thorough
def test_worker_processes_share_an_outbox(pair: MinterAndVerifier, log: Any, store: Any, keys: KeyRing) -> None:
    """Four processes, two entries at a time: each of forty redemptions is reported once, and none is left."""
    now = int(time.time())
    for _ in range(40):
        minted = issue(keys, log)
        store.consume(
            minted.handoff_id, scope=SCOPE, redemption_id=secrets.token_hex(32), consumed_at=now, retain_until=now + 900
        )
    with consumer(log, keys) as service:
        task = pair._task("deliver", None, {"base": service.url, "ahead": 10, "limit": 2})
        with ExitStack() as stack:
            workers = [stack.enter_context(OwnProcess(act, task)) for _ in range(4)]
            delivered = [worker.hear()["delivered"] for worker in workers]
    assert (sum(delivered), len(service.requests)) == (40, 40)
    assert len({path for path, _, _ in service.requests}) == 40
    assert store.outbox.stats().pending == 0


@pytest.fixture(autouse=True)
def real_time(clock: Any) -> None:
    """The processes have the machine's clock, and the log and store of this process go with it."""
    clock.now = time.time()
