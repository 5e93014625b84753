"""The published OpenAPI: what the routers do when a fuzzer takes the document at its word."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.handshake.services import AUDIENCE, ISSUER
from tests.landing.both_services import KNOWN, BothServices

from ghasi_handoff.handshake import ConsumeCall
from ghasi_handoff.handshake._consume_call import sign_call

from .published import booking_app, consumer_app

# Schemathesis is imported where it is used: whoever runs no fuzzer must not wait for it.
pytestmark = pytest.mark.thorough

FEW = settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)


@pytest.fixture
def kind() -> str:
    """The fuzzer's client brings an event loop for each request; threads do not mind."""
    return "sync"


def checks() -> list[Any]:
    """Not those that take a refusal of what is well formed, or a 405, for a fault."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    return [
        not_a_server_error,
        status_code_conformance,
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
    ]


def operations(app: FastAPI) -> dict[str, Any]:
    """The operations of the application's document, by method."""
    import schemathesis

    schema: Any = schemathesis.openapi.from_asgi("/openapi.json", app)
    return {result.ok().method: result.ok() for result in schema.get_all_operations()}


def strategy(operation: Any, mode: str) -> st.SearchStrategy[Any]:
    """Requests as the document has them (positive), or as it does not (negative)."""
    from schemathesis import GenerationMode

    found: st.SearchStrategy[Any] = operation.as_strategy(generation_mode=GenerationMode(mode))
    return found


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_the_consume_call_is_fuzzed(services: BothServices, mode: str) -> None:
    """Whatever is sent, the answer is one of the document's; a signed call among it is confirmed, once."""
    app = consumer_app(services.log, services.keys, clock=services.clock)
    operation = operations(app)["post"]
    statuses: set[int] = set()
    confirmed = 0

    # A negative case is spoiled by the fuzzer on its way, whatever is put into it.
    valid_too = st.booleans() if mode == "positive" else st.just(False)

    @FEW
    @given(case=strategy(operation, mode), signed=valid_too)
    def check(case: Any, signed: bool) -> None:
        nonlocal confirmed
        headers = {}
        if signed:
            identifier, now = services.issue().handoff_id, int(services.clock.now)
            call = ConsumeCall(ISSUER, AUDIENCE, identifier, "a" * 64, now, now)
            headers["Authorization"], body = sign_call(call, services.keys)
            case.path_parameters, case.headers, case.query, case.cookies = {"handoff_id": identifier}, {}, {}, {}
            case.body, case.media_type = json.loads(body), "application/json"
            # As it was signed, not as the fuzzer would write it.
            response = case.call(headers=headers, data=body, json=None)
            case.validate_response(response, checks=checks())
            assert response.status_code == 200
            confirmed += 1
        else:
            before = services.rows()
            response = case.call(headers=headers)
            case.validate_response(response, checks=checks())
            assert services.rows() == before
        statuses.add(response.status_code)

    check()
    assert (confirmed > 0) is (mode == "positive")
    assert statuses <= {200, 401, 404, 405}


@pytest.mark.parametrize("method", ["get", "post"])
@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_the_landing_page_is_fuzzed(services: BothServices, mode: str, method: str) -> None:
    """Whatever is sent, the answer is one of the document's; a token among it is shown its form, or redeemed."""
    operation = operations(booking_app(services.handshake))[method]
    statuses: set[int] = set()
    cookie = dict((KNOWN, ("Sec-Fetch-Site", "same-origin")))

    valid_too = st.booleans() if mode == "positive" else st.just(False)

    @FEW
    @given(case=strategy(operation, mode), token=valid_too, known=st.booleans())
    def check(case: Any, token: bool, known: bool) -> None:
        if token:
            value = {"handoff": services.issue().token}
            if method == "get":
                case.query = value
            else:
                case.query, case.body, case.media_type = {}, value, "application/x-www-form-urlencoded"
        before = services.rows()
        response = case.call(headers=cookie if known else {}, allow_redirects=False)
        case.validate_response(response, checks=checks())
        if token and (known or method == "get"):
            assert response.status_code == (200 if method == "get" else 303)
        else:
            assert services.rows() == before
        statuses.add(response.status_code)

    check()
    assert statuses <= {200, 303, 400, 403}
    assert mode == "negative" or len(statuses) > 1
