"""What FastAPI adds to the landing: routes, the application's functions and responses, reading a body, error handlers."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI, HTTPException, Request
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.responses import JSONResponse, RedirectResponse, Response
from tests.handshake.services import TENANT
from tests.landing.both_services import (
    ARRIVES,
    COOKIE,
    FORM,
    KNOWN,
    ORIGIN,
    SUBMITS,
    Answer,
    BothServices,
    Browser,
    endless,
)

from ghasi_handoff import AsyncRedeemer, ConfigurationError, KeyRing, Redeemer, Redemption, Verifier
from ghasi_handoff._limits import MAX_FORM_BYTES
from ghasi_handoff.integrations.fastapi import Page, landing_router
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore


class TestRoutes:
    def test_an_answer_is_sent_as_the_landing_gives_it(self, services: BothServices, guest: Browser) -> None:
        """Page, redirect and head: status, headers and body, with the length; see tests/landing for what they say."""
        token = services.issue().token
        page, sent_on = guest.get(token), guest.post(token)
        head = services.ask("HEAD", f"/aurora/handoff?handoff={token}")
        assert [answer.status for answer in (page, sent_on, head)] == [200, 303, 200]
        assert f'name="handoff" value="{token}"' in page.text and page.field("content-language") == "en"
        assert (sent_on.field("location"), sent_on.field("set-cookie")) == ("/aurora/booking", page.field("set-cookie"))
        assert page.field("content-type") == head.field("content-type") == "text/html; charset=utf-8"
        for answer in (page, sent_on, head):
            assert int(answer.field("content-length")) == len(answer.body)
            assert answer.field("cache-control") == "no-store"

    def test_the_form_works_below_a_prefix_and_another_host_name(self, services: BothServices, guest: Browser) -> None:
        """A relative action: whatever stands before /handoff. And a strange Host header is nobody's."""
        token = services.issue().token
        for host in ("evil.example", "[", "a?handoff=x", "", "a@b"):
            assert guest.get(token, (*ARRIVES, ("Host", host))).status == 200

    def test_a_middleware_may_read_the_form_first(self, services: BothServices) -> None:
        """Starlette's BaseHTTPMiddleware hands on what it has read, and the guest is sent on."""

        class Reading(BaseHTTPMiddleware):
            async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
                await request.body()
                return await call_next(request)

        app = services.make_app()
        app.add_middleware(Reading)
        assert Browser(services, app=app).arrive(services.issue().token).status == 303

    def test_it_works_in_a_mounted_application(self, services: BothServices) -> None:
        """The page's form and the redirect of a slash too many stay below where the application is mounted."""
        outer = FastAPI()
        outer.mount("/hotels", services.app)
        token = services.issue().token
        guest = Browser(services, app=outer)
        page = guest.get(token, site="hotels/aurora")
        assert (page.status, 'action="handoff"' in page.text) == (200, True)
        assert guest.post(token, site="hotels/aurora").status == 303
        answer = services.ask("GET", "/hotels/aurora/handoff/?handoff=TOKEN", app=outer)
        assert (answer.status, answer.field("location")) == (307, "../handoff?handoff=TOKEN")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
    @pytest.mark.parametrize("query", [b"", b"?handoff=TOKEN&a=%2F..", b"?\xff//evil.example"])
    def test_a_slash_too_many_stays_on_the_site(self, services: BothServices, method: str, query: bytes) -> None:
        """The redirect is relative: no scheme and host of this process, which an ingress may have changed."""
        answer = services.ask(method, b"/aurora/handoff/" + query, (("Host", "evil.example"),))
        assert (answer.status, answer.field("location")) == (307, "../handoff" + query.decode("latin-1"))
        assert (answer.field("cache-control"), answer.field("referrer-policy")) == ("no-store", "strict-origin")
        assert answer.fields("set-cookie") == []

    def test_so_do_many_slashes_too_many(self, services: BothServices) -> None:
        """The redirect climbs one level a slash (RFC 3986, 5.2.4); what has a name there is the application's."""
        for slashes, up in (("//", "../../"), ("///", "../../../")):
            answer = services.ask("GET", f"/aurora/handoff{slashes}?handoff=TOKEN", (("Host", "evil.example"),))
            assert (answer.status, answer.field("location")) == (307, f"{up}handoff?handoff=TOKEN")
        app = services.make_app()
        app.add_api_route("/aurora/handoff/help", lambda: "yours")
        assert services.ask("GET", "/aurora/handoff/help", app=app).text == '"yours"'

    @pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
    def test_in_the_path_there_is_no_such_page(self, services: BothServices, method: str) -> None:
        """Below /handoff there is nothing."""
        token = services.issue().token
        before = services.rows()
        answer = services.ask(method, f"/aurora/handoff/{token}", (*SUBMITS, ("Content-Type", FORM)))
        assert answer.status == 404 and token not in answer.text
        assert services.rows() == before

    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X"])
    def test_other_methods_do_nothing(self, services: BothServices, method: str) -> None:
        """405, and nothing changes."""
        token = services.issue().token
        before = services.rows()
        answer = services.ask(
            method, f"/aurora/handoff?handoff={token}", (*SUBMITS, ("Content-Type", FORM)), b"handoff=x"
        )
        assert answer.status == 405 and token not in answer.text
        assert services.rows() == before


