"""``ghasi-handoff handoff`` and ``outbox``: what an operator asks at night, on real logs and stores."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from psycopg_pool import ConnectionPool

from ghasi_handoff import ExpiredTokenError, KeyRing, MintedHandoff, ReplayedTokenError, keyfile
from ghasi_handoff.handshake import ConsumeCall, ConsumeClient, Handshake, PostgresHandoffLog, SQLiteHandoffLog
from ghasi_handoff.stores.postgres import PostgresReplayStore
from ghasi_handoff.stores.redis import RedisReplayStore
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from ..handshake.services import GUEST, STRANGER, TENANT, Clock, consumer, issue, redeemer
from .command_runner import run_here

NOBODY = "http://127.0.0.1:9"


class Night:
    """Two services with their databases, and a guest's handoff."""

    def __init__(self, log_url: str, store_url: str, log: Any, store: Any, folder: Path) -> None:
        self.log_url, self.store_url, self.log, self.store, self.folder = log_url, store_url, log, store, folder
        self.clock = Clock()
        self.keys = KeyRing.generate()
        keyfile.save(folder / "keys.json", self.keys)
        self.clock.now = time.time()
        self.minted = issue(self.keys, log, self.clock)

    @property
    def variables(self) -> dict[str, str]:
        return {"GHASI_HANDOFF_LOG_URL": self.log_url, "GHASI_HANDOFF_STORE_URL": self.store_url}

    def redeem(self, browser: bytes = GUEST, mode: Any = "strict", minted: MintedHandoff | None = None) -> None:
        with (
            consumer(self.log, self.keys, self.clock) as service,
            ConsumeClient(service.url, keys=self.keys, clock=self.clock) as client,
        ):
            handshake = Handshake(redeemer(self.keys, self.store, self.clock), client, mode)
            handshake.redeem((minted or self.minted).token, tenant=TENANT, browser_secret=browser)

    def ask(self, *arguments: str, status: int = 0, stdin: str = "") -> dict[str, Any]:
        done = run_here(*arguments, "--json", stdin=stdin, **self.variables)
        assert done.returncode == status, done.stdout + done.stderr
        facts: dict[str, Any] = json.loads(done.stdout)
        return facts

    def trace(self, which: str | None = None, status: int = 0) -> dict[str, Any]:
        return self.ask("handoff", "trace", which or self.minted.handoff_id, status=status)


@pytest.fixture(params=["sqlite", "postgresql"])
def night(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Night]:
    """On each product."""
    with ExitStack() as stack:
        log: Any
        store: Any
        if request.param == "sqlite":
            log_url, store_url = f"sqlite:///{tmp_path}/log.db", f"sqlite:///{tmp_path}/replay.db"
            log, store = SQLiteHandoffLog(tmp_path / "log.db"), SQLiteReplayStore(tmp_path / "replay.db", outbox=True)
        else:
            log_url = store_url = request.getfixturevalue("postgres_url")
            pool = stack.enter_context(ConnectionPool(log_url, min_size=1, max_size=4, open=True))
            log, store = PostgresHandoffLog(pool), PostgresReplayStore(pool, outbox=True)
        with log, store:
            assert run_here("handoff", "init", "--log-url", log_url).stdout == "ready\n"
            store.create_schema()
            yield Night(log_url, store_url, log, store, tmp_path)


def test_the_link_was_already_used(night: Night) -> None:
    """The answer to the guest's question: who redeemed, when, and how much later somebody else tried."""
    night.redeem()
    night.clock.now += 41
    with pytest.raises(ReplayedTokenError):
        night.redeem(STRANGER)
    found = night.trace()
    assert found["verdict"] == "redeemed"
    assert re.fullmatch(
        r"redeemed by one browser at [-0-9]{10} [:0-9]{8} UTC, tried by another 41 s later", found["text"]
    )
    assert [moment["what"].split(" (")[0] for moment in found["timeline"]] == [
        f"issued for {TENANT}, signed by {night.minted.kid}",
        "redeemed by browser A",
        "told: redeemed by browser A",
        "refused: browser B",
        "the token ends",
    ]
    shown = run_here("handoff", "trace", night.minted.handoff_id, **night.variables).stdout
    assert found["text"] in shown
    assert "booking side  refused: browser B" in shown


