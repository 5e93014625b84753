"""The span of a request: its query, which may be a token, goes."""

from __future__ import annotations

from typing import Any

from opentelemetry.trace import INVALID_SPAN_CONTEXT, NonRecordingSpan

from ghasi_handoff import MintedHandoff
from ghasi_handoff.integrations.opentelemetry import hide_query
from tests.integrations.opentelemetry.observatory import Observatory


def test_a_request_span_loses_its_query(observatory: Observatory, minted: MintedHandoff) -> None:
    """Whichever conventions the web framework's instrumentation follows; what has no query stays as it is."""
    url = minted.url("https://aurora.example/handoff")
    query = url.partition("?")[2]
    tracer = observatory.tracers.get_tracer("web framework")
    before: dict[str, Any] = {
        "url.full": url,
        "http.url": url,
        "http.target": f"/handoff?{query}",
        "url.query": query,
        "http.port": 443,
    }
    for attributes in (before, {"url.path": "/handoff"}):
        with tracer.start_as_current_span("GET /handoff", attributes=attributes) as span:
            hide_query(span, {})
    first, second = observatory.spans("GET /handoff")
    assert dict(first.attributes or {}) == {
        "url.full": "https://aurora.example/handoff",
        "http.url": "https://aurora.example/handoff",
        "http.target": "/handoff",
        "url.query": "",
        "http.port": 443,
    }
    assert dict(second.attributes or {}) == {"url.path": "/handoff"}
    hide_query(NonRecordingSpan(INVALID_SPAN_CONTEXT), {})
