# Generated from _landing_async.py by tools/sync_twins.py. Do not edit.
"""A guest's GET: token -> page with a form. Its POST: token -> handshake -> the application -> 303."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Generic

from typing_extensions import TypeVar

from ghasi_handoff import errors
from ghasi_handoff._limits import BROWSER_SECRET_BYTES, MAX_FORM_BYTES
from ghasi_handoff._redeem import Redemption
from ghasi_handoff._require import require, require_callables
from ghasi_handoff.handshake import Handshake, PageRefused
from ghasi_handoff.keyfile import WatchedKeyRing
from ghasi_handoff.landing._answer import Answer
from ghasi_handoff.landing._guest_request import GuestRequest, named_kid, set_cookie, whole_number
from ghasi_handoff.landing._pages import Kind, Page, headers_of, html_of, make_page
from ghasi_handoff.landing._places import sent_on, without_slashes
from ghasi_handoff.landing._refusals import (
    PARAMETER,
    SINCE,
    UNKNOWN_TENANT,
    RefusedError,
    new_reference,
    not_now,
    refusal_of,
)
from ghasi_handoff.landing._texts import TEXTS, PageTexts, check_pages
from ghasi_handoff.payload import BookingHandoff, HandoffPayload

METHODS: Final = ("GET", "HEAD", "POST")
_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload, default=BookingHandoff)


class Landing(Generic[_PayloadT]):
    """Answers a guest's requests for ``/handoff``, in any web framework for threads.

    An adapter reads each request into a `GuestRequest`, and sends the `Answer`. The functions below get that
    `GuestRequest`; its ``native`` is the framework's own request.

    Args:
        handshake: Redeems.
        tenant: Gives the hotel whose site was asked; None is a 404.
        public_origin: Gives the origin that the guest's browser shows, ``https://aurora.example``; asked only if there
            is a hotel.
        on_redeemed: Gets the request and the `Redemption`. Gives the path to go on with, on this origin, or a response
            of the application's own, which is sent with the browser's cookie. May raise `ReplayedTokenError`.
        start_url: Where a refused guest may start again.
        texts: What the pages say, by language tag; the first is the fallback.
        render: Gives the HTML of a page; see `Page`.
        response_type: The framework's class or classes of responses, which `on_redeemed` may give.

    Raises:
        ConfigurationError: An argument is not valid.
    """

    def __init__(
        self,
        handshake: Handshake[_PayloadT],
        *,
        tenant: Callable[[GuestRequest], str | None],
        public_origin: Callable[[GuestRequest], str],
        on_redeemed: Callable[[GuestRequest, Redemption[_PayloadT]], Any],
        start_url: str | None = None,
        texts: Mapping[str, PageTexts] = TEXTS,
        render: Callable[[GuestRequest, Page], str] | None = None,
        response_type: type | tuple[type, ...] = (),
    ) -> None:
        require(handshake, "look", awaited=False, name="handshake", kind="Handshake")  # a redeemer has none
        require(handshake, "redeem", awaited=False, name="handshake", kind="Handshake")
        require_callables(tenant=tenant, public_origin=public_origin, on_redeemed=on_redeemed)
        if render is not None:
            require_callables(render=render)
        check_pages(texts, start_url)
        self._handshake = handshake
        self._tenant = tenant
        self._public_origin = public_origin
        self._on_redeemed = on_redeemed
        self._start_url = start_url
        self._texts = texts
        self._render = render
        self._response_type = response_type

    def answer(self, request: GuestRequest, read_body: Callable[[int], bytes]) -> Answer:
        """Answer one request. Nothing but a POST of our own page, with a good token and the cookie, redeems.

        Args:
            request: The request.
            read_body: Called at most once, and only for a POST that may redeem. It gets a number of bytes, and gives
                the whole body, or if it is longer, at least one byte more than that number. If the client has gone,
                it gives an empty body.

        Raises:
            ConfigurationError: `on_redeemed` gave neither a path on this origin nor a response.
        """
        if request.method not in METHODS:
            return Answer(status=405, headers={"Allow": ", ".join(METHODS)})
        slashes = len(request.path) - len(request.path.rstrip("/"))
        if slashes:
            return without_slashes(slashes, request.query)
        if request.method == "HEAD":
            # Link checkers ask for the head alone. There is nothing to show, and nothing to keep.
            return Answer(status=200, headers={"Cache-Control": "no-store", "Content-Type": "text/html; charset=utf-8"})
        try:
            if request.method == "GET":
                return self._show(request)
            return self._redeem(request, read_body)
        except RefusedError as exc:
            return self._refuse(request, exc)

    def _show(self, request: GuestRequest) -> Answer:
        """GET: verify, and show the form. Nothing is consumed, whoever fetches it."""
        if request.is_speculative:
            # The browser asks again when the guest really comes; then there is a form.
            return Answer(status=503, headers={"Cache-Control": "no-store", "Vary": "Sec-Purpose, Purpose"})
        if request.is_framed:
            raise RefusedError("forbidden", 403, "framed")
        tenant = self._known_tenant(request)
        secret = request.browser_secret()
        token = request.token()
        try:
            self._catch_up(token)
            self._handshake.look(token, tenant, browser_known=secret is not None)
        except (errors.InvalidTokenError, errors.KeyRingError) as exc:
            raise refusal_of(exc) from exc
        delay = 0 if request.may_submit_itself else None
        page = self._page(request, "proceed", 200, fields={PARAMETER: token}, delay=delay)
        cookie = set_cookie(secret or secrets.token_bytes(BROWSER_SECRET_BYTES))
        return replace(page, headers={**page.headers, "Set-Cookie": cookie})

    def _redeem(self, request: GuestRequest, read_body: Callable[[int], bytes]) -> Answer:
        """POST: redeem for the browser whose cookie this is, and send it on."""
        tenant = self._known_tenant(request)
        # Only of a site that is known: its origin may come out of a table.
        origin = self._public_origin(request)
        if not request.is_from(origin):
            raise RefusedError("forbidden", 403, "cross_origin")
        secret = request.browser_secret()
        if secret is None:
            raise RefusedError("cookies", 400, "no_cookie")
        form = request.form(read_body(MAX_FORM_BYTES))
        token = request.token(form)
        try:
            self._catch_up(token)
            redemption = self._handshake.redeem(token, tenant=tenant, browser_secret=secret)
        except errors.InvalidTokenError as exc:
            raise refusal_of(exc) from exc
        except (errors.ReplayStoreError, errors.ConfirmationUnavailableError, errors.KeyRingError) as exc:
            raise not_now(exc, token, whole_number(form, SINCE), self._handshake.now()) from exc
        try:
            place = self._on_redeemed(request, redemption)
        except errors.ReplayedTokenError as exc:
            raise refusal_of(exc) from exc
        return sent_on(place, self._response_type, origin=origin, token=token, cookie=set_cookie(secret))

    def _known_tenant(self, request: GuestRequest) -> str:
        tenant = self._tenant(request)
        if tenant is None:
            raise RefusedError("unknown_site", 404, UNKNOWN_TENANT)
        return tenant

    def _catch_up(self, token: str) -> None:
        """Read a watched ring again if the token names a key that it does not have. Verifying itself reads nothing."""
        keys, kid = self._handshake.key_source, named_kid(token)
        if isinstance(keys, WatchedKeyRing) and kid is not None:
            keys.refresh(kid)

    def _refuse(self, request: GuestRequest, refused: RefusedError) -> Answer:
        reference = new_reference()
        event = PageRefused(reference=reference, code=refused.code, status=refused.status, **refused.facts)
        self._handshake.reporter.report(event)
        return self._page(request, refused.kind, refused.status, reference=reference, **refused.form)

    def _page(self, request: GuestRequest, kind: Kind, status: int, **parts: Any) -> Answer:
        page = make_page(kind, status, request.languages, self._texts, start_url=self._start_url, **parts)
        html = html_of(page) if self._render is None else self._render(request, page)
        return Answer(
            status=status, headers=headers_of(page), body=html if isinstance(html, bytes) else html.encode("utf-8")
        )