class TestBody:
    def post(self, services: BothServices, body: Any, *more: tuple[str, str]) -> Answer:
        return services.ask("POST", "/aurora/handoff", (*SUBMITS, KNOWN, ("Content-Type", FORM), *more), body)

    def test_a_form_in_pieces_without_a_length(self, services: BothServices) -> None:
        """Chunked: what counts is what came."""
        token = services.issue().token
        before, wanted = services.rows(), services.plain()
        chunks = [f"handoff={token}&x=".encode(), b"y" * MAX_FORM_BYTES]
        assert self.post(services, chunks, ("Transfer-Encoding", "chunked")).uniform == wanted.uniform
        assert services.rows() == before
        assert (
            self.post(services, [chunks[0][:10], b"", chunks[0][10:]], ("Transfer-Encoding", "chunked")).status == 303
        )

    def test_an_endless_form_is_not_read_to_its_end(self, services: BothServices) -> None:
        """Reading stops at the limit, whatever the length says."""
        for more in ((), (("Content-Length", "10"),), (("Content-Length", "99999999999"),)):
            answer = self.post(services, endless(b"x" * 1000), *more)
            assert answer.uniform == services.plain().uniform
            assert answer.chunks_read <= MAX_FORM_BYTES // 1000 + 1


class TestOnRedeemed:
    def arrive(self, services: BothServices, function: Any) -> tuple[Browser, Answer]:
        browser = Browser(services, app=services.make_app(on_redeemed=function))
        return browser, browser.arrive(services.issue().token)

    def test_an_async_function_is_awaited(self, services: BothServices) -> None:
        """Async def, an object with an async call, and a lambda around one."""

        async def function(request: Request, redemption: Redemption) -> str:
            return "/awaited"

        class Caller:
            async def __call__(self, request: Request, redemption: Redemption) -> str:
                return "/awaited"

        for each in (function, Caller(), lambda request, redemption: function(request, redemption)):
            assert self.arrive(services, each)[1].field("location") == "/awaited"

    def test_a_response_is_sent_with_the_cookie(self, services: BothServices) -> None:
        """A response of the application's own keeps its status, body and headers, and gets the cookie."""

        def function(request: Request, redemption: Redemption) -> Response:
            made = JSONResponse({"ok": True}, 201, {"Cache-Control": "private", "X-Own": "1"})
            made.set_cookie("session", "s")
            return made

        browser, answer = self.arrive(services, function)
        assert (answer.status, answer.text) == (201, '{"ok":true}')
        assert (answer.field("cache-control"), answer.field("x-own")) == ("private", "1")
        own, ours = answer.fields("set-cookie")
        assert own.startswith("session=s") and ours.startswith(f"{COOKIE}={browser.cookie};")

    def test_one_response_for_all_guests_gathers_no_cookies(self, services: BothServices) -> None:
        """An application may keep one response and give it to everybody: nobody gets another's cookie."""
        shared = RedirectResponse("/booking", 303)
        for _ in range(3):
            browser, answer = self.arrive(services, lambda request, redemption: shared)
            assert answer.field("set-cookie").startswith(f"{COOKIE}={browser.cookie};")
        assert "set-cookie" not in shared.headers

    def test_an_error_of_its_own_is_the_applications(self, services: BothServices) -> None:
        """What the application raises is not hidden."""

        def function(request: Request, redemption: Redemption) -> str:
            raise HTTPException(418)

        assert self.arrive(services, function)[1].status == 418

    def test_a_place_elsewhere_is_a_problem(self, services: BothServices) -> None:
        """500 from the error handlers: no redirect, no cookie, nothing of the place."""
        answer = self.arrive(services, lambda request, redemption: "//evil.example/")[1]
        assert (answer.status, answer.fields("location"), answer.fields("set-cookie")) == (500, [], [])
        assert '"code": "configuration"' in answer.text and "evil" not in answer.text

    def test_without_handlers_it_is_raised(self, services: BothServices) -> None:
        """An application without install_error_handlers gets the error itself."""
        app = FastAPI()
        app.include_router(
            landing_router(
                services.handshake,
                tenant=lambda request: TENANT,
                public_origin=lambda request: ORIGIN,
                on_redeemed=lambda request, redemption: "//evil",
            ),
            prefix="/aurora",
        )
        browser = Browser(services, app=app)
        token = services.issue().token
        browser.get(token)
        with pytest.raises(ConfigurationError) as caught:
            browser.post(token)
        assert token not in str(caught.value) and "evil" not in str(caught.value)


