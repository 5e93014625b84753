"""Settings out of the environment: each variable, what is refused, and what no error may repeat."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.handshake.services import AUDIENCE, ISSUER, SCOPE, STAY, TENANT, handoff_id

from ghasi_handoff import ConfigurationError, KeyRing, KeyRingError, Minter, ReplayStoreError, keyfile
from ghasi_handoff.handshake import AsyncHandoffIssuer
from ghasi_handoff.integrations.fastapi import BookingSettings, ConsumerSettings

BOOKING = {"CONSUMER_URL": "https://consumer.example", "PUBLIC_ORIGIN": "https://aurora.example"}
PASSWORD = "geheim-4711"
Environment = Callable[..., None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Environment:
    """Sets the variables of the library, without their prefix; nothing else of the kind is set."""
    monkeypatch.chdir(tmp_path)

    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"GHASI_HANDOFF_{name}", value)

    return put


class TestVariables:
    def test_the_defaults(self, environment: Environment) -> None:
        """What may be left out, and what then holds."""
        environment(**BOOKING)
        consumer, booking = ConsumerSettings(), BookingSettings()  # type: ignore[call-arg]
        for each in (consumer, booking):
            assert (each.issuer, each.audience, each.keys, each.keys_file) == (ISSUER, AUDIENCE, None, None)
        assert consumer.log_url.get_secret_value() == "sqlite:///handoff-log.db"
        assert booking.store_url.get_secret_value() == "sqlite:///handoff-replay.db"
        assert (booking.mode, booking.start_url) == ("strict", None)

    def test_each_variable(self, environment: Environment) -> None:
        """Each is read from its own."""
        environment(
            ISSUER="i",
            AUDIENCE="a",
            KEYS="{}",
            KEYS_FILE="keys.json",
            LOG_URL="sqlite:///l.db",
            STORE_URL="redis://r",
            CONSUMER_URL="http://127.0.0.1:8000",
            PUBLIC_ORIGIN="http://127.0.0.1:8001",
            MODE="deferred",
            START_URL="https://rooms.example/",
        )
        consumer, booking = ConsumerSettings(), BookingSettings()  # type: ignore[call-arg]
        for each in (consumer, booking):
            assert each.keys is not None
            assert (each.issuer, each.audience, each.keys.get_secret_value()) == ("i", "a", "{}")
            assert each.keys_file == Path("keys.json")
        assert consumer.log_url.get_secret_value() == "sqlite:///l.db"
        assert booking.store_url.get_secret_value() == "redis://r"
        assert (booking.consumer_url, booking.public_origin) == ("http://127.0.0.1:8000", "http://127.0.0.1:8001")
        assert (booking.mode, booking.start_url) == ("deferred", "https://rooms.example/")

    @pytest.mark.parametrize("name", BOOKING)
    @pytest.mark.parametrize("value", [None, ""])
    def test_what_must_be_there(self, environment: Environment, name: str, value: str | None) -> None:
        """bff-consumer's address and the public origin have no default; an empty variable is none."""
        variables = {key: text for key, text in BOOKING.items() if key != name}
        environment(**variables, **({} if value is None else {name: value}))
        with pytest.raises(ValidationError, match=name.lower()):
            BookingSettings()  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        "origin",
        [
            "https://aurora.example",
            "http://127.0.0.1:8001",
            "https://aurora.example:8443",
            "https://xn--hl-fka.example",
            "http://[::1]:8001",
            "http://localhost",
        ],
    )
    def test_an_origin(self, environment: Environment, origin: str) -> None:
        """As browsers write it."""
        environment(**{**BOOKING, "PUBLIC_ORIGIN": origin})
        assert BookingSettings().public_origin == origin  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        "origin",
        [
            "https://aurora.example/",
            "https://aurora.example/handoff",
            "https://Aurora.example",
            "HTTPS://aurora.example",
            "https://aurora.example:443",
            "http://aurora.example:80",
            "https://aurora.example:",
            "https://aurora.example:x",
            "https://höl.example",
            f"https://user:{PASSWORD}@aurora.example",
            "https://aurora.example?x",
            "https://aurora.example#x",
            "https://aurora.example ",
            "https://",
            "ftp://aurora.example",
            "aurora.example",
            "null",
            "*",
        ],
    )
    def test_no_origin(self, environment: Environment, origin: str) -> None:
        """What no browser would send is refused when the service starts, and not repeated."""
        environment(**{**BOOKING, "PUBLIC_ORIGIN": origin})
        with pytest.raises(ValidationError, match="public_origin") as caught:
            BookingSettings()  # type: ignore[call-arg]
        assert PASSWORD not in str(caught.value)

    def test_no_mode(self, environment: Environment) -> None:
        """Strict or deferred."""
        environment(**BOOKING, MODE="lax")
        with pytest.raises(ValidationError, match="mode"):
            BookingSettings()  # type: ignore[call-arg]


