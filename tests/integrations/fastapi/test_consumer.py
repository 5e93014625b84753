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
from tests.landing.both_services import Answer, Fields, endless, locked

from ghasi_handoff import ConfigurationError, KeyRing, KeyRingError, Minter
from ghasi_handoff.handshake import AsyncSQLiteHandoffLog, ConsumeCall, HandoffEvent, HandoffIssuer, SQLiteHandoffLog
from ghasi_handoff.handshake._consume_call import sign_call
from ghasi_handoff.integrations.fastapi import consumer_router

from .asgi import answer_of

RID, OTHER_RID = "a" * 64, "b" * 64


@dataclass
class ConsumerApp:
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
def application(kind: str, tmp_path: Path) -> Iterator[ConsumerApp]:
    """bff-consumer, its log for threads or for asyncio."""
    clock = Clock()
    keys = KeyRing.generate(kid="k1", now=datetime.fromtimestamp(clock.now - 3600, UTC))
    events: list[HandoffEvent] = []
    options: Any = {"timeout": 60, "clock": clock}
    with asyncio.Runner() as runner, SQLiteHandoffLog(tmp_path / "log.db", **options) as log:
        log.create_schema()
        served: Any = log if kind == "sync" else AsyncSQLiteHandoffLog(tmp_path / "log.db", **options)
        app = FastAPI()
        app.include_router(consumer_router(served, keys=keys, clock=clock, on_event=events.append))
        yield ConsumerApp(app, clock, keys, log, tmp_path, runner, events)
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
    def test_confirmed(self, application: ConsumerApp) -> None:
        """200 with the three members, to the byte; the row is consumed."""
        identifier = application.issue()
        answer = application.call(identifier)
        wanted = f'{{"consumed_at":{int(application.clock.now)},"handoff_id":"{identifier}","redemption_id":"{RID}"}}'
        assert (answer.status, answer.text) == (200, wanted)
        assert dict(answer.headers) == {
            "content-type": "application/json",
            "cache-control": "no-store",
            "content-length": str(len(wanted)),
        }
        record = application.log.find(identifier)
        assert record is not None and record.redemption_id == RID

    def test_a_repetition_is_confirmed_again(self, application: ConsumerApp) -> None:
        """The same redemption id gets the same bytes; the very same call, replayed within its minute, too."""
        identifier = application.issue()
        authorization, body = application.signed(identifier)
        first = application.post(identifier, [authorization], body)
        rows = application.rows()
        application.clock.now += 50
        assert application.post(identifier, [authorization], body) == first
        assert application.call(identifier, consumed_at=int(application.clock.now)) == first
        assert application.rows() == rows

    def test_another_redemption_id(self, application: ConsumerApp) -> None:
        """409; the row stays the first one's."""
        identifier = application.issue()
        application.call(identifier)
        rows = application.rows()
        problem(application.call(identifier, redemption_id=OTHER_RID), 409, "replayed")
        assert application.rows() == rows

    def test_revoked(self, application: ConsumerApp) -> None:
        """410, and it stays revoked."""
        identifier = application.issue()
        application.log.revoke(identifier)
        rows = application.rows()
        problem(application.call(identifier), 410, "revoked_handoff")
        assert application.rows() == rows

    def test_too_late(self, application: ConsumerApp) -> None:
        """410 by consumed-at; a second earlier it is confirmed, however late it is delivered."""
        early, late = application.issue(), application.issue()
        end = int(application.clock.now) + 300 + 60
        application.clock.now += 3600
        problem(application.call(late, consumed_at=end), 410, "expired")
        assert application.call(early, consumed_at=end - 1).status == 200

    def test_what_the_log_does_not_have(self, application: ConsumerApp) -> None:
        """One 404 for an unknown id, another's handoff, and a path that is not what was signed; nothing changes."""
        identifier, other = application.issue(), application.issue()
        foreign = application.issue(audience="bff-other")
        rows = application.rows()
        answers = [
            application.call(handoff_id(int(application.clock.now))),
            application.call(foreign),
            application.call(identifier, issuer="bff-other"),
            application.call(identifier, path=other),
            application.call(identifier, path=identifier.upper()),
            application.call(identifier, path=f"{identifier}%20"),
            application.call(identifier, path="x"),
        ]
        for answer in answers:
            problem(answer, 404, "unknown_handoff")
        assert len(set(answers)) == 1
        assert application.rows() == rows

    def test_the_path_is_decoded_once(self, application: ConsumerApp) -> None:
        """An id with an escaped digit is the same id; escaped twice it is not."""
        identifier = application.issue()
        escaped = f"%{ord(identifier[0]):x}{identifier[1:]}"
        problem(application.call(identifier, path=escaped.replace("%", "%25")), 404, "unknown_handoff")
        assert application.call(identifier, path=escaped).status == 200

    def test_the_log_is_down(self, application: ConsumerApp, kind: str) -> None:
        """503; when it is back, the same call is confirmed."""
        identifier = application.issue()
        authorization, body = application.signed(identifier)
        make: Any = SQLiteHandoffLog if kind == "sync" else AsyncSQLiteHandoffLog
        impatient = make(application.folder / "log.db", timeout=0.1, clock=application.clock)
        app = FastAPI()
        app.include_router(consumer_router(impatient, keys=application.keys, clock=application.clock))
        with locked(application.folder / "log.db"):
            answer = application.post(identifier, [authorization], body, app=app)
        problem(answer, 503, "log_unavailable")
        assert answer.field("retry-after") == "1"
        assert application.post(identifier, [authorization], body).status == 200
        if kind == "sync":
            impatient.close()
        else:
            application.runner.run(impatient.aclose())

    def test_the_ring_cannot_be_read(self, application: ConsumerApp, kind: str) -> None:
        """503 with a reference; nothing changes."""

        def keys() -> KeyRing:
            raise KeyRingError("cannot be read")

        app = FastAPI()
        app.include_router(consumer_router(application.log, keys=keys, clock=application.clock))
        identifier = application.issue()
        rows = application.rows()
        authorization, body = application.signed(identifier)
        answer = application.post(identifier, [authorization], body, app=app)
        problem(answer, 503, "key_ring")
        assert len(answer.reference) == 8
        assert application.rows() == rows


