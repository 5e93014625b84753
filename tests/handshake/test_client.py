"""The client against a real server that misbehaves: a final answer is believed, everything else is not a confirmation."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Generator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest

from ghasi_handoff import (
    ConfigurationError,
    ConfirmationUnavailableError,
    ExpiredTokenError,
    InvalidHandoffInputError,
    KeyRing,
    MintedHandoff,
    ReplayedTokenError,
    RevokedHandoffError,
)
from ghasi_handoff._limits import BREAKER_FAILURES
from ghasi_handoff.handshake import AsyncConsumeClient, ConsumeClient, HandoffState, SQLiteHandoffLog, _consume_http

from .services import AUDIENCE, ISSUER, PATIENT, Clock, Consumer, issue, let_pass, loop_of

WHO, OTHER = "a" * 64, "b" * 64
JSON, PROBLEM = "application/json", "application/problem+json"


@pytest.fixture
def product() -> str:
    """One database is enough: what is tested here stands between the services."""
    return "sqlite"


def report(client: Any, minted: MintedHandoff, who: str = WHO, after: int = 1, **changes: Any) -> Any:
    at = int(minted.issued_at.timestamp()) + after
    facts = {"issuer": ISSUER, "audience": AUDIENCE, "redemption_id": who, "consumed_at": at, **changes}
    return client.consume(minted.handoff_id, **facts)


def test_a_confirmation_is_final_and_repeatable(
    client: ConsumeClient, minted: MintedHandoff, log: SQLiteHandoffLog
) -> None:
    """200 now, and 200 again for the same redemption."""
    report(client, minted)
    report(client, minted, after=30)
    row = log.find(minted.handoff_id)
    assert row is not None
    assert (row.state, row.redemption_id) == (HandoffState.CONSUMED, WHO)


def test_the_final_refusals(client: ConsumeClient, minted: MintedHandoff, log: SQLiteHandoffLog, keys: KeyRing, clock: Clock) -> None:  # fmt: skip
    """409, 410 for a revoked handoff and 410 for a late redemption are each their own error, and are not asked twice."""
    report(client, minted)
    with pytest.raises(ReplayedTokenError):
        report(client, minted, OTHER)
    revoked, late = issue(keys, log, clock), issue(keys, log, clock)
    log.revoke(revoked.handoff_id)
    with pytest.raises(RevokedHandoffError):
        report(client, revoked)
    with pytest.raises(ExpiredTokenError):
        report(client, late, after=360)


@pytest.mark.parametrize("fault", ["lost", "reset", 500, 503, 429, 200, (200, JSON, b"{}"), (200, JSON, b"")])
def test_a_fault_is_tried_once_more(
    fault: Any, client: ConsumeClient, service: Consumer, minted: MintedHandoff
) -> None:
    """One lost, cut or senseless answer: the second try, signed anew, brings the confirmation."""
    service.faults = [fault]
    report(client, minted)
    assert len(service.requests) == 2


def test_a_retry_is_signed_anew(client: ConsumeClient, service: Consumer, minted: MintedHandoff, clock: Clock) -> None:
    """The second try has its own time and MAC: a retry never grows stale."""
    service.faults = [500]
    ticks = iter(range(100))
    keys = client._caller.keys()
    with ConsumeClient(service.url, keys=keys, clock=lambda: clock.now + next(ticks), **PATIENT) as moving:
        report(moving, minted)
    (_, (first,), body), (_, (second,), later) = service.requests
    assert first != second
    assert body != later


@pytest.mark.parametrize(
    ("fault", "reason", "tries"),
    [
        ("reset", "unreachable", 2),
        ("lost", "unreachable", 2),
        ("slow", "timeout", 2),
        ("drip", "timeout", 2),
        (500, "status_500", 2),
        (200, "invalid_answer", 2),
        ((200, JSON, b'{"consumed_at":1,"handoff_id":"another","redemption_id":"another"}'), "invalid_answer", 2),
        ((200, "text/html", b"login"), "invalid_answer", 2),
        ((200, JSON, b"x" * 100_000), "invalid_answer", 2),
        (404, "status_404", 1),
        (401, "status_401", 1),
        (302, "status_302", 1),
        (204, "status_204", 1),
        ((409, "text/html", b'"code":"replayed"'), "status_409", 1),
        ((409, PROBLEM, b'{"code":"revoked_handoff"}'), "status_409", 1),
        ((410, PROBLEM, b"{}"), "status_410", 1),
    ],
    ids=str,
)
def test_everything_else_is_no_answer(fault: Any, reason: str, tries: int, client: ConsumeClient, service: Consumer, minted: MintedHandoff) -> None:  # fmt: skip
    """Down, slow, trickling or talking nonsense: not confirmed, within two tries, and with the reason in one word.

    No more than the time-out passes for each try.
    """
    service.always = fault
    with pytest.raises(ConfirmationUnavailableError) as caught:
        report(client, minted)
    assert (caught.value.reason, len(service.requests)) == (reason, tries)
    assert caught.value.log_fields == {"handoff_id": minted.handoff_id}


def test_an_answer_without_end_is_not_read_to_its_end(client: ConsumeClient, service: Consumer, minted: MintedHandoff) -> None:  # fmt: skip
    """Ours has some two hundred bytes; of a longer one the rest is not waited for, whatever it would say."""
    rest = f'1,"handoff_id":"{minted.handoff_id}","redemption_id":"{WHO}"}}'.encode("ascii")
    service.always = (200, JSON, b'{"consumed_at":' + rest)
    report(client, minted)
    service.always = (200, JSON, b'{"consumed_at":' + b" " * 100_000 + rest)
    with pytest.raises(ConfirmationUnavailableError) as caught:
        report(client, minted)
    assert caught.value.reason == "invalid_answer"


def test_a_redirect_is_not_followed(client: ConsumeClient, service: Consumer, minted: MintedHandoff) -> None:
    """Neither the call nor its signature goes to another place."""
    service.faults = ["redirect"]
    with pytest.raises(ConfirmationUnavailableError) as caught:
        report(client, minted)
    assert caught.value.reason == "status_307"
    assert len(service.requests) == 1


def test_nobody_listens(keys: KeyRing, minted: MintedHandoff) -> None:
    """A service that is down is found unreachable."""
    with (
        ConsumeClient("http://127.0.0.1:9", keys=keys, **PATIENT) as client,
        pytest.raises(ConfirmationUnavailableError) as caught,
    ):
        report(client, minted)
    assert caught.value.reason == "unreachable"


@contextmanager
def never_accepting() -> Generator[str]:
    """The URL of a server to which no connection comes about: its queue is full. As if packets to it were dropped."""
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        with closing(socket.create_connection(server.getsockname())):
            yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_connection_that_does_not_come_about_is_given_up_early(keys: KeyRing, minted: MintedHandoff) -> None:
    """By default it gets 150 ms, whatever time the whole try has: a machine that is gone costs the guest no more."""
    with never_accepting() as url, ConsumeClient(url, keys=keys, timeout=PATIENT["timeout"]) as client:
        begun = time.monotonic()
        with pytest.raises(ConfirmationUnavailableError) as caught:
            report(client, minted)
        assert time.monotonic() - begun < PATIENT["timeout"], "not one of its two tries took the whole time"
        assert caught.value.reason == "timeout"


def test_the_limits_are_the_documented_ones(keys: KeyRing) -> None:
    """0.7 seconds a try, 150 ms of them for the connection."""
    made = ConsumeClient("https://bff-consumer.example", keys=keys)._caller
    assert (made.timeout, made.connect_timeout) == (0.7, 0.15)


def test_the_second_try_waits_for_a_moment_and_never_as_long(service: Consumer, keys: KeyRing, clock: Clock, minted: MintedHandoff, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """50 to 150 ms before each second try, drawn anew: calls that failed together do not come back together."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float, result: Any = None) -> Any:
        waits.append(seconds)
        return await sleep(0, result)

    monkeypatch.setattr(asyncio, "sleep", noted)
    calls = 20
    for _ in range(calls):
        service.faults = [500]
        # A client for each: together they would open the circuit.
        with ConsumeClient(service.url, keys=keys, clock=clock, **PATIENT) as client:
            report(client, minted)
    assert len(service.requests) == 2 * calls
    asked = [wait for wait in waits if wait]
    assert len(asked) == calls
    assert all(0.05 <= wait <= 0.15 for wait in asked)
    assert len(set(asked)) > calls // 2
    assert max(asked) - min(asked) > 0.02


