"""The consume operation under any input: only an authentic, recent call for an issued handoff changes anything."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.minter_and_verifier import at
from typing_extensions import override

from ghasi_handoff import ConfigurationError, InvalidHandoffInputError, KeyRing
from ghasi_handoff.handshake import (
    AsyncSQLiteHandoffLog,
    CallAnswered,
    ConsumeAnswer,
    ConsumeCall,
    ConsumeRequest,
    HandoffRecord,
    HandoffState,
    SQLiteHandoffLog,
    answer_consume,
    answer_consume_async,
    consume_signing_string,
)
from ghasi_handoff.handshake._consume_call import sign_call

from .services import AUDIENCE, ISSUER, TENANT, UNHURRIED, handoff_id, quick_folder

NOW = 1795426260
KEYS = KeyRing.generate(now=at(NOW - 86400))
OTHER_PAIRS_KEYS = KeyRing.generate(now=at(NOW - 86400))
WHO, OTHER = "a" * 64, "b" * 64
NAMES = ("issued", "consumed", "revoked", "ended")


def record_of(name: str) -> HandoffRecord:
    issued_at = NOW - 3000 if name == "ended" else NOW - 60
    return HandoffRecord(
        handoff_id=handoff_id(issued_at), issuer=ISSUER, audience=AUDIENCE, tenant=TENANT, kid="k", issued_at=issued_at,
        expires_at=issued_at + 300,
    )  # fmt: skip


@contextmanager
def a_log() -> Generator[tuple[SQLiteHandoffLog, dict[str, HandoffRecord]]]:
    """A log with a row in each state; "ended" is issued, but long over."""
    with quick_folder() as folder, SQLiteHandoffLog(folder / "log.db", clock=lambda: NOW, timeout=UNHURRIED) as log:
        yield log, new_rows(log)


def new_rows(log: SQLiteHandoffLog) -> dict[str, HandoffRecord]:
    """A row more in each state."""
    records = {name: record_of(name) for name in NAMES}
    for record in records.values():
        log.record(record)
    held = records["consumed"].handoff_id
    log.consume(ConsumeCall(ISSUER, AUDIENCE, held, WHO, NOW - 30, NOW - 30), NOW - 29)
    log.revoke(records["revoked"].handoff_id)
    return {name: found(log, record) for name, record in records.items()}


def found(log: SQLiteHandoffLog, record: HandoffRecord) -> HandoffRecord:
    row = log.find(record.handoff_id)
    assert row is not None
    return row


def ask(log: Any, path_id: Any, authorization: Any, body: Any, **options: Any) -> ConsumeAnswer:
    request = ConsumeRequest(path_id=path_id, authorization=authorization, body=body)
    return answer_consume(request, **{"log": log, "keys": KEYS, "clock": lambda: NOW, **options})


def signed(call: ConsumeCall, keys: KeyRing = KEYS) -> tuple[str, bytes]:
    return sign_call(call, keys)


@st.composite
def calls(draw: st.DrawFn, records: dict[str, HandoffRecord]) -> tuple[ConsumeCall, str, KeyRing]:
    """A call that is right, or wrong in any combination of ways; the path's id; the ring that signs."""
    record = records[draw(st.sampled_from(NAMES))]
    other = draw(st.sampled_from([r.handoff_id for r in records.values()] + [handoff_id(NOW)]))
    call = ConsumeCall(
        issuer=draw(st.sampled_from([ISSUER, ISSUER, ISSUER, "other"])),
        audience=draw(st.sampled_from([AUDIENCE, AUDIENCE, AUDIENCE, "other"])),
        handoff_id=draw(st.sampled_from([record.handoff_id] * 5 + [handoff_id(NOW)])),
        redemption_id=draw(st.sampled_from([WHO, OTHER])),
        consumed_at=record.expires_at + draw(st.sampled_from([-250, -1, 0, 59, 60, 61, 5000])),
        sent_at=NOW + draw(st.sampled_from([0, 0, 0, -60, 60, -61, 61, 9999])),
    )
    path_id = draw(st.sampled_from([call.handoff_id] * 5 + [other, call.handoff_id.upper(), "", "/"]))
    return call, path_id, draw(st.sampled_from([KEYS, KEYS, KEYS, OTHER_PAIRS_KEYS]))