def test_a_token_and_a_url_are_as_good_as_an_id(night: Night) -> None:
    """Pasted from a mail, by argument or standard input; never echoed."""
    night.redeem()
    token = night.minted.token
    url = night.minted.url("https://aurora.example/handoff?lang=de")
    expected = night.trace()
    assert night.trace(token) == expected
    assert night.trace(url) == expected
    assert night.ask("handoff", "trace", "-", stdin=url + "\n") == expected
    assert night.trace(night.minted.handoff_id.upper()) == expected
    shown = run_here("handoff", "trace", url, **night.variables)
    assert token not in shown.stdout + shown.stderr
    assert token.rsplit(".", 1)[1] not in json.dumps(expected)


@pytest.mark.parametrize(
    ("name", "code", "text"),
    [
        ("fresh", "open", "not redeemed; it is good until"),
        ("deferred", "not_reported", "has not been told yet (it waits in the outbox)"),
        ("revoked", "revoked", "and never redeemed"),
        ("revoked after", "redeemed_and_revoked", "revoked at bff-consumer before it was told"),
        ("disagree", "logs_disagree", "name different browsers"),
        ("late", "too_late", "30 s after the token's end"),
        ("tried", "not_reported", "(1 tries, the last one: unreachable)"),
    ],
)
def test_every_verdict(name: str, code: str, text: str, night: Night) -> None:
    """Each state of the two logs has a verdict of its own, in words and as a code."""
    if name in ("deferred", "revoked after", "tried"):
        night.redeem(mode="deferred")
    if name in ("revoked", "revoked after"):
        night.log.revoke(night.minted.handoff_id)
    if name == "tried":
        options = ["--consumer-url", NOBODY, "--keys", str(night.folder / "keys.json"), "--now"]
        assert night.ask("outbox", "drain", *options, status=1)["postponed"] == 1
    if name == "late":
        night.clock.now = night.minted.expires_at.timestamp() + 30
        with pytest.raises(ExpiredTokenError):
            night.redeem()
    if name == "disagree":
        night.redeem()
        with SQLiteReplayStore(night.folder / "other.db") as emptied:
            night.store_url = f"sqlite:///{night.folder}/other.db"
            night.store = emptied
            with pytest.raises(ReplayedTokenError):
                night.redeem(STRANGER)
    found = night.trace()
    assert found["verdict"] == code
    assert text in found["text"]


def test_an_ended_handoff_and_one_that_nobody_knows(night: Night) -> None:
    """Expired is said of a row whose time is over; unknown, with exit code 1, of one that neither log has."""
    old_keys = KeyRing.generate(now=night.minted.issued_at.replace(year=2025))
    old = issue(old_keys, night.log, lambda: night.clock.now - 4000)
    ended = night.trace(old.handoff_id)
    assert (ended["verdict"], ended["text"].partition(" at ")[0]) == ("expired", "never redeemed; it ended")
    unknown = night.trace("01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71", status=1)
    assert unknown["verdict"] == "unknown"
    assert unknown["timeline"] == []


def test_one_log_alone_says_what_it_knows(night: Night) -> None:
    """Support of one service has no access to the other's database."""
    night.redeem()
    id_ = night.minted.handoff_id
    log_only = json.loads(run_here("handoff", "trace", id_, "--log-url", night.log_url, "--json").stdout)
    assert (log_only["verdict"], log_only["store"]) == ("redeemed", None)
    store_only = json.loads(run_here("handoff", "trace", id_, "--store-url", night.store_url, "--json").stdout)
    assert (store_only["verdict"], store_only["log"]) == ("redeemed", None)
    neither = run_here("handoff", "trace", id_)
    assert neither.returncode == 2
    assert "--log-url" in neither.stderr


def test_a_redis_store_is_asked_too(night: Night, redis_url: str) -> None:
    """It has the holder, and no refusals."""
    import redis

    with redis.Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=1) as client:
        night.store = RedisReplayStore(client)
        night.redeem()
        night.store_url = redis_url
        found = night.trace()
    assert (found["verdict"], len(found["store"]["records"])) == ("redeemed", 1)
    assert night.trace(night.minted.token)["store"] == found["store"]


