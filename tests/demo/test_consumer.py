"""The consumer service by itself: what its form may send."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from ghasi_handoff import KeyRing
from ghasi_handoff.demo.consumer import DemoConsumerSettings, create_app
from tests.integrations.fastapi.both_services import FORM, Answer, answer_of, endless


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    settings = DemoConsumerSettings(
        keys=SecretStr(KeyRing.generate().to_json()),
        log_url=SecretStr(f"sqlite:///{tmp_path / 'log.db'}"),
        booking_origin="https://booking.example",
    )
    return create_app(settings)


def book(app: FastAPI, body: bytes | Iterable[bytes]) -> Answer:
    return asyncio.run(answer_of(app, "POST", "/book", (("Content-Type", FORM),), body))


def test_a_form_without_an_end_is_not_read_to_its_end(app: FastAPI) -> None:
    """Reading stops at 4096 bytes: 413, and nothing is issued."""
    answer = book(app, endless())
    assert (answer.status, answer.chunks_read) == (413, 5)


def test_a_room_that_is_not_offered(app: FastAPI) -> None:
    """404 for a room of no hotel, and for a form without one."""
    assert [book(app, body).status for body in (b"room=palace", b"")] == [404, 404]


def test_dates_that_cannot_be_booked(app: FastAPI) -> None:
    """422: the departure before the arrival, a date that is none, no adults."""
    good = {"room": "aurora-double", "check_in": "2026-12-24", "check_out": "2026-12-27", "adults": "2"}
    for wrong in ({"check_out": "2026-12-23"}, {"check_in": "tomorrow"}, {"adults": "none"}, {"adults": "9" * 3000}):
        form = "&".join(f"{name}={value}" for name, value in {**good, **wrong}.items())
        assert book(app, form.encode("ascii")).status == 422
