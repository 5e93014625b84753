"""redemption -> signed consume call -> bff-consumer, over HTTP -> its final answer, or `ConfirmationUnavailableError`.

Over httpx2. Every call ends within two tries of `timeout` each and a short wait between them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError
from datetime import timedelta
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import httpx2

from ghasi_handoff._mint import _is_loopback
from ghasi_handoff._times import read_clock
from ghasi_handoff._version import __version__
from ghasi_handoff.errors import (
    ConfigurationError,
    ConfirmationUnavailableError,
    ExpiredTokenError,
    HandoffError,
    ReplayedTokenError,
    RevokedHandoffError,
)
from ghasi_handoff.handshake._consume_call import sign_call
from ghasi_handoff.keys import KeyRing, ring_source
from ghasi_handoff.stores._handoff_log import ConsumeCall

CONNECT_TIMEOUT_SECONDS: Final = 0.15
TIMEOUT_SECONDS: Final = 0.7
MAX_TIMEOUT_SECONDS: Final = 10.0
TRIES: Final = 2
RETRY_WAIT_SECONDS: Final = (0.05, 0.15)
FAILURES_TO_OPEN: Final = 5
OPEN_SECONDS: Final = 5.0
MAX_ANSWER_BYTES: Final = 4096

# Final, whatever else the answer holds, if its code is the right one for its status.
_FINAL: Final[dict[tuple[int, str], type[HandoffError]]] = {
    (409, "replayed"): ReplayedTokenError,
    (410, "revoked_handoff"): RevokedHandoffError,
    (410, "expired"): ExpiredTokenError,
}
_T = TypeVar("_T")


class _Breaker:
    """Stops calling a service that does not answer, and lets one call through now and then to see whether it does."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = 0.0

    def admit(self) -> bool:
        if self._failures < FAILURES_TO_OPEN:
            return True
        now = time.monotonic()
        if now < self._open_until:
            return False
        self._open_until = now + OPEN_SECONDS  # this call is the one that finds out
        return True

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES_TO_OPEN:
            self._open_until = time.monotonic() + OPEN_SECONDS


