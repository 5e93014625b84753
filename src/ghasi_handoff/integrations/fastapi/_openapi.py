"""What OpenAPI says of our routes and their responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from starlette.responses import Response

_PROBLEM: Final[Mapping[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string", "description": "For people; it may be shown to anybody."},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable, for programs."},
        "reference": {"type": "string", "description": "By it the log is searched."},
    },
}


def answers(kind: str, schema: Mapping[str, Any], descriptions: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """Responses of one media type, by status."""
    return {
        status: {"description": text, "content": {kind: {"schema": schema}}} for status, text in descriptions.items()
    }


def json_operation(
    name: str, summary: str, schema: Mapping[str, Any], description: str, problems: Mapping[int, str]
) -> dict[str, Any]:
    """What FastAPI is told of a route that answers in JSON, or with one of these problems by status."""
    found = answers("application/json", schema, {200: description})
    responses = found | answers("application/problem+json", _PROBLEM, problems)
    return {"operation_id": name, "summary": summary, "response_class": Response, "responses": responses}
