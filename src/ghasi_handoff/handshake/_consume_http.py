"""redemption -> signed consume call -> bff-consumer, over HTTP -> its final answer, or `ConfirmationUnavailableError`.

Over httpx2. Every call ends within two tries of `timeout` each and a short wait between them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx2

from ghasi_handoff._limits import (
    BREAKER_FAILURES,
    BREAKER_OPEN_SECONDS,
    CONSUME_CALL_RETRY_WAIT_SECONDS,
    CONSUME_CALL_TRIES,
    MAX_CONSUME_ANSWER_BYTES,
    MAX_CONSUME_CALL_TIMEOUT_SECONDS,
)
from ghasi_handoff._mint import is_loopback
from ghasi_handoff._times import read_clock
from ghasi_handoff._version import __version__
from ghasi_handoff.errors import ConfigurationError, ConfirmationUnavailableError
from ghasi_handoff.handshake._consume_answers import understood
from ghasi_handoff.handshake._consume_call import sign_call
from ghasi_handoff.keys import KeyRing
from ghasi_handoff.stores._handoff_log import ConsumeCall


@dataclass
class Breaker:
    """Stops calls to a service that does not answer, and lets one call through now and then to see whether it does."""

    failures: int = 0
    open_until: float = 0.0

    def admit(self) -> bool:
        """Whether a call may be made now."""
        if self.failures < BREAKER_FAILURES:
            return True
        now = time.monotonic()
        if now < self.open_until:
            return False
        self.open_until = now + BREAKER_OPEN_SECONDS  # this call is the one that finds out
        return True

    def succeeded(self) -> None:
        """The service answered."""
        self.failures = 0

    def failed(self) -> None:
        """The service did not answer."""
        self.failures += 1
        if self.failures >= BREAKER_FAILURES:
            self.open_until = time.monotonic() + BREAKER_OPEN_SECONDS


@dataclass(kw_only=True)
class ConsumeCaller:
    """Makes the calls of a client. Each event loop has connections of its own."""

    base_url: str
    keys: Callable[[], KeyRing]
    clock: Callable[[], float]
    connect_timeout: float
    timeout: float
    verify: Any
    breaker: Breaker = field(default_factory=Breaker)
    connections: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = field(
        default_factory=WeakKeyDictionary
    )
    pid: int = field(default_factory=os.getpid)

    async def consume(
        self, handoff_id: str, *, issuer: str, audience: str, redemption_id: str, consumed_at: int
    ) -> None:
        """As `ConsumeClient.consume`."""
        if not self.breaker.admit():
            text = "bff-consumer did not answer lately; it is not called now"
            raise ConfirmationUnavailableError(text, reason="circuit_open", handoff_id=handoff_id)
        reason = "unknown"
        for trial in range(CONSUME_CALL_TRIES):
            if trial > 0:
                await asyncio.sleep(_jittered(*CONSUME_CALL_RETRY_WAIT_SECONDS))
            sent_at = int(read_clock(self.clock))
            # Signed for each try: a retry must not grow stale.
            call = ConsumeCall(issuer, audience, handoff_id, redemption_id, consumed_at, sent_at)
            authorization, body = sign_call(call, self.keys())
            try:
                async with asyncio.timeout(self.timeout):
                    status, content_type, answer = await self._post(handoff_id, authorization, body)
            except (TimeoutError, httpx2.TimeoutException):
                reason = "timeout"
                continue
            except (httpx2.HTTPError, httpx2.StreamError, OSError):
                reason = "unreachable"
                continue
            final = understood(call, status, content_type, answer)
            if not isinstance(final, str):
                self.breaker.succeeded()
                if final is None:
                    return
                raise final
            reason = final
            if status < 500 and status not in (200, 408, 429):
                # It answers, but not with a final answer: 404 from a replica that lags, say. The page will ask again.
                self.breaker.succeeded()
                break
        else:
            self.breaker.failed()
        text = f"bff-consumer did not confirm: {reason}"
        raise ConfirmationUnavailableError(text, reason=reason, handoff_id=handoff_id)

    async def disconnect(self) -> None:
        """Close this event loop's connections."""
        client = self.connections.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def _post(self, handoff_id: str, authorization: str, body: bytes) -> tuple[int, str, bytes]:
        url = _url(self.base_url, handoff_id)
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        async with self._client().stream("POST", url, content=body, headers=headers) as response:
            answer = b""
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > MAX_CONSUME_ANSWER_BYTES:
                    break  # too long for an answer of ours
            return response.status_code, response.headers.get("Content-Type", ""), answer

    def _client(self) -> httpx2.AsyncClient:
        if self.pid != os.getpid():  # a fork: the connections are the parent's
            self.connections = WeakKeyDictionary()
            self.pid = os.getpid()
        loop = asyncio.get_running_loop()
        client = self.connections.get(loop)
        if client is None:
            # A loop that ended without closing the client is kept alive by its connections.
            # Over a copy: other threads have event loops of their own, and come and go meanwhile.
            for reference in self.connections.keyrefs():
                ended = reference()
                if ended is not None and ended.is_closed():
                    self.connections.pop(ended, None)
            client = httpx2.AsyncClient(
                headers={"User-Agent": f"ghasi-handoff/{__version__}", "Accept-Encoding": "identity"},
                timeout=httpx2.Timeout(self.timeout, connect=self.connect_timeout),
                # A redirect could carry the call, or take the answer, from another host.
                follow_redirects=False,
                # No proxy and no .netrc out of the environment: an Authorization of its own would replace ours.
                trust_env=False,
                verify=self.verify,
            )
            self.connections[loop] = client
        return client


def checked_url(base_url: object, allow_http: bool) -> str:
    """The URL without slashes at its end, or `ConfigurationError`."""
    problem = "base_url must be an https URL without user name, query or fragment"
    if not isinstance(base_url, str) or not base_url.isascii() or not base_url.isprintable():
        raise ConfigurationError(problem)
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname, parts.port
        httpx2.URL(_url(base_url, "0" * 36))  # what it would not call is refused now, not at the first guest
    except (ValueError, httpx2.InvalidURL):
        raise ConfigurationError(problem) from None
    # An empty query, too: a path added after it would become part of the query.
    if not host or port == 0 or "@" in parts.netloc or any(character in base_url for character in " \\?#"):
        raise ConfigurationError(problem)
    if parts.scheme != "https" and not (parts.scheme == "http" and (allow_http or is_loopback(host))):
        raise ConfigurationError(f"{problem}; http is for loopback addresses, or with allow_http=True")
    return base_url.rstrip("/")


def _url(base_url: str, handoff_id: str) -> str:
    return f"{base_url}/internal/handoff/{handoff_id}/consume"


def call_seconds(value: float | timedelta, name: str) -> float:
    """A time-out in seconds, or `ConfigurationError`."""
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    longest = MAX_CONSUME_CALL_TIMEOUT_SECONDS
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= longest:
        raise ConfigurationError(f"{name} must be more than 0 and at most {longest:g} seconds")
    return float(seconds)


def _jittered(least: float, most: float) -> float:
    return least + (most - least) * secrets.randbelow(1_000_000) / 1_000_000
