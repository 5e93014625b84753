"""`handoff …`: what an operator asks at night, on real logs and stores."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from ghasi_handoff import ExpiredTokenError, KeyRing, ReplayedTokenError
from ghasi_handoff.stores.redis import RedisReplayStore
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from ..handshake.services import STRANGER, TENANT, issue
from .command_runner import run_here
from .two_services import NOBODY, TwoServices


def test_the_link_was_already_used(services: TwoServices) -> None:
    """The answer to the guest's question: who redeemed, when, and how much later somebody else tried."""
    services.redeem()
    services.clock.now += 41
    with pytest.raises(ReplayedTokenError):
        services.redeem(STRANGER)
    found = services.trace()
    assert found["verdict"] == "redeemed"
    assert re.fullmatch(
        r"redeemed by one browser at [-0-9]{10} [:0-9]{8} UTC, tried by another 41 s later", found["text"]
    )
    assert [moment["what"].split(" (")[0] for moment in found["timeline"]] == [
        f"issued for {TENANT}, signed by {services.minted.kid}",
        "redeemed by browser A",
        "told: redeemed by browser A",
        "refused: browser B",
        "the token ends",
    ]
    shown = run_here("handoff", "trace", services.minted.handoff_id, **services.variables).stdout
    assert found["text"] in shown
    assert "booking side  refused: browser B" in shown


def test_a_token_and_a_url_are_as_good_as_an_id(services: TwoServices) -> None:
    """Pasted from a mail, by argument or standard input; never echoed."""
    services.redeem()
    token = services.minted.token
    url = services.minted.url("https://aurora.example/handoff?lang=de")
    expected = services.trace()
    assert services.trace(token) == expected
    assert services.trace(url) == expected
    assert services.ask("handoff", "trace", "-", stdin=url + "\n") == expected
    assert services.trace(services.minted.handoff_id.upper()) == expected
    shown = run_here("handoff", "trace", url, **services.variables)
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
def test_every_verdict(name: str, code: str, text: str, services: TwoServices) -> None:
    """Each state of the two logs has a verdict of its own, in words and as a code."""
    if name in ("deferred", "revoked after", "tried"):
        services.redeem(mode="deferred")
    if name in ("revoked", "revoked after"):
        services.log.revoke(services.minted.handoff_id)
    if name == "tried":
        options = ["--consumer-url", NOBODY, "--keys", str(services.folder / "keys.json"), "--now"]
        assert services.ask("outbox", "drain", *options, status=1)["postponed"] == 1
    if name == "late":
        services.clock.now = services.minted.expires_at.timestamp() + 30
        with pytest.raises(ExpiredTokenError):
            services.redeem()
    if name == "disagree":
        services.redeem()
        with SQLiteReplayStore(services.folder / "other.db") as emptied:
            services.store_url = f"sqlite:///{services.folder}/other.db"
            services.store = emptied
            with pytest.raises(ReplayedTokenError):
                services.redeem(STRANGER)
    found = services.trace()
    assert found["verdict"] == code
    assert text in found["text"]


def test_an_ended_handoff_and_one_that_nobody_knows(services: TwoServices) -> None:
    """Expired is said of a row whose time is over; unknown, with exit code 1, of one that neither log has."""
    old_keys = KeyRing.generate(now=services.minted.issued_at.replace(year=2025))
    old = issue(old_keys, services.log, lambda: services.clock.now - 4000)
    ended = services.trace(old.handoff_id)
    assert (ended["verdict"], ended["text"].partition(" at ")[0]) == ("expired", "never redeemed; it ended")
    unknown = services.trace("01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71", status=1)
    assert unknown["verdict"] == "unknown"
    assert unknown["timeline"] == []


def test_one_log_alone_says_what_it_knows(services: TwoServices) -> None:
    """Support of one service has no access to the other's database."""
    services.redeem()
    id_ = services.minted.handoff_id
    log_only = json.loads(run_here("handoff", "trace", id_, "--log-url", services.log_url, "--json").stdout)
    assert (log_only["verdict"], log_only["store"]) == ("redeemed", None)
    store_only = json.loads(run_here("handoff", "trace", id_, "--store-url", services.store_url, "--json").stdout)
    assert (store_only["verdict"], store_only["log"]) == ("redeemed", None)
    neither = run_here("handoff", "trace", id_)
    assert neither.returncode == 2
    assert "--log-url" in neither.stderr


