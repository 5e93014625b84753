"""environment -> checked settings -> open stores, logs and clients, for both services. Over pydantic-settings."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from ghasi_handoff import keyfile
from ghasi_handoff._limits import DEFAULT_WATCH_INTERVAL, MAX_WATCH_INTERVAL, MIN_WATCH_INTERVAL
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.keyfile import KeyRingEvent, WatchedKeyRing
from ghasi_handoff.keyfile._open import RING, RING_FILE
from ghasi_handoff.keys import KeyRing
from ghasi_handoff.stores._open_async import make_log, make_store
from ghasi_handoff.stores._opening import Opening

if TYPE_CHECKING:
    from ghasi_handoff.handshake import AsyncConsumeClient, AsyncHandoffLog
    from ghasi_handoff.replay import AsyncReplayStore


_parse_origin: Final = re.compile(
    r"(https?)://(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::([1-9][0-9]{0,4}))?"
).fullmatch


def _an_origin(value: str) -> str:
    # Compared as text with what browsers send: lower case, punycode, no default port.
    match = _parse_origin(value)
    default = {"https": "443", "http": "80"}
    if match is None or match[2] == default[match[1]]:
        raise ValueError("must be an origin as a browser writes it: https://aurora.example, without a slash at its end")
    return value


Origin = Annotated[str, AfterValidator(_an_origin)]


class _HandoffSettings(BaseSettings):
    """What both services need. Each field is a variable: ``GHASI_HANDOFF_`` and the field's name in capitals."""

    # What is wrong may be a key ring or a URL with a password: errors do not repeat it.
    # An empty variable is one that a deployment has left open: it counts as absent.
    model_config = SettingsConfigDict(
        env_prefix="GHASI_HANDOFF_", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    issuer: str = "bff-consumer"
    audience: str = "bff-tenant-booking"
    keys: SecretStr | None = None
    keys_file: Path | None = None
    keys_interval_seconds: float = Field(
        default=DEFAULT_WATCH_INTERVAL.total_seconds(),
        ge=MIN_WATCH_INTERVAL.total_seconds(),
        le=MAX_WATCH_INTERVAL.total_seconds(),
    )

    @classmethod
    def from_environment(cls) -> Self:
        """The settings of the environment.

        Raises:
            ConfigurationError: A variable is missing or not valid. The message names each; it repeats no value.
        """
        try:
            return cls()
        except ValidationError as exc:
            prefix = cls.model_config.get("env_prefix", "")
            problems = [f"{prefix}{error['loc'][0]}".upper() + f": {error['msg']}" for error in exc.errors()]
            raise ConfigurationError("; ".join(problems)) from None

    def key_ring(self) -> KeyRing:
        """The ring of ``GHASI_HANDOFF_KEYS`` (JSON), or of the file ``GHASI_HANDOFF_KEYS_FILE``.

        Raises:
            ConfigurationError: Neither is given, or both.
            KeyRingError: What is given is no key ring.
        """
        return keyfile.from_env(self._key_variables())

    def watched_keys(self, on_event: Callable[[KeyRingEvent], None] | None = None) -> WatchedKeyRing:
        """As `key_ring`, errors too, following the file: a service then rotates and revokes keys without a restart.

        Args:
            on_event: Gets a `KeyRingEvent` when the file has changed, or cannot be used.
        """
        interval = timedelta(seconds=self.keys_interval_seconds)
        return WatchedKeyRing.from_env(self._key_variables(), interval=interval, on_event=on_event)

    def _key_variables(self) -> dict[str, str]:
        """The environment, with what these settings say of the keys: they may have come from elsewhere."""
        if (self.keys is None) == (self.keys_file is None):
            raise ConfigurationError("set GHASI_HANDOFF_KEYS_FILE, or else GHASI_HANDOFF_KEYS, and not both")
        keys = "" if self.keys is None else self.keys.get_secret_value()
        return {**os.environ, RING: keys, RING_FILE: str(self.keys_file or "")}


class ConsumerSettings(_HandoffSettings):
    """Settings of bff-consumer, from the environment.

    Attributes:
        issuer: ``GHASI_HANDOFF_ISSUER``: its own name.
        audience: ``GHASI_HANDOFF_AUDIENCE``: the booking side's name.
        keys: ``GHASI_HANDOFF_KEYS``: the key ring as JSON.
        keys_file: ``GHASI_HANDOFF_KEYS_FILE``: the key file.
        keys_interval_seconds: ``GHASI_HANDOFF_KEYS_INTERVAL_SECONDS``: how often the file is looked at.
        log_url: ``GHASI_HANDOFF_LOG_URL``: ``sqlite:///log.db`` or ``postgresql://…``.
    """

    log_url: SecretStr = SecretStr("sqlite:///handoff-log.db")

    def make_log(self) -> tuple[AsyncHandoffLog, AbstractAsyncContextManager[None]]:
        """The handoff log, and what opens it and closes it again: ``async with`` it in the application's lifespan.

        A file is made where there is none. PostgreSQL's table must be there: ``ghasi-handoff handoff init``.

        Raises:
            ConfigurationError: The URL is of another kind, or its driver is not installed.
        """
        return make_log(self.log_url.get_secret_value(), Opening(create=True))


class BookingSettings(_HandoffSettings):
    """Settings of bff-tenant-booking, from the environment.

    Attributes:
        issuer: ``GHASI_HANDOFF_ISSUER``: bff-consumer's name.
        audience: ``GHASI_HANDOFF_AUDIENCE``: its own name.
        keys: ``GHASI_HANDOFF_KEYS``: the key ring as JSON.
        keys_file: ``GHASI_HANDOFF_KEYS_FILE``: the key file.
        keys_interval_seconds: ``GHASI_HANDOFF_KEYS_INTERVAL_SECONDS``: how often the file is looked at.
        store_url: ``GHASI_HANDOFF_STORE_URL``: ``sqlite:///replay.db``, ``postgresql://…`` or ``redis://…``.
        consumer_url: ``GHASI_HANDOFF_CONSUMER_URL``: where bff-consumer's consume call is, ``https://…``.
        public_origin: ``GHASI_HANDOFF_PUBLIC_ORIGIN``: what the guest's browser shows, ``https://aurora.example``.
        mode: ``GHASI_HANDOFF_MODE``: ``strict`` or ``deferred``.
        start_url: ``GHASI_HANDOFF_START_URL``: where a refused guest may start again.
    """

    store_url: SecretStr = SecretStr("sqlite:///handoff-replay.db")
    consumer_url: str
    public_origin: Origin
    mode: Literal["strict", "deferred"] = "strict"
    start_url: str | None = None

    def make_store(self) -> tuple[AsyncReplayStore, AbstractAsyncContextManager[None]]:
        """The replay store, with its outbox where it has one, and what opens it and closes it again.

        A file is made where there is none. PostgreSQL's tables must be there: ``ghasi-handoff store init``.

        Raises:
            ConfigurationError: The URL is of another kind, or its driver is not installed.
        """
        return make_store(self.store_url.get_secret_value(), Opening(create=True, outbox=True))

    def make_client(self, keys: KeyRing | Callable[[], KeyRing]) -> AsyncConsumeClient:
        """A client for bff-consumer's consume call. The caller closes it.

        Raises:
            ConfigurationError: The URL is not https, nor http on loopback, or the extra ``[client]`` is not installed.
        """
        from ghasi_handoff.handshake import AsyncConsumeClient

        return AsyncConsumeClient(self.consumer_url, keys=keys)
