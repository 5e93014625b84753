"""Both applications as their OpenAPI is published, and the script that writes it: ``make openapi``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from tests.handshake.services import AUDIENCE, ISSUER, TENANT
from tests.landing.both_services import ORIGIN

from ghasi_handoff import KeyRing, Redeemer, Verifier
from ghasi_handoff.handshake import ConsumeClient, Handshake, SQLiteHandoffLog
from ghasi_handoff.integrations.fastapi import consumer_router, fingerprint_router, landing_router
from ghasi_handoff.stores.memory import MemoryReplayStore

FOLDER: Final = Path(__file__).parents[3] / "docs" / "reference"


def consumer_app(log: Any, keys: Any, **options: Any) -> FastAPI:
    """bff-consumer: the consume call, and its fingerprint."""
    app = FastAPI(title="bff-consumer: the consume call", version="1")
    app.include_router(consumer_router(log, keys=keys, **options))
    app.include_router(fingerprint_router(keys))
    return app


def booking_app(handshake: Any, on_redeemed: Any = lambda request, redemption: "/booking") -> FastAPI:
    """bff-tenant-booking: the landing page."""
    app = FastAPI(title="bff-tenant-booking: the landing page", version="1")
    router = landing_router(
        handshake, tenant=lambda request: TENANT, public_origin=lambda request: ORIGIN, on_redeemed=on_redeemed
    )
    app.include_router(router)
    return app


def documents() -> dict[str, str]:
    """File name to text. Nothing is opened, and nobody is called."""
    keys = KeyRing.generate()
    verifier = Verifier(keys, issuer=ISSUER, audience=AUDIENCE)
    handshake = Handshake(Redeemer(verifier, MemoryReplayStore()), ConsumeClient("http://127.0.0.1:1", keys=keys))
    apps = {
        "openapi-consumer.json": consumer_app(SQLiteHandoffLog("log.db"), keys),
        "openapi-booking.json": booking_app(handshake),
    }
    return {name: json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n" for name, app in apps.items()}


if __name__ == "__main__":
    for name, text in documents().items():
        (FOLDER / name).write_text(text, "utf-8")