def test_a_redis_store_is_asked_too(services: TwoServices, redis_url: str) -> None:
    """It has the holder, and no refusals."""
    import redis

    with redis.Redis.from_url(redis_url, socket_timeout=1, socket_connect_timeout=1) as client:
        services.store = RedisReplayStore(client)
        services.redeem()
        services.store_url = redis_url
        found = services.trace()
    assert (found["verdict"], len(found["store"]["records"])) == ("redeemed", 1)
    assert services.trace(services.minted.token)["store"] == found["store"]


def test_redis_alone_is_not_asked_by_an_id_alone(services: TwoServices, redis_url: str) -> None:
    """Its keys hold the issuer and audience: without them nobody was asked, which is not the same as not found."""
    done = run_here("handoff", "trace", services.minted.handoff_id, "--store-url", redis_url, "--json")
    facts = json.loads(done.stdout)
    assert (done.returncode, facts["code"]) == (1, "invalid_input")
    assert "--log-url" in facts["message"]
    asked = json.loads(run_here("handoff", "trace", services.minted.token, "--store-url", redis_url, "--json").stdout)
    assert asked["verdict"] == "unknown"


def test_finding_handoffs(services: TwoServices) -> None:
    """By tenant, time and state, the newest first; a limit that was reached is said."""
    services.clock.now += 1
    second = issue(services.keys, services.log, services.clock)
    services.redeem(minted=second)
    ids = [second.handoff_id, services.minted.handoff_id]
    assert [row["handoff_id"] for row in services.ask("handoff", "find")["handoffs"]] == ids
    assert [
        row["handoff_id"] for row in services.ask("handoff", "find", "--tenant", TENANT, "--since", "2h")["handoffs"]
    ] == ids
    assert services.ask("handoff", "find", "--tenant", "another")["handoffs"] == []
    assert services.ask("handoff", "find", "--until", "2026-01-01")["handoffs"] == []
    assert [row["handoff_id"] for row in services.ask("handoff", "find", "--state", "consumed")["handoffs"]] == ids[:1]
    assert services.ask("handoff", "find", "--limit", "1")["limited"] is True
    shown = run_here("handoff", "find", "--limit", "1", **services.variables).stdout
    assert ids[0] in shown
    assert "only the newest 1" in shown
    assert run_here("handoff", "find", "--tenant", "another", **services.variables).stdout == "none\n"
    for wrong in (["--since", "yesterday"], ["--tenant", "a b"]):
        assert services.ask("handoff", "find", *wrong, status=1)["code"] == "invalid_input"


def test_revoking_a_handoff(services: TwoServices) -> None:
    """Cancelled, if it was not redeemed; said so, with exit code 1, if it was."""
    assert services.ask("handoff", "revoke", services.minted.handoff_id) == {
        "ok": True, "code": "ok", "message": f"revoked: handoff {services.minted.handoff_id}",
        "handoff_id": services.minted.handoff_id, "state": "revoked",
    }  # fmt: skip
    second = issue(services.keys, services.log, services.clock)
    services.redeem(minted=second)
    assert services.ask("handoff", "revoke", second.token, status=1)["state"] == "consumed"
    assert "not revoked" in run_here("handoff", "revoke", second.handoff_id, **services.variables).stdout
    unknown = services.ask("handoff", "revoke", "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71", status=1)
    assert unknown["code"] == "unknown_handoff"


def test_maintaining_the_log(services: TwoServices) -> None:
    """Old rows go, the command may be repeated, and a cron job hears nothing."""
    issue(
        KeyRing.generate(now=services.minted.issued_at.replace(year=2025)),
        services.log,
        lambda: services.clock.now - 60 * 3600,
    )
    assert services.ask("handoff", "maintain")["removed"] == 1
    assert services.ask("handoff", "maintain")["removed"] == 0
    done = run_here("handoff", "maintain", "--quiet", **services.variables)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


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
