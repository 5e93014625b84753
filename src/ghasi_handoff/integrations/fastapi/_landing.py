"""A guest's GET: token -> page with a form. Its POST: handshake -> the application -> 303. `Landing`."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from copy import copy
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ghasi_handoff._limits import BROWSER_SECRET_BYTES
from ghasi_handoff._redeem import Redemption
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
from ghasi_handoff.integrations.fastapi._calls import PublicOrigin, Tenant, called
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
from ghasi_handoff.integrations.fastapi._texts import PageTexts, choose_language
from ghasi_handoff.keyfile import catch_up

# How long a page tries again by itself, and how long it waits in between.
RETRY_SECONDS: Final = 20
RETRY_EVERY_SECONDS: Final = 2
_SINCE: Final = "since"

_KINDS: Final[Mapping[type[HandoffError], Kind]] = {
    ReplayedTokenError: "replayed",
    ExpiredTokenError: "expired",
    RevokedHandoffError: "revoked",
}


class Landing:
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
        self._keys = handshake.key_source
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
            self._handshake.look(token, tenant, browser_known=known is not None)
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
        now = self._handshake.now()
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
            self._handshake.reporter.report(PageRefused(reference=reference, code=code, status=status, **(facts or {})))
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