def expected(
    call: ConsumeCall, path_id: str, ring: KeyRing, records: dict[str, HandoffRecord]
) -> tuple[int, str | None]:
    """The specification's table, written down once more."""
    if ring is not KEYS or not NOW - 60 <= call.sent_at <= NOW + 60:
        return 401, "unauthenticated_call"
    row = next((r for r in records.values() if r.handoff_id == call.handoff_id), None)
    if path_id != call.handoff_id or row is None or (call.issuer, call.audience) != (ISSUER, AUDIENCE):
        return 404, "unknown_handoff"
    if row.state is HandoffState.CONSUMED:
        return (200, None) if row.redemption_id == call.redemption_id else (409, "replayed")
    if row.state is HandoffState.REVOKED:
        return 410, "revoked_handoff"
    return (200, None) if call.consumed_at < row.expires_at + 60 else (410, "expired")


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[SQLiteHandoffLog, dict[str, HandoffRecord]]]:
    """A log for all examples of the tests that draw them. Nobody changes these rows."""
    with a_log() as both:
        yield both


Shared: TypeAlias = tuple[SQLiteHandoffLog, dict[str, HandoffRecord]]


@given(data=st.data())
def test_every_call_is_answered_as_the_specification_says(data: st.DataObject, shared: Shared) -> None:
    """Replayed, forged, stale, misdirected, late, revoked or right: status and code are the table's, and only a 200 for an issued row changes one."""
    log, _ = shared
    before = new_rows(log)
    call, path_id, ring = data.draw(calls(before))
    authorization, body = signed(call, ring)
    answer = ask(log, path_id, [authorization], body)
    assert (answer.status, answer.code) == expected(call, path_id, ring, before)
    for record in before.values():
        if answer.status == 200 and record.handoff_id == call.handoff_id and record.state is HandoffState.ISSUED:
            after = found(log, record)
            assert (after.state, after.redemption_id) == (HandoffState.CONSUMED, call.redemption_id)
            assert (after.consumed_at, after.recorded_at) == (call.consumed_at, NOW)
        else:
            assert found(log, record) == record
    assert ask(log, path_id, [authorization], body) == answer, "asked again, it says the same"


@given(data=st.data())
def test_any_bytes_as_a_call_change_nothing(data: st.DataObject, shared: Shared) -> None:
    """Whatever comes in, of whatever type, is answered with 401, or by the table, and never raises."""
    log, before = shared
    header, body = signed(ConsumeCall(ISSUER, AUDIENCE, before["issued"].handoff_id, WHO, NOW, NOW))
    texts = st.one_of(st.text(), st.just(header), st.integers(), st.none())
    authorization = data.draw(st.one_of(st.lists(texts, max_size=3).filter(lambda v: v != [header]), st.just([])))
    anything = data.draw(st.one_of(st.binary(max_size=2000), st.just(body)))
    answer = ask(log, before["issued"].handoff_id, authorization, anything)
    assert answer.status == 401
    answer = ask(log, before["issued"].handoff_id, [header], anything if anything != body else body + b"\n")
    assert answer.status == 401
    assert {name: found(log, record) for name, record in before.items()} == before


