"""``/handoff``: token -> page with a form -> POST -> handshake -> the application -> 303. `landing_router`."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from typing import Any, Final, TypeAlias, TypeVar

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Match
from starlette.types import Scope
from typing_extensions import override

from ghasi_handoff._redeem import BROWSER_SECRET_BYTES, Redemption
from ghasi_handoff.errors import (
    ConfigurationError,
    ConfirmationUnavailableError,
    ExpiredTokenError,
    HandoffError,
    InvalidTokenError,
    KeyRingError,
    MalformedTokenError,
    ReplayedTokenError,
    ReplayStoreError,
    RevokedHandoffError,
)
from ghasi_handoff.handshake import AsyncHandshake, Handshake
from ghasi_handoff.handshake._events import PageRefused
from ghasi_handoff.integrations.fastapi._calls import PublicOrigin, Tenant, called, check_callable
from ghasi_handoff.integrations.fastapi._consumer import read_body
from ghasi_handoff.integrations.fastapi._guest_request import (
    MAX_FORM_BYTES,
    PARAMETER,
    ForgedCookieError,
    browser_secret,
    is_framed,
    is_same_origin,
    is_speculative,
    may_hold_token,
    may_submit_itself,
    named_kid,
    one_token,
    preferred_languages,
    query_of,
    set_cookie,
    unescaped,
    whole_number,
)
from ghasi_handoff.integrations.fastapi._pages import Kind, Page, html_of, make_page
from ghasi_handoff.integrations.fastapi._problems import UNKNOWN_TENANT, new_reference, status_of
from ghasi_handoff.integrations.fastapi._request_span import hide_query_in_span
from ghasi_handoff.integrations.fastapi._texts import TEXTS, PageTexts, choose_language
from ghasi_handoff.keyfile import catch_up
from ghasi_handoff.payload import HandoffPayload

_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload)
OnRedeemed: TypeAlias = (
    Callable[[Request, Redemption[_PayloadT]], str | Response]
    | Callable[[Request, Redemption[_PayloadT]], Awaitable[str | Response]]
)

# How long a page tries again by itself, and how long it waits in between.
RETRY_SECONDS: Final = 20
RETRY_EVERY_SECONDS: Final = 2
_SINCE: Final = "since"

_KINDS: Final[Mapping[type[HandoffError], Kind]] = {
    ReplayedTokenError: "replayed",
    ExpiredTokenError: "expired",
    RevokedHandoffError: "revoked",
}
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
    landing = _Landing(handshake, tenant, public_origin, on_redeemed, start_url, texts, render)
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


class _Landing:
    """What both requests share: the application's callables, and how a page is made."""

    def __init__(
        self,
        handshake: Handshake[Any] | AsyncHandshake[Any],
        tenant: Tenant,
        public_origin: PublicOrigin,
        on_redeemed: Callable[..., Any],
        start_url: str | None,
        texts: Mapping[str, PageTexts],
        render: Callable[[Request, Page], str] | None,
    ) -> None:
        self._handshake = handshake
        self._keys = handshake._redeemer._verifier._keys
        self._tenant = tenant
        self._public_origin = public_origin
        self._on_redeemed = on_redeemed
        self._start_url = start_url
        self._texts = texts
        self._render = render

    async def show(self, request: Request) -> Response:
        """GET: verify, and show the form. Nothing is consumed, whoever fetches it."""
        hide_query_in_span(request.scope)
        if is_speculative(request.headers):
            # The browser asks again when the guest really comes; then there is a form.
            return Response(status_code=503, headers={"Cache-Control": "no-store", "Vary": "Sec-Purpose, Purpose"})
        if is_framed(request.headers):
            return await self._refused(request, "forbidden", 403, "framed")
        tenant = await called(self._tenant, request)
        if tenant is None:
            return await self._refused(request, "unknown_site", 404, UNKNOWN_TENANT)
        try:
            known = browser_secret(request.headers)
        except ForgedCookieError:
            return await self._refused(request, "forbidden", 403, "forged_cookie")
        token = one_token(query_of(request.scope))
        try:
            if token is None:
                raise MalformedTokenError("the query must have the parameter handoff exactly once")
            await catch_up(self._keys, named_kid(token))
            self._handshake._look(token, tenant, browser_known=known is not None)
        except InvalidTokenError as exc:
            return await self._refused_by(request, exc)
        except KeyRingError as exc:  # the key file cannot be read just now
            response = await self._page(
                request, "unavailable", 503, code=exc.code, facts=exc.log_fields, keep_address=True
            )
            response.headers["Retry-After"] = str(RETRY_EVERY_SECONDS)
            return response
        secret = secrets.token_bytes(BROWSER_SECRET_BYTES) if known is None else known
        delay = 0 if may_submit_itself(request.headers) else None
        response = await self._page(request, "proceed", 200, fields={PARAMETER: token}, delay=delay)
        response.headers.append("Set-Cookie", set_cookie(secret))
        return response

    async def redeem(self, request: Request) -> Response:
        """POST: redeem for the browser whose cookie this is, and send it on."""
        hide_query_in_span(request.scope)
        tenant = await called(self._tenant, request)
        if tenant is None:
            return await self._refused(request, "unknown_site", 404, UNKNOWN_TENANT)
        # Only of a site that is known: its origin may come out of a table.
        origin = await called(self._public_origin, request)
        if not is_same_origin(request.headers, origin):
            return await self._refused(request, "forbidden", 403, "cross_origin")
        try:
            secret = browser_secret(request.headers)
        except ForgedCookieError:
            return await self._refused(request, "forbidden", 403, "forged_cookie")
        if secret is None:
            return await self._refused(request, "cookies", 400, "no_cookie")
        form = await _form(request)
        token = one_token(form)
        try:
            if token is None or may_hold_token(query_of(request.scope)):
                raise MalformedTokenError("the form must have the field handoff exactly once, and the query none")
            await catch_up(self._keys, named_kid(token))
            redemption = await self._redeem(token, tenant, secret)
        except InvalidTokenError as exc:
            return await self._refused_by(request, exc)
        except (ReplayStoreError, ConfirmationUnavailableError, KeyRingError) as exc:
            return await self._not_now(request, exc, token or "", form)
        try:
            answer = await called(self._on_redeemed, request, redemption)
        except ReplayedTokenError as exc:
            return await self._refused_by(request, exc)
        # A copy: the application may give one and the same response to every guest, and the cookie is this guest's own.
        response = (
            _copied(answer) if isinstance(answer, Response) else RedirectResponse(_path(answer, origin, token), 303)
        )
        response.headers.setdefault("Cache-Control", "no-store")
        response.headers.setdefault("Referrer-Policy", "strict-origin")
        response.headers.append("Set-Cookie", set_cookie(secret))
        return response

    async def _redeem(self, token: str, tenant: str, secret: bytes) -> Redemption[Any]:
        if isinstance(self._handshake, AsyncHandshake):
            return await self._handshake.redeem(token, tenant=tenant, browser_secret=secret)
        return await run_in_threadpool(self._handshake.redeem, token, tenant=tenant, browser_secret=secret)

    async def _not_now(self, request: Request, exc: HandoffError, token: str, form: str) -> Response:
        """503: the handoff stays with this browser, whose page tries again for a while, then says so."""
        now = self._handshake._redeemer._now()
        since = whole_number(form, _SINCE)
        begun = since if since is not None and since <= now else now
        waiting = now - begun < RETRY_SECONDS
        kind: Kind = "unavailable"
        if isinstance(exc, ConfirmationUnavailableError):
            kind = "confirming" if waiting else "not_confirmed"
        response = await self._page(
            request,
            kind,
            503,
            code=exc.code,
            facts=exc.log_fields,
            fields={PARAMETER: token, _SINCE: str(begun)},
            delay=1000 * RETRY_EVERY_SECONDS if waiting else None,
        )
        response.headers["Retry-After"] = str(RETRY_EVERY_SECONDS)
        return response

    async def _refused_by(self, request: Request, exc: InvalidTokenError) -> Response:
        kind = _kind_of(exc)
        # When clocks or key files have caught up, a reload must still have the token. For all of this kind alike: a
        # page that differed would tell which check has failed.
        keep = kind == "invalid"
        return await self._page(request, kind, status_of(exc), code=exc.code, facts=exc.log_fields, keep_address=keep)

    async def _refused(self, request: Request, kind: Kind, status: int, code: str) -> Response:
        return await self._page(request, kind, status, code=code)

    async def _page(
        self,
        request: Request,
        kind: Kind,
        status: int,
        *,
        code: str | None = None,
        facts: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        delay: int | None = None,
        keep_address: bool = False,
    ) -> HTMLResponse:
        reference = None
        if code is not None:
            reference = new_reference()
            self._handshake._reporter.report(
                PageRefused(reference=reference, code=code, status=status, **(facts or {}))
            )
        language = choose_language(preferred_languages(request.headers), self._texts)
        page = make_page(
            kind,
            status,
            language=language,
            texts=self._texts[language],
            nonce=secrets.token_urlsafe(16),
            fields=fields,
            delay=delay,
            start_url=self._start_url,
            reference=reference,
            keep_address=keep_address,
        )
        html = html_of(page) if self._render is None else await called(self._render, request, page)
        return HTMLResponse(html, status, _headers(page))


