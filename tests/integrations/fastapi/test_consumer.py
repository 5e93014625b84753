"""The consume call over HTTP: the answers of docs/spec/consume-v1.md, one for everything that is not authentic."""

from __future__ import annotations

import asyncio
import json
import logging
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from tests.handshake.services import AUDIENCE, ISSUER, STAY, TENANT, Clock, handoff_id

from ghasi_handoff import ConfigurationError, KeyRing, KeyRingError, Minter
from ghasi_handoff.handshake import AsyncSQLiteHandoffLog, HandoffEvent, HandoffIssuer, SQLiteHandoffLog
from ghasi_handoff.handshake._consume_call import ConsumeCall, sign_call
from ghasi_handoff.integrations.fastapi import consumer_router

from .house import Answer, Fields, answer_of, endless, locked

RID, OTHER_RID = "a" * 64, "b" * 64


@dataclass
class Desk:
    """bff-consumer's application, and what its log holds."""

    app: FastAPI
    clock: Clock
    keys: KeyRing
    log: SQLiteHandoffLog
    folder: Path
    runner: asyncio.Runner
    events: list[HandoffEvent]

    def issue(self, ring: KeyRing | None = None, **names: str) -> str:
        """The id of a new handoff."""
        options: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE, "clock": self.clock, **names}
        minter = Minter(ring or self.keys, **options)
        return HandoffIssuer(minter, self.log).issue(STAY, tenant=TENANT).handoff_id

    def signed(self, identifier: str, keys: KeyRing | None = None, **changes: Any) -> tuple[str, bytes]:
        """The header's value and the body of a call."""
        now = int(self.clock.now)
        call = ConsumeCall(ISSUER, AUDIENCE, identifier, RID, now, now)._replace(**changes)
        return sign_call(call, keys or self.keys)

    def post(
        self, identifier: str, authorization: Iterable[str | bytes], body: Any, more: Fields = (), app: Any = None
    ) -> Answer:
        """The answer to a call."""
        headers = (*(("Authorization", value) for value in authorization), ("Content-Type", "application/json"), *more)
        target = f"/internal/handoff/{identifier}/consume"
        return self.runner.run(answer_of(app or self.app, "POST", target, headers, body))

    def call(self, identifier: str, path: str | None = None, **changes: Any) -> Answer:
        """The answer to a call that is rightly signed."""
        authorization, body = self.signed(identifier, **changes)
        return self.post(identifier if path is None else path, [authorization], body)

    def rows(self) -> list[str]:
        """What the log holds."""
        with closing(sqlite3.connect(self.folder / "log.db")) as connection:
            return [line for line in connection.iterdump() if line.startswith("INSERT")]


@pytest.fixture
def desk(kind: str, tmp_path: Path) -> Iterator[Desk]:
    """bff-consumer, its log for threads or for asyncio."""
    clock = Clock()
    keys = KeyRing.generate(kid="k1", now=datetime.fromtimestamp(clock.now - 3600, UTC))
    events: list[HandoffEvent] = []
    with asyncio.Runner() as runner, SQLiteHandoffLog(tmp_path / "log.db", timeout=0.5, clock=clock) as log:
        log.create_schema()
        served: Any = log if kind == "sync" else AsyncSQLiteHandoffLog(tmp_path / "log.db", timeout=0.5, clock=clock)
        app = FastAPI()
        app.include_router(consumer_router(served, keys=keys, clock=clock, on_event=events.append))
        yield Desk(app, clock, keys, log, tmp_path, runner, events)
        if kind == "asyncio":
            runner.run(served.aclose())


def problem(answer: Answer, status: int, code: str) -> None:
    """A problem, not to be cached, with no more members than the specification says."""
    assert answer.status == status
    assert answer.field("content-type") == "application/problem+json"
    assert answer.field("cache-control") == "no-store"
    body = json.loads(answer.body)
    assert (body["code"], body["status"], body["type"]) == (code, status, "about:blank")


