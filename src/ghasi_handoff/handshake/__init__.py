"""The handshake between two services: issued and logged on one, redeemed on the other, confirmed between them.

bff-consumer issues with `HandoffIssuer` and answers with `answer_consume`; bff-tenant-booking redeems with
`Handshake`, over a `ConsumeClient`, and delivers with `OutboxWorker`. Each has a twin for asyncio.

The PostgreSQL log needs the extra ``[postgres]``, the client ``[client]``; nothing is loaded before it is asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ghasi_handoff.handshake._consume import answer_consume
from ghasi_handoff.handshake._consume_answers import ConsumeAnswer, ConsumeRequest
from ghasi_handoff.handshake._consume_async import answer_consume_async
from ghasi_handoff.handshake._consume_call import consume_signing_string
from ghasi_handoff.handshake._deliveries import Deliveries
from ghasi_handoff.handshake._events import (
    CallAnswered,
    ConfirmationFailed,
    DeliveryGivenUp,
    DeliveryRefused,
    HandoffEvent,
    HandoffRedeemed,
    HandoffRefused,
    HandoffReplayed,
    HandoffUnknown,
    LocalRowLost,
    OutboxAge,
    PageRefused,
    RedemptionAbandoned,
    RedemptionEvent,
)
from ghasi_handoff.handshake._handshake import Handshake
from ghasi_handoff.handshake._handshake_async import AsyncHandshake
from ghasi_handoff.handshake._issuer import HandoffIssuer
from ghasi_handoff.handshake._issuer_async import AsyncHandoffIssuer
from ghasi_handoff.handshake._last_use import LastUse
from ghasi_handoff.handshake._outbox import OutboxWorker
from ghasi_handoff.handshake._outbox_async import AsyncOutboxWorker
from ghasi_handoff.stores._handoff_log import ConsumeCall, HandoffQuery, HandoffRecord, HandoffState
from ghasi_handoff.stores._maintained import HandoffLog
from ghasi_handoff.stores._maintained_async import AsyncHandoffLog
from ghasi_handoff.stores.sqlite import AsyncSQLiteHandoffLog, SQLiteHandoffLog

if TYPE_CHECKING:
    from ghasi_handoff.handshake._client import ConsumeClient
    from ghasi_handoff.handshake._client_async import AsyncConsumeClient
    from ghasi_handoff.stores.postgres import AsyncPostgresHandoffLog, PostgresHandoffLog

__all__ = [
    "AsyncConsumeClient", "AsyncHandoffIssuer", "AsyncHandoffLog", "AsyncHandshake", "AsyncOutboxWorker",
    "AsyncPostgresHandoffLog", "AsyncSQLiteHandoffLog", "CallAnswered", "ConfirmationFailed", "ConsumeAnswer",
    "ConsumeCall", "ConsumeClient", "ConsumeRequest", "Deliveries", "DeliveryGivenUp", "DeliveryRefused",
    "HandoffEvent", "HandoffIssuer", "HandoffLog", "HandoffQuery", "HandoffRecord", "HandoffRedeemed",
    "HandoffRefused", "HandoffReplayed", "HandoffState", "HandoffUnknown", "Handshake", "LastUse", "LocalRowLost",
    "OutboxAge", "OutboxWorker", "PageRefused", "PostgresHandoffLog", "RedemptionAbandoned", "RedemptionEvent",
    "SQLiteHandoffLog", "answer_consume", "answer_consume_async", "consume_signing_string",
]  # fmt: skip

_ON_DEMAND = {
    "AsyncConsumeClient": "handshake._client_async",
    "AsyncPostgresHandoffLog": "stores.postgres",
    "ConsumeClient": "handshake._client",
    "PostgresHandoffLog": "stores.postgres",
}


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"ghasi_handoff.{_ON_DEMAND[name]}"), name)
