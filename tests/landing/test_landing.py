"""The landing page, row by row of the design's table: what the guest sees, and what has changed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from tests.handshake.services import TENANT

from ghasi_handoff import (
    AsyncRedeemer,
    ConfigurationError,
    ExpiredTokenError,
    KeyRing,
    KeyRingError,
    Redeemer,
    Redemption,
    ReplayedTokenError,
    ReplayStoreError,
    Verifier,
)
from ghasi_handoff._base64url import b64u_decode, b64u_encode
from ghasi_handoff.handshake import HandoffState, LocalRowLost, PageRefused
from ghasi_handoff.landing import TEXTS, AsyncLanding, GuestRequest, Landing
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore

from .both_services import (
    ARRIVES,
    COOKIE,
    FORM,
    GRACE,
    LEEWAY,
    LIFETIME,
    ORIGIN,
    START_URL,
    SUBMITS,
    Answer,
    BothServices,
    Browser,
    Fields,
    OwnResponse,
    both_services,
    locked,
    sent_on,
    site_of,
)

PAGE_HEADERS = {
    "cache-control": "no-store",
    "content-language": "en",
    "content-type": "text/html; charset=utf-8",
    "referrer-policy": "strict-origin",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
SECRET = b64u_encode(b"B" * 32)
# What these say when it is no site that has sent a person here, as a whole page.
OTHERWISE = {
    "Sec-Fetch-Site": ("same-origin", "none", "Cross-Site", ""),
    "Sec-Fetch-Mode": ("cors", "no-cors", "same-origin", "websocket", ""),
    "Sec-Fetch-Dest": ("empty", "image", "script", "worker", "Document", ""),
}


def form_of(answer: Answer) -> dict[str, str]:
    """The hidden fields of a page's form; empty if it has none."""
    return dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', answer.text))


def code_of(services: BothServices, answer: Answer) -> str:
    """The code that the log has for a page's reference, its status being the page's."""
    (event,) = [e for e in services.events if isinstance(e, PageRefused) and e.reference == answer.reference]
    assert event.status == answer.status
    return event.code


