"""bff-consumer: a page with a few rooms; "Book" issues a handoff and sends the guest on to the hotel's own site."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from html import escape
from typing import Final
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ghasi_handoff import BookingHandoff, InvalidHandoffInputError, Minter
from ghasi_handoff.demo.hotels import HOTELS, Hotel
from ghasi_handoff.demo.pages import page
from ghasi_handoff.handshake import AsyncHandoffIssuer, LastUse
from ghasi_handoff.integrations.fastapi import (
    AccessLogFilter,
    ConsumerSettings,
    consumer_router,
    fingerprint_router,
    install_error_handlers,
)

_MAX_FORM_BYTES: Final = 4096


class DemoConsumerSettings(ConsumerSettings):
    """Settings of this service. ``GHASI_HANDOFF_BOOKING_ORIGIN`` is the origin of the hotels' booking sites."""

    booking_origin: str


def create_app(settings: DemoConsumerSettings | None = None) -> FastAPI:
    """The service; its settings are by default those of the environment.

    For uvicorn: ``uvicorn --factory ghasi_handoff.demo.consumer:create_app``.
    """
    settings = settings or DemoConsumerSettings.from_environment()
    keys = settings.watched_keys()
    last_use = LastUse(keys)
    log, log_running = settings.make_log()
    issuer = AsyncHandoffIssuer(Minter(keys, issuer=settings.issuer, audience=settings.audience), log)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        logging.getLogger("uvicorn.access").addFilter(AccessLogFilter())
        with keys:
            async with log_running:
                yield

    app = FastAPI(title="bff-consumer", lifespan=lifespan)
    app.include_router(consumer_router(log, keys=keys))
    app.include_router(fingerprint_router(keys, last_use=last_use))
    install_error_handlers(app)

    @app.get("/", response_class=HTMLResponse)
    async def rooms() -> Response:
        """The rooms, each with a form."""
        # form-action also holds for redirects of a form: without the booking origin, Chromium stops the 303 below.
        return page("Rooms for your journey", _offers(), form_targets=f"'self' {settings.booking_origin}")

    @app.post("/book", status_code=303, response_class=HTMLResponse)
    async def book(request: Request) -> Response:
        """Issue a handoff for the chosen room, and send the guest on."""
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_FORM_BYTES:  # whatever the guest's browser sends, it is not this form
                return page("This is too long", '<p><a href="/">Back to the rooms</a></p>', 413)
        form = dict(parse_qsl(body.decode("latin-1")))
        chosen = next(((path, hotel) for path, hotel in HOTELS.items() if form.get("room") in hotel.rooms), None)
        if chosen is None:
            return page("There is no such room", '<p><a href="/">Back to the rooms</a></p>', 404)
        path, hotel = chosen
        try:
            handoff = _handoff(hotel, form)
        except InvalidHandoffInputError as exc:
            return page("Please check your dates", f'<p>{escape(exc.public_text)} <a href="/">Back</a></p>', 422)
        minted = await issuer.issue(handoff, tenant=hotel.tenant)
        last_use.saw(minted.kid)
        # 303, not 307: the booking site gets a GET, and none of this form.
        return RedirectResponse(
            minted.url(f"{settings.booking_origin}/{path}/handoff"),
            status_code=303,
            headers={"Cache-Control": "no-store", "Referrer-Policy": "strict-origin"},
        )

    return app


def _handoff(hotel: Hotel, form: dict[str, str]) -> BookingHandoff:
    """What the guest chose, checked. The price is ours, never the form's."""
    room = hotel.rooms[form["room"]]
    chosen: dict[str, object] = {
        "property_id": room.property_id,
        "room_type_id": room.room_type_id,
        "check_in": form.get("check_in", ""),
        "check_out": form.get("check_out", ""),
        "adults": int(form["adults"]) if form.get("adults", "").isdecimal() else 0,
        "currency": "EUR",
        "quoted_total_minor": 0,
    }
    stay = BookingHandoff.from_input(chosen)
    nights = (stay.check_out - stay.check_in).days
    return BookingHandoff.from_input({**chosen, "quoted_total_minor": nights * room.cents_a_night})


def _offers() -> str:
    arrival = datetime.now(UTC).date() + timedelta(days=30)
    departure = arrival + timedelta(days=3)
    parts = []
    for hotel in HOTELS.values():
        parts.append(f"<h2>{escape(hotel.name)}</h2>")
        for room_id, room in hotel.rooms.items():
            parts.append(
                f"<section><h3>{escape(room.name)}, {room.cents_a_night / 100:.2f} EUR a night</h3>"
                f'<form method="post" action="/book"><input type="hidden" name="room" value="{escape(room_id)}">'
                f'<label>Arrival<input type="date" name="check_in" required value="{arrival}"></label>'
                f'<label>Departure<input type="date" name="check_out" required value="{departure}"></label>'
                '<label>Adults<input type="number" name="adults" min="1" max="30" required value="2"></label>'
                "<button>Book</button></form></section>"
            )
    return "".join(parts)