# What is not authentic, and what only the log says of it: makes header values and body for an id.
Forgery = Callable[[ConsumerApp, str], tuple[Any, Any]]
FORGERIES: dict[str, tuple[str, Forgery]] = {
    "no header": ("malformed_authorization", lambda application, i: ([], application.signed(i)[1])),
    "two headers": (
        "malformed_authorization",
        lambda application, i: ([application.signed(i)[0]] * 2, application.signed(i)[1]),
    ),
    "an empty header": ("malformed_authorization", lambda application, i: ([""], application.signed(i)[1])),
    "another scheme": ("malformed_authorization", lambda application, i: (["Bearer x"], application.signed(i)[1])),
    "a scheme in lower case": (
        "malformed_authorization",
        lambda application, i: ([application.signed(i)[0].replace("GHASI", "ghasi")], application.signed(i)[1]),
    ),
    "more behind": (
        "malformed_authorization",
        lambda application, i: ([application.signed(i)[0] + ", a=b"], application.signed(i)[1]),
    ),
    "no ASCII": ("malformed_authorization", lambda application, i: ([b"\xff\xfe"], application.signed(i)[1])),
    "no body": ("malformed_body", lambda application, i: ([application.signed(i)[0]], b"")),
    "a body with a space": (
        "malformed_body",
        lambda application, i: ([application.signed(i)[0]], application.signed(i)[1].replace(b":", b": ")),
    ),
    "a body with a byte behind": (
        "malformed_body",
        lambda application, i: ([application.signed(i)[0]], application.signed(i)[1] + b"\n"),
    ),
    "no UTF-8": ("malformed_body", lambda application, i: ([application.signed(i)[0]], b"\xff" * 300)),
    "a body too large": (
        "malformed_body",
        lambda application, i: ([application.signed(i)[0]], application.signed(i)[1] + b" " * 10**6),
    ),
    "a body too large, in pieces": (
        "malformed_body",
        lambda application, i: ([application.signed(i)[0]], [application.signed(i)[1], *[b" " * 100] * 50]),
    ),
    "an endless body": ("malformed_body", lambda application, i: ([application.signed(i)[0]], endless())),
    "an unknown key": (
        "unknown_key",
        lambda application, i: application.signed(i, KeyRing.generate(kid="k2", now=datetime.fromtimestamp(0, UTC))),
    ),
    "a forged signature": (
        "invalid_mac",
        lambda application, i: application.signed(i, KeyRing.generate(kid="k1", now=datetime.fromtimestamp(0, UTC))),
    ),
    "another handoff's signature": (
        "invalid_mac",
        lambda application, i: ([application.signed(application.issue())[0]], application.signed(i)[1]),
    ),
    "another redemption's signature": (
        "invalid_mac",
        lambda application, i: ([application.signed(i, redemption_id=OTHER_RID)[0]], application.signed(i)[1]),
    ),
    "stale": ("stale", lambda application, i: application.signed(i, sent_at=int(application.clock.now) - 61)),
    "from the future": ("stale", lambda application, i: application.signed(i, sent_at=int(application.clock.now) + 61)),
}


