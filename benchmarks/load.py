"""Guests, second browsers and a kill -9 of each service -> what was opened, replayed, doubled, lost. ``make load``.

The two services of `ghasi_handoff.demo` run as processes on loopback, on SQLite. A fixed number of clients work in a
closed loop: each plays one guest after the other, from the room to the booking page, and for each handoff a second
browser that has the same link. A third of the way bff-consumer is killed and started again, at two thirds
bff-tenant-booking. When all guests have been, a third browser tries every link once more: a store that forgot in a kill
would let it in. In the end the outbox is drained, and every answer is compared with the databases.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2

from benchmarks import report, surroundings
from ghasi_handoff.demo.service_process import Service, ServiceError
from ghasi_handoff.demo.services import Services
from ghasi_handoff.testing._browser import Browser
from ghasi_handoff.testing._pages import Form, Page, location

MODES: Final = ("strict", "deferred")
PAGE: Final = Path("explanation", "load.md")
ASSET: Final = Path("assets", "load.json")
# How long a guest tries. The page itself tries for 20 s, and then asks the guest to.
PATIENCE_SECONDS: Final = 60.0
_AGAIN_SECONDS: Final = 0.2
_DOWN_SECONDS: Final = 0.5


@dataclass(slots=True)
class Figures:
    """What a trial found.

    Attributes:
        handoffs: Guests that set out.
        requests: Sent by browsers, whether or not they were answered.
        unanswered: Of these, cut by a kill, or refused because nobody listened.
        not_now: Answered 503: the page tries again.
        opened_by_guest: Bookings that the guest got to see.
        opened_by_other: Bookings that the second browser got to see: it asked between a guest's first try, which a
            kill had cut, and the second. The guest is told 409.
        replays_tried: Tries of a browser whose handoff another one has: one while the guest does, one in the end.
        replays_refused: Of these, answered 409; in the end also 410, should the token have expired by then.
        never_seen: Handoffs of the log whose redirect was lost with a killed bff-consumer: the guest pressed again.
        double: Handoffs with two bookings, or that two browsers got to see.
        lost: Handoffs that nobody got to see, answers that no table names, and bookings that the logs do not agree on.
        seconds: From the first request to the last answer.
        kills: Services that were killed.
        surprises: What makes up `double` and `lost`, in words.
    """

    handoffs: int = 0
    requests: int = 0
    unanswered: int = 0
    not_now: int = 0
    opened_by_guest: int = 0
    opened_by_other: int = 0
    replays_tried: int = 0
    replays_refused: int = 0
    never_seen: int = 0
    double: int = 0
    lost: int = 0
    seconds: float = 0.0
    kills: int = 0
    surprises: list[str] = field(default_factory=list)


class _UnexpectedError(Exception):
    """An answer that no table names."""


class _Load:
    """The clients of one trial, and what they count."""

    def __init__(self, services: Services, handoffs: int) -> None:
        self.services = services
        self.figures = Figures(handoffs=handoffs)
        self.counts: Counter[str] = Counter()
        self.seen: dict[str, str] = {}
        self.links: list[str] = []
        self.done = 0
        self._lock = threading.Lock()
        self._numbers: Iterator[int] = iter(range(handoffs))

    def client(self) -> None:
        """One guest after the other, until all have been."""
        with httpx2.Client(timeout=15, trust_env=False) as connections:
            while True:
                with self._lock:
                    number = next(self._numbers, None)
                if number is None:
                    return
                try:
                    self._handoff(connections)
                except _UnexpectedError as exc:
                    self._surprise("lost", str(exc))
                with self._lock:
                    self.done += 1

    def _handoff(self, connections: httpx2.Client) -> None:
        guest, other = self._browser(connections), self._browser(connections)
        link = location(self._until(lambda: guest.submit_form(self._room()), {303}))
        form = self._landing_form(guest, link)
        theirs = self._landing_form(other, link)
        # The second browser comes when the guest has been answered, or has been cut off by a kill.
        first = self._once(lambda: guest.submit_form(form))
        taken = self._until(lambda: other.submit_form(theirs), {303, 409})
        got = first if first is not None else self._until(lambda: guest.submit_form(form), {303, 409})
        shown = [
            (who, location(answer))
            for who, browser, answer in (("guest", guest, got), ("other", other, taken))
            if answer.status_code == 303 and self._shows(browser, location(answer))
        ]
        with self._lock:
            self.counts.update(f"opened_by_{who}" for who, _ in shown)
            self.links.append(link)
            self.figures.replays_tried += 1
            self.figures.replays_refused += [got.status_code, taken.status_code].count(409) == 1
            self.seen.update((booking.rpartition("/")[2], who) for who, booking in shown)
        if len(shown) > 1:
            self._surprise("double", "two browsers got to see a booking of one handoff")
        if not shown:
            self._surprise("lost", f"nobody got to see a booking: {got.status_code} and {taken.status_code}")

    def third_browsers(self) -> None:
        """Try each link once more, with a browser that has used none."""
        with httpx2.Client(timeout=15, trust_env=False) as connections:
            while True:
                with self._lock:
                    link = self.links.pop() if self.links else None
                if link is None:
                    return
                try:
                    self._third_browser(link, self._browser(connections))
                except _UnexpectedError as exc:
                    self._surprise("lost", str(exc))

    def _third_browser(self, link: str, browser: Browser) -> None:
        answer = self._until(lambda: browser.navigate(link), {200, 410})
        if answer.status_code == 200:
            (form,) = Page(answer).forms
            answer = self._until(lambda: browser.submit_form(form), {303, 409, 410})
        with self._lock:
            self.figures.replays_tried += 1
            self.figures.replays_refused += answer.status_code in (409, 410)
        if answer.status_code == 303:
            self._surprise("double", "a third browser was let in")

    def _browser(self, connections: httpx2.Client) -> Browser:
        return Browser(connections, self.services.booking.origin)

    def _room(self) -> Form:
        fields = {"room": "aurora-double", "check_in": "2036-12-24", "check_out": "2036-12-27", "adults": "2"}
        rooms = f"{self.services.consumer.origin}/"
        return Form(rooms, f"{rooms}book", tuple(fields.items()))

    def _landing_form(self, browser: Browser, link: str) -> Form:
        return Page(self._until(lambda: browser.navigate(link), {200})).forms[0]

    def _shows(self, browser: Browser, booking: str) -> bool:
        return "<dt>Handoff</dt>" in self._until(lambda: browser.navigate(booking), {200}).text

    def _once(self, ask: Callable[[], httpx2.Response]) -> httpx2.Response | None:
        """The answer, if it is one that ends the matter."""
        with self._lock:
            self.figures.requests += 1
        try:
            answer = ask()
        except httpx2.HTTPError:
            with self._lock:
                self.figures.unanswered += 1
            return None
        if answer.status_code == 503:
            with self._lock:
                self.figures.not_now += 1
            return None
        return answer

    def _until(self, ask: Callable[[], httpx2.Response], expected: set[int]) -> httpx2.Response:
        until = time.monotonic() + PATIENCE_SECONDS
        while (answer := self._once(ask)) is None:
            if time.monotonic() > until:
                raise _UnexpectedError(f"no answer for {PATIENCE_SECONDS:g} s")
            time.sleep(_AGAIN_SECONDS)
        if answer.status_code not in expected:
            raise _UnexpectedError(f"{answer.url.path} answered {answer.status_code}")
        return answer

    def _surprise(self, kind: str, what: str) -> None:
        with self._lock:
            self.counts[kind] += 1
            self.figures.surprises.append(f"{kind}: {what}")


def trial(mode: str, *, handoffs: int, clients: int, kill: bool = True) -> Figures:
    """Play `handoffs` guests on fresh services.

    Args:
        mode: ``strict`` or ``deferred``.
        handoffs: How many guests.
        clients: How many at once.
        kill: Whether each service is killed under way.
    """
    with tempfile.TemporaryDirectory(prefix="ghasi-load-") as name:
        folder = Path(name)
        with Services(folder, mode=mode, quiet=True) as services:
            services.start()
            load = _Load(services, handoffs)
            begun = time.monotonic()
            with ThreadPoolExecutor(clients) as pool:
                running = [pool.submit(load.client) for _ in range(clients)]
                for service, after in ((services.consumer, handoffs // 3), (services.booking, 2 * handoffs // 3)):
                    while kill and load.done < after and not all(client.done() for client in running):
                        time.sleep(0.01)
                    if kill:
                        _kill(service)
                        load.figures.kills += 1
            for client in running:
                client.result()
            with ThreadPoolExecutor(clients) as pool:
                for trying in [pool.submit(load.third_browsers) for _ in range(clients)]:
                    trying.result()
            load.figures.seconds = round(time.monotonic() - begun, 1)
            _drain(services)
            for kind, count in load.counts.items():
                setattr(load.figures, kind, count)
            _compare(load, folder)
    return load.figures


def _kill(service: Service) -> None:
    """A kill -9; half a second later the service starts again."""
    service.kill()
    time.sleep(_DOWN_SECONDS)
    service.start()


def _drain(services: Services) -> None:
    """Deliver what waits; also what a killed worker had taken, which is due again only after two minutes."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            if services.operate("outbox", "drain", "--now")["pending"] == 0:
                return
        except ServiceError:
            if time.monotonic() > until:
                raise
        if time.monotonic() > until:
            raise ServiceError("the outbox is not empty")