def test_the_circuit_opens_and_closes(service: Consumer, client: ConsumeClient, minted: MintedHandoff, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """After several failures it is not called for some seconds; then one call finds out, and if that works all go through."""
    monkeypatch.setattr(_consume_http, "BREAKER_OPEN_SECONDS", 3600.0)  # it ends when the test says so
    service.always = 500
    for _ in range(BREAKER_FAILURES):
        with pytest.raises(ConfirmationUnavailableError):
            report(client, minted)
    called = len(service.requests)
    with pytest.raises(ConfirmationUnavailableError) as caught:
        report(client, minted)
    assert (caught.value.reason, len(service.requests)) == ("circuit_open", called)
    breaker = client._caller.breaker
    monkeypatch.setattr(breaker, "open_until", time.monotonic())
    with pytest.raises(ConfirmationUnavailableError):
        report(client, minted)
    assert len(service.requests) == called + 2, "one call went through"
    with pytest.raises(ConfirmationUnavailableError) as caught:
        report(client, minted)
    assert caught.value.reason == "circuit_open"
    service.always = None
    monkeypatch.setattr(breaker, "open_until", time.monotonic())
    report(client, minted)
    report(client, minted)


def test_one_call_at_a_time_finds_out(service: Consumer, client: ConsumeClient, minted: MintedHandoff, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """While one call asks whether a service is back, the others still fail at once: they would all wait for it."""
    monkeypatch.setattr(_consume_http, "BREAKER_OPEN_SECONDS", 3600.0)
    service.always = 500
    for _ in range(BREAKER_FAILURES):
        with pytest.raises(ConfirmationUnavailableError):
            report(client, minted)
    monkeypatch.setattr(client._caller.breaker, "open_until", time.monotonic())
    service.always = "slow"
    called, gone_on = threading.Event(), threading.Event()

    def hold() -> None:
        called.set()
        gone_on.wait(60)
        let_pass(loop_of(client), PATIENT["timeout"])

    service.held_back = hold
    reasons: list[str] = []

    def call() -> None:
        with pytest.raises(ConfirmationUnavailableError) as caught:
            report(client, minted)
        reasons.append(caught.value.reason)

    thread = threading.Thread(target=call)
    thread.start()
    assert called.wait(60)
    call()
    assert reasons == ["circuit_open"]
    gone_on.set()
    thread.join(60)
    assert reasons == ["circuit_open", "timeout"]


def test_a_404_does_not_open_the_circuit(service: Consumer, client: ConsumeClient, minted: MintedHandoff) -> None:
    """A service that answers is there, even if it does not know this handoff: others must go through."""
    service.always = 404
    for _ in range(BREAKER_FAILURES + 2):
        with pytest.raises(ConfirmationUnavailableError) as caught:
            report(client, minted)
        assert caught.value.reason == "status_404"


def test_awaited_it_does_the_same(service: Consumer, keys: KeyRing, clock: Clock, minted: MintedHandoff) -> None:
    """The asyncio client confirms, refuses, times out and is cancelled cleanly, over several event loops."""
    client = AsyncConsumeClient(service.url, keys=keys, clock=clock, **PATIENT)

    async def story() -> None:
        loop, asked = asyncio.get_running_loop(), asyncio.Event()
        service.held_back = lambda: let_pass(loop, PATIENT["timeout"])
        await report(client, minted)
        with pytest.raises(ReplayedTokenError):
            await report(client, minted, OTHER)
        service.always = "slow"
        with pytest.raises(ConfirmationUnavailableError) as caught:
            await report(client, minted)
        assert caught.value.reason == "timeout"
        service.held_back = lambda: loop.call_soon_threadsafe(asked.set)
        task = asyncio.create_task(report(client, minted))
        await asyncio.wait_for(asked.wait(), 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        service.always = None
        await report(client, minted)
        await client.aclose()

    asyncio.run(story())
    asyncio.run(story())


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_event_loops_that_have_ended_are_let_go(service: Consumer, keys: KeyRing, clock: Clock, minted: MintedHandoff) -> None:  # fmt: skip
    """A client that is used from one short event loop after the other, and never closed, does not keep them all."""
    client = AsyncConsumeClient(service.url, keys=keys, clock=clock, **PATIENT)
    for _ in range(3):
        asyncio.run(report(client, minted))
    assert len(client._caller.connections) == 1
    client._caller.connections.clear()
    gc.collect()  # now, while the warning is expected


def test_event_loops_of_other_threads_come_and_go_meanwhile(keys: KeyRing, minted: MintedHandoff) -> None:
    """Threads share a client, each with an event loop: one that is looking for ended loops is not upset by another."""
    client = AsyncConsumeClient("http://127.0.0.1:1", keys=keys, clock=minted.issued_at.timestamp)
    connections: Any = client._caller.connections

    class Loop:
        """An event loop that has ended. While it is asked whether it has, another thread lets it go and adds its own."""

        def is_closed(self) -> bool:
            connections.pop(self, None)
            others.append(Loop())
            connections[others[-1]] = None
            return True

    others = [Loop(), Loop()]
    connections.update(dict.fromkeys(others))
    with pytest.raises(ConfirmationUnavailableError):
        asyncio.run(report(client, minted))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_has_connections_of_its_own(client: ConsumeClient, minted: MintedHandoff) -> None:
    """A client that was used before a fork works in parent and child."""
    report(client, minted)
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # a child that waits for its parent's thread would wait for ever
        try:
            report(client, minted)
            os._exit(0)
        except BaseException:  # the parent wants to know
            os._exit(1)
    report(client, minted)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_closing_ends_calls_that_are_under_way(client: ConsumeClient, service: Consumer, minted: MintedHandoff) -> None:  # fmt: skip
    """A caller in another thread is told that it is not confirmed, at once, and so is everybody afterwards."""
    service.always = "slow"
    called = threading.Event()
    service.held_back = called.set
    reasons: list[str] = []

    def call() -> None:
        try:
            report(client, minted)
        except ConfirmationUnavailableError as exc:
            reasons.append(exc.reason)

    thread = threading.Thread(target=call)
    thread.start()
    assert called.wait(60)
    client.close()
    thread.join(60)
    assert reasons == ["client_closed"]
    call()
    assert reasons == ["client_closed"] * 2
    client.close()


def test_a_proxy_of_the_environment_is_not_used(client: ConsumeClient, minted: MintedHandoff, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """An HTTP_PROXY that was set for something else neither sees the call nor hinders it."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    report(client, minted)


@pytest.mark.parametrize(
    "url",
    [
        "http://bff-consumer.example", "ftp://127.0.0.1", "https://user:secret@bff-consumer.example", "https://", "127.0.0.1:80",
        "https://bff-consumer.example?x=1", "https://bff-consumer.example#x", "https://a b", "https://bff-consumer.example:0",
        "https://bff-consumer.example:port", "https://[::1", "https://ä.example", "", None, 7,
        "https://bff-consumer.example?", "https://bff-consumer.example/a#", "https://bff-consumer.example\\a", "https://999.999.999.999",
        "https://[v1.a]", f"https://bff-consumer.example/{'a' * 70_000}",
    ],
    ids=lambda url: repr(url)[:50].replace("::", ""),  # "::" would be another unit to xdist
)  # fmt: skip
def test_a_url_that_is_none_is_refused_at_the_start(url: Any, keys: KeyRing) -> None:
    """Plain http to another machine, a password in the URL, or no URL at all: when the service starts, not at night."""
    with pytest.raises(ConfigurationError) as caught:
        ConsumeClient(url, keys=keys)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "options", [{"timeout": 0}, {"timeout": -1}, {"timeout": True}, {"timeout": 11}, {"timeout": "1"}, {"connect_timeout": timedelta()}, {"keys": "x"}],
    ids=str,
)  # fmt: skip
def test_options_that_are_none_are_refused_at_the_start(options: dict[str, Any], keys: KeyRing) -> None:
    """A time-out of nothing, of hours, or of another type; keys that are none."""
    with pytest.raises(ConfigurationError):
        ConsumeClient("https://bff-consumer.example", **{"keys": keys, **options})


def test_plain_http_on_request(keys: KeyRing) -> None:
    """Where a mesh encrypts, the operator may say so; loopback needs no word."""
    ConsumeClient("http://bff-consumer.mesh", keys=keys, allow_http=True)
    ConsumeClient("http://localhost:8000/base/", keys=keys)
    ConsumeClient("http://[::1]:8000", keys=keys)


def test_what_is_outside_the_grammar_is_not_sent(client: ConsumeClient, minted: MintedHandoff, service: Consumer) -> None:  # fmt: skip
    """A redemption id that is none would make two calls look alike: refused before it is signed."""
    for changes in ({"redemption_id": "A" * 64}, {"issuer": "a\nb"}, {"audience": ""}, {"consumed_at": 1.5}):
        with pytest.raises(InvalidHandoffInputError):
            report(client, minted, **changes)
    assert service.requests == []
