"""Settings out of the environment: each variable, what is refused, and what no error may repeat."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.handshake.services import AUDIENCE, ISSUER, SCOPE, STAY, TENANT, handoff_id

from ghasi_handoff import ConfigurationError, KeyRing, KeyRingError, Minter, keyfile
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


class TestOpening:
    """What a URL opens, of each product, is tested in tests/stores/test_open.py."""

    def test_a_log(self, environment: Environment, tmp_path: Path) -> None:
        """The log of the URL: its file is made where there is none, and has a handoff when it is opened again."""
        environment(LOG_URL="sqlite:///log.db")

        async def use() -> None:
            log, running = ConsumerSettings().make_log()
            async with running:
                minter = Minter(KeyRing.generate(), issuer=ISSUER, audience=AUDIENCE)
                minted = await AsyncHandoffIssuer(minter, log).issue(STAY, tenant=TENANT)
            log, running = ConsumerSettings().make_log()
            async with running:
                record = await log.find(minted.handoff_id)
                assert record is not None and record.tenant == TENANT

        asyncio.run(use())
        assert (tmp_path / "log.db").exists()

    @pytest.mark.parametrize("product", ["sqlite", "redis"])
    def test_a_store(self, environment: Environment, request: pytest.FixtureRequest, product: str) -> None:
        """The store of the URL, with its outbox where its product has one."""
        url = "sqlite:///replay.db" if product == "sqlite" else request.getfixturevalue("redis_url")
        environment(STORE_URL=url, **BOOKING)
        now = int(time.time())

        async def use() -> None:
            store, running = BookingSettings().make_store()  # type: ignore[call-arg]
            async with running:
                consumption = await store.consume(
                    handoff_id(now), scope=SCOPE, redemption_id="a" * 64, consumed_at=now, retain_until=now + 500
                )
                assert consumption.first
                assert (getattr(store, "outbox", None) is not None) is (product == "sqlite")

        asyncio.run(use())

    def test_no_url(self, environment: Environment) -> None:
        """A URL that is none is refused when the service starts, and its password is not repeated."""
        environment(LOG_URL=f"mysql://u:{PASSWORD}@h/d", STORE_URL=f"redis://:{PASSWORD}@h:bad/0", **BOOKING)
        for make in (ConsumerSettings().make_log, BookingSettings().make_store):  # type: ignore[call-arg]
            with pytest.raises(ConfigurationError) as caught:
                make()
            assert PASSWORD not in str(caught.value)


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
