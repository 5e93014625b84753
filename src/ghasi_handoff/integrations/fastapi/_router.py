"""``/handoff``, its methods and what OpenAPI says of them. `landing_router`, for bff-tenant-booking."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match
from starlette.types import Scope
from typing_extensions import override

from ghasi_handoff._redeem import Redemption
from ghasi_handoff._require import require_callables
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.handshake import AsyncHandshake, Handshake
from ghasi_handoff.integrations.fastapi._openapi import answers
from ghasi_handoff.integrations.fastapi._starlette import (
    PublicOrigin,
    Tenant,
    guest_request,
    hide_query_in_span,
    of_guest,
    read_body,
    response_of,
)
from ghasi_handoff.landing import TEXTS, AsyncLanding, Page, PageTexts
from ghasi_handoff.landing._refusals import PARAMETER
from ghasi_handoff.payload import HandoffPayload

_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload)
OnRedeemed: TypeAlias = (
    Callable[[Request, Redemption[_PayloadT]], str | Response]
    | Callable[[Request, Redemption[_PayloadT]], Awaitable[str | Response]]
)

_TEXT: Final = {"type": "string"}
_TOKEN: Final = {"description": "The token, exactly once.", "schema": _TEXT}
_SENT_ON: Final = "Redeemed. The next page has no token in its address."
_DESCRIPTIONS: Final[Mapping[int, str]] = {
    400: "No handoff, or not a valid one for this site; or the browser keeps no cookies.",
    403: "Not from our own page, in a frame, or with a forged cookie. Nothing changes.",
    404: "No such site here.",
    409: "Another browser has the handoff.",
    410: "Expired or cancelled.",
    503: "No sure answer from the store or from bff-consumer, or a page that is fetched ahead. Try again.",
}


def landing_router(
    handshake: Handshake[_PayloadT] | AsyncHandshake[_PayloadT],
    *,
    tenant: Tenant,
    public_origin: PublicOrigin,
    on_redeemed: OnRedeemed[_PayloadT],
    start_url: str | None = None,
    texts: Mapping[str, PageTexts] = TEXTS,
    render: Callable[[Request, Page], str] | None = None,
) -> APIRouter:
    """The page where a guest arrives: ``GET /handoff?handoff=TOKEN`` and ``POST /handoff``.

    The GET changes nothing. It shows a form, which submits itself where a site has just sent the guest here; the POST
    redeems, calls `on_redeemed` and answers 303. Every refusal is a page with a reference that the log explains.

    The three callables get the request; ``async def`` is awaited, ``def`` runs in a thread. Behind an ingress, take
    host and scheme from your configuration, not from headers that a client could send.

    Args:
        handshake: Redeems; for threads or for asyncio.
        tenant: Gives the hotel whose site was asked, by host or path; None is a 404.
        public_origin: Gives the origin that the guest's browser shows, ``https://aurora.example``; asked only where
            there is a hotel.
        on_redeemed: Gets the request and the `Redemption`, at least once per redemption: key what you insert on its
            ``redemption_id``. Gives the path to go on with, on this origin, or a whole response. It may refuse a
            repetition by raising `ReplayedTokenError`.
        start_url: Where a refused guest may start again: a page of bff-consumer.
        texts: What the pages say, by language tag; the first is the fallback.
        render: Gives the HTML of a page, to have it in the application's own template. See `Page`.

    Raises:
        ConfigurationError: An argument has the wrong type.
    """
    require_callables(tenant=tenant, public_origin=public_origin, on_redeemed=on_redeemed)
    if render is not None:
        require_callables(render=render)
    if not isinstance(handshake, (Handshake, AsyncHandshake)):
        kind = type(handshake).__name__
        raise ConfigurationError(f"the first argument must be a Handshake or AsyncHandshake, not {kind}")
    if isinstance(handshake, Handshake):
        handshake = cast("AsyncHandshake[_PayloadT]", _Threaded(handshake))
    landing = AsyncLanding(
        handshake,
        tenant=of_guest(tenant),
        public_origin=of_guest(public_origin),
        on_redeemed=of_guest(on_redeemed),
        start_url=start_url,
        texts=texts,
        render=None if render is None else of_guest(render),
        response_type=Response,
    )

    async def answer(request: Request) -> Response:
        hide_query_in_span(request.scope)
        return response_of(await landing.answer(guest_request(request), partial(read_body, request)))

    router = APIRouter(tags=["handoff"])
    router.add_api_route(
        "/handoff",
        answer,
        methods=["GET"],
        operation_id="show_handoff",
        summary="Where a guest arrives: a page with a form",
        description="GET: verify, and show the form. Nothing is consumed, whoever fetches it.",
        response_class=HTMLResponse,
        responses={200: {"description": "The form."}, **_pages(400, 403, 404, 410, 503)},
        openapi_extra={"parameters": [{"name": PARAMETER, "in": "query", "required": True, **_TOKEN}]},
    )
    form = {"type": "object", "required": [PARAMETER], "properties": {PARAMETER: _TEXT}}
    location = {"Location": {"schema": _TEXT}}
    router.add_api_route(
        "/handoff",
        answer,
        methods=["POST"],
        operation_id="redeem_handoff",
        summary="Redeem the handoff for this browser",
        description="POST: redeem for the browser whose cookie this is, and send it on.",
        status_code=303,
        response_class=Response,
        responses={303: {"description": _SENT_ON, "headers": location}, **_pages(400, 403, 404, 409, 410, 503)},
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}}
        },
    )
    # HEAD; and slashes too many, which the framework would redirect to the scheme and host that it sees.
    router.add_api_route(
        "/handoff{more:path}",
        answer,
        methods=["GET", "HEAD", "POST"],
        include_in_schema=False,
        route_class_override=_OnlySlashes,
    )
    return router


def _pages(*statuses: int) -> dict[int | str, dict[str, Any]]:
    return answers("text/html", _TEXT, {status: _DESCRIPTIONS[status] for status in statuses})


class _OnlySlashes(APIRoute):
    """A route for what has nothing but slashes in the place of ``more``. All else is the application's."""

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        more = found.get("path_params", {}).get("more", "")
        return (match, found) if not more.strip("/") else (Match.NONE, {})


class _Threaded(Generic[_PayloadT]):
    """A handshake for threads, for the landing, which awaits `redeem`."""

    def __init__(self, handshake: Handshake[_PayloadT]) -> None:
        self.key_source = handshake.key_source
        self.look = handshake.look
        self.now = handshake.now
        self.reporter = handshake.reporter
        self._redeem = handshake.redeem

    async def redeem(self, token: str, *, tenant: str, browser_secret: bytes) -> Redemption[_PayloadT]:
        return await run_in_threadpool(self._redeem, token, tenant=tenant, browser_secret=browser_secret)