class TestAnswers:
    def test_confirmed(self, desk: Desk) -> None:
        """200 with the three members, to the byte; the row is consumed."""
        identifier = desk.issue()
        answer = desk.call(identifier)
        wanted = f'{{"consumed_at":{int(desk.clock.now)},"handoff_id":"{identifier}","redemption_id":"{RID}"}}'
        assert (answer.status, answer.text) == (200, wanted)
        assert dict(answer.headers) == {
            "content-type": "application/json",
            "cache-control": "no-store",
            "content-length": str(len(wanted)),
        }
        record = desk.log.find(identifier)
        assert record is not None and record.redemption_id == RID

    def test_a_repetition_is_confirmed_again(self, desk: Desk) -> None:
        """The same redemption id gets the same bytes; the very same call, replayed within its minute, too."""
        identifier = desk.issue()
        authorization, body = desk.signed(identifier)
        first = desk.post(identifier, [authorization], body)
        rows = desk.rows()
        desk.clock.now += 50
        assert desk.post(identifier, [authorization], body) == first
        assert desk.call(identifier, consumed_at=int(desk.clock.now)) == first
        assert desk.rows() == rows

    def test_another_redemption_id(self, desk: Desk) -> None:
        """409; the row stays the first one's."""
        identifier = desk.issue()
        desk.call(identifier)
        rows = desk.rows()
        problem(desk.call(identifier, redemption_id=OTHER_RID), 409, "replayed")
        assert desk.rows() == rows

    def test_revoked(self, desk: Desk) -> None:
        """410, and it stays revoked."""
        identifier = desk.issue()
        desk.log.revoke(identifier)
        rows = desk.rows()
        problem(desk.call(identifier), 410, "revoked_handoff")
        assert desk.rows() == rows

    def test_too_late(self, desk: Desk) -> None:
        """410 by consumed-at; a second earlier it is confirmed, however late it is delivered."""
        early, late = desk.issue(), desk.issue()
        end = int(desk.clock.now) + 300 + 60
        desk.clock.now += 3600
        problem(desk.call(late, consumed_at=end), 410, "expired")
        assert desk.call(early, consumed_at=end - 1).status == 200

    def test_what_the_log_does_not_have(self, desk: Desk) -> None:
        """One 404 for an unknown id, another's handoff, and a path that is not what was signed; nothing changes."""
        identifier, other = desk.issue(), desk.issue()
        foreign = desk.issue(audience="bff-other")
        rows = desk.rows()
        answers = [
            desk.call(handoff_id(int(desk.clock.now))),
            desk.call(foreign),
            desk.call(identifier, issuer="bff-other"),
            desk.call(identifier, path=other),
            desk.call(identifier, path=identifier.upper()),
            desk.call(identifier, path=f"{identifier}%20"),
            desk.call(identifier, path="x"),
        ]
        for answer in answers:
            problem(answer, 404, "unknown_handoff")
        assert len(set(answers)) == 1
        assert desk.rows() == rows

    def test_the_path_is_decoded_once(self, desk: Desk) -> None:
        """An id with an escaped digit is the same id; escaped twice it is not."""
        identifier = desk.issue()
        escaped = f"%{ord(identifier[0]):x}{identifier[1:]}"
        problem(desk.call(identifier, path=escaped.replace("%", "%25")), 404, "unknown_handoff")
        assert desk.call(identifier, path=escaped).status == 200

    def test_the_log_is_down(self, desk: Desk) -> None:
        """503; when it is back, the same call is confirmed."""
        identifier = desk.issue()
        with locked(desk.folder / "log.db"):
            answer = desk.call(identifier)
        problem(answer, 503, "store_unavailable")
        assert answer.field("retry-after") == "1"
        assert desk.call(identifier).status == 200

    def test_the_ring_cannot_be_read(self, desk: Desk, kind: str) -> None:
        """503 with a reference; nothing changes."""

        def keys() -> KeyRing:
            raise KeyRingError("cannot be read")

        app = FastAPI()
        app.include_router(consumer_router(desk.log, keys=keys, clock=desk.clock))
        identifier = desk.issue()
        rows = desk.rows()
        authorization, body = desk.signed(identifier)
        answer = desk.post(identifier, [authorization], body, app=app)
        problem(answer, 503, "key_ring")
        assert len(answer.reference) == 8
        assert desk.rows() == rows


