"""The real handshake, log, store and outbox under random stories: what the model says of the protocol holds of the code."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from tests.minter_and_verifier import at

from ghasi_handoff import HandoffError, KeyRing, MintedHandoff
from ghasi_handoff._redeem import redemption_id_of
from ghasi_handoff.errors import ConfirmationUnavailableError, ReplayedTokenError
from ghasi_handoff.handshake import (
    ConsumeCall,
    ConsumeRequest,
    HandoffState,
    Handshake,
    OutboxWorker,
    SQLiteHandoffLog,
    answer_consume,
)
from ghasi_handoff.handshake._consume_answers import understood
from ghasi_handoff.handshake._consume_call import sign_call
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from .services import TENANT, UNHURRIED, Clock, issue, quick_folder, redeemer

START = 1795426200
BROWSERS = [bytes([n]) * 32 for n in (1, 2, 3)]


class Wire:
    """The client without its sockets: signed, answered and understood by the real functions; it can lose a call or a reply."""

    def __init__(self, log: SQLiteHandoffLog, keys: KeyRing, clock: Clock) -> None:
        self._log, self._keys, self._clock = log, keys, clock
        self.fault: str | None = None

    def consume(self, handoff_id: str, *, issuer: str, audience: str, redemption_id: str, consumed_at: int) -> None:
        call = ConsumeCall(issuer, audience, handoff_id, redemption_id, consumed_at, int(self._clock()))
        authorization, body = sign_call(call, self._keys)
        if self.fault == "call lost":
            raise ConfirmationUnavailableError("lost")
        request = ConsumeRequest(path_id=handoff_id, authorization=[authorization], body=body)
        answer = answer_consume(request, log=self._log, keys=self._keys, clock=self._clock)
        if self.fault == "reply lost":
            raise ConfirmationUnavailableError("lost")
        final = understood(call, answer.status, answer.headers["Content-Type"], answer.body)
        if isinstance(final, HandoffError):
            raise final
        if final is not None:
            raise ConfirmationUnavailableError(final)


class Story(RuleBasedStateMachine):
    """Guests, clocks, faults, revocations and workers, in any order."""

    handoffs = Bundle("handoffs")

    def __init__(self) -> None:
        super().__init__()
        self.files = ExitStack()

    @initialize(strict=st.booleans())
    def services(self, strict: bool) -> None:
        self.folder = self.files.enter_context(quick_folder())
        self.clock = Clock(START)
        self.keys = KeyRing.generate(now=at(START - 60))
        self.log = SQLiteHandoffLog(self.folder / "log.db", clock=self.clock, timeout=UNHURRIED)
        self.store = SQLiteReplayStore(self.folder / "replay.db", outbox=True, clock=self.clock, timeout=UNHURRIED)
        wire: Any = Wire(self.log, self.keys, self.clock)
        self.wire = wire
        self.strict = strict
        made = redeemer(self.keys, self.store, self.clock)
        self.handshake = Handshake(made, wire, "strict" if strict else "deferred")
        self.worker = OutboxWorker(self.store, wire, clock=self.clock, randbelow=lambda below: 0)
        self.owners: dict[str, set[str]] = {}
        self.revoked: set[str] = set()

    @rule(target=handoffs)
    def issues(self) -> MintedHandoff:
        minted = issue(self.keys, self.log, self.clock)
        self.owners[minted.handoff_id] = set()
        return minted

    @rule(handoff=handoffs, browser=st.sampled_from(BROWSERS), fault=st.sampled_from([None, None, "call lost", "reply lost"]))  # fmt: skip
    def redeems(self, handoff: MintedHandoff, browser: bytes, fault: str | None) -> None:
        self.wire.fault = fault
        try:
            done = self.handshake.redeem(handoff.token, tenant=TENANT, browser_secret=browser)
        except ReplayedTokenError:
            own = redemption_id_of(handoff.handoff_id, browser)
            assert self.known(handoff) - {own}, "refused as another's, although neither log names another"
        except HandoffError:
            pass
        else:
            assert not (self.strict and fault), "let through without an answer"
            self.owners[handoff.handoff_id].add(done.redemption_id)
            if self.strict:
                record = self.log.find(handoff.handoff_id)
                assert record is not None
                assert record.redemption_id == done.redemption_id
        finally:
            self.wire.fault = None

    @rule(handoff=handoffs, browser=st.sampled_from(BROWSERS))
    def a_calm_retry_succeeds(self, handoff: MintedHandoff, browser: bytes) -> None:
        """Whoever the logs name, or anybody while they name nobody, is let through in time."""
        in_time = self.clock.now < handoff.expires_at.timestamp()
        if not in_time or handoff.handoff_id in self.revoked:
            return
        held = self.known(handoff)
        try:
            done = self.handshake.redeem(handoff.token, tenant=TENANT, browser_secret=browser)
        except ReplayedTokenError:
            assert held - {redemption_id_of(handoff.handoff_id, browser)}
            return
        assert held <= {done.redemption_id}
        self.owners[handoff.handoff_id].add(done.redemption_id)

    @rule(seconds=st.sampled_from([1, 4, 60, 300, 3600]))
    def time_passes(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule(handoff=handoffs)
    def revokes(self, handoff: MintedHandoff) -> None:
        if self.log.revoke(handoff.handoff_id).state is HandoffState.REVOKED:
            self.revoked.add(handoff.handoff_id)

    @rule(fault=st.sampled_from([None, "call lost", "reply lost"]))
    def delivers(self, fault: str | None) -> None:
        self.wire.fault = fault
        self.worker.deliver()
        self.wire.fault = None

    @rule(which=st.sampled_from(["log", "store"]))
    def restarts(self, which: str) -> None:
        """A service ends and comes back: what it knew is in its file."""
        file: Any = self.log if which == "log" else self.store
        with file._file._lock:
            file._file._discard()

    def known(self, handoff: MintedHandoff) -> set[str]:
        """The redemption ids that either log names."""
        record = self.log.find(handoff.handoff_id)
        held = {row.redemption_id for row in self.store.trace(handoff.handoff_id).records} if self.exists() else set()
        return held | ({record.redemption_id} if record is not None and record.redemption_id else set())

    def exists(self) -> bool:
        return (self.folder / "replay.db").exists()

    @invariant()
    def no_handoff_has_two_owners(self) -> None:
        for owners in getattr(self, "owners", {}).values():
            assert len(owners) <= 1

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            if self.exists():
                # Everything that is still due is delivered in the end, and then both logs agree.
                for _ in range(3):
                    self.clock.now += 400
                    self.worker.deliver()
                assert self.store.outbox is not None
                assert self.store.outbox.stats().pending == 0
                for handoff_id, owners in self.owners.items():
                    record = self.log.find(handoff_id)
                    assert record is not None
                    if owners and handoff_id not in self.revoked:
                        assert {record.redemption_id} == owners
        finally:
            self.store.close()
            self.log.close()
            self.files.close()


TestStory = Story.TestCase
TestStory.__doc__ = "No handoff has two owners, nobody is refused wrongly, and in the end both logs agree."