class TestForgeries:
    @pytest.mark.parametrize("name", FORGERIES)
    def test_each_gets_the_one_answer(
        self, application: ConsumerApp, name: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        """401, the same bytes for all of them, whatever the path; no row changes; the log says why."""
        caplog.set_level(logging.INFO, "ghasi_handoff")
        reason, make = FORGERIES[name]
        identifier = application.issue()
        wanted = application.post("x", [], b"")
        for path in (identifier, "x", "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71"):
            header, body = make(application, identifier)
            rows = application.rows()
            caplog.clear()
            answer = application.post(path, [header] if isinstance(header, str) else header, body)
            assert (answer.status, answer.headers, answer.body) == (wanted.status, wanted.headers, wanted.body)
            assert answer.chunks_read <= 12
            assert application.rows() == rows
            extras: Any = [r for r in caplog.records if r.getMessage() == "consume_call"]
            assert [(extra.handoff_status, extra.handoff_reason) for extra in extras] == [(401, reason)]

    def test_the_answer(self, application: ConsumerApp) -> None:
        """A problem that says nothing, and the scheme."""
        answer = application.post("x", [], b"")
        problem(answer, 401, "unauthenticated_call")
        assert answer.field("www-authenticate") == "GHASI-CONSUME"

    def test_a_call_goes_stale(self, application: ConsumerApp) -> None:
        """What was authentic is not after a minute: recorded and sent again, it changes nothing."""
        identifier = application.issue()
        authorization, body = application.signed(identifier)
        application.clock.now += 60
        assert application.post(identifier, [authorization], body).status == 200
        application.clock.now += 1
        problem(application.post(identifier, [authorization], body), 401, "unauthenticated_call")

    def test_no_secret_is_logged(self, application: ConsumerApp, caplog: pytest.LogCaptureFixture) -> None:
        """No MAC, whatever becomes of the call."""
        caplog.set_level(logging.DEBUG)
        identifier = application.issue()
        authorization, body = application.signed(identifier)
        for value in (authorization, authorization + "x"):
            application.post(identifier, [value], body)
        mac = authorization.split("mac=")[1]
        assert caplog.records and not any(mac in str(vars(record)) for record in caplog.records)

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
    def test_other_methods_do_nothing(self, application: ConsumerApp, method: str) -> None:
        """405, signed or not."""
        identifier = application.issue()
        rows = application.rows()
        authorization, body = application.signed(identifier)
        target = f"/internal/handoff/{identifier}/consume"
        answer = application.runner.run(
            answer_of(application.app, method, target, (("Authorization", authorization),), body)
        )
        assert answer.status == 405
        assert application.rows() == rows

    def test_a_caller_that_goes_away_changes_nothing(
        self, application: ConsumerApp, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A connection that breaks in the body is no error of the application, and no call."""
        identifier = application.issue()
        rows = application.rows()
        authorization, body = application.signed(identifier)
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
        application.runner.run(application.app(scope, receive, send))
        assert application.rows() == rows
        assert [r for r in caplog.records if r.levelno >= logging.ERROR] == []


class TestConfiguration:
    @pytest.mark.parametrize("log", [None, object(), "log.db"])
    def test_a_wrong_log(self, application: ConsumerApp, log: Any) -> None:
        """Refused when the router is made."""
        with pytest.raises(ConfigurationError):
            consumer_router(log, keys=application.keys)

    def test_wrong_keys(self, application: ConsumerApp) -> None:
        """Refused when the router is made."""
        with pytest.raises(ConfigurationError):
            consumer_router(application.log, keys=None)  # type: ignore[arg-type]

    def test_a_ring_that_changes(self, application: ConsumerApp) -> None:
        """A callable's ring is the present one: a key revoked is refused at once."""
        state = {"ring": application.keys}
        app = FastAPI()
        app.include_router(consumer_router(application.log, keys=lambda: state["ring"], clock=application.clock))
        identifier = application.issue()
        authorization, body = application.signed(identifier)
        now = datetime.fromtimestamp(application.clock.now, UTC)
        state["ring"] = application.keys.revoke("k1", now=now)
        problem(application.post(identifier, [authorization], body, app=app), 401, "unauthenticated_call")
        state["ring"] = application.keys
        assert application.post(identifier, [authorization], body, app=app).status == 200
