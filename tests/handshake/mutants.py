"""Mistakes in the handshake, planted one by one into its tests: ``pytest -p tests.handshake.mutants --mutants TEST...``.

The tests are collected once. Each mistake is planted in a fork of that process, which runs the test that should fail.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import pytest
from _pytest.runner import runtestprotocol

from ghasi_handoff import ReplayedTokenError, ReplayStoreError, _redeem, _verify
from ghasi_handoff.errors import ConfirmationUnavailableError, ExpiredTokenError
from ghasi_handoff.handshake import ConsumeCall, HandoffState, _consume, _consume_http, _handshake, _issuer
from ghasi_handoff.handshake._consume_answers import Verdict, judge
from ghasi_handoff.stores.sqlite import _handoff_log, _outbox


def plant(owner: Any, name: str, value: Any) -> None:
    """Put `value` in the place of what `owner` has by that name."""
    assert hasattr(owner, name), name
    setattr(owner, name, value)


def log_row_after_the_token() -> None:
    """The token is given out whether or not its row was written."""

    def issue(self: Any, payload: Any, *, tenant: str) -> Any:
        minted = self._minter.mint(payload, tenant=tenant)
        with suppress(ReplayStoreError):
            self._log.record(_issuer._record(minted))
        return minted

    plant(_issuer.HandoffIssuer, "issue", issue)


def consume_before_verify() -> None:
    """The store is asked with what the token says, before anybody knows whether it is authentic."""
    right = _handshake.Handshake._redeemed
    is_mac = vars(_verify)["is_mac"]

    def redeemed(self: Any, token: Any, tenant: Any, browser_secret: Any) -> Any:
        plant(_verify, "is_mac", lambda *parts: True)
        try:
            handoff, asked = self._rule.begin(token, tenant=tenant, browser_secret=browser_secret)
        finally:
            plant(_verify, "is_mac", is_mac)
        self._store.consume(handoff.handoff_id, **asked)
        return right(self, token, tenant, browser_secret)

    plant(_handshake.Handshake, "_redeemed", redeemed)


def signed_at_enqueue() -> None:
    """A call is signed with the time at which it was put into the outbox."""

    def call(issuer: str, audience: str, handoff_id: str, redemption_id: str, at: int, now: int) -> ConsumeCall:
        return ConsumeCall(issuer, audience, handoff_id, redemption_id, at, at)

    plant(_consume_http, "ConsumeCall", call)


def conflict_for_the_same_redemption() -> None:
    """bff-consumer answers 409 to whoever comes second, even with the same redemption id."""
    answered: set[str] = set()

    def strict(call: ConsumeCall, record: Any) -> Verdict:
        verdict = judge(call, record)
        if verdict is Verdict.CONFIRMED and call.handoff_id in answered:
            return Verdict.REPLAYED
        answered.add(call.handoff_id)
        return verdict

    plant(_consume, "judge", strict)


def lateness_by_sent_at() -> None:
    """A redemption is late when it is told late."""
    right = _handoff_log.SQLiteHandoffLog.consume

    def consume(self: Any, call: ConsumeCall, recorded_at: int) -> Any:
        return right(self, call._replace(consumed_at=call.sent_at), recorded_at)

    plant(_handoff_log.SQLiteHandoffLog, "consume", consume)


def decided_by_first() -> None:
    """Only the call that the store calls first is let through."""
    right = _redeem.RedemptionRule.decide

    def decide(self: Any, handoff: Any, entry: Any, answer: Any) -> Any:
        if not answer.first:
            raise ReplayedTokenError("not the first")
        return right(self, handoff, entry, answer)

    plant(_redeem.RedemptionRule, "decide", decide)


def any_200_is_believed() -> None:
    """Whatever answers 200 has confirmed."""
    right = vars(_consume_http)["understood"]
    plant(
        _consume_http,
        "understood",
        lambda call, status, kind, body: None if status == 200 else right(call, status, kind, body),
    )


def no_answer_is_a_confirmation() -> None:
    """In strict mode a guest is let through when bff-consumer does not answer."""
    right = _handshake.Handshake._confirm

    def confirm(self: Any, *facts: Any) -> Any:
        try:
            right(self, *facts)
        except ConfirmationUnavailableError:
            return

    plant(_handshake.Handshake, "_confirm", confirm)


def every_expiry_settles() -> None:
    """A token that comes back too late settles an earlier, timely redemption that is still to be delivered."""
    right = _handshake.Handshake._redeemed

    def redeemed(self: Any, token: Any, tenant: Any, browser_secret: Any) -> Any:
        try:
            return right(self, token, tenant, browser_secret)
        except ExpiredTokenError:
            for entry in self._outbox.entries(limit=100):
                self._outbox.settle(entry.handoff_id, entry.scope, entry.redemption_id)
            raise

    plant(_handshake.Handshake, "_redeemed", redeemed)


def no_lease() -> None:
    """Workers read what is due, and do not take it."""

    def lease(self: Any, now: int, *, limit: int, seconds: int, whether_due: bool = True) -> Any:
        return [entry for entry in self.entries(limit=limit) if entry.dead_at is None]

    plant(_outbox.SQLiteOutbox, "lease", lease)


def a_revoked_row_is_consumed() -> None:
    """The update of the log is not guarded by its state."""
    plant(_handoff_log, "_CONSUME", _handoff_log._CONSUME.replace("state = 'issued' AND", ""))
    right = vars(_handoff_log)["record_of"]

    def record_of(row: Any) -> Any:
        record = right(row)
        return record if record.state is not HandoffState.REVOKED else right((*row[:7], "issued", *row[8:]))

    plant(_handoff_log, "record_of", record_of)


MUTANTS: dict[str, tuple[Callable[[], None], str]] = {
    plant.__name__: (plant, test)
    for plant, test in (
        (log_row_after_the_token, "test_issuer.py::test_no_token_without_its_row"),
        (consume_before_verify, "test_handshake.py::test_a_token_that_fails_verify_calls_nobody[sqlite]"),
        (signed_at_enqueue, "test_outbox.py::test_what_waits_is_signed_when_it_is_sent[sqlite]"),
        (conflict_for_the_same_redemption, "test_handshake.py::test_the_same_browser_may_repeat_it[sqlite]"),
        (lateness_by_sent_at, "test_outbox.py::test_what_waits_is_signed_when_it_is_sent[sqlite]"),
        (decided_by_first, "test_handshake.py::test_the_same_browser_may_repeat_it[sqlite]"),
        (any_200_is_believed, "test_handshake.py::test_strict_without_an_answer_lets_nobody_through[sqlite-200]"),
        (
            no_answer_is_a_confirmation,
            "test_handshake.py::test_strict_without_an_answer_lets_nobody_through[sqlite-500]",
        ),
        (
            every_expiry_settles,
            "test_handshake.py::test_an_expired_token_does_not_unsettle_an_earlier_redemption[sqlite]",
        ),
        (no_lease, "test_outbox.py::test_two_workers_take_different_entries[sqlite]"),
        (a_revoked_row_is_consumed, "test_handshake.py::test_a_revoked_handoff_is_refused[sqlite]"),
    )
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Whether to plant them."""
    parser.addoption("--mutants", action="store_true")


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """In place of a run of the tests: what becomes of each with its mistakes, and without, as one line of JSON."""
    if not session.config.getoption("--mutants"):
        return None
    items = {f"{item.path.name}::{item.name}": item for item in session.items}
    for name, (plant_it, test) in MUTANTS.items():
        print("\n" + json.dumps({"mutant": name, "outcome": outcome(items[test], plant_it)}))
    for test, item in items.items():
        print("\n" + json.dumps({"test": test, "outcome": outcome(item, lambda: None)}))
    return True


def outcome(item: pytest.Item, plant_it: Callable[[], None]) -> str:
    """What becomes of the test in a fork of this process, which has no threads yet: "passed", "failed" or another word."""
    context = multiprocessing.get_context("fork")
    ours, its_end = context.Pipe(duplex=False)

    def run(pipe: Connection) -> None:
        plant_it()
        for report in runtestprotocol(item, log=False):
            if report.outcome != "passed":
                pipe.send(report.outcome if report.when == "call" else f"{report.outcome} in {report.when}")
                return
        pipe.send("passed")

    process = context.Process(target=run, args=(its_end,))
    process.start()
    its_end.close()
    try:
        said: str = ours.recv() if ours.poll(120) else "too slow"
    except EOFError:
        said = "died"
    process.kill()
    process.join()
    return said
