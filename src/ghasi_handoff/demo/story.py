"""The story of a handoff between two real services, over HTTP: with what each logged, and checked at each step."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html import escape
from typing import Any, Final, Self
from urllib.parse import parse_qs, urlencode, urlsplit

from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff._signing_string import parse_body
from ghasi_handoff._token import parse_token
from ghasi_handoff.demo.browser import Browser, Form, Visit
from ghasi_handoff.demo.services import Service, Services
from ghasi_handoff.demo.telling import Happened, Step, check, with_nine_adults
from ghasi_handoff.integrations.fastapi import TEXTS

INTRODUCTION: Final = (
    "A guest picks a room on the consumer site (bff-consumer) and is sent on to the hotel's own booking site"
    " (bff-tenant-booking). The link carries a handoff token: what the guest chose, signed, valid for minutes, good"
    " for one browser. Below, both services run as processes of their own on this machine, two browsers ask them over"
    " HTTP, and every answer is checked. Lines with | are from their logs, shortened."
)
# For what a service does by itself, on a busy machine. A delivery is tried again after some seconds.
_PATIENCE_SECONDS: Final = 30.0
_AGAIN_SECONDS: Final = 0.5
_ROOM: Final = "aurora-double"
_PAGES: Final = TEXTS["en"]
_HANDOFF_ID: Final = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"


class Story:
    """Both services, two browsers, and what happened so far.

    Args:
        services: Not started yet.
    """

    def __init__(self, services: Services) -> None:
        self.services = services
        self.deferred = services.mode == "deferred"
        self.guest, self.other = Browser(), Browser()
        self.handoff_id = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.guest.close()
        self.other.close()

    def start(self) -> Happened:
        self.services.start()
        rooms = self.guest.open(f"{self.services.consumer.origin}/")
        _expect(rooms, 200)
        policy = rooms.headers.get("content-security-policy", "")
        check(self.services.booking.origin in policy, "the page's policy would stop the redirect to the booking site")
        self.rooms = {form.fields["room"]: form for form in rooms.forms}
        check(_ROOM in self.rooms, "the page has no form for the room")
        lines = [f"{service.name:18}  {service.origin}  process {service.pid}" for service in self.services.both]
        lines += [f"the page of rooms has {len(self.rooms)} forms"]
        return Happened(lines, {"mode": self.services.mode, "rooms": sorted(self.rooms)})

    def book(self) -> Happened:
        self.landing, self.handoff_id = self._book()
        check(self._trace(self.handoff_id)["verdict"] == "open", "the handoff log does not have the handoff")
        lines = [f"303 to {_shortened(self.landing)}", f"in the handoff log: {self.handoff_id}"]
        return Happened(lines, {"handoff_id": self.handoff_id, "location": _shortened(self.landing)})

    def land(self) -> Happened:
        _expect(self.guest.open(self.landing, method="HEAD", came_from="none"), 200)
        check(not self.guest.cookies, "a link checker was given a cookie")
        visit = self._form_at(self.guest, self.landing)
        check(visit.headers.get("referrer-policy") == "strict-origin", "the token could leave in a Referer")
        check("no-store" in visit.headers.get("cache-control", ""), "the page could stay in a cache")
        self.form = visit.forms[0]
        check(self._trace(self.handoff_id)["verdict"] == "open", "looking has redeemed the handoff")
        lines = [f'200 "{visit.title}", a form and a cookie', "nothing has changed: the handoff is still open"]
        return Happened([*lines, *self._logged()], {"status": 200, "verdict": "open"})

    def redeem(self) -> Happened:
        visit = self._sent(self.form)
        _expect(visit, 303)
        check("ghasi1" not in visit.location, "the next address has the token in it")
        self.booking = visit.location
        lines = [f"303 to {urlsplit(visit.location).path}"]
        told = self._when_logged(self.services.consumer, "consume_call", self.handoff_id, "status=200")
        return Happened([*lines, *self._logged(*told)], {"status": 303, "path": urlsplit(visit.location).path})

    def see(self) -> Happened:
        visit = self.guest.open(self.booking)
        _expect(visit, 200)
        check(self.handoff_id in visit.html, "the booking is of another handoff")
        check("<dt>Adults</dt><dd>2</dd>" in visit.html, "the booking is not what was handed over")
        price = re.search(r"<dt>Price</dt><dd>([^<]*)</dd>", visit.html)
        lines = [f'200 "{visit.title}": 2 adults, {"" if price is None else price[1]}']
        return Happened(lines, {"status": 200})

    def repeat(self) -> Happened:
        again = self._form_at(self.guest, self.landing).forms[0]
        with ThreadPoolExecutor(2) as both:
            visits = list(both.map(self._sent, (again, again)))
        for visit in visits:
            _expect(visit, 303)
            check(visit.location == self.booking, "a repetition made another booking")
        return Happened(["303 twice, to the same booking", *self._logged()], {"statuses": [303, 303]})

    def another_browser(self) -> Happened:
        visit = self.other.submit(self._form_at(self.other, self.landing).forms[0])
        _expect(visit, 409, _PAGES.replayed.title)
        return self._refused(visit, "replayed")

    def anothers_booking(self) -> Happened:
        check("__Host-session" not in self.other.cookies, "the other browser was given a session")
        visit = self.other.open(self.booking, came_from="none")
        _expect(visit, 404)
        check(self.handoff_id not in visit.html, "the page shows somebody else's booking")
        _expect(self.guest.open(self.booking), 200)
        return Happened(["404 to the other browser, 200 to the guest"], {"status": 404})

    def tampered(self) -> Happened:
        location, handoff_id = self._book()
        altered = _with_token(location, with_nine_adults(_token_of(location)))
        visit = self.guest.open(altered)
        _expect(visit, 400, _PAGES.invalid.title)
        self.invalid = _without_chance(visit)
        sent = self.guest.submit(replace(self.form, fields={"handoff": _token_of(altered)}))
        _expect(sent, 400)
        check(self._trace(handoff_id)["verdict"] == "open", "the altered token changed something")
        return self._refused(visit, "invalid_mac")

    def another_hotel(self) -> Happened:
        location, _ = self._book()
        visit = self.guest.open(location.replace("/aurora/", "/borealis/"))
        _expect(visit, 400, _PAGES.invalid.title)
        check(_without_chance(visit) == self.invalid, "the page tells an outsider what was wrong")
        return self._refused(visit, "wrong_tenant")

    def cross_site(self) -> Happened:
        location, handoff_id = self._book()
        form = self._form_at(self.guest, location).forms[0]
        visit = self.guest.submit(form, site="cross-site", origin="https://evil.example")
        _expect(visit, 403, _PAGES.forbidden.title)
        check(self._trace(handoff_id)["verdict"] == "open", "a form on another site has redeemed the handoff")
        return self._refused(visit, "cross_origin")

    def revoked(self) -> Happened:
        location, handoff_id = self._book()
        form = self._form_at(self.guest, location).forms[0]
        self.services.operate("handoff", "revoke", handoff_id)
        visit = self._sent(form)
        if not self.deferred:
            _expect(visit, 410, _PAGES.revoked.title)
            return self._refused(visit, "revoked_handoff")
        _expect(visit, 303)
        logged = self._when_logged(self.services.booking, "delivery_refused", handoff_id)
        check(self._trace(handoff_id)["verdict"] == "redeemed_and_revoked", "the two logs do not tell what happened")
        lines = ["303: in deferred mode the guest has gone on before bff-consumer is asked"]
        return Happened([*lines, *self._logged(*logged)], {"status": 303, "verdict": "redeemed_and_revoked"})

    def consumer_dies(self) -> Happened:
        location, self.late_id = self._book()
        self.late = self._form_at(self.guest, location).forms[0]
        others = self._form_at(self.other, location).forms[0]
        self.services.consumer.kill()
        visit = self.guest.submit(self.late)
        if self.deferred:
            _expect(visit, 303)
            lines = ["303: in deferred mode the guest goes on; the outbox keeps what is to be told"]
        else:
            _expect(visit, 503, _PAGES.confirming.title)
            check(visit.headers.get("retry-after") == "2", "the page does not say when to try again")
            self.late = visit.forms[0]
            lines = [f'503 "{visit.title}": the page tries again by itself']
        late = self.other.submit(others)
        _expect(late, 409, _PAGES.replayed.title)
        lines.append(f'409 to another browser meanwhile: "{late.title}"')
        return Happened([*lines, *self._logged()], {"status": visit.status, "other_status": 409})

    def consumer_is_back(self) -> Happened:
        self.services.consumer.start()
        visit = self._sent(self.late)
        _expect(visit, 303)
        _expect(self.guest.open(visit.location), 200)
        logged = self._when_logged(self.services.consumer, "consume_call", self.late_id, "status=200")
        check(self._trace(self.late_id)["verdict"] == "redeemed", "the two logs do not agree")
        lines = [f"303 to {urlsplit(visit.location).path}", "both logs have it"]
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
        cookies = [*self.guest.cookies.values(), *self.other.cookies.values()]
        keys = [b64u_encode(key.secret) for key in self.services.keys.keys]
        check(not any(secret in text for secret in [*cookies, *keys]), "a cookie or a key stands in a log")
        return Happened(
            [f"{requests} requests were logged, and no token, no cookie and no key"], {"requests_logged": requests}
        )

    def _book(self) -> tuple[str, str]:
        """Book the room: the address of the booking site, and the handoff's id."""
        visit = self.guest.submit(self.rooms[_ROOM])
        _expect(visit, 303)
        start = f"{self.services.booking.origin}/aurora/handoff?handoff=ghasi1."
        check(visit.location.startswith(start), "the redirect does not lead to the booking site with a token")
        body = parse_body(parse_token(_token_of(visit.location))[1])
        check(body is not None and body.tenant == "tn_aurora", "the token is not for the hotel")
        return visit.location, "" if body is None else body.handoff_id

    def _sent(self, form: Form) -> Visit:
        """What comes of the guest's form. As the page does, it tries again while bff-consumer is too busy to answer."""
        until = time.monotonic() + _PATIENCE_SECONDS
        while (visit := self.guest.submit(form)).status == 503 and visit.forms and time.monotonic() < until:
            form = visit.forms[0]
            time.sleep(_AGAIN_SECONDS)
        return visit

    def _form_at(self, browser: Browser, location: str) -> Visit:
        """The landing page, with its one form."""
        visit = browser.open(location)
        _expect(visit, 200, _PAGES.proceed.title)
        check(len(visit.forms) == 1, "the landing page has no form")
        check("__Host-ghasi_handoff" in browser.cookies, "the landing page sets no cookie")
        return visit

    def _refused(self, visit: Visit, code: str) -> Happened:
        """A refusal that support can find in the log by the reference that the guest reads."""
        logged = self._logged()
        check(bool(visit.reference), "the page has no reference")
        found = f"page_refused {visit.reference} {code} "
        check(any(found in line for line in logged), f"the reference {visit.reference} is not logged with {code}")
        lines = [f'{visit.status} "{visit.title}", reference {visit.reference}', *logged]
        return Happened(lines, {"status": visit.status, "code": code, "reference": visit.reference})

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