def _copied(response: Response) -> Response:
    mine = copy(response)
    mine.raw_headers = list(response.raw_headers)
    # Starlette keeps a view of the headers, once asked for; it would be a view of the other's.
    mine.__dict__.pop("_headers", None)
    return mine


def _kind_of(exc: InvalidTokenError) -> Kind:
    for error, kind in _KINDS.items():
        if isinstance(exc, error):
            return kind
    return "invalid"


def _headers(page: Page) -> dict[str, str]:
    policy = (
        f"default-src 'none'; script-src 'nonce-{page.nonce}'; style-src 'self' 'nonce-{page.nonce}'; img-src 'self';"
        " font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    return {
        "Cache-Control": "no-store",
        "Content-Language": page.language,
        "Content-Security-Policy": policy,
        # Not no-referrer: under it the form's Origin would be "null". The path and query, and so the token, stay here.
        "Referrer-Policy": "strict-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }


async def _form(request: Request) -> str:
    """The form as text; empty where it is too long, of another kind, or no form of a browser."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await read_body(request, MAX_FORM_BYTES)
    if kind != "application/x-www-form-urlencoded" or len(body) > MAX_FORM_BYTES:
        return ""
    return body.decode("latin-1")


def _path(answer: object, origin: str, token: str) -> str:
    """What `on_redeemed` gave, if it is a place on this origin.

    Raises:
        ConfigurationError: It is not. A redirect elsewhere would be stopped by ``form-action`` in some browsers, and
            one that a client can steer would be an open redirect.
    """
    local = isinstance(answer, str) and (
        (answer.startswith("/") and not answer.startswith("//")) or answer.startswith(f"{origin}/")
    )
    if (
        not isinstance(answer, str)
        or not local
        or "\\" in answer
        or not answer.isprintable()
        or token in unescaped(answer)
    ):
        raise ConfigurationError("on_redeemed must give a path on this origin, without the token, or a response")
    return answer