# What is not authentic, and what only the log says of it: makes header values and body for an id.
Forgery = Callable[[Desk, str], tuple[Any, Any]]
FORGERIES: dict[str, tuple[str, Forgery]] = {
    "no header": ("malformed_authorization", lambda desk, i: ([], desk.signed(i)[1])),
    "two headers": ("malformed_authorization", lambda desk, i: ([desk.signed(i)[0]] * 2, desk.signed(i)[1])),
    "an empty header": ("malformed_authorization", lambda desk, i: ([""], desk.signed(i)[1])),
    "another scheme": ("malformed_authorization", lambda desk, i: (["Bearer x"], desk.signed(i)[1])),
    "a scheme in lower case": (
        "malformed_authorization",
        lambda desk, i: ([desk.signed(i)[0].replace("GHASI", "ghasi")], desk.signed(i)[1]),
    ),
    "more behind": ("malformed_authorization", lambda desk, i: ([desk.signed(i)[0] + ", a=b"], desk.signed(i)[1])),
    "no ASCII": ("malformed_authorization", lambda desk, i: ([b"\xff\xfe"], desk.signed(i)[1])),
    "no body": ("malformed_body", lambda desk, i: ([desk.signed(i)[0]], b"")),
    "a body with a space": (
        "malformed_body",
        lambda desk, i: ([desk.signed(i)[0]], desk.signed(i)[1].replace(b":", b": ")),
    ),
    "a body with a byte behind": ("malformed_body", lambda desk, i: ([desk.signed(i)[0]], desk.signed(i)[1] + b"\n")),
    "no UTF-8": ("malformed_body", lambda desk, i: ([desk.signed(i)[0]], b"\xff" * 300)),
    "a body too large": ("malformed_body", lambda desk, i: ([desk.signed(i)[0]], desk.signed(i)[1] + b" " * 10**6)),
    "a body too large, in pieces": (
        "malformed_body",
        lambda desk, i: ([desk.signed(i)[0]], [desk.signed(i)[1], *[b" " * 100] * 50]),
    ),
    "an endless body": ("malformed_body", lambda desk, i: ([desk.signed(i)[0]], endless())),
    "an unknown key": (
        "unknown_key",
        lambda desk, i: desk.signed(i, KeyRing.generate(kid="k2", now=datetime.fromtimestamp(0, UTC))),
    ),
    "a forged signature": (
        "invalid_mac",
        lambda desk, i: desk.signed(i, KeyRing.generate(kid="k1", now=datetime.fromtimestamp(0, UTC))),
    ),
    "another handoff's signature": (
        "invalid_mac",
        lambda desk, i: ([desk.signed(desk.issue())[0]], desk.signed(i)[1]),
    ),
    "another redemption's signature": (
        "invalid_mac",
        lambda desk, i: ([desk.signed(i, redemption_id=OTHER_RID)[0]], desk.signed(i)[1]),
    ),
    "stale": ("stale", lambda desk, i: desk.signed(i, sent_at=int(desk.clock.now) - 61)),
    "from the future": ("stale", lambda desk, i: desk.signed(i, sent_at=int(desk.clock.now) + 61)),
}