def check_headers(answer: Answer) -> None:
    """Every field but the policy's nonce and the cookie."""
    found = dict(answer.headers)
    policy = found.pop("content-security-policy")
    found.pop("set-cookie", None)
    found.pop("retry-after", None)
    assert found == PAGE_HEADERS
    assert len(answer.headers) == len(dict(answer.headers))
    nonce = re.search(r'<style nonce="([^"]{22})">', answer.text)
    assert nonce is not None
    assert policy == (
        f"default-src 'none'; script-src 'nonce-{nonce[1]}'; style-src 'self' 'nonce-{nonce[1]}'; img-src 'self';"
        " font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )


def refused(services: BothServices, answer: Answer, status: int, code: str) -> None:
    """A page that says no: its status, its headers, no form, no token, no cookie, and the code in the log."""
    assert (answer.status, code_of(services, answer)) == (status, code)
    check_headers(answer)
    assert "<form" not in answer.text and "ghasi1." not in answer.text
    assert answer.fields("set-cookie") == []


class TestTheForm:
    def test_get_shows_the_form_with_every_header(self, services: BothServices, guest: Browser) -> None:
        """The page has the token in a form that posts to the same path, and the headers of the design, to the letter."""
        token = services.issue().token
        answer = guest.get(token)
        assert answer.status == 200
        check_headers(answer)
        assert form_of(answer) == {"handoff": token}
        assert '<form id="handoff" method="post" action="handoff" data-delay="0">' in answer.text
        assert answer.text.count(token) == 1

    def test_get_sets_the_cookie_to_the_letter(self, services: BothServices, guest: Browser) -> None:
        """The cookie is 32 random bytes, host-bound, out of reach of scripts, for 3840 seconds."""
        cookie = guest.get(services.issue().token).field("set-cookie")
        match = re.fullmatch(
            r"__Host-ghasi_handoff=([A-Za-z0-9_-]{43}); Max-Age=3840; Path=/; Secure; HttpOnly; SameSite=Lax", cookie
        )
        assert match is not None
        assert len(b64u_decode(match[1]) or b"") == 32

    def test_two_browsers_get_two_secrets(self, services: BothServices, guest: Browser, stranger: Browser) -> None:
        """A secret is nobody else's."""
        token = services.issue().token
        guest.get(token)
        stranger.get(token)
        assert guest.cookie is not None and guest.cookie != stranger.cookie

    def test_an_existing_cookie_is_sent_again(self, services: BothServices, guest: Browser) -> None:
        """Each GET that shows the form renews the cookie, and keeps its value."""
        token = services.issue().token
        first = guest.get(token).field("set-cookie")
        assert guest.get(token).field("set-cookie") == first

    def test_get_changes_nothing(self, services: BothServices, guest: Browser) -> None:
        """However often it is fetched: no row of either database, no call, no event."""
        token = services.issue().token
        before = services.rows()
        for _ in range(3):
            guest.get(token)
        assert (services.rows(), services.consumer.requests, services.events, services.redemptions) == (
            before,
            [],
            [],
            [],
        )

    @pytest.mark.parametrize(
        "headers",
        [
            (),
            (("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")),
            (("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")),
            (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")),
            (("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")),
            # One of the three is missing, or another.
            *(tuple(field for field in ARRIVES if field != each) for each in ARRIVES),
            *(
                tuple((name, value if field == name else usual) for name, usual in ARRIVES)
                for field, values in OTHERWISE.items()
                for value in values
            ),
        ],
    )
    def test_who_was_not_sent_by_a_site_presses_the_button(
        self, services: BothServices, guest: Browser, headers: Fields
    ) -> None:
        """The form submits itself only after a cross-site or same-site top-level navigation."""
        answer = guest.get(services.issue().token, headers)
        assert answer.status == 200
        assert "data-delay=" not in answer.text and "<button" in answer.text

    def test_a_sister_site_may_send_the_guest_too(self, services: BothServices, guest: Browser) -> None:
        """same-site counts as cross-site does."""
        headers = (("Sec-Fetch-Site", "same-site"), *ARRIVES[1:])
        assert 'data-delay="0"' in guest.get(services.issue().token, headers).text

    def test_head_tells_and_changes_nothing(self, services: BothServices) -> None:
        """A link checker gets 200, no token, no cookie."""
        before = services.rows()
        answer = services.ask("HEAD", f"/aurora/handoff?handoff={services.issue('tn_x').token}")
        assert (answer.status, answer.body, answer.field("cache-control")) == (200, b"", "no-store")
        assert answer.fields("set-cookie") == [] and services.consumer.requests == []
        assert len(services.rows()) == len(before) + 1  # the issue

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("Sec-Purpose", "prefetch"),
            ("Sec-Purpose", "prefetch;prerender"),
            ("Sec-Purpose", "prefetch;anonymous-client-ip"),
            ("Purpose", "prefetch"),
            ("X-Purpose", "preview"),
            ("X-Moz", "prefetch"),
            ("SEC-PURPOSE", "Prefetch"),
        ],
    )
    def test_a_fetch_ahead_gets_no_form(self, services: BothServices, name: str, value: str) -> None:
        """What a browser fetches before anybody asked for it is refused, with nothing to keep; later there is a form."""
        token, before_cookie = services.issue().token, services.browser()
        before = services.rows()
        answer = before_cookie.get(token, (*ARRIVES, (name, value)))
        assert (answer.status, answer.body, answer.field("cache-control")) == (503, b"", "no-store")
        assert answer.fields("set-cookie") == []
        assert services.rows() == before
        assert before_cookie.get(token).status == 200

    @pytest.mark.parametrize("dest", ["iframe", "frame", "fencedframe", "embed", "object"])
    def test_a_frame_gets_no_form(self, services: BothServices, guest: Browser, dest: str) -> None:
        """In a frame: 403, nothing changes, no cookie."""
        token = services.issue().token
        before = services.rows()
        refused(services, guest.get(token, (*ARRIVES[:2], ("Sec-Fetch-Dest", dest))), 403, "framed")
        assert services.rows() == before


class TestMethods:
    @pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "X", "get", ""])
    def test_another_method(self, services: BothServices, method: str) -> None:
        """405 with the methods that there are, and nothing changes."""
        token = services.issue().token
        before = services.rows()
        form = ("Content-Type", FORM)
        answer = services.ask(method, f"/aurora/handoff?handoff={token}", (*SUBMITS, form), b"handoff=x")
        assert (answer.status, answer.headers, answer.body) == (405, (("allow", "GET, HEAD, POST"),), b"")
        assert services.rows() == before

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
    @pytest.mark.parametrize(("slashes", "up"), [("/", "../"), ("//", "../../"), ("///", "../../../")])
    @pytest.mark.parametrize("query", [b"", b"?handoff=TOKEN&a=%2F..", b"?\xff//evil.example"])
    def test_slashes_too_many(self, services: BothServices, method: str, slashes: str, up: str, query: bytes) -> None:
        """A relative redirect, one level up for each slash (RFC 3986, 5.2.4), with the query as it was, and no cookie."""
        answer = services.ask(method, f"/aurora/handoff{slashes}".encode() + query, (("Host", "evil.example"),))
        assert (answer.status, answer.field("location")) == (307, f"{up}handoff" + query.decode("latin-1"))
        assert (answer.field("cache-control"), answer.field("referrer-policy")) == ("no-store", "strict-origin")
        assert answer.fields("set-cookie") == []