def test_redis_alone_is_not_asked_by_an_id_alone(night: Night, redis_url: str) -> None:
    """Its keys hold the issuer and audience: without them nobody was asked, which is not the same as not found."""
    done = run_here("handoff", "trace", night.minted.handoff_id, "--store-url", redis_url, "--json")
    facts = json.loads(done.stdout)
    assert (done.returncode, facts["code"]) == (1, "invalid_input")
    assert "--log-url" in facts["message"]
    asked = json.loads(run_here("handoff", "trace", night.minted.token, "--store-url", redis_url, "--json").stdout)
    assert asked["verdict"] == "unknown"


def test_finding_handoffs(night: Night) -> None:
    """By tenant, time and state, the newest first; a limit that was reached is said."""
    night.clock.now += 1
    second = issue(night.keys, night.log, night.clock)
    night.redeem(minted=second)
    ids = [second.handoff_id, night.minted.handoff_id]
    assert [row["handoff_id"] for row in night.ask("handoff", "find")["handoffs"]] == ids
    assert [
        row["handoff_id"] for row in night.ask("handoff", "find", "--tenant", TENANT, "--since", "2h")["handoffs"]
    ] == ids
    assert night.ask("handoff", "find", "--tenant", "another")["handoffs"] == []
    assert night.ask("handoff", "find", "--until", "2026-01-01")["handoffs"] == []
    assert [row["handoff_id"] for row in night.ask("handoff", "find", "--state", "consumed")["handoffs"]] == ids[:1]
    assert night.ask("handoff", "find", "--limit", "1")["limited"] is True
    shown = run_here("handoff", "find", "--limit", "1", **night.variables).stdout
    assert ids[0] in shown
    assert "only the newest 1" in shown
    assert run_here("handoff", "find", "--tenant", "another", **night.variables).stdout == "none\n"
    for wrong in (["--since", "yesterday"], ["--tenant", "a b"]):
        assert night.ask("handoff", "find", *wrong, status=1)["code"] == "invalid_input"


def test_revoking_a_handoff(night: Night) -> None:
    """Cancelled, if it was not redeemed; said so, with exit code 1, if it was."""
    assert night.ask("handoff", "revoke", night.minted.handoff_id) == {
        "ok": True, "code": "ok", "message": f"revoked: handoff {night.minted.handoff_id}",
        "handoff_id": night.minted.handoff_id, "state": "revoked",
    }  # fmt: skip
    second = issue(night.keys, night.log, night.clock)
    night.redeem(minted=second)
    assert night.ask("handoff", "revoke", second.token, status=1)["state"] == "consumed"
    assert "not revoked" in run_here("handoff", "revoke", second.handoff_id, **night.variables).stdout
    unknown = night.ask("handoff", "revoke", "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71", status=1)
    assert unknown["code"] == "unknown_handoff"


def test_maintaining_the_log(night: Night) -> None:
    """Old rows go, the command may be repeated, and a cron job hears nothing."""
    issue(
        KeyRing.generate(now=night.minted.issued_at.replace(year=2025)), night.log, lambda: night.clock.now - 60 * 3600
    )
    assert night.ask("handoff", "maintain")["removed"] == 1
    assert night.ask("handoff", "maintain")["removed"] == 0
    done = run_here("handoff", "maintain", "--quiet", **night.variables)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_listing_and_draining_the_outbox(night: Night) -> None:
    """What waits is listed, delivered by hand, and gone; nothing else is touched."""
    night.redeem(mode="deferred")
    listed = night.ask("outbox", "list")
    assert (listed["pending"], listed["dead"]) == (1, 0)
    assert listed["entries"][0]["handoff_id"] == night.minted.handoff_id
    assert "not tried yet" in run_here("outbox", "list", **night.variables).stdout
    options = ["--keys", str(night.folder / "keys.json"), "--now"]
    with consumer(night.log, night.keys) as service:
        down = night.ask("outbox", "drain", *options, "--consumer-url", NOBODY, status=1)
        assert (down["delivered"], down["postponed"], down["pending"]) == (0, 1, 1)
        assert "the last: unreachable" in run_here("outbox", "list", **night.variables).stdout
        done = night.ask("outbox", "drain", *options, "--consumer-url", service.url)
    assert (done["delivered"], done["pending"]) == (1, 0)
    assert night.log.find(night.minted.handoff_id).state.value == "consumed"
    assert run_here("outbox", "list", **night.variables).stdout == "0 waiting; 0 given up\n"


