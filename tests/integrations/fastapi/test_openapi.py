"""The published OpenAPI: the document is what the routers say. What they do is in test_openapi_fuzzed.py."""

from __future__ import annotations

import json

import pytest

from .published import FOLDER, documents


@pytest.mark.parametrize("name", ["openapi-consumer.json", "openapi-booking.json"])
def test_the_published_document_is_what_the_router_says(name: str) -> None:
    """docs/reference has it, to the byte. If it does not: make openapi."""
    assert (FOLDER / name).read_text("utf-8") == documents()[name], "the OpenAPI has changed: run make openapi"


@pytest.mark.parametrize("name", ["openapi-consumer.json", "openapi-booking.json"])
def test_no_answer_is_promised_that_never_comes(name: str) -> None:
    """The framework's own 422 is none of ours."""
    for path in json.loads(documents()[name])["paths"].values():
        for operation in path.values():
            assert "422" not in operation["responses"]
            assert operation["operationId"] and operation["summary"]
