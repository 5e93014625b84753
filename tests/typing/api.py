"""What a user's type checker infers: checked by mypy and pyright, never run."""

from __future__ import annotations

from datetime import date, datetime
from typing import assert_type

import psycopg_pool
import redis
import redis.asyncio

from ghasi_handoff import (
    AsyncRedeemer,
    AsyncReplayStore,
    BookingHandoff,
    Consumption,
    HandoffPayload,
    KeyRing,
    MintedHandoff,
    Minter,
    Redeemer,
    Redemption,
    ReplayStore,
    SigningKey,
    VerifiedHandoff,
    Verifier,
    keyfile,
)
from ghasi_handoff.handshake import (
    AsyncConsumeClient,
    ConsumeClient,
    Deliveries,
    HandoffIssuer,
    HandoffLog,
    HandoffRecord,
    Handshake,
    OutboxWorker,
    PostgresHandoffLog,
    SQLiteHandoffLog,
)
from ghasi_handoff.integrations.opentelemetry import HandoffTelemetry
from ghasi_handoff.replay import StoreReport, StoreStats
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore
from ghasi_handoff.stores.postgres import AsyncPostgresReplayStore, PostgresReplayStore
from ghasi_handoff.stores.redis import AsyncRedisReplayStore, RedisReplayStore
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore


class LoungePass(HandoffPayload):
    """A payload of the user's own."""

    lounge_id: str
    guests: int = 1


# Keys: a ring, or a callable that returns one.
keys = KeyRing.generate()
assert_type(keys, KeyRing)
assert_type(keys.keys, tuple[SigningKey, ...])
assert_type(keys.rotate().revoke("a").prune(), KeyRing)
assert_type(keys.keys[0].verify_until, datetime | None)
assert_type(keyfile.load("keys.json"), KeyRing)
watched = keyfile.WatchedKeyRing("keys.json", kek=keyfile.LocalKeyEncryptionKey(b"k" * 32))
assert_type(watched(), KeyRing)
assert_type(watched.refresh("a"), bool)
assert_type(Verifier(watched, issuer="a", audience="b").verify("token", tenant="t").payload, BookingHandoff)
assert_type(keyfile.WatchedKeyRing.from_env(), keyfile.WatchedKeyRing)
Minter(lambda: keys, issuer="a", audience="b")

# Minting infers the payload's class from the payload.
minter = Minter(keys, issuer="a", audience="b")
stay = BookingHandoff(property_id="x", check_in=date(2026, 1, 1), check_out=date(2026, 1, 2), adults=1)
minted = minter.mint(stay, tenant="t")
assert_type(minted, MintedHandoff[BookingHandoff])
assert_type(minted, MintedHandoff)
assert_type(minted.payload, BookingHandoff)
assert_type(minted.issued_at, datetime)
assert_type(minted.url("https://a.example"), str)
assert_type(minter.mint(LoungePass(lounge_id="l"), tenant="t").payload.guests, int)
assert_type(BookingHandoff.from_input({}), BookingHandoff)
assert_type(LoungePass.from_input({}), LoungePass)

# A verifier without a class is one of BookingHandoff; with one, of that class.
verifier = Verifier(keys, issuer="a", audience="b")
assert_type(verifier, Verifier[BookingHandoff])
verified = verifier.verify("token", tenant="t")
assert_type(verified, VerifiedHandoff[BookingHandoff])
assert_type(verified.payload.adults, int)
assert_type(verified.payload.locale, str | None)
lounge_verifier = Verifier(keys, issuer="a", audience="b", payload_type=LoungePass)
assert_type(lounge_verifier, Verifier[LoungePass])
assert_type(lounge_verifier.verify("token", tenant="t").payload.lounge_id, str)

# Redeemers carry the class on.
redeemer = Redeemer(verifier, SQLiteReplayStore("replay.db"))
assert_type(redeemer, Redeemer[BookingHandoff])
redemption = redeemer.redeem("token", tenant="t", browser_secret=b"")
assert_type(redemption, Redemption[BookingHandoff])
assert_type(redemption.handoff.payload, BookingHandoff)
assert_type(redemption.first, bool)
assert_type(redemption.redeemed_at, datetime)
assert_type(Redeemer(lounge_verifier, MemoryReplayStore()).redeem("x", tenant="t").handoff.payload, LoungePass)

