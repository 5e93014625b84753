"""The story of a handoff between two real services, over HTTP: what each step of `steps` does, checks, and says."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import httpx2

from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff._signing_string import parse_body
from ghasi_handoff._token import build_token, parse_token
from ghasi_handoff.demo.service_process import Service
from ghasi_handoff.demo.services import Services
from ghasi_handoff.integrations.fastapi import TEXTS
from ghasi_handoff.testing._browser import Browser
from ghasi_handoff.testing._pages import Form, Page, location

# For what a service does by itself, on a busy machine. A delivery is tried again after some seconds.
_PATIENCE_SECONDS: Final = 30.0
ROOM: Final = "aurora-double"
_PAGES: Final = TEXTS["en"]
_CHANCE: Final = re.compile(r'nonce="[^"]*"|<bdi>[^<]*</bdi>')  # what is random in a page: nonce and reference
_HANDOFF_ID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"


class SurpriseError(Exception):
    """Something else happened than the story tells."""


class Happened(NamedTuple):
    """What came of a step: lines for people, and facts for ``--json``."""

    lines: list[str]
    facts: dict[str, object]


class Story(AbstractContextManager["Story"]):
    """Both services, not started yet, two browsers, and what happened so far."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.deferred = services.mode == "deferred"
        # No proxy of the environment: everything is on this machine.
        self._client = httpx2.Client(timeout=15.0, trust_env=False, headers={"Accept-Language": "en"})
        self.guest = Browser(self._client, services.booking.origin)
        self.other = self.guest.another()
        self.handoff_id = ""

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def start(self) -> Happened:
        self.services.start()
        rooms = self.guest.navigate(f"{self.services.consumer.origin}/", initiator=None)
        expect(rooms, 200)
        policy = rooms.headers.get("content-security-policy", "")
        check(self.services.booking.origin in policy, "the page's policy would stop the redirect to the booking site")
        self.rooms = {dict(form.fields)["room"]: form for form in Page(rooms).forms}
        check(ROOM in self.rooms, "the page has no form for the room")
        lines = [f"{service.name:18}  {service.origin}  process {service.pid}" for service in self.services.both]
        lines += [f"the page of rooms has {len(self.rooms)} forms"]
        return Happened(lines, {"mode": self.services.mode, "rooms": sorted(self.rooms)})

    def book(self) -> Happened:
        self.landing, self.handoff_id = self._book()
        check(self._trace(self.handoff_id)["verdict"] == "open", "the handoff log does not have the handoff")
        shown = f"{self.landing[:80]}..."  # without the token's MAC, and most of its body
        lines = [f"303 to {shown}", f"in the handoff log: {self.handoff_id}"]
        return Happened(lines, {"handoff_id": self.handoff_id, "location": shown})

    def land(self) -> Happened:
        checked = self._client.head(self.landing)
        expect(checked, 200)
        check("set-cookie" not in checked.headers, "a link checker was given a cookie")
        page, self.form = self._form_at(self.guest, self.landing)
        check(page.headers.get("referrer-policy") == "strict-origin", "the token could leave in a Referer")
        check("no-store" in page.headers.get("cache-control", ""), "the page could stay in a cache")
        check(self._trace(self.handoff_id)["verdict"] == "open", "looking has redeemed the handoff")
        lines = [f'200 "{Page(page).title}", a form and a cookie', "nothing has changed: the handoff is still open"]
        return Happened([*lines, *self._logged()], {"status": 200, "verdict": "open"})

    def redeem(self) -> Happened:
        answer = self._sent(self.form)
        expect(answer, 303)
        self.booking = location(answer)
        check("ghasi1" not in self.booking, "the next address has the token in it")
        path = urlsplit(self.booking).path
        told = self._when_logged(self.services.consumer, "consume_call", self.handoff_id, "status=200")
        return Happened([f"303 to {path}", *self._logged(*told)], {"status": 303, "path": path})

    def see(self) -> Happened:
        page = self.guest.navigate(self.booking)
        expect(page, 200)
        check(self.handoff_id in page.text, "the booking is of another handoff")
        check("<dt>Adults</dt><dd>2</dd>" in page.text, "the booking is not what was handed over")
        price = re.search(r"<dt>Price</dt><dd>([^<]*)</dd>", page.text)
        lines = [f'200 "{Page(page).title}": 2 adults, {"" if price is None else price[1]}']
        return Happened(lines, {"status": 200})

    def repeat(self) -> Happened:
        _, again = self._form_at(self.guest, self.landing)
        with ThreadPoolExecutor(2) as both:
            answers = list(both.map(self._sent, (again, again)))
        for answer in answers:
            expect(answer, 303)
            check(location(answer) == self.booking, "a repetition made another booking")
        return Happened(["303 twice, to the same booking", *self._logged()], {"statuses": [303, 303]})

    def another_browser(self) -> Happened:
        _, form = self._form_at(self.other, self.landing)
        answer = self.other.submit_form(form)
        expect(answer, 409, _PAGES.replayed.title)
        return self._refused(answer, "replayed")

    def anothers_booking(self) -> Happened:
        check("__Host-session" not in self.other.cookies(), "the other browser was given a session")
        page = self.other.navigate(self.booking, initiator=None)
        expect(page, 404)
        check(self.handoff_id not in page.text, "the page shows somebody else's booking")
        expect(self.guest.navigate(self.booking), 200)
        return Happened(["404 to the other browser, 200 to the guest"], {"status": 404})

    def tampered(self) -> Happened:
        link, handoff_id = self._book()
        kid, body, mac_text = parse_token(token_of(link))
        check(b'"adults":2' in body, "the token does not carry the number of adults")
        altered = build_token(kid, body.replace(b'"adults":2', b'"adults":9'), mac_text)
        page = self.guest.navigate(link.replace(token_of(link), altered))
        expect(page, 400, _PAGES.invalid.title)
        self.invalid = _CHANCE.sub("", page.text)
        expect(self.guest.submit_form(replace(self.form, fields=(("handoff", altered),))), 400)
        check(self._trace(handoff_id)["verdict"] == "open", "the altered token changed something")
        return self._refused(page, "invalid_mac")

    def another_hotel(self) -> Happened:
        link, _ = self._book()
        page = self.guest.navigate(link.replace("/aurora/", "/borealis/"))
        expect(page, 400, _PAGES.invalid.title)
        check(_CHANCE.sub("", page.text) == self.invalid, "the page tells an outsider what was wrong")
        return self._refused(page, "wrong_tenant")

    def cross_site(self) -> Happened:
        link, handoff_id = self._book()
        _, form = self._form_at(self.guest, link)
        answer = self.guest.submit_form(form, initiator="https://evil.example")
        expect(answer, 403, _PAGES.forbidden.title)
        check(self._trace(handoff_id)["verdict"] == "open", "a form on another site has redeemed the handoff")
        return self._refused(answer, "cross_origin")

    def revoked(self) -> Happened:
        link, handoff_id = self._book()
        _, form = self._form_at(self.guest, link)
        self.services.operate("handoff", "revoke", handoff_id)
        answer = self._sent(form)
        if not self.deferred:
            expect(answer, 410, _PAGES.revoked.title)
            return self._refused(answer, "revoked_handoff")
        expect(answer, 303)
        logged = self._when_logged(self.services.booking, "delivery_refused", handoff_id)
        check(self._trace(handoff_id)["verdict"] == "redeemed_and_revoked", "the two logs do not tell what happened")
        lines = ["303: in deferred mode the guest has gone on before bff-consumer is asked"]
        return Happened([*lines, *self._logged(*logged)], {"status": 303, "verdict": "redeemed_and_revoked"})

    def consumer_dies(self) -> Happened:
        link, self.late_id = self._book()
        _, self.late = self._form_at(self.guest, link)
        _, others = self._form_at(self.other, link)
        self.services.consumer.kill()
        answer = self.guest.submit_form(self.late)
        if self.deferred:
            expect(answer, 303)
            lines = ["303: in deferred mode the guest goes on; the outbox keeps what is to be told"]
        else:
            expect(answer, 503, _PAGES.confirming.title)
            check(answer.headers.get("retry-after") == "2", "the page does not say when to try again")
            self.late = self._form_of(answer)
            lines = [f'503 "{Page(answer).title}": the page tries again by itself']
        late = self.other.submit_form(others)
        expect(late, 409, _PAGES.replayed.title)
        lines.append(f'409 to another browser meanwhile: "{Page(late).title}"')
        return Happened([*lines, *self._logged()], {"status": answer.status_code, "other_status": 409})

    def consumer_is_back(self) -> Happened:
        self.services.consumer.start()
        answer = self._sent(self.late)
        expect(answer, 303)
        booking = location(answer)
        expect(self.guest.navigate(booking), 200)
        logged = self._when_logged(self.services.consumer, "consume_call", self.late_id, "status=200")
        check(self._trace(self.late_id)["verdict"] == "redeemed", "the two logs do not agree")
        lines = [f"303 to {urlsplit(booking).path}", "both logs have it"]
        return Happened([*lines, *self._logged(*logged)], {"status": 303, "verdict": "redeemed"})

    def trace(self) -> Happened:
        found = self._trace(self.handoff_id)
        check(found["verdict"] == "redeemed", f"the verdict is {found['verdict']}")
        lines = [f"{moment['at']}  {moment['where']:12}  {moment['what']}" for moment in found["timeline"]]
        return Happened([*lines, f"verdict: {found['text']}"], {"verdict": found["verdict"], "timeline": lines})

    def no_secrets(self) -> Happened:
        text = "".join(service.log_text() for service in self.services.both)
        requests = len(re.findall(r" http [A-Z]+ /", text))
        check(requests > 0, "no request was logged")
        check("ghasi1." not in text, "a token stands in a log")
        cookies = [*self.guest.cookies().values(), *self.other.cookies().values()]
        keys = [b64u_encode(key.secret) for key in self.services.keys.keys]
        check(not any(secret in text for secret in [*cookies, *keys]), "a cookie or a key stands in a log")
        lines = [f"{requests} requests were logged, and no token, no cookie and no key"]
        return Happened(lines, {"requests_logged": requests})

    def _book(self) -> tuple[str, str]:
        """Book the room: the address of the booking site, and the handoff's id."""
        answer = self.guest.submit_form(self.rooms[ROOM])
        expect(answer, 303)
        link = location(answer)
        start = f"{self.services.booking.origin}/aurora/handoff?handoff=ghasi1."
        check(link.startswith(start), "the redirect does not lead to the booking site with a token")
        body = parse_body(parse_token(token_of(link)).body)
        check(body is not None and body.tenant == "tn_aurora", "the token is not for the hotel")
        return link, "" if body is None else body.handoff_id

    def _sent(self, form: Form) -> httpx2.Response:
        """What comes of the guest's form. As the page does, it tries again while bff-consumer is too busy to answer."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while (answer := self.guest.submit_form(form)).status_code == 503 and time.monotonic() < until:
            form = self._form_of(answer)
            time.sleep(0.5)
        return answer

    def _form_at(self, browser: Browser, link: str) -> tuple[httpx2.Response, Form]:
        """The landing page, and its one form."""
        page = browser.navigate(link)
        expect(page, 200, _PAGES.proceed.title)
        form = self._form_of(page)
        check("__Host-ghasi_handoff" in browser.cookies(), "the landing page sets no cookie")
        return page, form

    def _form_of(self, page: httpx2.Response) -> Form:
        forms = Page(page).forms
        check(len(forms) == 1, f"the landing page has {len(forms)} forms, not one")
        return forms[0]

    def _refused(self, answer: httpx2.Response, code: str) -> Happened:
        """A refusal that support can find in the log by the reference that the guest reads."""
        logged = self._logged()
        page, status = Page(answer), answer.status_code
        check(bool(page.reference), "the page has no reference")
        found = f"page_refused {page.reference} {code} "
        check(any(found in line for line in logged), f"the reference {page.reference} is not logged with {code}")
        lines = [f'{status} "{page.title}", reference {page.reference}', *logged]
        return Happened(lines, {"status": status, "code": code, "reference": page.reference})

    def _trace(self, handoff_id: str) -> dict[str, Any]:
        return self.services.operate("handoff", "trace", handoff_id)

    def _logged(self, *before: str) -> list[str]:
        """What both have logged since, each line with who."""
        news = [f"{service.name}: {line}" for service in self.services.both for line in service.logged()]
        return [_shown(line) for line in [*before, *news]]

    def _when_logged(self, service: Service, *words: str) -> list[str]:
        """Wait for a line of the service that has these words; what both have logged until then."""
        found: list[str] = []
        until = time.monotonic() + _PATIENCE_SECONDS
        while not any(line.startswith(service.name) and all(word in line for word in words) for line in found):
            check(time.monotonic() < until, f"{service.name} has not logged: {' '.join(words)}")
            time.sleep(0.02)
            found += [f"{one.name}: {line}" for one in self.services.both for line in one.logged()]
        return found


def _shown(line: str) -> str:
    """A line of a log, shortened: whose it is, without what is the same in all of them."""
    service, _, what = line.partition(": ")
    what = re.sub(r" (?:tenant|kid)=\S+", "", what)
    return f"{service} | {re.sub(_HANDOFF_ID, lambda found: f'...{found[0][-6:]}', what)}"


def check(condition: bool, otherwise: str) -> None:
    """`SurpriseError` with the text `otherwise`, unless `condition` holds."""
    if not condition:
        raise SurpriseError(otherwise)


def expect(answer: httpx2.Response, status: int, title: str | None = None) -> None:
    """`SurpriseError` unless the answer has this status and, if given, this heading."""
    path, found = answer.url.path, Page(answer).title
    check(answer.status_code == status, f"{path} answered {answer.status_code}, not {status}")
    check(title in (None, found), f'{path} shows the page "{found}", not "{title}"')


def token_of(link: str) -> str:
    """The token in a redirect's URL."""
    return parse_qs(urlsplit(link).query)["handoff"][0]