def _compare(load: _Load, folder: Path) -> None:
    """The bookings, the replay store and the handoff log, against each other and what the browsers saw."""
    bookings = _rows(folder / "bookings.db", "SELECT handoff_id, redemption_id, number FROM bookings")
    held = dict(_rows(folder / "replay.db", "SELECT handoff_id, redemption_id FROM handoff_replay_log"))
    log = dict(_rows(folder / "handoff-log.db", "SELECT handoff_id, redemption_id FROM handoff_log"))
    figures = load.figures
    figures.never_seen = len(log) - figures.handoffs
    booked: Counter[str] = Counter(handoff_id for handoff_id, _, _ in bookings)
    for handoff_id, count in booked.items():
        if count > 1:
            figures.double += 1
            figures.surprises.append(f"double: {count} bookings of handoff {handoff_id}")
    for handoff_id, redemption_id, _ in bookings:
        if not held.get(handoff_id) == log.get(handoff_id) == redemption_id:
            figures.lost += 1
            figures.surprises.append(f"lost: the logs disagree on handoff {handoff_id}")
    for handoff_id in held.keys() - booked.keys():
        # Redeemed, and nobody has a booking: the guest went away before the booking was made. Here nobody does.
        figures.lost += 1
        figures.surprises.append(f"lost: handoff {handoff_id} was redeemed, and has no booking")
    for number in load.seen.keys() - {number for _, _, number in bookings}:
        figures.lost += 1
        figures.surprises.append(f"lost: a browser has seen booking {number}, which is gone")


