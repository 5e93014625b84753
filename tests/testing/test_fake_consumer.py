"""The fake consumer by the real clients: what it is told to answer is what they make of it."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import pytest

from ghasi_handoff import ConfigurationError, ConfirmationUnavailableError, HandoffError, KeyRing
from ghasi_handoff.handshake import AsyncConsumeClient, ConsumeCall, ConsumeClient
from ghasi_handoff.handshake._consume_call import sign_call
from ghasi_handoff.testing import FakeConsumer, FrozenClock, handoff_id_at, redemption_id_of
from tests.minter_and_verifier import AUDIENCE, ISSUER, NOW, at

KEYS = KeyRing.generate()
# For calls whose time is not what is tested: as much as a client allows.
PATIENT: dict[str, Any] = {"timeout": 10, "connect_timeout": 10}
HANDOFF, WHO = handoff_id_at(NOW), redemption_id_of(1)
FACTS: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "redemption_id": WHO, "consumed_at": NOW + 30}


def report(consumer: FakeConsumer, awaited: bool = False, **options: Any) -> str:
    """The code of one redemption's report, or "confirmed"; for an unsure one its reason."""

    async def consume() -> None:
        async with AsyncConsumeClient(consumer.url, **options) as client:
            await client.consume(HANDOFF, **FACTS)

    options = {"keys": KEYS, **PATIENT, **options}
    try:
        if awaited:
            asyncio.run(consume())
        else:
            with ConsumeClient(consumer.url, **options) as client:
                client.consume(HANDOFF, **FACTS)
    except ConfirmationUnavailableError as exc:
        return exc.reason
    except HandoffError as exc:
        return exc.code
    return "confirmed"


def post(
    consumer: FakeConsumer, path: str, body: bytes, authorization: str | None = None
) -> tuple[int, dict[str, str], bytes]:
    """One request, by hand."""
    connection = http.client.HTTPConnection(urlsplit(consumer.url).netloc, timeout=60)
    headers = {} if authorization is None else {"Authorization": authorization}
    connection.request("POST", path, body=body, headers=headers)
    response = connection.getresponse()
    answer = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return answer


def signed(keys: KeyRing = KEYS, sent_at: int | None = None) -> tuple[str, bytes]:
    """Authorization and body of a call of now."""
    return sign_call(ConsumeCall(handoff_id=HANDOFF, **FACTS, sent_at=sent_at or int(time.time())), keys)


PATH = f"/internal/handoff/{HANDOFF}/consume"


@pytest.mark.parametrize("awaited", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(
    ("answers", "outcome", "calls"),
    [
        ([], "confirmed", 1),
        ([200], "confirmed", 1),
        ([503, 200], "confirmed", 2),
        ([503, 503], "status_503", 2),
        ([409], "replayed", 1),
        ([410], "revoked_handoff", 1),
        (["revoked_handoff"], "revoked_handoff", 1),
        (["expired"], "expired", 1),
        ([404], "status_404", 1),
        ([401], "status_401", 1),
        ([HTTPStatus.CONFLICT], "replayed", 1),
        (["lost", 200], "confirmed", 2),
        (["lost", "lost"], "unreachable", 2),
        (["slow", 409], "replayed", 2),
        (["slow", "timeout"], "timeout", 2),
        (["nonsense", 200], "confirmed", 2),
        (["nonsense", "nonsense"], "invalid_answer", 2),
    ],
    ids=str,
)
def test_the_clients_understand_each_answer(awaited: bool, answers: list[int | str], outcome: str, calls: int) -> None:
    """Each call takes the next answer, and the client makes of it what it makes of a real one."""
    # Less than a slow answer takes, and more than any other.
    options = {"timeout": 1.0} if "slow" in answers else PATIENT
    with FakeConsumer(answers, keys=KEYS) as consumer:
        assert report(consumer, awaited, **options) == outcome
        assert len(consumer.calls) == calls


def test_answers_come_in_turn_and_then_all_are_confirmed() -> None:
    """The list of the issue: 503 and 200 for one redemption, 409 for the next, and no refusal after that."""
    with FakeConsumer([503, 200, 409]) as consumer:
        assert [report(consumer) for _ in range(4)] == ["confirmed", "replayed", "confirmed", "confirmed"]


def test_calls_are_kept_as_they_came() -> None:
    """What was reported can be looked at, also after the block; the list is the reader's own."""
    with FakeConsumer() as consumer:
        report(consumer)
        consumer.calls.clear()
    (call,) = consumer.calls
    assert call._replace(sent_at=0) == ConsumeCall(handoff_id=HANDOFF, **FACTS, sent_at=0)
    assert abs(call.sent_at - time.time()) < 60


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (401, 401, "unauthenticated_call"),
        (404, 404, "unknown_handoff"),
        (409, 409, "replayed"),
        (410, 410, "revoked_handoff"),
        ("expired", 410, "expired"),
        (503, 503, "log_unavailable"),
    ],
)
def test_bodies_are_the_librarys(answer: int | str, status: int, code: str) -> None:
    """A refusal is a problem with its code, and says nothing more than the real one."""
    with FakeConsumer([answer]) as consumer:
        sent, headers, body = post(consumer, PATH, signed()[1])
    problem = json.loads(body)
    assert (sent, headers["Content-Type"], headers["Cache-Control"]) == (status, "application/problem+json", "no-store")
    assert set(problem) == {"code", "status", "title", "type"}
    assert (problem["code"], problem["status"]) == (code, status)