class TestOptions:
    @pytest.mark.parametrize("awaited", [False, True])
    def test_its_own_template(self, services: BothServices, awaited: bool) -> None:
        """`render` gives the whole HTML of every page; the headers stay, and the form inside works."""
        pages: list[Page] = []

        def render(request: Request, page: Page) -> str:
            pages.append(page)
            nonce = f'<script nonce="{page.nonce}">1</script>'
            return f"<!doctype html><html><head>{page.head}</head><body><nav>é</nav>{page.content}{nonce}</body></html>"

        async def render_async(request: Request, page: Page) -> str:
            return render(request, page)

        browser = Browser(services, app=services.make_app(render=render_async if awaited else render))
        token = services.issue().token
        answer = browser.get(token)
        assert answer.status == 200 and "<nav>é</nav>" in answer.text and token in answer.text
        assert f"'nonce-{pages[0].nonce}'" in answer.field("content-security-policy")
        assert browser.post(token).status == 303
        refusal = browser.get("x")
        assert (refusal.status, pages[1].kind, pages[1].reference) == (400, "invalid", refusal.reference)

    def test_wrong_arguments_are_refused_at_once(self, services: BothServices) -> None:
        """What could only fail while a guest waits fails when the router is made."""
        good: dict[str, Any] = {"tenant": str, "public_origin": str, "on_redeemed": str}
        landing_router(services.handshake, **good)
        for wrong in ({"tenant": TENANT}, {"public_origin": ORIGIN}, {"on_redeemed": "/"}, {"render": "page.html"}):
            with pytest.raises(ConfigurationError):
                landing_router(services.handshake, **{**good, **wrong})
        verifier = Verifier(KeyRing.generate(), issuer="a", audience="b")
        redeemers: Any = (Redeemer(verifier, MemoryReplayStore()), AsyncRedeemer(verifier, AsyncMemoryReplayStore()))
        for handshake in (object(), *redeemers):
            with pytest.raises(ConfigurationError, match="a Handshake or AsyncHandshake"):
                landing_router(handshake, **good)
