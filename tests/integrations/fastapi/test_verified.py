"""A verified handoff as a dependency, and the library's errors as problem details."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, Request
from tests.handshake.services import AUDIENCE, ISSUER, STAY, TENANT, Clock
from tests.landing.both_services import SITES, Answer

from ghasi_handoff import (
    BookingHandoff,
    ConfigurationError,
    ConfirmationUnavailableError,
    ExpiredTokenError,
    HandoffError,
    InvalidHandoffInputError,
    InvalidTokenError,
    KeyRing,
    KeyRingError,
    Minter,
    ReplayedTokenError,
    ReplayStoreError,
    RevokedHandoffError,
    UnknownHandoffError,
    VerifiedHandoff,
    Verifier,
)
from ghasi_handoff.integrations.fastapi import install_error_handlers, verified_handoff

from .asgi import answer_of

CLOCK = Clock()
KEYS = KeyRing.generate(now=datetime.fromtimestamp(CLOCK.now - 60, UTC))


async def site_of(request: Request) -> str | None:
    """The hotel by the path."""
    return SITES.get(request.path_params["site"])


# FastAPI looks annotations up in the module: there the dependency must stand.
HANDOFF = verified_handoff(Verifier(KEYS, issuer=ISSUER, audience=AUDIENCE, clock=CLOCK), tenant=site_of)


class Preview:
    """An application that shows what a token says, and raises what it is told to."""

    def __init__(self) -> None:
        CLOCK.now = Clock().now
        self.clock, self.keys = CLOCK, KEYS
        self.error: Exception | None = None
        self.app = FastAPI()

        @self.app.get("/{site}/preview")
        async def preview(handoff: Annotated[VerifiedHandoff[BookingHandoff], Depends(HANDOFF)]) -> dict[str, Any]:
            return {"adults": handoff.payload.adults, "id": handoff.handoff_id}

        @self.app.get("/error")
        def raise_it() -> None:
            assert self.error is not None
            raise self.error

        self.runner = asyncio.Runner()

    def mint(self, tenant: str = TENANT, **options: Any) -> Any:
        minter = Minter(self.keys, **{"issuer": ISSUER, "audience": AUDIENCE, "clock": self.clock, **options})
        return minter.mint(STAY, tenant=tenant)

    def get(self, target: str) -> Answer:
        return self.runner.run(answer_of(self.app, "GET", target))


@pytest.fixture
def preview(caplog: pytest.LogCaptureFixture) -> Iterator[Preview]:
    """The application, with the handlers installed."""
    caplog.set_level(logging.INFO, "ghasi_handoff")
    made = Preview()
    install_error_handlers(made.app)
    with made.runner:
        yield made


def problem(answer: Answer, caplog: pytest.LogCaptureFixture, status: int, told: str, logged: str) -> dict[str, Any]:
    """A problem of exactly five members; the log has its reference, with the code that outsiders may not know."""
    assert (answer.status, answer.field("content-type")) == (status, "application/problem+json")
    assert answer.field("cache-control") == "no-store"
    assert answer.fields("retry-after") == (["2"] if status == 503 else [])
    body: dict[str, Any] = json.loads(answer.body)
    assert body.keys() == {"type", "title", "status", "code", "reference"}
    assert (body["type"], body["status"], body["code"]) == ("about:blank", status, told)
    assert re.fullmatch("[2-9A-HJKMNP-TV-Z]{8}", body["reference"])
    (record,) = [r for r in caplog.records if body["reference"] in r.getMessage()]
    extra: Any = record
    assert (extra.handoff_code, extra.handoff_reference, extra.handoff_event) == (logged, body["reference"], "problem")
    assert record.levelno == (logging.ERROR if status >= 500 else logging.WARNING)
    return body


class TestVerified:
    def test_a_valid_token_is_read_and_not_used_up(self, preview: Preview) -> None:
        """Any number of times."""
        minted = preview.mint()
        for _ in range(3):
            answer = preview.get(f"/aurora/preview?handoff={minted.token}")
            assert (answer.status, json.loads(answer.body)) == (200, {"adults": 2, "id": minted.handoff_id})

    def test_every_other_refusal_is_one_to_outsiders(self, preview: Preview, caplog: pytest.LogCaptureFixture) -> None:
        """400 invalid_token, the same bytes but for the reference; the log has the code."""
        token = preview.mint().token
        refused = {
            "": "malformed",
            "?handoff=": "malformed",
            "?handoff=x": "malformed",
            "?handoff=%ff": "malformed",
            f"?handoff={token}&handoff={token}": "malformed",
            f"?Handoff={token}": "malformed",
            f"?handoff={token[:-4]}AAAA": "invalid_mac",
            f"?handoff={preview.mint('tn_borealis').token}": "wrong_tenant",
            f"?handoff={preview.mint(issuer='other').token}": "wrong_issuer",
            f"?handoff={preview.mint(audience='other').token}": "wrong_audience",
            f"?handoff={preview.mint(clock=lambda: preview.clock.now + 60).token}": "not_yet_valid",
            f"?handoff={preview.mint(lifetime=timedelta(hours=1)).token}": "lifetime_too_long",
        }
        answers = set()
        for query, code in refused.items():
            answer = preview.get(f"/aurora/preview{query}")
            body = problem(answer, caplog, 400, "invalid_token", code)
            assert body["title"] == InvalidTokenError.public_text
            answers.add(answer.uniform)
        assert len(answers) == 1
        assert not any(token.rpartition(".")[2] in str(vars(record)) for record in caplog.records)

    def test_expired(self, preview: Preview, caplog: pytest.LogCaptureFixture) -> None:
        """410; the log also has the handoff and its hotel, which are authentic."""
        minted = preview.mint()
        preview.clock.now += 310
        problem(preview.get(f"/aurora/preview?handoff={minted.token}"), caplog, 410, "expired", "expired")
        extra: Any = caplog.records[-1]
        assert (extra.handoff_id, extra.handoff_tenant) == (minted.handoff_id, TENANT)

    def test_an_unknown_site(self, preview: Preview, caplog: pytest.LogCaptureFixture) -> None:
        """404, whatever the token; with a reference as every problem."""
        answer = preview.get(f"/nowhere/preview?handoff={preview.mint().token}")
        problem(answer, caplog, 404, "unknown_tenant", "unknown_tenant")

    def test_without_handlers_an_unknown_site_is_a_plain_404(self) -> None:
        """An application of its own manners answers as it does."""
        made = Preview()
        with made.runner:
            assert made.get("/nowhere/preview").status == 404
            with pytest.raises(InvalidTokenError):
                made.get("/aurora/preview")

    def test_a_tenant_that_cannot_be_called(self, preview: Preview) -> None:
        """Refused when the dependency is made."""
        verifier = Verifier(preview.keys, issuer=ISSUER, audience=AUDIENCE)
        with pytest.raises(ConfigurationError):
            verified_handoff(verifier, tenant=TENANT)  # type: ignore[arg-type]


class TestProblems:
    @pytest.mark.parametrize(
        ("error", "status", "told"),
        [
            (ReplayedTokenError("why"), 409, "replayed"),
            (ExpiredTokenError("why"), 410, "expired"),
            (RevokedHandoffError("why"), 410, "revoked_handoff"),
            (UnknownHandoffError("why"), 404, "unknown_handoff"),
            (InvalidHandoffInputError("why"), 422, "invalid_input"),
            (ReplayStoreError("why"), 503, "store_unavailable"),
            (ConfirmationUnavailableError("why"), 503, "confirmation_unavailable"),
            (KeyRingError("why"), 503, "key_ring"),
            (ConfigurationError("why"), 500, "configuration"),
        ],
        ids=lambda value: getattr(value, "code", None),
    )
    def test_each_error_has_its_status(
        self, preview: Preview, caplog: pytest.LogCaptureFixture, error: HandoffError, status: int, told: str
    ) -> None:
        """The title is the public text; why, and what has led there, is in the log alone."""
        preview.error = error
        answer = preview.get("/error")
        body = problem(answer, caplog, status, told, error.code)
        assert body["title"] == error.public_text
        assert "why" not in answer.text and "Traceback" not in answer.text
        assert "why" in caplog.records[-1].getMessage()
        assert (caplog.records[-1].exc_info is not None) is (status == 500)

    @pytest.mark.parametrize(
        "kind", [k for k in InvalidTokenError.__subclasses__() if k.public_text == InvalidTokenError.public_text]
    )
    def test_no_code_of_a_token_is_told(
        self, preview: Preview, caplog: pytest.LogCaptureFixture, kind: type[HandoffError]
    ) -> None:
        """Every leaf whose public text is the general one is told as invalid_token, if it is a 400."""
        preview.error = kind("why")
        answer = preview.get("/error")
        if kind is not UnknownHandoffError:
            problem(answer, caplog, 400, "invalid_token", kind.code)

    def test_references_differ(self, preview: Preview) -> None:
        """Each refusal has its own."""
        assert len({preview.get("/aurora/preview").reference for _ in range(20)}) == 20