class TestTheWay:
    def test_the_guest_is_sent_on(self, services: BothServices, guest: Browser) -> None:
        """303 to where the application says, the cookie once more, and both sides know who redeemed."""
        minted = services.issue()
        cookie = guest.get(minted.token).field("set-cookie")
        answer = guest.post(minted.token)
        assert (answer.status, answer.field("location"), answer.body) == (303, "/aurora/booking", b"")
        assert answer.field("set-cookie") == cookie
        assert answer.field("cache-control") == "no-store"
        assert answer.field("referrer-policy") == "strict-origin"
        record = services.log.find(minted.handoff_id)
        assert record is not None
        (redemption,) = services.redemptions
        assert (record.state, record.redemption_id) == (HandoffState.CONSUMED, redemption.redemption_id)
        assert redemption.handoff.handoff_id == minted.handoff_id
        assert len(services.consumer.requests) == 1

    def test_refresh_double_click_and_two_tabs_give_the_same_success(
        self, services: BothServices, guest: Browser
    ) -> None:
        """on_redeemed is called again with the same redemption id; nothing else is recorded."""
        token = services.issue().token
        first = guest.arrive(token)
        rows = services.rows()
        again = [guest.post(token), guest.arrive(token)]
        assert [(a.status, a.headers) for a in again] == [(303, first.headers)] * 2
        assert len({r.redemption_id for r in services.redemptions}) == 1 and len(services.redemptions) == 3
        assert services.rows() == rows

    def test_a_lost_reply_is_made_good_by_a_reload(self, services: BothServices, guest: Browser) -> None:
        """bff-consumer has recorded it, the answer is lost twice: 503, then the same browser goes on."""
        minted = services.issue()
        services.consumer.faults += ["lost", "lost"]
        assert guest.arrive(minted.token).status == 503
        assert guest.post(minted.token).status == 303

    def test_deferred_goes_on_without_bff_consumer(self, kind: str, tmp_path: Path) -> None:
        """In deferred mode the guest does not wait for bff-consumer; the outbox keeps what it must be told."""
        with both_services(kind, tmp_path, mode="deferred") as services:
            services.consumer.always = 500
            assert services.browser().arrive(services.issue().token).status == 303
            assert services.consumer.requests == []
            assert any("outbox" in row for row in services.rows())


