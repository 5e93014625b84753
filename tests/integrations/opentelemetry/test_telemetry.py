"""Events, keys and tenants with the real SDK, a real store with its outbox and a real bff-consumer: what is counted."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from opentelemetry.sdk.metrics.export import Histogram
from opentelemetry.trace import StatusCode

from ghasi_handoff import KeyRing, MintedHandoff, ReplayStoreError, handshake
from ghasi_handoff.errors import ReplayedTokenError, UnknownKeyError
from ghasi_handoff.handshake import AsyncOutboxWorker, ConsumeRequest, OutboxWorker, SQLiteHandoffLog, answer_consume
from ghasi_handoff.integrations.opentelemetry import HandoffTelemetry
from tests.handshake.services import STRANGER, TENANT, Clock, Consumer, issue
from tests.integrations.opentelemetry.observatory import Booking, Observatory, refused, story


def test_every_outcome_is_counted_by_its_code(booking: Booking, minted: MintedHandoff, service: Consumer, observatory: Observatory, keys: KeyRing, log: SQLiteHandoffLog, clock: Clock) -> None:  # fmt: skip
    """Let through, let through again, another browser's, refused by verify, not confirmed: one series each."""
    story(booking, minted, service, issue(keys, log, clock))
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.outcome") == {
        "redeemed": 1,
        "repeated": 1,
        "replayed": 1,
        "invalid_mac": 1,
        "malformed": 1,
        "confirmation_unavailable": 1,
    }


def test_a_store_that_cannot_answer_is_an_outcome(telemetry: HandoffTelemetry, observatory: Observatory, booking: Booking, minted: MintedHandoff, tmp_path: Path) -> None:  # fmt: skip
    """Nobody was let through, and the code says whose fault it is: in the counter, the duration and the span."""
    booking.path = tmp_path / "no" / "such" / "folder.db"
    refused(ReplayStoreError, booking.redeem, minted.token)
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.outcome") == {"store_unavailable": 1}
    assert observatory.values("ghasi_handoff.store.duration", "error.type") == {"store_unavailable": 1}
    (span,) = observatory.spans("ghasi_handoff.consume")
    assert (span.status.status_code, (span.attributes or {})["error.type"]) == (StatusCode.ERROR, "store_unavailable")


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (handshake.ConfirmationFailed(redemption_id="r", reason="timeout"), "timeout"),
        (handshake.DeliveryGivenUp(redemption_id="r", age_seconds=86400, reason="status_404"), "status_404"),
        (handshake.DeliveryRefused(redemption_id="r", code="revoked_handoff"), "revoked_handoff"),
        (handshake.HandoffRefused(code="malformed", reason="a text for operators"), None),
        (handshake.LocalRowLost(redemption_id="r", deferred=True), None),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_every_event_is_counted_by_its_name(telemetry: HandoffTelemetry, observatory: Observatory, event: handshake.HandoffEvent, reason: str | None) -> None:  # fmt: skip
    """With its reason where that is one word of a short list; texts for operators are for the log."""
    telemetry.on_event(event)
    assert observatory.values("ghasi_handoff.events", "ghasi_handoff.event", "ghasi_handoff.reason") == {
        (event.name, reason): 1
    }


def test_lost_rows_end_an_attempt_only_where_a_guest_waits(telemetry: HandoffTelemetry, observatory: Observatory) -> None:  # fmt: skip
    """A worker that finds out adds no attempt; a guest who is refused for it is one."""
    telemetry.on_event(handshake.LocalRowLost(handoff_id="id", redemption_id="r", deferred=True))
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.outcome") == {}
    telemetry.on_event(
        handshake.LocalRowLost(handoff_id="id", tenant=TENANT, kid="k", redemption_id="r", deferred=False)
    )
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.outcome") == {"local_row_lost": 1}


def test_another_browsers_attempt_is_a_gap(booking: Booking, minted: MintedHandoff, observatory: Observatory, clock: Clock) -> None:  # fmt: skip
    """Replay hits are the histogram's count; the gap is in seconds, in buckets for seconds."""
    booking.redeem(minted.token)
    clock.now += 40
    refused(ReplayedTokenError, booking.redeem, minted.token, STRANGER)
    (point,) = observatory.points("ghasi_handoff.replay.gap")
    assert (point.count, point.sum, dict(point.attributes)) == (1, 40, {})
    assert point.bucket_counts[point.explicit_bounds.index(60)] == 1


