"""One side of a handshake in a process of its own, which dies by kill -9 at a named step.

    OwnProcess(act, {"role": "redeem", "url": …, "keys": …, "die_at": "redeem.consumed", …})

It says one thing: the URL of a consumer, or what came of an issue, a redemption or a delivery.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from typing import Any

from psycopg_pool import ConnectionPool

from ghasi_handoff import HandoffError, keyfile
from ghasi_handoff.handshake import ConsumeClient, Handshake, OutboxWorker, PostgresHandoffLog, SQLiteHandoffLog, _steps
from ghasi_handoff.stores.postgres import PostgresReplayStore
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

from ..own_process import wait_for_the_end
from . import services


@contextmanager
def databases(url: str, stack: ExitStack) -> Generator[tuple[Any, Any]]:
    """The handoff log and the replay store at `url`: a folder, or a PostgreSQL server."""
    log: Any
    store: Any
    limit = services.UNHURRIED
    if url.startswith("postgresql://"):
        pool = stack.enter_context(ConnectionPool(url, min_size=1, max_size=4, open=True))
        log, store = PostgresHandoffLog(pool, timeout=limit), PostgresReplayStore(pool, outbox=True, timeout=limit)
    else:
        log = SQLiteHandoffLog(f"{url}/log.db", timeout=limit)
        store = SQLiteReplayStore(f"{url}/replay.db", outbox=True, timeout=limit)
    with log, store:
        yield log, store


def die_at(step: str) -> None:
    """Die at `step`, with nothing flushed and nobody told."""

    def watch(reached: str) -> None:
        if reached == step:
            os.kill(os.getpid(), signal.SIGKILL)

    _steps.watchers.append(watch)


def act(pipe: Connection, task: dict[str, Any]) -> None:
    """Do one part of the handshake, and say what came of it."""
    keys = keyfile.load(task["keys"])
    if task.get("die_at"):
        die_at(task["die_at"])
    with ExitStack() as stack, databases(task["url"], stack) as (log, store):
        if task["role"] == "issue":
            pipe.send({"token": services.issue(keys, log).token})
        elif task["role"] == "consumer":
            with services.consumer(log, keys) as running:
                pipe.send({"base": running.url})
                wait_for_the_end(pipe)
        else:
            client = stack.enter_context(ConsumeClient(task["base"], keys=keys, **services.PATIENT))
            if task["role"] == "deliver":
                worker = OutboxWorker(store, client, clock=lambda: time.time() + task.get("ahead", 0))
                delivered = count = worker.deliver(limit=task.get("limit", 32)).delivered
                while count and "limit" in task:
                    count = worker.deliver(limit=task["limit"]).delivered
                    delivered += count
                pipe.send({"delivered": delivered})
                return
            handshake = Handshake(services.redeemer(keys, store), client, task["mode"])
            try:
                done = handshake.redeem(
                    task["token"], tenant=services.TENANT, browser_secret=bytes.fromhex(task["browser"])
                )
            except HandoffError as exc:
                pipe.send({"code": exc.code})
            else:
                pipe.send({"redemption_id": done.redemption_id})