class TestKeys:
    def test_from_the_variable(self, environment: Environment) -> None:
        """The ring as JSON."""
        ring = KeyRing.generate()
        environment(KEYS=ring.to_json())
        assert ConsumerSettings().key_ring().to_json() == ring.to_json()

    def test_from_the_file(self, environment: Environment, tmp_path: Path) -> None:
        """The key file."""
        ring = KeyRing.generate()
        keyfile.save(tmp_path / "keys.json", ring)
        environment(KEYS_FILE=str(tmp_path / "keys.json"), KEYS="")
        assert ConsumerSettings().key_ring().to_json() == ring.to_json()

    def test_neither_or_both(self, environment: Environment) -> None:
        """Refused: nobody should guess which one holds."""
        with pytest.raises(ConfigurationError, match="KEYS"):
            ConsumerSettings().key_ring()
        environment(KEYS=KeyRing.generate().to_json(), KEYS_FILE="keys.json")
        with pytest.raises(ConfigurationError, match="not both"):
            ConsumerSettings().key_ring()

    def test_no_ring(self, environment: Environment, tmp_path: Path) -> None:
        """What is no ring, or no file, is a KeyRingError that does not repeat it."""
        environment(KEYS=f'{{"keys": "{PASSWORD}"}}')
        with pytest.raises(KeyRingError) as caught:
            ConsumerSettings().key_ring()
        assert PASSWORD not in str(caught.value)
        environment(KEYS="", KEYS_FILE=str(tmp_path / "missing.json"))
        with pytest.raises(KeyRingError):
            ConsumerSettings().key_ring()

    def test_nothing_secret_is_shown(self, environment: Environment) -> None:
        """Neither keys nor passwords stand in repr or in an error."""
        ring = KeyRing.generate().to_json()
        environment(KEYS=ring, LOG_URL=f"postgresql://u:{PASSWORD}@h/d", STORE_URL=f"redis://:{PASSWORD}@h", **BOOKING)
        shown = f"{ConsumerSettings()!r} {BookingSettings()!r}"  # type: ignore[call-arg]
        assert PASSWORD not in shown and ring[20:60] not in shown
        environment(MODE=PASSWORD, PUBLIC_ORIGIN=PASSWORD)
        with pytest.raises(ValidationError) as caught:
            BookingSettings()  # type: ignore[call-arg]
        assert PASSWORD not in str(caught.value) and ring[20:60] not in str(caught.value)


@asynccontextmanager
async def opened(made: tuple[Any, AbstractAsyncContextManager[None]]) -> AsyncGenerator[Any]:
    """What was made, open. On PostgreSQL its tables are the operator's to make; a test is its own operator."""
    thing, running = made
    async with running:
        if "Postgres" in type(thing).__name__:
            await thing.create_schema()
        yield thing


async def use_log(settings: ConsumerSettings) -> None:
    """A handoff is issued and found again."""
    async with opened(settings.make_log()) as log:
        minted = await AsyncHandoffIssuer(Minter(KeyRing.generate(), issuer=ISSUER, audience=AUDIENCE), log).issue(
            STAY, tenant=TENANT
        )
        record = await log.find(minted.handoff_id)
        assert record is not None and record.tenant == TENANT
    async with opened(settings.make_log()) as log:
        assert await log.find(minted.handoff_id) == record


async def use_store(settings: BookingSettings, *, outbox: bool) -> None:
    """A handoff is consumed once, and is still when the store is opened again."""
    now = int(time.time())
    identifier = handoff_id(now)

    async def consume(store: Any, who: str) -> str:
        consumption = await store.consume(
            identifier, scope=SCOPE, redemption_id=who * 64, consumed_at=now, retain_until=now + 500
        )
        holder: str = consumption.holder
        return holder

    for who in "ab":
        async with opened(settings.make_store()) as store:
            assert await consume(store, who) == "a" * 64
            assert (getattr(store, "outbox", None) is not None) is outbox


