"""bff-tenant-booking: the booking sites of two hotels. A handoff becomes a booking that belongs to one browser."""

from __future__ import annotations

import asyncio
import logging
import secrets
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing, suppress
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Final, NamedTuple

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ghasi_handoff import AsyncRedeemer, BookingHandoff, Redemption, Verifier
from ghasi_handoff.demo.hotels import HOTELS
from ghasi_handoff.demo.pages import page
from ghasi_handoff.handshake import AsyncHandshake, AsyncOutboxWorker, LastUse
from ghasi_handoff.integrations.fastapi import AccessLogFilter, BookingSettings, fingerprint_router, landing_router

_SESSION: Final = "__Host-session"


class DemoBookingSettings(BookingSettings):
    """Settings of this service. ``GHASI_HANDOFF_BOOKINGS_FILE`` says where it keeps its bookings."""

    bookings_file: Path = Path("bookings.db")


def create_app(settings: DemoBookingSettings | None = None) -> FastAPI:
    """The service; its settings are by default those of the environment.

    For uvicorn: ``uvicorn --factory ghasi_handoff.demo.booking:create_app``.
    """
    settings = settings or DemoBookingSettings.from_environment()
    keys = settings.watched_keys()
    last_use = LastUse(keys)
    bookings = Bookings(settings.bookings_file)
    store, store_running = settings.make_store()
    client = settings.make_client(keys)
    verifier = Verifier(keys, issuer=settings.issuer, audience=settings.audience)
    handshake = AsyncHandshake(AsyncRedeemer(verifier, store), client, mode=settings.mode, on_event=last_use)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        logging.getLogger("uvicorn.access").addFilter(AccessLogFilter())
        await run_in_threadpool(bookings.create)
        with keys:
            async with store_running, client, delivering():
                yield

    @asynccontextmanager
    async def delivering() -> AsyncGenerator[None]:
        """Tell bff-consumer later what it could not be told at once. Redis has no outbox: nothing waits there."""
        if getattr(store, "outbox", None) is None:
            yield
            return
        worker = asyncio.create_task(AsyncOutboxWorker(store, client, mode=settings.mode).run())
        try:
            yield
        finally:
            worker.cancel()
            with suppress(asyncio.CancelledError):
                await worker

    def tenant(request: Request) -> str | None:
        hotel = HOTELS.get(request.path_params["hotel"])
        return None if hotel is None else hotel.tenant

    def on_redeemed(request: Request, redemption: Redemption[BookingHandoff]) -> Response:
        """The handoff is this browser's: make its booking, or find the one that was made before."""
        # Never the session that was sent: a sibling subdomain can set a cookie that request.cookies, which trims more
        # than browsers do, takes for ours. Whoever has set it would read this booking.
        session = bookings.renew(request.cookies.get(_SESSION, ""))
        number = bookings.book(redemption, session)
        response = RedirectResponse(f"/{request.path_params['hotel']}/booking/{number}", status_code=303)
        response.set_cookie(_SESSION, session, max_age=86400, path="/", secure=True, httponly=True, samesite="lax")
        return response

    app = FastAPI(title="bff-tenant-booking", lifespan=lifespan)
    landing = landing_router(
        handshake,
        tenant=tenant,
        public_origin=lambda request: settings.public_origin,
        on_redeemed=on_redeemed,
        start_url=settings.start_url,
    )
    app.include_router(landing, prefix="/{hotel}")
    app.include_router(fingerprint_router(keys, last_use=last_use))

    @app.get("/{hotel}/booking/{number}", response_class=HTMLResponse)
    async def booking(request: Request, hotel: str, number: str) -> Response:
        """The booking, for the browser whose session it belongs to. To everybody else there is none."""
        session = request.cookies.get(_SESSION, "")
        found = await run_in_threadpool(bookings.find, number, session)
        if hotel not in HOTELS or found is None or found.tenant != HOTELS[hotel].tenant:
            return page("There is no such booking here", "<p>Please check the address.</p>", 404)
        return page(f"Your booking at {HOTELS[hotel].name}", _facts(number, found))

    return app


class Booking(NamedTuple):
    """A booking: its handoff's id, by which both services' logs are joined, the hotel, and what was handed over."""

    handoff_id: str
    tenant: str
    stay: BookingHandoff


class Bookings:
    """The bookings, and to which sessions they belong. One row a redemption, however often it is repeated."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def create(self) -> None:
        """Make the tables."""
        with closing(self._connect()) as connection:
            connection.executescript(
                "PRAGMA journal_mode = WAL;"
                "CREATE TABLE IF NOT EXISTS bookings (redemption_id TEXT PRIMARY KEY, number TEXT NOT NULL UNIQUE,"
                " handoff_id TEXT NOT NULL, tenant TEXT NOT NULL, stay TEXT NOT NULL) STRICT;"
                "CREATE TABLE IF NOT EXISTS sessions (session TEXT, number TEXT, PRIMARY KEY (session, number)) STRICT;"
            )

    def book(self, redemption: Redemption[BookingHandoff], session: str) -> str:
        """The booking's number: a new one for a new redemption, for a repetition the same."""
        handoff = redemption.handoff
        with closing(self._connect()) as connection, connection:
            stay = handoff.payload.model_dump_json(exclude_defaults=True)
            connection.execute(
                "INSERT INTO bookings VALUES (?, ?, ?, ?, ?) ON CONFLICT (redemption_id) DO NOTHING",
                (redemption.redemption_id, secrets.token_hex(8), handoff.handoff_id, handoff.tenant, stay),
            )
            find = "SELECT number FROM bookings WHERE redemption_id = ?"
            number: str = connection.execute(find, (redemption.redemption_id,)).fetchone()[0]
            # Several sessions may belong to one booking: of two tabs at once, nobody knows whose cookie stays.
            connection.execute("INSERT OR IGNORE INTO sessions VALUES (?, ?)", (_digest(session), number))
        return number

    def find(self, number: str, session: str) -> Booking | None:
        """The booking, if it belongs to `session`."""
        with closing(self._connect()) as connection:
            row = connection.execute(
                "SELECT handoff_id, tenant, stay FROM bookings JOIN sessions USING (number)"
                " WHERE number = ? AND session = ?",
                (number, _digest(session)),
            ).fetchone()
        return None if row is None else Booking(row[0], row[1], BookingHandoff.model_validate_json(row[2]))

    def renew(self, session: str) -> str:
        """A new session, to which the bookings of `session` belong, too."""
        new = secrets.token_urlsafe(32)
        with closing(self._connect()) as connection, connection:
            connection.execute(
                "INSERT OR IGNORE INTO sessions SELECT ?, number FROM sessions WHERE session = ?",
                (_digest(new), _digest(session)),
            )
        return new

    def _connect(self) -> sqlite3.Connection:
        return sqlite3.connect(self._file, timeout=5)


def _digest(session: str) -> str:
    return sha256(session.encode()).hexdigest()


def _facts(number: str, booking: Booking) -> str:
    stay = booking.stay
    total = f"{(stay.quoted_total_minor or 0) / 100:.2f} {stay.currency}"
    rows = {
        "Booking": number,
        "Room": stay.room_type_id,
        "Arrival": f"{stay.check_in}",
        "Departure": f"{stay.check_out}",
        "Adults": f"{stay.adults}",
        "Price": total,
        "Handoff": booking.handoff_id,
    }
    lines = "".join(f"<dt>{name}</dt><dd>{escape(value or '')}</dd>" for name, value in rows.items())
    return f"<p>This is what the consumer site handed over.</p><dl>{lines}</dl>"
