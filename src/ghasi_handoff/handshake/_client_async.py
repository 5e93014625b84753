"""The client of the consume call, for asyncio: what an application makes, over `ConsumeCaller`."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from datetime import timedelta
from typing import Any, Self

from ghasi_handoff._limits import CONSUME_CALL_CONNECT_TIMEOUT_SECONDS, CONSUME_CALL_TIMEOUT_SECONDS
from ghasi_handoff.errors import ConfirmationUnavailableError
from ghasi_handoff.handshake._consume_http import ConsumeCaller, call_seconds, checked_url
from ghasi_handoff.handshake._loop_thread import LoopThread
from ghasi_handoff.keys import KeyRing, ring_source


class AsyncConsumeClient:
    """Tells bff-consumer that a handoff was redeemed, and brings back its final answer.

    Threads and event loops can share it. The time-out holds for a whole try, however slowly the answer trickles in.
    After five calls in a row without an answer, no call is made for five seconds; then one call finds out.

    Args:
        base_url: Where bff-consumer is: https, or http for a loopback address, maybe with a path.
        keys: The ring of this issuer and audience, or a callable that returns the present one.
        connect_timeout: Seconds for a connection.
        timeout: Seconds for a try, connection included. There are at most two tries.
        verify: For https: True, or an `ssl.SSLContext`, say for a private certificate authority.
        allow_http: Plain http to other machines, where something else (a service mesh) encrypts. The answer is not
            signed: whoever can change it on its way can pass off a redemption as confirmed.
        clock: Returns Unix seconds.

    Raises:
        ConfigurationError: An argument is not valid.
    """

    def __init__(
        self,
        base_url: str,
        *,
        keys: KeyRing | Callable[[], KeyRing],
        connect_timeout: float | timedelta = CONSUME_CALL_CONNECT_TIMEOUT_SECONDS,
        timeout: float | timedelta = CONSUME_CALL_TIMEOUT_SECONDS,
        verify: Any = True,
        allow_http: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._caller = ConsumeCaller(
            base_url=checked_url(base_url, allow_http),
            keys=ring_source(keys),
            clock=clock,
            connect_timeout=call_seconds(connect_timeout, "connect_timeout"),
            timeout=call_seconds(timeout, "timeout"),
            verify=verify,
        )
        if True:  # ASYNC
            pass
        else:
            self._loop_thread = LoopThread()

    async def consume(
        self, handoff_id: str, *, issuer: str, audience: str, redemption_id: str, consumed_at: int
    ) -> None:
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
        call = self._caller.consume(
            handoff_id, issuer=issuer, audience=audience, redemption_id=redemption_id, consumed_at=consumed_at
        )
        if True:  # ASYNC
            await call
        else:
            try:
                self._loop_thread.run(call)
            except CancelledError:
                facts = {"reason": "client_closed", "handoff_id": handoff_id}
                raise ConfirmationUnavailableError("the client was closed", **facts) from None

    if True:  # ASYNC

        async def aclose(self) -> None:
            """Close this event loop's connections."""
            await self._caller.disconnect()

    else:

        def close(self) -> None:
            """Close the connections and end the thread. Calls under way end unconfirmed; there are none afterwards."""
            self._loop_thread.close(self._caller.disconnect)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()