class TestOnRedeemed:
    def app(self, services: BothServices, function: Any) -> Any:
        return services.make_app(on_redeemed=function)

    def arrive(self, services: BothServices, function: Any, token: str | None = None) -> tuple[Browser, Answer]:
        browser = Browser(services, app=self.app(services, function))
        return browser, browser.arrive(token or services.issue().token)

    def test_a_text_is_a_303(self, services: BothServices) -> None:
        """A path, or a URL of this origin."""
        for place in ("/booking", "/", f"{ORIGIN}/booking?x=1", "/a//b", "/b%C3%A9?q=%20"):
            answer = self.arrive(services, lambda request, redemption, place=place: place)[1]
            assert (answer.status, answer.field("location")) == (303, place)

    def test_a_place_is_escaped(self, services: BothServices) -> None:
        """What a header cannot hold is percent-encoded, as UTF-8."""
        answer = self.arrive(services, lambda request, redemption: "/zimmer/schön und gut")[1]
        assert answer.field("location") == "/zimmer/sch%C3%B6n%20und%20gut"

    def test_a_response_is_sent_with_the_cookie(self, services: BothServices) -> None:
        """A response of the application's own keeps its status, body and headers, and gets the cookie besides."""
        own = OwnResponse(201, (("cache-control", "private"), ("Set-Cookie", "session=s")), b"mine")
        browser, answer = self.arrive(services, lambda request, redemption: own)
        assert (answer.status, answer.body) == (201, b"mine")
        assert (answer.field("cache-control"), answer.field("referrer-policy")) == ("private", "strict-origin")
        session, ours = answer.fields("set-cookie")
        assert session == "session=s" and ours.startswith(f"{COOKIE}={browser.cookie};")

    def test_an_error_of_its_own_is_the_applications(self, services: BothServices) -> None:
        """What the application raises is not hidden, unless it is ReplayedTokenError."""
        for error in (ZeroDivisionError(), ExpiredTokenError("no"), ReplayStoreError("no")):

            def function(request: Any, redemption: Redemption, error: Exception = error) -> str:
                raise error

            with pytest.raises(type(error)):
                self.arrive(services, function)

    def test_a_repetition_can_be_refused(self, services: BothServices) -> None:
        """ReplayedTokenError from the application is the page of a replay, 409."""
        seen: set[str] = set()

        def function(request: GuestRequest, redemption: Redemption) -> str:
            if redemption.redemption_id in seen:
                raise ReplayedTokenError("the booking has gone on")
            seen.add(redemption.redemption_id)
            return "/booking"

        token = services.issue().token
        browser, first = self.arrive(services, function, token)
        assert first.status == 303
        refused(services, browser.post(token), 409, "replayed")

    @pytest.mark.parametrize(
        "place",
        [
            "https://evil.example/",
            "http://aurora.example/",
            "//evil.example/",
            "/\\evil.example",
            "\\\\evil.example",
            "https:/evil.example",
            "javascript:alert(1)",
            f"{ORIGIN}.evil.example/",
            f"{ORIGIN}@evil.example/",
            ORIGIN,
            "booking",
            "",
            "/\tbooking",
            "/boo\nking",
            "/booking?handoff=TOKEN",
            "/booking/TOKEN",
            "/booking#TOKEN",
            "/booking?next=%2Fhandoff%3Fhandoff%3DESCAPED",
            None,
            7,
        ],
    )
    def test_a_place_elsewhere_is_a_configuration_error(self, services: BothServices, place: Any) -> None:
        """A foreign URL, one that browsers read as foreign, or one with the token: an error that repeats nothing of it."""
        minted = services.issue()
        if isinstance(place, str):
            place = place.replace("TOKEN", minted.token).replace("ESCAPED", minted.token.replace("i", "%69"))
        with pytest.raises(ConfigurationError) as caught:
            self.arrive(services, lambda request, redemption: place, minted.token)
        assert "evil" not in str(caught.value) and minted.token not in str(caught.value)