STEPS: Final = (
    Step(
        "Two services",
        "Each is a process with a database of its own; they share a ring of keys.",
        "uvicorn --factory ghasi_handoff.demo.consumer:create_app   # and booking:create_app",
        Story.start,
    ),
    Step(
        "Book",
        "bff-consumer signs what the guest chose, writes it into its handoff log, and sends the guest on.",
        f"POST /book with room={_ROOM}, two adults, three nights",
        Story.book,
    ),
    Step(
        "The landing page",
        "A GET verifies and changes nothing, so a link scanner's visit is harmless.",
        "HEAD, then GET /aurora/handoff?handoff=ghasi1...",
        Story.land,
    ),
    Step(
        "Redeemed",
        "The form gives the handoff to the browser with this cookie, and bff-consumer is told.",
        "POST /aurora/handoff",
        Story.redeem,
    ),
    Step(
        "The booking",
        "The guest is there, and the token is gone from the address.",
        "GET /aurora/booking/...",
        Story.see,
    ),
    Step(
        "A refresh and a double click",
        "The same browser may repeat everything: it finds its own booking, not a second one.",
        "GET /aurora/handoff?handoff=ghasi1..., then POST twice at once",
        Story.repeat,
    ),
    Step(
        "Another browser",
        "Whoever else finds the link, in a log or a chat, comes too late.",
        "GET /aurora/handoff?handoff=ghasi1..., then POST, with another cookie",
        Story.another_browser,
    ),
    Step(
        "Somebody else's booking",
        "The booking page belongs to the browser that redeemed; its address alone opens nothing.",
        "GET /aurora/booking/... from the other browser",
        Story.anothers_booking,
    ),
    Step(
        "A tampered token",
        "Somebody turns 2 adults into 9; without the secret, nobody can make a MAC that matches.",
        "GET and POST /aurora/handoff with the altered token",
        Story.tampered,
    ),
    Step(
        "A token for another hotel",
        "Both hotels' sites are one service; the page tells an outsider nothing, the log says it all.",
        "GET /borealis/handoff?handoff=ghasi1...",
        Story.another_hotel,
    ),
    Step(
        "A form on another site",
        "No other site can redeem for the guest, even if a browser sent the cookie along.",
        "POST /aurora/handoff with Sec-Fetch-Site: cross-site",
        Story.cross_site,
    ),
    Step(
        "A cancelled handoff",
        "An operator revokes it in the handoff log before the guest has pressed the button.",
        "ghasi-handoff handoff revoke ID, then POST /aurora/handoff",
        Story.revoked,
    ),
    Step(
        "bff-consumer dies",
        "The booking side has the handoff already: it stays the guest's, and nobody else gets it.",
        "kill -9, then POST /aurora/handoff",
        Story.consumer_dies,
    ),
    Step(
        "bff-consumer is back",
        "The same browser tries again and succeeds.",
        "POST /aurora/handoff",
        Story.consumer_is_back,
    ),
    Step(
        "What became of it",
        "Both logs together tell support what happened to the first handoff.",
        "ghasi-handoff handoff trace ID",
        Story.trace,
    ),
    Step(
        "What the logs do not say",
        "Whoever reads a log must not be able to redeem, to book or to sign.",
        "grep ghasi1. bff-consumer.log bff-tenant-booking.log",
        Story.no_secrets,
    ),
)


def _expect(visit: Visit, status: int, title: str | None = None) -> None:
    path = urlsplit(visit.url).path
    check(visit.status == status, f"{path} answered {visit.status}, not {status}")
    if title is not None:
        check(visit.title == escape(title), f'{path} shows the page "{visit.title}", not "{title}"')


def _token_of(location: str) -> str:
    return parse_qs(urlsplit(location).query)["handoff"][0]


def _with_token(location: str, token: str) -> str:
    return urlsplit(location)._replace(query=urlencode({"handoff": token})).geturl()


def _shortened(location: str) -> str:
    """An address without the token's MAC, and most of its body."""
    return f"{location[:80]}..."


def _shown(line: str) -> str:
    """A line of a log, shortened: whose it is, without what is the same in all of them."""
    service, _, what = line.partition(": ")
    what = re.sub(r" (?:tenant|kid)=\S+", "", what)
    return f"{service} | {re.sub(_HANDOFF_ID, lambda found: f'...{found[0][-6:]}', what)}"


def _without_chance(visit: Visit) -> str:
    """A page without what is random in it: the reference and the policy's nonce."""
    return re.sub(r'nonce="[^"]*"|<bdi>[^<]*</bdi>', "", visit.html)