@given(data=st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject, shared: Shared) -> None:
    """One changed bit, in the header or the body, and the call is not authentic."""
    log, before = shared
    header, body = signed(ConsumeCall(ISSUER, AUDIENCE, before["issued"].handoff_id, WHO, NOW, NOW))
    whole = bytearray(header.encode() + body)
    position = data.draw(st.integers(0, len(whole) * 8 - 1))
    whole[position // 8] ^= 1 << position % 8
    changed = bytes(whole[: len(header)]).decode("latin-1")
    answer = ask(log, before["issued"].handoff_id, [changed], bytes(whole[len(header) :]))
    assert answer.status == 401
    assert found(log, before["issued"]) == before["issued"]


def test_the_answer_is_what_a_framework_can_send() -> None:
    """JSON of the stated kind, never to be cached; a 401 names the scheme and not the reason."""
    with a_log() as (log, records):
        header, body = signed(ConsumeCall(ISSUER, AUDIENCE, records["issued"].handoff_id, WHO, NOW, NOW))
        good = ask(log, records["issued"].handoff_id, [header], body)
        assert json.loads(good.body) == {
            "consumed_at": NOW, "handoff_id": records["issued"].handoff_id, "redemption_id": WHO,
        }  # fmt: skip
        assert good.headers == {"Content-Type": "application/json", "Cache-Control": "no-store"}
        bad = ask(log, records["issued"].handoff_id, [header, header], body)
        assert bad.headers["WWW-Authenticate"] == "GHASI-CONSUME"
        assert bad.headers["Content-Type"] == "application/problem+json"
        assert set(json.loads(bad.body)) == {"code", "status", "title", "type"}
        assert json.loads(bad.body)["status"] == 401


def test_the_reason_of_a_401_is_for_the_log_alone() -> None:
    """An outsider cannot tell an unknown key from a wrong MAC; the operator can."""
    with a_log() as (log, records):
        handoff = records["issued"].handoff_id
        call = ConsumeCall(ISSUER, AUDIENCE, handoff, WHO, NOW, NOW)
        header, body = signed(call)
        kid = KEYS.keys[0].kid
        stale, stale_body = signed(call._replace(sent_at=NOW - 61))
        trials = {
            "malformed_authorization": ([], body),
            "malformed_body": ([header], body + b" "),
            "unknown_key": ([header.replace(kid, "another")], body),
            "invalid_mac": ([header[:-1] + ("A" if header[-1] != "A" else "E")], body),
            "stale": ([stale], stale_body),
        }
        seen: list[Any] = []
        answers = {reason: ask(log, handoff, *trial, on_event=seen.append) for reason, trial in trials.items()}
        assert len({(answer.status, answer.body, str(answer.headers)) for answer in answers.values()}) == 1
        assert [event.reason for event in seen] == list(trials)
        assert all(isinstance(event, CallAnswered) and event.handoff_id is None for event in seen)


def test_of_another_pairs_handoff_nothing_is_told() -> None:
    """Whoever may call for one pair does not learn of another's row, nor does this pair's log say whose it is."""
    with a_log() as (log, records):
        seen: list[Any] = []
        for issuer in (ISSUER, "other"):
            header, body = signed(ConsumeCall(issuer, AUDIENCE, records["consumed"].handoff_id, OTHER, NOW, NOW))
            ask(log, records["consumed"].handoff_id, [header], body, on_event=seen.append)
        assert [(event.status, event.tenant) for event in seen] == [(409, TENANT), (404, None)]


@pytest.mark.parametrize(("state", "reason"), [("revoked", "revoked_key"), ("retired", "retired_key")])
def test_a_key_that_is_over_authenticates_nothing(state: str, reason: str) -> None:
    """A revoked or retired key's call is refused, whatever it says."""
    rotated = KEYS.rotate(now=at(NOW - 10000))
    ring = KEYS.revoke(KEYS.keys[0].kid, now=at(NOW)) if state == "revoked" else rotated
    seen: list[Any] = []
    with a_log() as (log, records):
        call = ConsumeCall(ISSUER, AUDIENCE, records["issued"].handoff_id, WHO, NOW, NOW)
        header, body = signed(call)
        answer = ask(log, call.handoff_id, [header], body, keys=lambda: ring, on_event=seen.append)
        assert (answer.status, seen[0].reason) == (401, reason)


def test_a_log_that_fails_is_a_503() -> None:
    """An issuer without its log says so, and that it may be asked again."""
    with a_log() as (log, records):
        header, body = signed(ConsumeCall(ISSUER, AUDIENCE, records["issued"].handoff_id, WHO, NOW, NOW))
        log.close()
        answer = ask(log, records["issued"].handoff_id, [header], body)
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "log_unavailable", "1")


def test_a_log_that_raises_its_own_errors_is_a_503() -> None:
    """Whatever a log of the application's own raises, bff-tenant-booking is told to ask again."""

    class Failing(SQLiteHandoffLog):
        @override
        def consume(self, call: ConsumeCall, recorded_at: int) -> HandoffRecord | None:
            raise LookupError("password=secret")

    seen: list[Any] = []
    with a_log() as (log, records):
        header, body = signed(ConsumeCall(ISSUER, AUDIENCE, records["issued"].handoff_id, WHO, NOW, NOW))
        answer = ask(Failing(log._file._path), records["issued"].handoff_id, [header], body, on_event=seen.append)
    assert (answer.status, answer.code, seen[0].reason) == (503, "log_unavailable", "the log raised LookupError")