class TestRefusals:
    def test_a_site_unknown_here(self, services: BothServices, guest: Browser) -> None:
        """404 for GET and POST."""
        token = services.issue().token
        before = services.rows()
        refused(services, guest.get(token, site="nowhere"), 404, "unknown_tenant")
        guest.get(token)
        refused(services, guest.post(token, site="nowhere"), 404, "unknown_tenant")
        assert services.rows() == before

    def test_no_origin_is_asked_for_where_there_is_no_site(self, services: BothServices) -> None:
        """A table of origins has none for a site unknown here: 404, not an error of the application."""
        origins = {"aurora": ORIGIN}
        app = services.make_app(public_origin=lambda request: origins[site_of(request)])
        guest = Browser(services, app=app)
        token = services.issue().token
        guest.get(token)
        refused(services, guest.post(token, site="nowhere"), 404, "unknown_tenant")
        assert guest.post(token).status == 303

    def test_expired(self, services: BothServices, guest: Browser) -> None:
        """410 and a way to start again, for GET and POST; the second before, it goes through."""
        token = services.issue().token
        services.clock.now += LIFETIME + LEEWAY - 1
        assert guest.get(token).status == 200
        services.clock.now += 1
        before = services.rows(with_refused=False)
        answer = services.browser().get(token)
        refused(services, answer, 410, "expired")
        assert f'href="{START_URL}"' in answer.text
        posted = guest.post(token)
        assert (posted.status, code_of(services, posted)) == (410, "expired")
        assert services.consumer.requests == [] and services.redemptions == []
        assert [row for row in services.rows(with_refused=False) if "outbox" in row] == []
        assert [row for row in services.rows() if "handoff_log" in row] == [r for r in before if "handoff_log" in r]

    def test_its_own_redeemer_has_a_minute_more(
        self, services: BothServices, guest: Browser, stranger: Browser
    ) -> None:
        """Within 60 seconds of the end the browser that redeemed gets the same success; then it is 410 for it, too."""
        token = services.issue().token
        first = guest.arrive(token)
        services.clock.now += LIFETIME + LEEWAY + GRACE - 1
        assert guest.arrive(token).headers == first.headers
        refused(services, stranger.get(token), 410, "expired")
        services.clock.now += 1
        refused(services, guest.get(token), 410, "expired")
        refused(services, guest.post(token), 410, "expired")

    def test_replayed(self, services: BothServices, guest: Browser, stranger: Browser) -> None:
        """Another browser has it: 409, a way to start again, bff-consumer is not called, the owner keeps it."""
        token = services.issue().token
        guest.arrive(token)
        rows, calls = services.rows(with_refused=False), len(services.consumer.requests)
        answer = stranger.arrive(token)
        refused(services, answer, 409, "replayed")
        assert f'href="{START_URL}"' in answer.text
        assert len(services.consumer.requests) == calls
        assert services.rows(with_refused=False) == rows
        assert guest.post(token).status == 303

    def test_revoked(self, services: BothServices, guest: Browser) -> None:
        """Cancelled at bff-consumer: 410, its own text."""
        minted = services.issue()
        services.log.revoke(minted.handoff_id)
        answer = guest.arrive(minted.token)
        refused(services, answer, 410, "revoked_handoff")
        assert TEXTS["en"].revoked.title in answer.text and f'href="{START_URL}"' in answer.text
        assert services.redemptions == []

    def test_a_lost_local_row(self, services: BothServices, guest: Browser) -> None:
        """bff-consumer names another browser: 409 for the guest, an alarm for the operator."""
        minted = services.issue()
        services.consumer.faults.append((409, "application/problem+json", b'{"code":"replayed","status":409}'))
        refused(services, guest.arrive(minted.token), 409, "replayed")
        assert any(isinstance(event, LocalRowLost) for event in services.events)

    def test_cookies_blocked(self, services: BothServices, guest: Browser) -> None:
        """No cookie with the form: 400, a page that says so, nothing consumed; with one it works."""
        token = services.issue().token
        before = services.rows()
        answer = guest.post(token)
        refused(services, answer, 400, "no_cookie")
        assert TEXTS["en"].cookies.title in answer.text
        assert (services.rows(), services.consumer.requests) == (before, [])
        assert guest.arrive(token).status == 303

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "x",
            SECRET[:-1],
            f"{SECRET}A",
            f'"{SECRET}"',
            f"{SECRET[:-1]}B",
            f"{SECRET}=",
            "%41" * 43,
            "é" * 43,
            f"{SECRET} x",
        ],
    )
    def test_a_cookie_that_is_none_of_ours(self, services: BothServices, guest: Browser, value: str) -> None:
        """A malformed value is no cookie: the GET sets a new one, the POST says that cookies are needed."""
        token = services.issue().token
        before = services.rows()
        refused(services, guest.post(token, (*SUBMITS, ("Cookie", f"{COOKIE}={value}".encode()))), 400, "no_cookie")
        answer = guest.get(token, (*ARRIVES, ("Cookie", f"{COOKIE}={value}".encode())))
        assert answer.status == 200 and value not in answer.fields("set-cookie")[0].split(";")[0].split("=")[1:]
        assert services.rows() == before
        assert guest.post(token).status == 303

    def test_the_token_is_not_in_the_address_of_a_final_refusal(
        self, services: BothServices, stranger: Browser
    ) -> None:
        """The script of a final refusal takes the query out of the address; of one that may pass, it stays for a reload."""
        token = services.issue().token
        assert "history.replaceState" not in stranger.get("ghasi1.x").text
        services.clock.now += LIFETIME + LEEWAY
        assert "history.replaceState" in stranger.get(token).text