class TestOpening:
    def test_log_on_sqlite(self, environment: Environment, tmp_path: Path) -> None:
        """A file, by a relative or whole path."""
        for url in ("sqlite:///log.db", f"sqlite:///{tmp_path}/whole.db"):
            environment(LOG_URL=url)
            asyncio.run(use_log(ConsumerSettings()))
        assert (tmp_path / "log.db").exists() and (tmp_path / "whole.db").exists()

    def test_log_on_postgresql(self, environment: Environment, postgres_url: str) -> None:
        """A database, whose table is there."""
        environment(LOG_URL=postgres_url)
        asyncio.run(use_log(ConsumerSettings()))

    def test_store_on_sqlite(self, environment: Environment, tmp_path: Path) -> None:
        """A file, with its outbox."""
        environment(STORE_URL="sqlite:///replay.db", **BOOKING)
        asyncio.run(use_store(BookingSettings(), outbox=True))  # type: ignore[call-arg]
        assert (tmp_path / "replay.db").exists()

    def test_store_on_postgresql(self, environment: Environment, postgres_url: str) -> None:
        """A database, with its outbox."""
        environment(STORE_URL=postgres_url, **BOOKING)
        asyncio.run(use_store(BookingSettings(), outbox=True))  # type: ignore[call-arg]

    def test_store_on_redis(self, environment: Environment, redis_url: str) -> None:
        """A server, without an outbox."""
        environment(STORE_URL=redis_url, **BOOKING)
        asyncio.run(use_store(BookingSettings(), outbox=False))  # type: ignore[call-arg]

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "log.db",
            f"mysql://u:{PASSWORD}@h/d",
            f"redis://:{PASSWORD}@h",
            f"sqlite://{PASSWORD}",
            "sqlite:///",
            f"postgresql://u:{PASSWORD}@[::1/d",
            f"postgresql://u:{PASSWORD}@h/d?nonsense=1",
        ],
    )
    def test_no_log_is_there(self, environment: Environment, caplog: pytest.LogCaptureFixture, url: str) -> None:
        """Another product, or no URL at all: a ConfigurationError at once, and no password anywhere."""
        settings = ConsumerSettings(log_url=url)  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError) as caught:
            asyncio.run(use_log(settings))
        assert PASSWORD not in str(caught.value) + caplog.text
        assert caught.value.__cause__ is None and (
            caught.value.__context__ is None or caught.value.__suppress_context__
        )

    @pytest.mark.parametrize(
        "url",
        [
            f"redis://:{PASSWORD}/x@h:6379",
            f"redis://:{PASSWORD}@h:bad/0",
            f"redis://:{PASSWORD}@[::1/0",
            f"http://{PASSWORD}",
        ],
    )
    def test_no_store_is_there(self, environment: Environment, caplog: pytest.LogCaptureFixture, url: str) -> None:
        """Likewise."""
        environment(STORE_URL=url, **BOOKING)
        with pytest.raises(ConfigurationError) as caught:
            asyncio.run(use_store(BookingSettings(), outbox=False))  # type: ignore[call-arg]
        assert PASSWORD not in str(caught.value) + caplog.text

    def test_nobody_answers(self, environment: Environment, caplog: pytest.LogCaptureFixture) -> None:
        """A server that is not there is a ReplayStoreError, without its password, within seconds."""
        caplog.set_level(logging.DEBUG)
        environment(LOG_URL=f"postgresql://u:{PASSWORD}@127.0.0.1:1/d", **BOOKING)
        with pytest.raises(ReplayStoreError) as caught:
            asyncio.run(use_log(ConsumerSettings()))
        assert PASSWORD not in str(caught.value) + caplog.text
        environment(STORE_URL=f"redis://:{PASSWORD}@127.0.0.1:1/0")
        with pytest.raises(ReplayStoreError) as caught:
            asyncio.run(use_store(BookingSettings(), outbox=False))  # type: ignore[call-arg]
        assert PASSWORD not in str(caught.value) + caplog.text


class TestClient:
    def test_a_client(self, environment: Environment) -> None:
        """For the URL of the settings."""
        environment(**BOOKING)

        async def make() -> None:
            async with BookingSettings().make_client(KeyRing.generate()) as client:  # type: ignore[call-arg]
                assert client is not None

        asyncio.run(make())

    @pytest.mark.parametrize("url", ["http://consumer.example", f"https://u:{PASSWORD}@h", "consumer", "ftp://x"])
    def test_no_client(self, environment: Environment, url: str) -> None:
        """Plain http to another machine, a password, no URL: refused, not repeated."""
        environment(**{**BOOKING, "CONSUMER_URL": url})
        with pytest.raises(ConfigurationError) as caught:
            BookingSettings().make_client(KeyRing.generate())  # type: ignore[call-arg]
        assert PASSWORD not in str(caught.value)