def test_buckets(booking: Booking, minted: MintedHandoff, observatory: Observatory) -> None:
    """A dashboard counts on the buckets' boundaries: each duration and gap has these, in seconds, and no others."""
    booking.redeem(minted.token)
    refused(ReplayedTokenError, booking.redeem, minted.token, STRANGER)
    calls = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 5, 10)
    metrics = observatory.metrics()
    found = {
        name: {(metric.unit, tuple(point.explicit_bounds)) for point in metric.data.data_points}
        for name, metric in metrics.items()
        if isinstance(metric.data, Histogram)
    }
    assert found == {
        "ghasi_handoff.store.duration": {("s", calls)},
        "ghasi_handoff.confirmation.duration": {("s", calls)},
        "ghasi_handoff.replay.gap": {("s", (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600))},
    }


def test_a_gap_below_zero_counts_as_none(telemetry: HandoffTelemetry, observatory: Observatory) -> None:
    """Two machines' clocks differ: the replay is counted all the same."""
    telemetry.on_event(handshake.HandoffReplayed(redemption_id="a", holder="b", gap_seconds=-2))
    (point,) = observatory.points("ghasi_handoff.replay.gap")
    assert (point.count, point.sum) == (1, 0)


def test_consume_calls_are_counted_by_status_and_code(telemetry: HandoffTelemetry, observatory: Observatory, booking: Booking, minted: MintedHandoff, service: Consumer, log: SQLiteHandoffLog, keys: KeyRing, clock: Clock) -> None:  # fmt: skip
    """At bff-consumer: a real call, the same for a handoff of another path, and one that is not authentic."""
    booking.redeem(minted.token)
    (_, authorization, body) = service.requests[-1]
    for path_id, fields in ((minted.handoff_id, authorization), ("other", authorization), (minted.handoff_id, [])):
        request = ConsumeRequest(path_id=path_id, authorization=fields, body=body)
        answer_consume(request, log=log, keys=keys, clock=clock, on_event=telemetry.on_event)
    assert observatory.values("ghasi_handoff.consume_calls", "http.response.status_code", "error.type") == {
        (200, None): 1,
        (404, "unknown_handoff"): 1,
        (401, "unauthenticated_call"): 1,
    }


def test_a_running_worker_shows_its_outbox(telemetry: HandoffTelemetry, observatory: Observatory, booking: Booking, minted: MintedHandoff, service: Consumer, clock: Clock) -> None:  # fmt: skip
    """How many wait, how many were given up, and how old the oldest is, in seconds."""
    booking.redeem(minted.token, mode="deferred")
    service.always = 503
    clock.now += 90
    stop = threading.Event()

    def on_event(event: handshake.HandoffEvent) -> None:
        telemetry.on_event(event)
        if isinstance(event, handshake.OutboxAge):
            stop.set()

    if not booking.awaited:
        with booking._store() as store, booking._client() as client:
            OutboxWorker(store, client, mode="deferred", on_event=on_event, clock=clock).run(stop)
    else:

        async def run() -> None:
            async with booking._async_store() as store, booking._async_client() as client:
                worker = AsyncOutboxWorker(store, client, mode="deferred", on_event=on_event, clock=clock)
                task = asyncio.create_task(worker.run())
                while not stop.is_set():
                    await asyncio.sleep(0.01)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        asyncio.run(run())
    metrics = observatory.metrics()  # once: an older SDK tells a gauge's value only once
    names = ("ghasi_handoff.outbox.pending", "ghasi_handoff.outbox.dead", "ghasi_handoff.outbox.age")
    assert [[point.value for point in metrics[name].data.data_points] for name in names] == [[1], [0], [90]]
    assert observatory.values("ghasi_handoff.events", "ghasi_handoff.event")["outbox_age"] == 1


def test_handoffs_are_counted_by_the_state_of_the_key_that_signed(observatory: Observatory, keys: KeyRing, log: SQLiteHandoffLog, clock: Clock, service: Consumer, tmp_path: Path) -> None:  # fmt: skip
    """As the ring says at that moment: during a rotation the old key's share falls."""
    present = keys
    booking = Booking(
        "threads",
        observatory.telemetry(lambda: present),
        tmp_path / "replay.db",
        service.url,
        keys,
        clock,
    )
    booking.redeem(issue(keys, log, clock).token)
    now = datetime.fromtimestamp(clock.now, UTC)
    present = keys.rotate(now=now - timedelta(seconds=30), propagation=timedelta(0))
    booking.redeem(issue(keys, log, clock).token)
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.key.state") == {"active": 1, "verify-only": 1}