class TestForgeries:
    @pytest.mark.parametrize("name", FORGERIES)
    def test_each_gets_the_one_answer(self, desk: Desk, name: str, caplog: pytest.LogCaptureFixture) -> None:
        """401, the same bytes for all of them, whatever the path; no row changes; the log says why."""
        caplog.set_level(logging.INFO, "ghasi_handoff")
        reason, make = FORGERIES[name]
        identifier = desk.issue()
        wanted = desk.post("x", [], b"")
        for path in (identifier, "x", "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71"):
            header, body = make(desk, identifier)
            rows = desk.rows()
            caplog.clear()
            answer = desk.post(path, [header] if isinstance(header, str) else header, body)
            assert (answer.status, answer.headers, answer.body) == (wanted.status, wanted.headers, wanted.body)
            assert answer.chunks_read <= 12
            assert desk.rows() == rows
            extras: Any = [r for r in caplog.records if r.getMessage() == "consume_call"]
            assert [(extra.handoff_status, extra.handoff_reason) for extra in extras] == [(401, reason)]

    def test_the_answer(self, desk: Desk) -> None:
        """A problem that says nothing, and the scheme."""
        answer = desk.post("x", [], b"")
        problem(answer, 401, "unauthenticated_call")
        assert answer.field("www-authenticate") == "GHASI-CONSUME"

    def test_a_call_goes_stale(self, desk: Desk) -> None:
        """What was authentic is not after a minute: recorded and sent again, it changes nothing."""
        identifier = desk.issue()
        authorization, body = desk.signed(identifier)
        desk.clock.now += 60
        assert desk.post(identifier, [authorization], body).status == 200
        desk.clock.now += 1
        problem(desk.post(identifier, [authorization], body), 401, "unauthenticated_call")

    def test_no_secret_is_logged(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """No MAC, whatever becomes of the call."""
        caplog.set_level(logging.DEBUG)
        identifier = desk.issue()
        authorization, body = desk.signed(identifier)
        for value in (authorization, authorization + "x"):
            desk.post(identifier, [value], body)
        mac = authorization.split("mac=")[1]
        assert caplog.records and not any(mac in str(vars(record)) for record in caplog.records)

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
    def test_other_methods_do_nothing(self, desk: Desk, method: str) -> None:
        """405, signed or not."""
        identifier = desk.issue()
        rows = desk.rows()
        authorization, body = desk.signed(identifier)
        target = f"/internal/handoff/{identifier}/consume"
        answer = desk.runner.run(answer_of(desk.app, method, target, (("Authorization", authorization),), body))
        assert answer.status == 405
        assert desk.rows() == rows

    def test_a_caller_that_goes_away_changes_nothing(self, desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
        """A connection that breaks in the body is no error of the application, and no call."""
        identifier = desk.issue()
        rows = desk.rows()
        authorization, body = desk.signed(identifier)
        messages = iter([{"type": "http.request", "body": body, "more_body": True}, {"type": "http.disconnect"}])

        async def receive() -> Any:
            return next(messages)

        async def send(message: Any) -> None:
            pass

        scope = {
            "type": "http",
            "http_version": "1.1",
            "method": "POST",
            "path": f"/internal/handoff/{identifier}/consume",
            "query_string": b"",
            "root_path": "",
            "headers": [(b"authorization", authorization.encode())],
        }
        desk.runner.run(desk.app(scope, receive, send))
        assert desk.rows() == rows
        assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


class TestConfiguration:
    @pytest.mark.parametrize("log", [None, object(), "log.db"])
    def test_a_wrong_log(self, desk: Desk, log: Any) -> None:
        """Refused when the router is made."""
        with pytest.raises(ConfigurationError):
            consumer_router(log, keys=desk.keys)

    def test_wrong_keys(self, desk: Desk) -> None:
        """Refused when the router is made."""
        with pytest.raises(ConfigurationError):
            consumer_router(desk.log, keys=None)  # type: ignore[arg-type]

    def test_a_ring_that_changes(self, desk: Desk) -> None:
        """A callable's ring is the present one: a key revoked is refused at once."""
        state = {"ring": desk.keys}
        app = FastAPI()
        app.include_router(consumer_router(desk.log, keys=lambda: state["ring"], clock=desk.clock))
        identifier = desk.issue()
        authorization, body = desk.signed(identifier)
        now = datetime.fromtimestamp(desk.clock.now, UTC)
        state["ring"] = desk.keys.revoke("k1", now=now)
        problem(desk.post(identifier, [authorization], body, app=app), 401, "unauthenticated_call")
        state["ring"] = desk.keys
        assert desk.post(identifier, [authorization], body, app=app).status == 200