def _rows(file: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute(query).fetchall()


def markdown(found: dict[str, Any]) -> str:
    """The figures of all modes, one a column."""
    names = {
        "handoffs": "guests, each with a handoff",
        "requests": "requests sent by browsers",
        "unanswered": "of these cut off by a kill, or refused while a service was down",
        "not_now": "of these answered 503, and tried again",
        "opened_by_guest": "sessions opened by the guest",
        "opened_by_other": "sessions opened by the second browser, which was first after a kill; the guest reads 409",
        "replays_tried": "replays tried",
        "replays_refused": "of these refused with 409",
        "never_seen": "handoffs whose redirect was lost in a kill; the guest pressed the button again",
        "kills": "services killed and started again",
        "double": "**double sessions**",
        "lost": "**lost**",
        "seconds": "seconds",
    }
    modes: dict[str, dict[str, Any]] = found["modes"]
    lines = [f"| | {' | '.join(modes)} |", f"|---|{'--:|' * len(modes)}"]
    lines += [f"| {text} | {' | '.join(str(mode[name]) for mode in modes.values())} |" for name, text in names.items()]
    lines += ["", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in (found["machine"] | found["size"]).items()]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Run both modes, print the figures, and write them into the docs with ``--out``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--handoffs", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--out", type=Path, help="the folder docs: write the figures and the page's table there")
    options = parser.parse_args(arguments)
    modes = {}
    for mode in MODES:
        surroundings.tell(f"{mode}: {options.handoffs} handoffs, {options.clients} clients ...")
        modes[mode] = asdict(trial(mode, handoffs=options.handoffs, clients=options.clients))
    machine = surroundings.machine(tempfile.gettempdir())
    shown = {
        name.replace("_", " "): machine[name] for name in ("processor", "kernel", "file_system", "python", "sqlite")
    }
    found = {"machine": shown, "size": {"clients at once": options.clients}, "modes": modes}
    print(json.dumps(found, indent=2, ensure_ascii=False))
    if options.out is not None:
        (options.out / ASSET).write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        page = options.out / PAGE
        page.write_text(report.put(page.read_text("utf-8"), "load", markdown(found)), encoding="utf-8")
    return int(any(mode["double"] or mode["lost"] for mode in modes.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