# A verified handoff may stand where one of a wider class is asked for.
wider: VerifiedHandoff[HandoffPayload] = verified


async def redeem() -> None:
    """The async twin infers the same."""
    async with AsyncSQLiteReplayStore("replay.db") as store:
        assert_type(store, AsyncSQLiteReplayStore)
        redeemed = await AsyncRedeemer(verifier, store).redeem("token", tenant="t")
        assert_type(redeemed, Redemption[BookingHandoff])


# The shipped stores follow the protocols, and so may anybody's.
pool, async_pool = psycopg_pool.ConnectionPool(""), psycopg_pool.AsyncConnectionPool("")
client, async_client = redis.Redis(), redis.asyncio.Redis()
stores: list[ReplayStore] = [
    MemoryReplayStore(),
    SQLiteReplayStore("a.db", outbox=True),
    PostgresReplayStore(pool, outbox=True),
    RedisReplayStore(client),
]
async_stores: list[AsyncReplayStore] = [
    AsyncMemoryReplayStore(),
    AsyncSQLiteReplayStore("a.db", outbox=True),
    AsyncPostgresReplayStore(async_pool, outbox=True),
    AsyncRedisReplayStore(async_client),
]
assert_type(PostgresReplayStore(pool).check(), StoreReport)
assert_type(RedisReplayStore(client).stats(), StoreStats)
AsyncPostgresReplayStore(pool)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
RedisReplayStore(async_client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


class OwnStore:
    """A store of the user's own: one method."""

    def consume(
        self, handoff_id: str, *, scope: str, redemption_id: str, consumed_at: int, retain_until: int
    ) -> Consumption:
        """See `ReplayStore.consume`."""
        return Consumption(holder=redemption_id, first=True, consumed_at=consumed_at)


Redeemer(verifier, OwnStore())

# The handshake: sync and async parts do not mix, and the payload's class goes through.
log = SQLiteHandoffLog("log.db")
issued = HandoffIssuer(minter, log).issue(stay, tenant="t")
assert_type(issued, MintedHandoff[BookingHandoff])
consume_client = ConsumeClient("https://bff-consumer.example", keys=keys)
handshake = Handshake(redeemer, consume_client, "deferred")
assert_type(handshake.redeem("token", tenant="t", browser_secret=b""), Redemption[BookingHandoff])
assert_type(OutboxWorker(SQLiteReplayStore("a.db", outbox=True), consume_client).deliver(), Deliveries)
assert_type(log.find("id"), HandoffRecord | None)
logs: list[HandoffLog] = [log, PostgresHandoffLog(pool)]
Handshake(redeemer, consume_client, "eager")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
Handshake(redeemer, AsyncConsumeClient("https://a.example", keys=keys))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
handshake.redeem("token", tenant="t")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]

# Telemetry gives back what it was given.
telemetry = HandoffTelemetry(keys)
assert_type(telemetry.store(SQLiteReplayStore("a.db")), SQLiteReplayStore)
assert_type(telemetry.store(OwnStore()), OwnStore)
assert_type(telemetry.client(consume_client), ConsumeClient)
Handshake(redeemer, telemetry.client(consume_client), on_event=telemetry.on_event)
telemetry.store(consume_client)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]

# What must not type-check. An ignore that is not needed is an error, so each line below is a test.
Redeemer(verifier, AsyncMemoryReplayStore())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
AsyncRedeemer(verifier, MemoryReplayStore())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
verifier.verify(b"token", tenant="t")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
verifier.verify("token")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
verifier.verify("token", "t")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
redeemer.redeem("token", tenant="t", browser_secret=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
minter.mint({"adults": 2}, tenant="t")  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
Verifier(keys, issuer="a", audience="b", payload_type=dict)  # type: ignore[type-var]  # pyright: ignore[reportArgumentType]
verified.tenant = "other"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
SigningKey("k", b"")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
