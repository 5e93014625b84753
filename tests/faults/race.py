"""A seed, a store -> consuming processes that race and are killed, a server that is killed -> a tally, round by round."""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..servers import OwnServer, wait_until
from .judge import Call, Ledger
from .products import opened
from .trials import answering, call, start_client

RACERS = 4
HANDOFFS = 400


@dataclass(frozen=True)
class Round:
    """What came of one round.

    Attributes:
        handoffs: Handoffs that callers asked for.
        answers: Answers that they were given.
        replays: Those of them that named another's redemption.
        in_doubt: Calls that ended in an error, or with the process that made them.
        client_kills: Consuming processes that were killed.
        server_kills: How often the server was killed.
        double_holders: Handoffs with two holders. There must be none.
        forgotten: Answers that the store did not know any more afterwards. There must be none.
    """

    handoffs: int
    answers: int
    replays: int
    in_doubt: int
    client_kills: int
    server_kills: int
    double_holders: int
    forgotten: int


class Racer:
    """A process that consumes, one handoff after another. It can be killed, and is then replaced by a new one."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._process = start_client(url, "load")

    def kill(self) -> None:
        """Kill the process, whatever it does now."""
        self._process.kill()

    def ask(self, ledger: Ledger, one: Call) -> None:
        """Consume, and write down what came of it; a process that was killed leaves it in doubt."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with suppress(BrokenPipeError):
            process.stdin.write(" ".join(map(str, one)) + "\n")
            process.stdin.flush()
        line = process.stdout.readline()
        holder, _, at = line.strip().partition(" ")
        ledger.write(one, (holder, int(at)) if line.endswith("\n") and at else None)
        if not line.endswith("\n"):
            self.end()
            self._process = start_client(self._url, "load")

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        # Its input may hold something that it never read.
        with suppress(BrokenPipeError):
            self._process.communicate()


@contextmanager
def racers(url: str) -> Generator[list[Racer]]:
    """Processes of their own that consume."""
    made = [Racer(url) for _ in range(RACERS)]
    try:
        yield made
    finally:
        for racer in made:
            racer.end()


def race(url: str, server: OwnServer | None, *, seed: int, seconds: float) -> Iterator[Round]:
    """Rounds of a race, for so many seconds and at least one.

    In each round all racers, each for a browser of its own, consume the same handoffs in an order that the seed tells,
    while one of them, or the server, is killed again and again. Then another store object is asked, and all is compared.

    Args:
        url: Of the store.
        server: Is killed and started again, too.
        seed: For the order and for who is killed when. The processes' own time is nobody's to repeat.
        seconds: No round begins after that.
    """
    chance, until = random.Random(seed), time.monotonic() + seconds
    with racers(url) as racing:
        while True:
            yield _round(url, server, racing, chance)
            if time.monotonic() >= until:
                return


def _round(url: str, server: OwnServer | None, racing: list[Racer], chance: random.Random) -> Round:
    ledger, whole = Ledger(), RACERS * HANDOFFS
    first = chance.randrange(10**11) * HANDOFFS
    orders = [chance.sample(range(HANDOFFS), HANDOFFS) for _ in racing]
    minted, clients_killed, servers_killed = int(time.time()) - 5, 0, 0

    def run(browser: int) -> None:
        for number in orders[browser]:
            racing[browser].ask(ledger, call(first + number, browser + 1, minted=minted))

    with ThreadPoolExecutor(len(racing)) as threads:
        asking = [threads.submit(run, browser) for browser in range(len(racing))]
        while True:
            # By what has been answered, not by the clock: a kill comes in the middle of the race on any machine.
            step = ledger.answers + chance.randint(whole // 20, whole // 4)
            if step >= whole or any(one.done() for one in asking):
                break
            wait_until(partial(_has, ledger, step, asking), "for the race", 300)
            if server is not None and (servers_killed == 0 or chance.random() < 0.3):
                server.kill()
                server.start()
                servers_killed += 1
            else:
                chance.choice(racing).kill()
                clients_killed += 1
        for each in asking:
            each.result()
    with opened(url) as judge:
        answering(judge)
        tally = ledger.judged(judge)
    return Round(
        handoffs=len({one.handoff_id for one, _ in ledger.told}),
        answers=tally.acknowledged,
        replays=sum(told is not None and told[0] != one.redemption_id for one, told in ledger.told),
        in_doubt=tally.in_doubt,
        client_kills=clients_killed,
        server_kills=servers_killed,
        double_holders=tally.two_holders,
        forgotten=tally.forgotten,
    )


def _has(ledger: Ledger, answers: int, asking: list[Future[Any]]) -> bool:
    """Whether so many calls have come to an end, or somebody who makes them has failed."""
    return ledger.answers >= answers or any(one.done() and one.exception() is not None for one in asking)