class TestOrigin:
    @pytest.mark.parametrize("site", ["cross-site", "same-site", "none", "", "Same-Origin", "same-origin, same-origin"])
    def test_a_form_from_elsewhere(self, services: BothServices, guest: Browser, site: str) -> None:
        """Each Sec-Fetch-Site but same-origin: 403, nothing changes, whatever Origin says."""
        token = services.issue().token
        guest.get(token)
        before = services.rows()
        for more in ((), (("Origin", ORIGIN),)):
            refused(services, guest.post(token, (("Sec-Fetch-Site", site), *more)), 403, "cross_origin")
        assert (services.rows(), services.consumer.requests) == (before, [])
        assert guest.post(token).status == 303

    def test_sec_fetch_site_twice(self, services: BothServices, guest: Browser) -> None:
        """Two fields are not one."""
        token = services.issue().token
        guest.get(token)
        twice = (("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Site", "same-origin"))
        refused(services, guest.post(token, twice), 403, "cross_origin")

    @pytest.mark.parametrize(
        "headers",
        [
            (),
            (("Origin", "null"),),
            (("Origin", ""),),
            (("Origin", "https://evil.example"),),
            (("Origin", "http://aurora.example"),),
            (("Origin", f"{ORIGIN}/"),),
            (("Origin", f"{ORIGIN}:443"),),
            (("Origin", f"{ORIGIN}.evil.example"),),
            (("Origin", ORIGIN.upper()),),
            (("Origin", ORIGIN), ("Origin", ORIGIN)),
            (("Origin", ORIGIN), ("Origin", "https://evil.example")),
            (("Referer", f"{ORIGIN}/aurora/handoff"),),
        ],
    )
    def test_an_old_browser_from_elsewhere(self, services: BothServices, guest: Browser, headers: Fields) -> None:
        """Without Sec-Fetch-Site, Origin must be ours: missing, null, another or two of it are 403."""
        token = services.issue().token
        guest.get(token)
        before = services.rows()
        refused(services, guest.post(token, headers), 403, "cross_origin")
        assert (services.rows(), services.consumer.requests) == (before, [])

    def test_an_old_browser_from_our_page(self, services: BothServices, guest: Browser) -> None:
        """Without Sec-Fetch-Site, our own Origin is enough."""
        token = services.issue().token
        guest.get(token)
        assert guest.post(token, (("Origin", ORIGIN),)).status == 303


FULLWIDTH = "".join(chr(ord(character) + 0xFEE0) for character in COOKIE)


class TestForgedCookies:
    LOOKALIKES = (
        "__host-ghasi_handoff",
        "__HOST-GHASI_HANDOFF",
        "__Host-Ghasi_Handoff",
        FULLWIDTH,
        "__Ho\u017ft-ghasi_handoff",
        "__Host-ghasi_hando\ufb00",
        "%5F%5FHost-ghasi_handoff",
        "__Host%2Dghasi_handoff",
        "__%48ost-ghasi_handoff",
        "%255F%255FHost-ghasi_handoff",
        "__Host-ghasi_handoff\u00a0",
        "\u00a0__Host-ghasi_handoff",
        "__Host-ghasi_handoff\x0b",
        "__Host-ghasi_handoff\u200b",
        '"__Host-ghasi_handoff"',
        "__Host-ghasi__handoff",
        "__Host-ghasi-handoff",
        "__Host-ghasi handoff",
        "$__Host-ghasi_handoff",
        "__Host-ghasi_handoff[]",
        "__Host.ghasi.handoff",
    )

    @pytest.mark.parametrize(
        "name",
        [name.encode("utf-8") for name in LOOKALIKES]
        + [name.encode("latin-1") for name in LOOKALIKES if not name.isascii() and max(name) < "\u0100"],
    )
    def test_a_lookalike(self, services: BothServices, guest: Browser, name: bytes) -> None:
        """A name that a careless reader would take for ours, before or after the real one or alone: 403, nothing changes."""
        fake = name + f"={SECRET}".encode()
        token = services.issue().token
        guest.get(token)
        real = f"{COOKIE}={guest.cookie}".encode()
        before = services.rows()
        for line in (fake + b"; " + real, real + b"; " + fake, b"a=b;" + fake):
            refused(services, guest.post(token, (*SUBMITS, ("Cookie", line))), 403, "forged_cookie")
            refused(services, guest.get(token, (*ARRIVES, ("Cookie", line))), 403, "forged_cookie")
        assert (services.rows(), services.consumer.requests) == (before, [])
        assert guest.post(token).status == 303

    def test_a_second_exact_cookie(self, services: BothServices, guest: Browser) -> None:
        """Two of the exact name, alike or not, in one field or two: 403, nothing changes."""
        token = services.issue().token
        guest.get(token)
        real = f"{COOKIE}={guest.cookie}"
        before = services.rows()
        for other in (f"{COOKIE}={SECRET}", real, f"{COOKIE}=", COOKIE):
            for cookies in (
                [("Cookie", f"{real}; {other}")],
                [("Cookie", f"{other}; {real}")],
                [("Cookie", real), ("Cookie", other)],
            ):
                refused(services, guest.post(token, (*SUBMITS, *cookies)), 403, "forged_cookie")
                refused(services, guest.get(token, (*ARRIVES, *cookies)), 403, "forged_cookie")
        assert (services.rows(), services.consumer.requests) == (before, [])

    @pytest.mark.parametrize(
        "other", ["ghasi_handoff=x", "session=__Host-ghasi_handoff", "__Host-other=1", "é=ü", "=", ";;", "\xff\x00"]
    )
    def test_other_cookies_do_no_harm(self, services: BothServices, guest: Browser, other: str) -> None:
        """Cookies of the application and of others are not looked at."""
        token = services.issue().token
        guest.get(token)
        line = f"{other}; {COOKIE}={guest.cookie}".encode("latin-1")
        assert guest.post(token, (*SUBMITS, ("Cookie", line))).status == 303


