"""What is exported: known attributes, no secret, and a handoff id on spans only."""

from __future__ import annotations

import base64
import json
from typing import Any, NoReturn

import pytest

from ghasi_handoff import KeyRing, MintedHandoff, ReplayStoreError
from ghasi_handoff.handshake import ConsumeRequest, HandoffRefused, SQLiteHandoffLog, answer_consume
from ghasi_handoff.integrations.opentelemetry import HandoffTelemetry
from ghasi_handoff.stores.memory import MemoryReplayStore
from ghasi_handoff.stores.sqlite import SQLiteReplayStore
from tests.handshake.services import GUEST, STRANGER, Clock, Consumer, issue
from tests.integrations.opentelemetry.observatory import Booking, Observatory, altered, refused, story


def spellings(secret: bytes) -> set[str]:
    """How bytes could show: as hexadecimal, base64 of both alphabets, a repr."""
    encoded = (base64.b64encode(secret), base64.urlsafe_b64encode(secret))
    return {secret.hex(), repr(secret)[2:-1], *(text.decode("ascii").rstrip("=") for text in encoded)}


def shows(text: str, secret: str) -> bool:
    """Whether it is in the text: as it is, or as JSON or a repr quote it."""
    return any(spelling in text for spelling in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]))


@pytest.mark.parametrize("planted", ["metric", "span", None])
def test_no_secret_is_exported(planted: str | None, booking: Booking, minted: MintedHandoff, service: Consumer, observatory: Observatory, telemetry: HandoffTelemetry, keys: KeyRing, log: SQLiteHandoffLog, clock: Clock) -> None:  # fmt: skip
    """Neither token, MAC, key, cookie nor redemption id, whatever happens. The search finds each if it is planted."""
    other = issue(keys, log, clock)
    story(booking, minted, service, other)
    for _, authorization, body in service.requests:
        request = ConsumeRequest(path_id=minted.handoff_id, authorization=authorization, body=body)
        answer_consume(request, log=log, keys=keys, clock=clock, on_event=telemetry.on_event)
    forbidden = {text for browser in (GUEST, STRANGER) for text in spellings(browser)} | spellings(keys.keys[0].secret)
    for token in (minted.token, other.token, altered(minted.token)):
        _, _, body_part, mac = token.split(".")
        forbidden |= {token, body_part, mac}
    forbidden |= {authorization.partition("mac=")[2] for _, (authorization,), _ in service.requests}
    with SQLiteReplayStore(booking.path) as store:
        traces = [store.trace(handoff.handoff_id) for handoff in (minted, other)]
    redemption_ids = {record.redemption_id for trace in traces for record in trace.records}
    redemption_ids |= {refusal.redemption_id for trace in traces for refusal in trace.refusals}
    assert len(redemption_ids) == 3
    forbidden |= redemption_ids
    if planted is None:
        text = observatory.everything()
        assert "ghasi_handoff.redemptions" in text and minted.handoff_id in text
        assert [secret for secret in forbidden if shows(text, secret)] == []
        return
    for secret in forbidden:
        if planted == "metric":
            telemetry.on_event(HandoffRefused(code=secret, reason=""))
        else:
            refused(ReplayStoreError, telemetry.store(_Leaky()).consume, secret)
    text = observatory.everything()
    assert [secret for secret in forbidden if not shows(text, secret)] == []


class _Leaky(MemoryReplayStore):
    def consume(self, handoff_id: str, **entry: Any) -> NoReturn:
        raise ReplayStoreError(handoff_id)


def test_only_known_attributes_are_exported(booking: Booking, minted: MintedHandoff, service: Consumer, observatory: Observatory, keys: KeyRing, log: SQLiteHandoffLog, clock: Clock) -> None:  # fmt: skip
    """No metric has an attribute of one guest: no id, no kid, no tenant."""
    story(booking, minted, service, issue(keys, log, clock))
    metrics = observatory.metrics()
    names = {name for metric in metrics.values() for point in metric.data.data_points for name in point.attributes}
    assert names == {
        "error.type",
        "ghasi_handoff.event",
        "ghasi_handoff.key.state",
        "ghasi_handoff.outcome",
        "ghasi_handoff.reason",
        "ghasi_handoff.store.type",
    }
    assert all(metric.unit and metric.description for metric in metrics.values())


def test_a_handoff_id_is_no_secret_but_only_for_spans(booking: Booking, minted: MintedHandoff, observatory: Observatory) -> None:  # fmt: skip
    """It is the correlation id of both sides, and would make a time series of each guest."""
    booking.redeem(minted.token)
    data = observatory.reader.get_metrics_data()
    assert data is not None
    assert minted.handoff_id not in data.to_json()
