"""`LastUse`: when each key was last seen in an authentic handoff, and never in a made-up one."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path

import pytest
from tests.minter_and_verifier import NOW, Clock, at, key

from ghasi_handoff import ConfigurationError, HandoffError, KeyRing, KeyRingError
from ghasi_handoff.handshake import HandoffEvent, HandoffRefused, Handshake, LastUse, SQLiteHandoffLog
from ghasi_handoff.rotation import fingerprint
from ghasi_handoff.stores.memory import MemoryReplayStore

from .services import GUEST, STRANGER, TENANT, UNHURRIED, consumer, issue, patient_client, redeemer


def event(kid: str | None, handoff_id: str | None = "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71") -> HandoffEvent:
    return HandoffEvent(kid=kid, handoff_id=handoff_id)


def test_an_authentic_handoff_counts() -> None:
    """The last event of a key is what is told, by this process's clock."""
    clock = Clock()
    seen = LastUse(KeyRing([key("a"), key("b", NOW - 5)]), clock=clock)
    assert dict(seen) == {}
    seen(event("a"))
    clock.now = NOW + 10.9
    seen(event("b"))
    assert dict(seen) == {"a": at(NOW), "b": at(NOW + 10)}
    assert len(seen) == 2
    assert "a" in repr(seen)


def test_a_made_up_token_does_not_count() -> None:
    """Before its MAC has matched a token may name any kid: nobody keeps an old key "in use", or fills the memory."""
    seen = LastUse(KeyRing([key("a")]), clock=Clock())
    for kid in ("a", "nobody", None):
        seen(HandoffRefused(kid=kid, code="unknown_key", reason="?"))
        seen(event(kid, None))
    seen(event("nobody"))
    assert dict(seen) == {}


def test_a_clock_that_steps_back_takes_no_use_away() -> None:
    """The latest use stays the latest: it is what says that a key may not go yet."""
    clock = Clock()
    seen = LastUse(KeyRing([key("a")]), clock=clock)
    seen.saw("a")
    clock.now = NOW - 100
    seen.saw("a")
    assert seen["a"] == at(NOW)


def test_a_key_that_is_gone_is_forgotten() -> None:
    """What was pruned from the ring is pruned here."""
    rings = [KeyRing([key("a"), key("b", NOW - 5)])]
    seen = LastUse(lambda: rings[-1], clock=Clock())
    seen.saw("a")
    rings.append(KeyRing([key("b", NOW - 5)]))
    seen.saw("b")
    assert list(seen) == ["b"]


def test_the_next_hook_is_called() -> None:
    """One hook follows another: counting last uses takes no event away."""
    events: list[HandoffEvent] = []
    seen = LastUse(KeyRing([key("a")]), then=events.append, clock=Clock())
    seen(event("a"))
    seen(event(None, None))
    assert len(events) == 2


def test_the_next_hook_is_called_when_there_is_no_ring() -> None:
    """A callable that cannot give a ring just now costs a last use, and not somebody else's event."""

    def no_ring() -> KeyRing:
        raise KeyRingError("not now")

    events: list[HandoffEvent] = []
    with pytest.raises(KeyRingError):
        LastUse(no_ring, then=events.append, clock=Clock())(event("a"))
    assert len(events) == 1


def test_it_goes_into_the_fingerprint() -> None:
    """The endpoint that serves the fingerprint tells the last use of each key."""
    ring = KeyRing([key("a"), key("b", NOW - 5)])
    seen = LastUse(ring, clock=Clock())
    seen.saw("a")
    assert [one.last_used_at for one in fingerprint(ring, at(NOW), last_use=seen).keys] == [at(NOW), None]


def test_a_handshake_feeds_it(tmp_path: Path) -> None:
    """Given as `on_event`, it sees the key of a redeemed and of a replayed handoff, and not that of a forged token."""
    clock = Clock()
    keys = KeyRing([key("a"), key("b", NOW + 500)])
    seen = LastUse(keys, clock=clock)
    with SQLiteHandoffLog(tmp_path / "log.db", timeout=UNHURRIED) as log:
        log.create_schema()
        token = issue(keys, log, clock).token
        with consumer(log, keys, clock) as service, patient_client(service, keys, clock) as client:
            handshake = Handshake(redeemer(keys, MemoryReplayStore(clock=clock), clock), client, on_event=seen)
            forged = token.replace(".a.", ".b.")
            for text, browser in ((forged, GUEST), (token, GUEST), (token, STRANGER)):
                clock.now += 1
                with contextlib.suppress(HandoffError):
                    handshake.redeem(text, tenant=TENANT, browser_secret=browser)
    assert dict(seen) == {"a": at(NOW + 3)}


def test_threads_may_share_it() -> None:
    """Many threads that see keys at once, while another reads, lose nothing and raise nothing."""
    ring = KeyRing([key(f"k{number}", NOW - number) for number in range(20)])
    seen = LastUse(ring, clock=Clock())

    def work() -> None:
        for one in ring.keys * 20:
            seen.saw(one.kid)
            dict(seen)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 20


@pytest.mark.parametrize("wrong", [{"keys": 5}, {"then": 5}], ids=str)
def test_wrong_arguments_are_refused(wrong: dict[str, object]) -> None:
    """What cannot work is refused when it is made."""
    with pytest.raises(ConfigurationError):
        LastUse(**{"keys": KeyRing([key()]), **wrong})  # type: ignore[arg-type]
