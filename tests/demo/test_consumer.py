"""The consumer service by itself: what its form may send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from ghasi_handoff import KeyRing
from ghasi_handoff._base64url import b64u_decode
from ghasi_handoff.demo.consumer import DemoConsumerSettings, create_app
from tests.integrations.fastapi.asgi import answer_of
from tests.landing.both_services import FORM, Answer, endless


class RunningApp:
    """The application within its lifespan, and the event loop that it lives in."""

    def __init__(self, app: FastAPI, runner: asyncio.Runner) -> None:
        self.app = app
        self.runner = runner


@pytest.fixture
def app(tmp_path: Path) -> Iterator[RunningApp]:
    settings = DemoConsumerSettings(
        keys=SecretStr(KeyRing.generate().to_json()),
        log_url=SecretStr(f"sqlite:///{tmp_path / 'log.db'}"),
        booking_origin="https://booking.example",
    )
    made = create_app(settings)
    with asyncio.Runner() as runner:
        lifespan = made.router.lifespan_context(made)
        runner.run(lifespan.__aenter__())
        yield RunningApp(made, runner)
        runner.run(lifespan.__aexit__(None, None, None))


def book(app: RunningApp, body: bytes | Iterable[bytes]) -> Answer:
    return app.runner.run(answer_of(app.app, "POST", "/book", (("Content-Type", FORM),), body))


def test_a_form_without_an_end_is_not_read_to_its_end(app: RunningApp) -> None:
    """Reading stops at 4096 bytes: 413, and nothing is issued."""
    answer = book(app, endless())
    assert (answer.status, answer.chunks_read) == (413, 5)


def test_a_room_that_is_not_offered(app: RunningApp) -> None:
    """404 for a room of no hotel, and for a form without one."""
    assert [book(app, body).status for body in (b"room=palace", b"")] == [404, 404]


def stay_of(answer: Answer) -> dict[str, Any]:
    """What the token that the guest is sent on with hands over."""
    (token,) = parse_qs(urlsplit(answer.field("location")).query)["handoff"]
    body = b64u_decode(token.split(".")[2]) or b""
    stay: dict[str, Any] = json.loads(body.rpartition(b"\n")[2])
    return stay


def test_the_price_is_never_the_forms(app: RunningApp) -> None:
    """A guest who adds a price, a currency or another hotel to the form gets the room at the price that we ask for it."""
    form = "room=aurora-double&check_in=2036-12-24&check_out=2036-12-27&adults=2"
    plain = stay_of(book(app, form.encode()))
    assert (plain["quoted_total_minor"], plain["currency"]) == (3 * 15300, "EUR")
    assert (plain["property_id"], plain["room_type_id"]) == ("htl_0042", "rt_double")
    wishes = ["quoted_total_minor=1", "price=1", "total=1", "cents_a_night=1", "currency=JPY", "property_id=htl_0077"]
    wishes += ["room_type_id=rt_family", "quoted_total_minor=1&currency=JPY"]
    for wish in wishes:
        for with_wish in (f"{form}&{wish}", f"{wish}&{form}"):
            assert stay_of(book(app, with_wish.encode())) == plain


def test_dates_that_cannot_be_booked(app: RunningApp) -> None:
    """422: the departure before the arrival, a date that is none, no adults."""
    good = {"room": "aurora-double", "check_in": "2026-12-24", "check_out": "2026-12-27", "adults": "2"}
    for wrong in ({"check_out": "2026-12-23"}, {"check_in": "tomorrow"}, {"adults": "none"}, {"adults": "9" * 3000}):
        form = "&".join(f"{name}={value}" for name, value in {**good, **wrong}.items())
        assert book(app, form.encode("ascii")).status == 422
