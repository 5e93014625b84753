"""What a traced application exports of the requests that have the token in their query."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import Depends, FastAPI
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.types import ASGIApp, Receive, Scope, Send
from tests.handshake.services import AUDIENCE, ISSUER, TENANT
from tests.landing.both_services import FORM, ORIGIN, SUBMITS, BothServices, Browser

from ghasi_handoff import Verifier
from ghasi_handoff.integrations.fastapi import landing_router, verified_handoff


def made(services: BothServices, telemetry: Any) -> FastAPI:
    """An application with every route that reads a token out of the query."""
    app = FastAPI(telemetry=telemetry)
    landing = landing_router(
        services.handshake,
        tenant=lambda request: TENANT,
        public_origin=lambda request: ORIGIN,
        on_redeemed=lambda request, redemption: "/booking",
    )
    app.include_router(landing, prefix="/aurora")
    verifier = Verifier(services.keys, issuer=ISSUER, audience=AUDIENCE, clock=services.clock)
    verified = Depends(verified_handoff(verifier, tenant=lambda request: TENANT))
    app.add_api_route("/aurora/preview", lambda: "seen", dependencies=[verified])
    return app


def traced_by_fastapi(services: BothServices, provider: TracerProvider) -> ASGIApp:
    """FastAPI makes spans by itself where there is a provider."""
    return made(services, {"tracer_provider": provider, "metrics": False, "logs": False})


def traced_from_outside(services: BothServices, provider: TracerProvider) -> ASGIApp:
    """An instrumentation around the application, with a hook for nothing."""
    app = made(services, {"tracing": False, "metrics": False, "logs": False})
    tracer = provider.get_tracer("instrumentation")

    async def traced(scope: Scope, receive: Receive, send: Send) -> None:
        query = scope["query_string"].decode("latin-1")
        attributes = {"http.target": f"{scope['path']}?{query}", "url.query": query}
        with tracer.start_as_current_span("request", attributes=attributes):
            await app(scope, receive, send)

    return traced


@pytest.mark.parametrize("make", [traced_by_fastapi, traced_from_outside])
def test_no_span_holds_the_token(
    services: BothServices, make: Callable[[BothServices, TracerProvider], ASGIApp]
) -> None:
    """Landing page, its head, its form, a slash too many, a preview: each request has its span, none the query."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    guest = Browser(services, app=make(services, provider))
    token = services.issue().token
    statuses = [guest.get(token).status, guest.post(token).status, guest.post(token, query=f"?handoff={token}").status]
    for method, path in (("HEAD", "handoff"), ("GET", "handoff/"), ("GET", "preview")):
        headers = (*SUBMITS, ("Content-Type", FORM))
        statuses.append(services.ask(method, f"/aurora/{path}?handoff={token}", headers, app=guest.app).status)
    assert statuses == [200, 303, 400, 200, 307, 200]
    attributes = [dict(span.attributes or {}) for span in exporter.get_finished_spans()]
    assert sum("url.query" in each for each in attributes) >= 5
    assert not [each for each in attributes if "ghasi1." in str(each)]