class TestNotNow:
    def check_waiting(self, services: BothServices, answer: Answer, token: str, code: str, since: float) -> None:
        assert (answer.status, code_of(services, answer)) == (503, code)
        check_headers(answer)
        assert answer.field("retry-after") == "2"
        assert form_of(answer) == {"handoff": token, "since": str(int(since))}
        assert 'data-delay="2000"' in answer.text
        assert services.redemptions == []

    def test_the_store_is_down(self, kind: str, tmp_path: Path) -> None:
        """503, bff-consumer is not called, nothing changes; when it is back the same browser goes on."""
        with both_services(kind, tmp_path, store_seconds=0.1) as services:
            guest, token = services.browser(), services.issue().token
            guest.get(token)
            before = services.rows()
            with locked(services.folder / "replay.db"):
                answer = guest.post(token)
            self.check_waiting(services, answer, token, "store_unavailable", services.clock.now)
            assert TEXTS["en"].unavailable.title in answer.text
            assert (services.rows(), services.consumer.requests) == (before, [])
            assert sent_on(guest, token)

    def test_bff_consumer_is_slow(self, kind: str, tmp_path: Path) -> None:
        """An answer that comes too late does not count: 503 "confirming"; the handoff stays this browser's, and nobody else's."""
        with both_services(kind, tmp_path, call_seconds=0.2) as services:
            guest, token = services.browser(), services.issue().token
            guest.get(token)
            services.consumer.always = "slow"
            answer = guest.post(token)
            self.check_waiting(services, answer, token, "confirmation_unavailable", services.clock.now)
            assert TEXTS["en"].confirming.title in answer.text
            services.consumer.always = None
            refused(services, services.browser().arrive(token), 409, "replayed")
            assert sent_on(guest, token)

    @pytest.mark.parametrize(
        "fault",
        [
            "reset",
            500,
            503,
            404,
            200,
            302,
            (200, "application/json", b'{"ok":true}'),
            (404, "application/problem+json", b'{"code":"unknown_handoff","status":404}'),
        ],
        ids=str,
    )
    def test_bff_consumer_gives_no_answer_that_counts(self, services: BothServices, guest: Browser, fault: Any) -> None:
        """Down, nonsense, 404: 503 "confirming"; the handoff stays this browser's, and nobody else's."""
        token = services.issue().token
        guest.get(token)
        services.consumer.always = fault
        answer = guest.post(token)
        self.check_waiting(services, answer, token, "confirmation_unavailable", services.clock.now)
        assert TEXTS["en"].confirming.title in answer.text
        services.consumer.always = None
        refused(services, services.browser().arrive(token), 409, "replayed")
        assert guest.post(token).status == 303

    def test_after_twenty_seconds_it_says_so(self, services: BothServices, guest: Browser) -> None:
        """The page tries again by itself for 20 seconds, then says that it takes too long; still the guest's own."""
        token = services.issue().token
        guest.get(token)
        services.consumer.always = 404
        answer = guest.post(token)
        begun = services.clock.now
        services.clock.now += 19
        self.check_waiting(services, guest.post(**form_with(answer)), token, "confirmation_unavailable", begun)
        services.clock.now += 1
        late = guest.post(**form_with(answer))
        assert (late.status, late.field("retry-after")) == (503, "2")
        assert TEXTS["en"].not_confirmed.title in late.text and "data-delay=" not in late.text
        assert f'href="{START_URL}"' in late.text and form_of(late)["since"] == str(int(begun))
        services.consumer.always = None
        assert guest.post(**form_with(late)).status == 303

    @pytest.mark.parametrize("since", ["", "-5", "1e3", "\u0663", "9" * 13, "99999999999", "x", "0x1"])
    def test_a_strange_since_begins_anew(self, services: BothServices, guest: Browser, since: str) -> None:
        """What is no past time in the form is not taken for one."""
        token = services.issue().token
        guest.get(token)
        services.consumer.always = 404
        answer = guest.post(token, since=since)
        self.check_waiting(services, answer, token, "confirmation_unavailable", services.clock.now)

    def test_a_key_file_that_cannot_be_read(self, kind: str, tmp_path: Path) -> None:
        """503 for GET and POST, no state changed, and the address is kept for a reload."""
        state: dict[str, Any] = {}

        def keys() -> KeyRing:
            if state.get("broken"):
                raise KeyRingError("cannot be read")
            ring: KeyRing = state["ring"]
            return ring

        with both_services(kind, tmp_path, keys=keys) as services:
            state["ring"] = services.keys
            guest, token = services.browser(), services.issue().token
            guest.get(token)
            before = services.rows()
            state["broken"] = True
            answer = services.browser().get(token)
            refused(services, answer, 503, "key_ring")
            assert "replaceState" not in answer.text and answer.field("retry-after") == "2"
            self.check_waiting(services, guest.post(token), token, "key_ring", services.clock.now)
            assert services.rows() == before
            state["broken"] = False
            assert guest.post(token).status == 303