def test_a_row_that_appears_meanwhile_is_asked_for_again() -> None:
    """Looked for, not found, and there a moment later: not decided, so neither confirmed nor refused for good."""

    class Late(SQLiteHandoffLog):
        """The real thing cannot be made to commit between two statements of one call."""

        @override
        def consume(self, call: ConsumeCall, recorded_at: int) -> HandoffRecord | None:
            return self.find(call.handoff_id)

    with a_log() as (log, records):
        header, body = signed(ConsumeCall(ISSUER, AUDIENCE, records["issued"].handoff_id, WHO, NOW, NOW))
        answer = ask(Late(log._file._path), records["issued"].handoff_id, [header], body)
        assert (answer.status, answer.code) == (503, "log_unavailable")
        assert found(log, records["issued"]) == records["issued"]


def test_the_signing_string_names_what_is_outside_the_grammar() -> None:
    """Each argument is checked, and the message names it without quoting it."""
    good = {
        "kid": "2026-11a", "issuer": ISSUER, "audience": AUDIENCE, "handoff_id": handoff_id(NOW), "redemption_id": WHO,
        "consumed_at": NOW, "sent_at": NOW,
    }  # fmt: skip
    assert consume_signing_string(**good).count(b"\n") == 8  # type: ignore[arg-type]
    for name, wrong in {"kid": "a.b", "issuer": "", "audience": "x y", "handoff_id": "secret", "redemption_id": "secret", "consumed_at": -1, "sent_at": True}.items():  # fmt: skip
        with pytest.raises(InvalidHandoffInputError, match=name) as caught:
            consume_signing_string(**{**good, name: wrong})  # type: ignore[arg-type]
        assert "secret" not in str(caught.value)


def test_awaited_it_answers_the_same() -> None:
    """The asyncio form gives the same answers, a failing log's 503 included."""

    async def answers(path: str, calls: list[tuple[str, str, bytes]]) -> list[tuple[int, str | None]]:
        found = []
        async with AsyncSQLiteHandoffLog(path, clock=lambda: NOW, timeout=UNHURRIED) as log:
            for path_id, header, body in calls:
                request = ConsumeRequest(path_id=path_id, authorization=[header], body=body)
                answer = await answer_consume_async(request, log=log, keys=KEYS, clock=lambda: NOW)
                found.append((answer.status, answer.code))
        request = ConsumeRequest(path_id=calls[0][0], authorization=[calls[0][1]], body=calls[0][2])
        answer = await answer_consume_async(request, log=log, keys=KEYS, clock=lambda: NOW)
        return [*found, (answer.status, answer.code)]

    with a_log() as (log, records):
        trials = []
        for record in records.values():
            call = ConsumeCall(ISSUER, AUDIENCE, record.handoff_id, OTHER, record.expires_at, NOW)
            trials.append((record.handoff_id, *signed(call)))
        trials.append((records["issued"].handoff_id, "nonsense", b""))
        assert asyncio.run(answers(log._file._path, trials)) == [
            (200, None), (409, "replayed"), (410, "revoked_handoff"), (200, None), (401, "unauthenticated_call"), (503, "log_unavailable"),
        ]  # fmt: skip


def test_a_log_of_the_wrong_kind_is_a_mistake_of_the_service() -> None:
    """A blocking log where it is awaited, or the reverse, is refused before anything is looked at."""
    request = ConsumeRequest(path_id="", authorization=[], body=b"")
    with a_log() as (log, _):
        with pytest.raises(ConfigurationError):
            asyncio.run(answer_consume_async(request, log=log, keys=KEYS))  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError):
            answer_consume(request, log=AsyncSQLiteHandoffLog("never.db"), keys=KEYS)  # type: ignore[arg-type]


def test_nothing_of_a_call_shows_in_a_repr() -> None:
    """A request in a log line shows no MAC."""
    header, body = signed(ConsumeCall(ISSUER, AUDIENCE, handoff_id(NOW), WHO, NOW, NOW))
    shown = repr(ConsumeRequest(path_id="x", authorization=[header], body=body))
    assert "mac" not in shown
    assert WHO not in shown