def test_without_keys_any_signature_will_do() -> None:
    """An application's test need not share its ring."""
    with FakeConsumer() as consumer:
        assert report(consumer, keys=KeyRing.generate()) == "confirmed"


def test_with_keys_another_ring_is_refused() -> None:
    """The call is not taken in, and the next answer is still to come."""
    with FakeConsumer([409], keys=lambda: KEYS) as consumer:
        assert report(consumer, keys=KeyRing.generate()) == "status_401"
        assert consumer.calls == []
        assert report(consumer) == "replayed"


def test_with_keys_a_stale_call_is_refused() -> None:
    """By the clock that was given."""
    clock, late = FrozenClock(at(NOW)), FrozenClock(at(NOW + 61))
    keys = KeyRing.generate(now=clock.now)
    with FakeConsumer(keys=keys, clock=clock) as consumer:
        assert report(consumer, keys=keys, clock=clock) == "confirmed"
        assert report(consumer, keys=keys, clock=late) == "status_401"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"nonsense", b"[" * 4000, b"\xff", b'{"handoff_id": 1}', b"1"])
@pytest.mark.parametrize("keys", [None, KEYS], ids=["no keys", "keys"])
def test_what_is_no_call_takes_no_answer(body: bytes, keys: KeyRing | None) -> None:
    """Only the body that the library sends is a call, whether signatures are looked at or not."""
    with FakeConsumer([409], keys=keys) as consumer:
        assert post(consumer, PATH, body, signed()[0])[0] == 401
        assert consumer.calls == []


def test_another_spelling_of_a_call_is_refused() -> None:
    """The body has one spelling; without keys, too."""
    with FakeConsumer() as consumer:
        assert post(consumer, PATH, signed()[1].replace(b":", b": "))[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        "/",
        f"/internal/handoff/{HANDOFF}",
        f"/handoff/{HANDOFF}/consume",
        PATH.replace(HANDOFF, handoff_id_at(NOW, 1)),
        f"{PATH}/",
    ],
)
def test_another_path_is_unknown(path: str) -> None:
    """A wrong base URL of the application shows as 404."""
    with FakeConsumer([409]) as consumer:
        assert post(consumer, path, signed()[1])[0] == 404
        assert consumer.calls == []


@pytest.mark.parametrize(
    "answers", [[201], [True], ["lots"], [None], [[]], [b"slow"], ["503"], [200, "Expired"], "slow", "", 503, None]
)
def test_an_unknown_answer_is_refused_at_once(answers: Any) -> None:
    """A list with a slip in it fails where it stands, not as a puzzling answer later."""
    with pytest.raises(ConfigurationError):
        FakeConsumer(answers)


def test_keys_must_be_a_ring() -> None:
    """As everywhere in the library."""
    nonsense: Any = "keys"
    with pytest.raises(ConfigurationError):
        FakeConsumer(keys=nonsense)


def test_the_server_runs_within_its_block() -> None:
    """Before and after it there is no URL; a second time it can be entered, not twice at once."""
    consumer = FakeConsumer()
    for _ in range(2):
        with pytest.raises(ConfigurationError):
            consumer.url  # noqa: B018
        with consumer:
            assert report(consumer) == "confirmed"
            with pytest.raises(ConfigurationError):
                consumer.__enter__()
    assert not [thread for thread in threading.enumerate() if "serve_forever" in thread.name]


def test_the_block_ends_while_a_call_is_unanswered() -> None:
    """A test that leaves a slow call behind does not wait for it, and leaves no thread behind."""
    before = set(threading.enumerate())
    with FakeConsumer(["timeout", "timeout"]) as consumer:
        report(consumer, timeout=0.1)
        begun = time.monotonic()
    assert time.monotonic() - begun < 20
    for thread in set(threading.enumerate()) - before:
        thread.join(20)
        assert not thread.is_alive()
