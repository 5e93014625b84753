"""Rotations while guests book: both services follow their own copy of the key file, which comes when it comes."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from ghasi_handoff import keyfile
from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff.demo.service_process import Service
from ghasi_handoff.demo.services import Services
from ghasi_handoff.testing._browser import Browser
from ghasi_handoff.testing._pages import Form, Page, location
from tests.steered_clock import PROGRAM, VARIABLE, SteeredClock

from .planting import planted

pytestmark = pytest.mark.thorough

# A step of the clock must be shorter than a consume call's minute, and three of them than a token's life.
PROPAGATION = timedelta(seconds=40)
# The longest that a copy of the file may take, less a second.
LATEST = int(PROPAGATION.total_seconds()) - 1
INTERVAL_SECONDS = 0.05
CLIENTS = 4
PATIENCE_SECONDS = 120


class Site:
    """Both services, each with a copy of its own of the ring, at a clock that is moved."""

    def __init__(self, folder: Path, services: Services) -> None:
        self.services = services
        self.ring = services.keys
        self.clock = SteeredClock.made(folder / "clock", time.time())
        self.files = {}
        program = planted(folder, PROGRAM)
        for service in services.both:
            file = self.files[service.name] = folder / f"{service.name}-keys.json"
            keyfile.save(file, self.ring)
            service.environment = {
                **service.environment,
                "GHASI_HANDOFF_KEYS_FILE": str(file),
                "GHASI_HANDOFF_KEYS_INTERVAL_SECONDS": str(INTERVAL_SECONDS),
                VARIABLE: str(folder / "clock"),
                **program,
            }
        stay = {"room": "aurora-double", "check_in": "2036-12-24", "check_out": "2036-12-27", "adults": "2"}
        rooms = f"{services.consumer.origin}/"
        self.form = Form(rooms, f"{rooms}book", tuple(stay.items()))
        self.begin()

    def begin(self) -> None:
        """Forget what guests were answered."""
        self.answers: Counter[str] = Counter()
        self.came: list[Counter[str]] = [Counter() for _ in range(CLIENTS)]  # of each client: guests by their key
        self._changed = threading.Condition()
        self._stop = threading.Event()

    def rotated(self, kid: str, propagation: timedelta) -> None:
        """A new key in the ring, which nobody has yet."""
        self.clock.forward(1)  # a key never begins in the second of the one before
        self.ring = self.ring.rotate(kid, now=datetime.fromtimestamp(self.clock(), UTC), propagation=propagation)

    def bring(self, *services: Service) -> None:
        """Bring the ring to these; wait until each shows that it has it."""
        kid = self.ring.keys[-1].kid
        with httpx2.Client(timeout=60, trust_env=False) as client:
            until = time.monotonic() + PATIENCE_SECONDS
            for service in services:
                keyfile.save(self.files[service.name], self.ring)
                while f'"{kid}"' not in client.get(f"{service.origin}/internal/handoff/keys").text:
                    assert time.monotonic() < until
                    time.sleep(INTERVAL_SECONDS / 2)

    def wait_for(self, done: Callable[[], bool]) -> None:
        """Wait until guests have been answered."""
        with self._changed:
            assert self._changed.wait_for(done, PATIENCE_SECONDS), self.answers

    def see_guests(self, kid: str) -> None:
        """Wait until each client has sent a whole guest on the way with a token of that key, from now on."""
        with self._changed:
            # One more may be under way already.
            wanted = [came[kid] + 2 for came in self.came]
        self.wait_for(lambda: all(came[kid] >= least for came, least in zip(self.came, wanted, strict=True)))

    @contextmanager
    def browser(self) -> Generator[Browser]:
        """A browser, until the block ends."""
        with httpx2.Client(timeout=60, trust_env=False) as connections:
            yield Browser(connections, self.services.booking.origin)

    def guests(self, client: int) -> None:
        """One guest after the other, from the room to the booking."""
        with self.browser() as browser:
            while not self._stop.is_set():
                guest = browser.another()
                link = location(guest.submit_form(self.form))
                kid = link.partition("ghasi1.")[2].partition(".")[0]
                page = guest.navigate(link)
                if page.status_code == 200:
                    page = sent(guest, page)
                with self._changed:
                    self.answers[f"{page.status_code}"] += 1
                    self.came[client][kid] += 1
                    self._changed.notify_all()

    @contextmanager
    def traffic(self) -> Generator[None]:
        """Guests, until the block ends."""
        clients = [threading.Thread(target=self.guests, args=(number,)) for number in range(CLIENTS)]
        for client in clients:
            client.start()
        try:
            yield
        finally:
            self._stop.set()
            for client in clients:
                client.join()


def sent(guest: Browser, page: httpx2.Response) -> httpx2.Response:
    """What comes of the form. Where a busy bff-consumer does not answer in time, the page tries again by itself."""
    until = time.monotonic() + PATIENCE_SECONDS
    while (answer := guest.submit(page)).status_code == 503 and time.monotonic() < until:
        page = answer
        time.sleep(0.1)
    return answer


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Both services, up."""
    folder = tmp_path_factory.mktemp("site")
    with Services(folder, quiet=True) as services:
        made = Site(folder, services)
        services.start()
        yield made


