"""``/handoff``, its methods and what OpenAPI says of them. `landing_router`, for bff-tenant-booking."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Match
from starlette.types import Scope
from typing_extensions import override

from ghasi_handoff._redeem import Redemption
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.handshake import AsyncHandshake, Handshake
from ghasi_handoff.integrations.fastapi._calls import PublicOrigin, Tenant, check_callable
from ghasi_handoff.integrations.fastapi._guest_request import PARAMETER, query_of
from ghasi_handoff.integrations.fastapi._landing import Landing
from ghasi_handoff.integrations.fastapi._pages import Page
from ghasi_handoff.integrations.fastapi._request_span import hide_query_in_span
from ghasi_handoff.integrations.fastapi._texts import TEXTS, PageTexts
from ghasi_handoff.payload import HandoffPayload

_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload)
OnRedeemed: TypeAlias = (
    Callable[[Request, Redemption[_PayloadT]], str | Response]
    | Callable[[Request, Redemption[_PayloadT]], Awaitable[str | Response]]
)

_is_language_tag: Final = re.compile("[A-Za-z0-9]+(-[A-Za-z0-9]+)*").fullmatch
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
        ConfigurationError: An argument is something else.
    """
    if not isinstance(handshake, (Handshake, AsyncHandshake)):
        raise ConfigurationError(
            f"the first argument must be a Handshake or AsyncHandshake, not {type(handshake).__name__}"
        )
    for name, value in (("tenant", tenant), ("public_origin", public_origin), ("on_redeemed", on_redeemed)):
        check_callable(value, name)
    if render is not None:
        check_callable(render, "render")
    if not texts or not all(isinstance(name, str) and _is_language_tag(name) for name in texts):
        raise ConfigurationError("texts must hold a language, and language tags as its keys")
    if not all(isinstance(said, PageTexts) for said in texts.values()):
        raise ConfigurationError("texts must hold PageTexts")
    if start_url is not None and not start_url.startswith(("https://", "http://", "/")):
        raise ConfigurationError("start_url must be an absolute URL or a path")
    landing = Landing(handshake, tenant, public_origin, on_redeemed, start_url, texts, render)
    router = APIRouter(tags=["handoff"])
    router.add_api_route(
        "/handoff",
        landing.show,
        methods=["GET"],
        operation_id="show_handoff",
        summary="Where a guest arrives: a page with a form",
        response_class=HTMLResponse,
        responses={200: {"description": "The form."}, **_responses(400, 403, 404, 410, 503)},
        openapi_extra={
            "parameters": [
                {
                    "name": PARAMETER,
                    "in": "query",
                    "required": True,
                    "description": "The token, exactly once.",
                    "schema": {"type": "string"},
                }
            ]
        },
    )
    # Link checkers ask for the head alone. There is nothing to be seen, and nothing to be kept.
    router.add_api_route("/handoff", _head, methods=["HEAD"], include_in_schema=False)
    # The framework would redirect to the scheme and host that it sees: behind an ingress that ends TLS, to plain http,
    # and the token with it.
    router.add_api_route(
        "/handoff/{more:path}",
        _without_slashes,
        methods=["GET", "HEAD", "POST"],
        include_in_schema=False,
        route_class_override=_OnlySlashes,
    )
    form = {"type": "object", "required": [PARAMETER], "properties": {PARAMETER: {"type": "string"}}}
    router.add_api_route(
        "/handoff",
        landing.redeem,
        methods=["POST"],
        operation_id="redeem_handoff",
        summary="Redeem the handoff for this browser",
        status_code=303,
        response_class=Response,
        responses={
            303: {
                "description": "Redeemed. The next page has no token in its address.",
                "headers": {"Location": {"schema": {"type": "string"}}},
            },
            **_responses(400, 403, 404, 409, 410, 503),
        },
        openapi_extra={
            "requestBody": {"required": True, "content": {"application/x-www-form-urlencoded": {"schema": form}}}
        },
    )
    return router


def _responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    page = {"text/html": {"schema": {"type": "string"}}}
    return {status: {"description": _DESCRIPTIONS[status], "content": page} for status in statuses}


async def _head(request: Request) -> Response:
    hide_query_in_span(request.scope)
    return Response(status_code=200, headers={"Cache-Control": "no-store"}, media_type="text/html")


class _OnlySlashes(APIRoute):
    """A route for what has nothing but slashes in the place of ``more``. All else is the application's."""

    @override
    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, found = super().matches(scope)
        more = found.get("path_params", {}).get("more", "")
        return (match, found) if not more.strip("/") else (Match.NONE, {})


async def _without_slashes(request: Request) -> Response:
    hide_query_in_span(request.scope)
    query = query_of(request.scope)
    up = "../" * (1 + len(request.path_params["more"]))
    headers = {"Location": f"{up}handoff?{query}" if query else f"{up}handoff"}
    return Response(
        status_code=307, headers={**headers, "Cache-Control": "no-store", "Referrer-Policy": "strict-origin"}
    )
