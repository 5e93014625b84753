"""events -> counters and gauges; the calls of a store and a client -> spans and durations. No secret in any of them.

Needs the extra ``[otel]``: OpenTelemetry's API, which does nothing until the application sets up an SDK.
"""

from ghasi_handoff.integrations.opentelemetry._query import hide_query
from ghasi_handoff.integrations.opentelemetry._telemetry import HandoffTelemetry

__all__ = ["HandoffTelemetry", "hide_query"]