@pytest.fixture
def site(running: Site) -> Site:
    """Both services, with one and the same ring; keys of earlier tests are in it."""
    running.begin()
    return running


def test_ten_rotations_refuse_no_guest(site: Site) -> None:
    """Ten rotations, in the fourth the booking side late by the whole propagation but a second, in the seventh bff-consumer: every guest gets the booking."""
    before, kids = site.ring.keys[-1].kid, [f"k{number}" for number in range(1, 11)]
    with site.traffic():
        for kid in kids:
            site.rotated(kid, PROPAGATION)
            late = {"k4": [site.services.booking], "k7": [site.services.consumer]}.get(kid, [])
            site.bring(*(service for service in site.services.both if service not in late))
            site.clock.forward(LATEST)
            site.see_guests(before)
            site.bring(*late)
            site.clock.forward(1)
            site.see_guests(kid)
            before = kid
    assert set(site.answers) == {"303"}, site.answers
    assert site.answers["303"] > 100
    assert all(sum(came[kid] for came in site.came) > 0 for kid in kids)


def test_add_and_use_at_once_refuses_guests(site: Site) -> None:
    """The same with a key that signs at once, at a booking side that gets the file later: guests are refused. So the test above can fail."""
    with site.traffic():
        site.rotated("at-once", timedelta(0))
        site.bring(site.services.consumer)
        site.wait_for(lambda: site.answers["400"] > 10)
        site.clock.forward(LATEST)
        site.bring(site.services.booking)
        accepted = site.answers["303"]
        site.wait_for(lambda: site.answers["303"] > accepted + 10)


def test_a_revoked_key_is_out_of_use_at_both_sides_within_the_interval(site: Site) -> None:
    """After an emergency rotation and a revocation, tokens of the old key are refused, and bookings go on with the new one."""
    with site.browser() as guest:
        link = location(guest.submit_form(site.form))
        assert guest.navigate(link).status_code == 200
        old = site.ring.keys[-1].kid
        site.rotated("new", timedelta(0))
        site.ring = site.ring.revoke(old, now=datetime.fromtimestamp(site.clock(), UTC))
        site.bring(*site.services.both)
        refused = guest.navigate(link)
        assert refused.status_code == 400
        assert f"page_refused {Page(refused).reference} revoked_key" in site.services.booking.log_text()
        again = location(guest.submit_form(site.form))
        assert "ghasi1.new." in again
        assert sent(guest, guest.navigate(again)).status_code == 303


def test_the_ring_of_a_running_service_can_be_compared(site: Site) -> None:
    """Each service serves its fingerprint: kids and states, also when they were last used, and no secret."""
    with site.browser() as guest:
        assert sent(guest, guest.follow(guest.submit_form(site.form))).status_code == 303
        key = site.ring.keys[-1]
        for service in site.services.both:
            text = guest.navigate(f"{service.origin}/internal/handoff/keys").text
            shown = {each["kid"]: each for each in json.loads(text)["keys"]}
            assert shown[key.kid]["last_used_at"] is not None
            assert b64u_encode(key.secret) not in text