def form_with(answer: Answer) -> dict[str, Any]:
    """What a browser sends when the page submits its form."""
    fields = form_of(answer)
    return {"token": fields.pop("handoff"), **fields}


class TestConfiguration:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"tenant": TENANT},
            {"public_origin": ORIGIN},
            {"on_redeemed": "/booking"},
            {"render": "page.html"},
            {"texts": {}},
            {"texts": {"e n": TEXTS["en"]}},
            {"texts": {"ü": TEXTS["de"]}},
            {"texts": {"en": {"start_again": "Back"}}},
            {"start_url": "javascript:alert(1)"},
        ],
        ids=str,
    )
    def test_a_wrong_option_is_refused_at_once(self, services: BothServices, wrong: dict[str, Any]) -> None:
        """What could only fail while a guest waits fails when the landing is made."""
        with pytest.raises(ConfigurationError):
            services.make_app(**wrong)

    def test_a_handshake_of_the_other_kind_is_refused(self, services: BothServices) -> None:
        """A landing for threads wants a handshake for threads, one for asyncio the other."""
        other = AsyncLanding if services.kind == "sync" else Landing
        for handshake in (services.handshake, object()):
            with pytest.raises(ConfigurationError):
                other(handshake, tenant=str, public_origin=str, on_redeemed=str)  # type: ignore[arg-type]

    def test_a_redeemer_is_no_handshake(self, services: BothServices) -> None:
        """A redeemer has a method of the same name, and could only fail while a guest waits."""
        kinds: Any = (Redeemer, MemoryReplayStore, Landing)
        if services.kind != "sync":
            kinds = (AsyncRedeemer, AsyncMemoryReplayStore, AsyncLanding)
        redeemer, store, landing = kinds
        verifier = Verifier(KeyRing.generate(), issuer="a", audience="b")
        with pytest.raises(ConfigurationError):
            landing(redeemer(verifier, store()), tenant=str, public_origin=str, on_redeemed=str)

    def test_the_form_is_read_only_as_a_form(self, services: BothServices, guest: Browser) -> None:
        """The content type of a form, with or without a charset, and no other."""
        token = services.issue().token
        guest.get(token)
        cookie = ("Cookie", f"{COOKIE}={guest.cookie}")
        body = f"handoff={token}".encode()
        for kind in ("", "text/plain", "multipart/form-data; boundary=x", "application/json", f"x{FORM}"):
            answer = services.ask("POST", "/aurora/handoff", (*SUBMITS, cookie, ("Content-Type", kind)), body)
            refused(services, answer, 400, "malformed")
        for kind in (FORM, f"{FORM}; charset=utf-8", FORM.upper()):
            answer = services.ask("POST", "/aurora/handoff", (*SUBMITS, cookie, ("Content-Type", kind)), body)
            assert answer.status == 303


def test_nothing_is_left_for_a_worker(services: BothServices, guest: Browser) -> None:
    """Strict and confirmed: the outbox is empty."""
    guest.arrive(services.issue().token)
    assert not any("outbox" in row for row in services.rows())