def test_made_up_kids_make_one_series(booking: Booking, minted: MintedHandoff, observatory: Observatory) -> None:
    """A kid is read before the MAC: an outsider could fill the metrics with names of his own."""
    for number in range(20):
        token = minted.token.replace(f".{minted.kid}.", f".kid{number}.")
        refused(UnknownKeyError, booking.redeem, token)
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.outcome", "ghasi_handoff.key.state") == {
        ("unknown_key", "unknown"): 20
    }
    assert "kid1" not in observatory.everything()


def test_without_a_ring_no_state_is_told(observatory: Observatory, minted: MintedHandoff) -> None:
    """Nothing is guessed."""
    observatory.telemetry().on_event(
        handshake.HandoffRedeemed(
            handoff_id="id", tenant=TENANT, kid=minted.kid, redemption_id="r", first=True, mode="strict"
        )
    )
    (point,) = observatory.points("ghasi_handoff.redemptions")
    assert dict(point.attributes) == {"ghasi_handoff.outcome": "redeemed"}
    assert "ghasi_handoff.keys" not in observatory.metrics()


def test_a_ring_that_cannot_be_read_costs_no_count(observatory: Observatory, minted: MintedHandoff) -> None:
    """The state is missing, the handoff is not, and the ring's own gauge has no value."""

    def lost() -> KeyRing:
        raise OSError("keys.json")

    observatory.telemetry(lost).on_event(
        handshake.HandoffRedeemed(handoff_id="id", kid=minted.kid, redemption_id="r", first=True, mode="strict")
    )
    assert observatory.values("ghasi_handoff.redemptions", "ghasi_handoff.outcome") == {"redeemed": 1}
    assert observatory.values("ghasi_handoff.keys") == {}


def test_the_rings_keys_are_counted_by_state(observatory: Observatory, keys: KeyRing) -> None:
    """Zeros included: an alarm waits for a ring without an active key. Read anew each time."""
    present = keys.rotate()
    telemetry = observatory.telemetry(lambda: present)
    states = {"pending": 1, "active": 1, "verify-only": 0, "retired": 0, "revoked": 0}
    assert observatory.values("ghasi_handoff.keys", "ghasi_handoff.key.state") == states
    present = keys.revoke(keys.keys[0].kid)
    states = {"pending": 0, "active": 0, "verify-only": 0, "retired": 0, "revoked": 1}
    assert observatory.values("ghasi_handoff.keys", "ghasi_handoff.key.state") == states
    del telemetry


def test_tenants_are_counted_only_if_asked_for(observatory: Observatory) -> None:
    """A platform has thousands of them."""
    events = [
        handshake.HandoffRedeemed(tenant=TENANT, redemption_id="r", first=True, mode="strict"),
        handshake.HandoffReplayed(tenant=TENANT, redemption_id="r", holder="h", gap_seconds=1),
        handshake.CallAnswered(tenant=TENANT, status=200),
    ]
    names = ("ghasi_handoff.redemptions", "ghasi_handoff.replay.gap", "ghasi_handoff.consume_calls")
    other = Observatory()
    for event in events:
        observatory.telemetry().on_event(event)
        other.telemetry(by_tenant=True).on_event(event)
    assert TENANT not in observatory.everything()
    assert [set(other.values(name, "ghasi_handoff.tenant")) for name in names] == [{TENANT}] * 3


def test_nothing_is_loaded_unless_asked_for() -> None:
    """Neither the package, the handshake nor the integrations import OpenTelemetry; its module imports the API alone."""
    program = (
        "import sys, ghasi_handoff, ghasi_handoff.handshake, ghasi_handoff.integrations;"
        " found = [name for name in sys.modules if name.startswith('opentelemetry')]; assert not found, found;"
        " import ghasi_handoff.integrations.opentelemetry; assert 'opentelemetry.metrics' in sys.modules;"
        " assert not {'opentelemetry.sdk', 'httpx2', 'psycopg', 'redis', 'fastapi'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