class AsyncConsumeClient:
    """`ConsumeClient` for asyncio. Usable from several event loops; each has connections of its own.

    Args:
        base_url: Where bff-consumer is.
        keys: The ring of this issuer and audience, or a callable that returns the present one.
        connect_timeout: See `ConsumeClient`.
        timeout: See `ConsumeClient`.
        verify: See `ConsumeClient`.
        allow_http: See `ConsumeClient`.
        clock: Returns Unix seconds.

    Raises:
        ConfigurationError: An argument is not valid.
    """

    def __init__(
        self,
        base_url: str,
        *,
        keys: KeyRing | Callable[[], KeyRing],
        connect_timeout: float | timedelta = CONNECT_TIMEOUT_SECONDS,
        timeout: float | timedelta = TIMEOUT_SECONDS,
        verify: Any = True,
        allow_http: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._base_url = _checked_url(base_url, allow_http)
        self._keys = ring_source(keys)
        self._connect_timeout = _seconds(connect_timeout, "connect_timeout")
        self._timeout = _seconds(timeout, "timeout")
        self._verify = verify
        self._clock = clock
        self._breaker = _Breaker()
        self._clients: WeakKeyDictionary[asyncio.AbstractEventLoop, httpx2.AsyncClient] = WeakKeyDictionary()
        self._pid = os.getpid()

    async def consume(
        self, handoff_id: str, *, issuer: str, audience: str, redemption_id: str, consumed_at: int
    ) -> None:
        """As `ConsumeClient.consume`."""
        facts: dict[str, Any] = {"handoff_id": handoff_id}
        if not self._breaker.admit():
            raise _unavailable("circuit_open", "bff-consumer did not answer lately; it is not called just now", facts)
        reason = "unknown"
        for trial in range(TRIES):
            if trial:
                await asyncio.sleep(_jittered(*RETRY_WAIT_SECONDS))
            sent_at = int(read_clock(self._clock))
            # Signed for each try: a retry must not grow stale.
            call = ConsumeCall(issuer, audience, handoff_id, redemption_id, consumed_at, sent_at)
            authorization, body = sign_call(call, self._keys())
            try:
                async with asyncio.timeout(self._timeout):
                    status, content_type, answer = await self._post(handoff_id, authorization, body)
            except TimeoutError:
                reason = "timeout"
                continue
            except httpx2.TimeoutException:
                reason = "timeout"
                continue
            except (httpx2.HTTPError, httpx2.StreamError, OSError):
                reason = "unreachable"
                continue
            final = _understood(call, status, content_type, answer)
            if final is None:
                self._breaker.succeeded()
                return
            if isinstance(final, HandoffError):
                self._breaker.succeeded()
                raise final
            reason = final
            if status < 500 and status not in (200, 408, 429):
                # It is there and says something else, such as 404 from a replica that lags. The page will ask again.
                self._breaker.succeeded()
                raise _unavailable(reason, f"bff-consumer answered {status}", facts)
        self._breaker.failed()
        raise _unavailable(reason, f"bff-consumer gave no answer that counts, in {TRIES} tries: {reason}", facts)

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        client = self._clients.pop(asyncio.get_running_loop(), None)
        if client is not None:
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def _post(self, handoff_id: str, authorization: str, body: bytes) -> tuple[int, str, bytes]:
        url = _url(self._base_url, handoff_id)
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        async with self._client().stream("POST", url, content=body, headers=headers) as response:
            answer = b""
            async for chunk in response.aiter_raw():
                answer += chunk
                if len(answer) > MAX_ANSWER_BYTES:
                    break  # whatever it is, it is no answer of ours
            return response.status_code, response.headers.get("Content-Type", ""), answer

    def _client(self) -> httpx2.AsyncClient:
        if self._pid != os.getpid():  # a fork: the connections are the parent's
            self._clients = WeakKeyDictionary()
            self._pid = os.getpid()
        loop = asyncio.get_running_loop()
        client = self._clients.get(loop)
        if client is None:
            # A loop that ended without `aclose` is kept alive by its connections.
            for other in self._clients.keyrefs():
                ended = other()
                if ended is not None and ended.is_closed():
                    self._clients.pop(ended, None)
            client = httpx2.AsyncClient(
                headers={"User-Agent": f"ghasi-handoff/{__version__}", "Accept-Encoding": "identity"},
                timeout=httpx2.Timeout(self._timeout, connect=self._connect_timeout),
                # A redirect could carry the call, or take the answer, from another host.
                follow_redirects=False,
                # No proxy and no .netrc out of the environment: an Authorization of its own would replace ours.
                trust_env=False,
                verify=self._verify,
            )
            self._clients[loop] = client
        return client


class ConsumeClient:
    """Tells bff-consumer that a handoff was redeemed, and brings back its final answer.

    Safe to share between threads. An event loop in a thread of its own does the work, so that the time-out holds for
    the whole call, however slowly the answer trickles in. After five calls in a row that ended without an answer it
    waits five seconds, in which no call is made, and then lets one find out.

    Args:
        base_url: Where bff-consumer is: https, or http for a loopback address, maybe with a path.
        keys: The ring of this issuer and audience, or a callable that returns the present one.
        connect_timeout: Seconds for a connection.
        timeout: Seconds for a try, connection included. There are at most two tries.
        verify: For https: True, or an `ssl.SSLContext`, say for a private certificate authority.
        allow_http: Plain http to other machines, where something else (a service mesh) encrypts. The answer is not
            signed: who can change it on its way can pass off a redemption as confirmed.
        clock: Returns Unix seconds.

    Raises:
        ConfigurationError: An argument is not valid.
    """

    def __init__(
        self,
        base_url: str,
        *,
        keys: KeyRing | Callable[[], KeyRing],
        connect_timeout: float | timedelta = CONNECT_TIMEOUT_SECONDS,
        timeout: float | timedelta = TIMEOUT_SECONDS,
        verify: Any = True,
        allow_http: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client = AsyncConsumeClient(
            base_url,
            keys=keys,
            connect_timeout=connect_timeout,
            timeout=timeout,
            verify=verify,
            allow_http=allow_http,
            clock=clock,
        )
        self._loop_thread = _LoopThread()

    def consume(self, handoff_id: str, *, issuer: str, audience: str, redemption_id: str, consumed_at: int) -> None:
        """Report a redemption. Returns when bff-consumer has confirmed it, now or before: 200.

        Args:
            handoff_id: The handoff.
            issuer: The service that minted it, and is called.
            audience: This service.
            redemption_id: Who redeemed. The call is idempotent by it.
            consumed_at: When, Unix seconds; the same in every repetition.

        Raises:
            ReplayedTokenError: bff-consumer's log names another redemption: 409.
            RevokedHandoffError: The handoff was revoked: 410.
            ExpiredTokenError: The redemption was too late: 410.
            ConfirmationUnavailableError: Anything else; its `reason` says what. It may be repeated.
            KeyRingError: No key can sign now.
            InvalidHandoffInputError: An argument is outside the grammar.
        """
        try:
            self._loop_thread.run(
                lambda: self._client.consume(
                    handoff_id, issuer=issuer, audience=audience, redemption_id=redemption_id, consumed_at=consumed_at
                )
            )
        except CancelledError:
            raise _unavailable("client_closed", "the client was closed", {"handoff_id": handoff_id}) from None

    def close(self) -> None:
        """Close the connections and end the thread. Calls under way end unconfirmed; there are none afterwards."""
        self._loop_thread.close(self._client.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _LoopThread:
    """An event loop in a daemon thread, started at the first use, and anew in a forked child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def run(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """The result of `work`; `CancelledError` once this is closed."""
        if self._pid != os.getpid():
            self._lock = threading.Lock()  # the parent's may have been held at the fork
            self._loop = self._thread = None
            self._pid = os.getpid()
        with self._lock:  # so that nothing is begun on a loop that is being closed
            if self._closed:
                raise CancelledError
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="ghasi-handoff-calls", daemon=True)
                self._thread.start()
            future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        return future.result()

    def close(self, last_work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        with self._lock:
            self._closed = True
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is None or thread is None or self._pid != os.getpid():
            return

        async def end() -> None:
            # Whoever still waits for a call would wait for ever on a loop that has stopped.
            under_way = asyncio.all_tasks() - {asyncio.current_task()}
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)
            await last_work()

        asyncio.run_coroutine_threadsafe(end(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _understood(call: ConsumeCall, status: int, content_type: str, answer: bytes) -> HandoffError | str | None:
    """None for a confirmation, an error for a final refusal, a word for everything else."""
    kind = content_type.partition(";")[0].strip().lower()
    if status == 200:
        # Whatever stands between us may answer 200, too: a login page, a default host. Ours names what it confirms.
        wanted = f'"handoff_id":"{call.handoff_id}","redemption_id":"{call.redemption_id}"}}'.encode("ascii")
        confirmed = kind == "application/json" and answer.startswith(b'{"consumed_at":') and answer.endswith(wanted)
        return None if confirmed else "invalid_answer"
    if kind == "application/problem+json":
        for (final_status, code), error in _FINAL.items():
            if status == final_status and f'"code":"{code}"'.encode("ascii") in answer:
                return error(f"bff-consumer answered {status} {code}", handoff_id=call.handoff_id)
    return f"status_{status}"


def _unavailable(reason: str, message: str, facts: dict[str, Any]) -> ConfirmationUnavailableError:
    error = ConfirmationUnavailableError(message, **facts)
    error.reason = reason
    return error


def _checked_url(base_url: object, allow_http: bool) -> str:
    problem = "base_url must be an https URL without user name, query or fragment"
    if not isinstance(base_url, str) or not base_url.isascii() or not base_url.isprintable():
        raise ConfigurationError(problem)
    try:
        parts = urlsplit(base_url)
        host, port = parts.hostname, parts.port
        httpx2.URL(_url(base_url, "0" * 36))  # what it would not call is refused now, not at the first guest
    except (ValueError, httpx2.InvalidURL):
        raise ConfigurationError(problem) from None
    # An empty query, too: what is added behind it would be no path any more.
    if not host or port == 0 or "@" in parts.netloc or any(character in base_url for character in " \\?#"):
        raise ConfigurationError(problem)
    if parts.scheme != "https" and not (parts.scheme == "http" and (allow_http or _is_loopback(host))):
        raise ConfigurationError(f"{problem}; http is for loopback addresses, or with allow_http=True")
    return base_url.rstrip("/")


def _url(base_url: str, handoff_id: str) -> str:
    return f"{base_url}/internal/handoff/{handoff_id}/consume"


def _seconds(value: float | timedelta, name: str) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not 0 < seconds <= MAX_TIMEOUT_SECONDS:
        raise ConfigurationError(f"{name} must be more than 0 and at most {MAX_TIMEOUT_SECONDS:g} seconds")
    return float(seconds)


def _jittered(least: float, most: float) -> float:
    return least + (most - least) * secrets.randbelow(1_000_000) / 1_000_000