def test_draining_says_which_were_refused(night: Night) -> None:
    """A refused entry is gone from the outbox: which handoff it was, and why, is said here, and nothing beside it."""
    night.redeem(mode="deferred")
    lost = issue(night.keys, night.log, night.clock)
    night.redeem(mode="deferred", minted=lost)
    night.log.revoke(night.minted.handoff_id)
    at = int(night.clock.now)
    night.log.consume(ConsumeCall("bff-consumer", "bff-tenant-booking", lost.handoff_id, "f" * 64, at, at), at)
    with consumer(night.log, night.keys) as service:
        options = ["--keys", str(night.folder / "keys.json"), "--now", "--consumer-url", service.url]
        done = run_here("outbox", "drain", *options, **night.variables)
    assert f"{night.minted.handoff_id}  refused: revoked_handoff\n" in done.stdout
    assert f"{lost.handoff_id}  refused: replayed\n" in done.stdout
    assert (done.stdout.splitlines()[2].partition(",")[0], done.stderr) == ("0 delivered", "")


def test_draining_over_a_mesh(night: Night) -> None:
    """Plain http to another machine is refused, unless the operator says that something else encrypts."""
    night.redeem(mode="deferred")
    options = ["--keys", str(night.folder / "keys.json"), "--now", "--consumer-url", "http://bff-consumer.invalid"]
    assert night.ask("outbox", "drain", *options, status=2)["code"] == "configuration"
    done = night.ask("outbox", "drain", *options, "--allow-http", status=1)
    assert (done["postponed"], done["refusals"]) == (1, [])


def test_what_was_given_up_is_shown_and_tried_again_on_request(night: Night) -> None:
    """Exit code 1 as long as anything is given up; --dead tries it again."""
    night.redeem(mode="deferred")
    (entry,) = night.store.outbox.entries(limit=9)
    night.store.outbox.bury(entry, dead_at=int(night.clock.now), outcome="status_401")
    assert night.ask("outbox", "list", status=1)["dead"] == 1
    assert "given up" in run_here("outbox", "list", **night.variables).stdout
    options = ["--keys", str(night.folder / "keys.json"), "--now"]
    with consumer(night.log, night.keys) as service:
        assert night.ask("outbox", "drain", *options, "--consumer-url", service.url)["delivered"] == 0
        assert night.ask("outbox", "drain", *options, "--dead", "--consumer-url", service.url)["delivered"] == 1


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["handoff", "trace", "nonsense", "--log-url", "sqlite:///log.db"], "invalid_input"),
        (
            ["handoff", "trace", "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71", "--log-url", "sqlite:///no.db"],
            "log_unavailable",
        ),
        (["handoff", "find", "--log-url", "redis://localhost"], "configuration"),
        (["handoff", "find"], "configuration"),
        (["handoff", "init", "--log-url", "sqlite://nowhere"], "configuration"),
        (["outbox", "list", "--store-url", "redis://localhost"], "configuration"),
        (["outbox", "list", "--store-url", "sqlite:///no.db"], "store_unavailable"),
        (
            ["handoff", "revoke", "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71", "--log-url", "sqlite:///no.db"],
            "log_unavailable",
        ),
        (["handoff", "maintain", "--log-url", "sqlite:///no.db"], "log_unavailable"),
        (["store", "maintain", "--store-url", "sqlite:///no.db"], "store_unavailable"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, list) else value,
)
def test_mistakes_have_a_code(arguments: list[str], code: str, tmp_path: Path) -> None:
    """A wrong URL, a file that is not there, an id that is none: said at once, and no file is made."""
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        done = run_here(*arguments, "--json")
    finally:
        os.chdir(before)
    assert json.loads(done.stdout)["code"] == code
    assert list(tmp_path.iterdir()) == []


def test_the_logs_migration_is_printed_as_sql() -> None:
    """For a migration tool; it is what `init` runs."""
    from ghasi_handoff.stores.postgres import LOG_SCHEMA

    assert run_here("handoff", "init", "--sql").stdout == LOG_SCHEMA
