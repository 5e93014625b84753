"""Watched keys in FastAPI's other routes: a key that has just arrived is read, and operators may compare fingerprints."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pytest
from click.testing import CliRunner
from fastapi import Depends, FastAPI
from tests.handshake.services import AUDIENCE, ISSUER, STAY, TENANT, Clock, issue
from tests.landing.test_catch_up import NEVER, rotated

from ghasi_handoff import KeyRing, KeyRingError, Minter, VerifiedHandoff, Verifier, keyfile
from ghasi_handoff.cli import main
from ghasi_handoff.handshake import ConsumeCall, LastUse, SQLiteHandoffLog
from ghasi_handoff.handshake._consume_call import sign_call
from ghasi_handoff.integrations.fastapi import consumer_router, fingerprint_router, verified_handoff
from ghasi_handoff.keyfile import WatchedKeyRing
from ghasi_handoff.rotation import Fingerprint

from .asgi import answer_of, served


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The key file."""
    return tmp_path / "keys.json"


class TestCatchUp:
    def test_consume_call(self, tmp_path: Path, path: Path) -> None:
        """bff-consumer reads for a key with which the booking side signs already."""
        clock = Clock()
        first = KeyRing.generate(kid="first", now=datetime.fromtimestamp(clock.now - 120, UTC))
        keyfile.save(path, first)
        second = rotated(first, clock)
        app = FastAPI()
        with (
            closing(SQLiteHandoffLog(tmp_path / "log.db", clock=clock)) as log,
            WatchedKeyRing(path, interval=NEVER) as keys,
        ):
            log.create_schema()
            minted = issue(first, log, clock)
            app.include_router(consumer_router(log, keys=keys, clock=clock))
            now = int(clock.now)
            call = ConsumeCall(ISSUER, AUDIENCE, minted.handoff_id, "a" * 64, now, now)
            authorization, body = sign_call(call, second)
            assert "kid=late" in authorization
            target = f"/internal/handoff/{minted.handoff_id}/consume"

            def ask() -> int:
                return asyncio.run(answer_of(app, "POST", target, [("Authorization", authorization)], body)).status

            keyfile.save(path, second)
            assert ask() == 200

    def test_dependency(self, path: Path) -> None:
        """`verified_handoff` does likewise."""
        clock = Clock()
        first = KeyRing.generate(kid="first", now=datetime.fromtimestamp(clock.now - 120, UTC))
        keyfile.save(path, first)
        second = rotated(first, clock)
        app = FastAPI()
        with WatchedKeyRing(path, interval=NEVER) as keys:
            handoff = verified_handoff(Verifier(keys, issuer=ISSUER, audience=AUDIENCE), tenant=lambda request: TENANT)

            async def show(handoff: Any = Depends(handoff)) -> str:  # noqa: B008
                assert isinstance(handoff, VerifiedHandoff)
                return handoff.kid

            app.get("/")(show)
            keyfile.save(path, second)
            token = Minter(second, issuer=ISSUER, audience=AUDIENCE).mint(STAY, tenant=TENANT).token
            answer = asyncio.run(answer_of(app, "GET", f"/?handoff={token}"))
        assert (answer.status, answer.text) == (200, '"late"')


def fingerprint_app(keys: KeyRing | Callable[[], KeyRing], **options: Any) -> FastAPI:
    """A service that shows which keys it has."""
    app = FastAPI()
    app.include_router(fingerprint_router(keys, **options))
    return app


class TestFingerprint:
    def test_what_it_shows(self) -> None:
        """Kids, states, dates, a keyed hash and the last use: no secret in any spelling, and nothing may be cached."""
        ring = KeyRing.generate(kid="k1").rotate("k2")
        last_use = LastUse(ring)
        last_use.saw("k1")
        answer = asyncio.run(answer_of(fingerprint_app(ring, last_use=last_use), "GET", "/internal/handoff/keys"))
        assert (answer.status, answer.field("cache-control")) == (200, "no-store")
        assert answer.field("content-type") == "application/json"
        shown = Fingerprint.from_json(answer.text)
        assert [(key.kid, key.last_used_at is None) for key in shown.keys] == [("k1", False), ("k2", True)]
        for key in json.loads(ring.to_json())["keys"]:
            secret = next(value for name, value in key.items() if name.startswith("secret"))
            assert secret not in answer.text

    def test_it_is_the_present_ring(self, path: Path) -> None:
        """Of a watched ring it shows what is in use, not what was."""
        keyfile.save(path, KeyRing.generate(kid="k1"))
        with WatchedKeyRing(path, interval=NEVER) as keys:
            app = fingerprint_app(keys)
            keyfile.save(path, keys().rotate("k2"))
            assert keys.refresh("k2")
            answer = asyncio.run(answer_of(app, "GET", "/internal/handoff/keys"))
        assert [key.kid for key in Fingerprint.from_json(answer.text).keys] == ["k1", "k2"]

    def test_no_ring(self) -> None:
        """A ring that cannot be had now is a 503."""

        def keys() -> KeyRing:
            raise KeyRingError("no file")

        answer = asyncio.run(answer_of(fingerprint_app(keys), "GET", "/internal/handoff/keys"))
        assert (answer.status, json.loads(answer.body)["code"]) == (503, "key_ring")

    def test_the_operators_command_reads_it(self, path: Path) -> None:
        """`keys doctor --peer URL` compares this side's file with what the other side's service says."""
        ring = KeyRing.generate(kid="k1")
        keyfile.save(path, ring)
        path.chmod(0o600)

        def doctor(port: int) -> Annotated[dict[str, Any], "its answer"]:
            url = f"http://127.0.0.1:{port}/internal/handoff/keys"
            done = CliRunner().invoke(main, ["keys", "doctor", "--keys", str(path), "--peer", url, "--json"])
            found: dict[str, Any] = json.loads(done.stdout)
            return found | {"status": done.exit_code}

        with served(fingerprint_app(ring)) as port:
            assert doctor(port)["status"] == 0
        with served(fingerprint_app(KeyRing.generate(kid="k1"))) as port:  # the same name, another secret
            assert doctor(port)["status"] == 1
