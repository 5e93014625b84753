"""`outbox list` and `drain`, on real stores, against a real bff-consumer."""

from __future__ import annotations

from ghasi_handoff.handshake import ConsumeCall

from ..handshake.services import consumer, issue
from .command_runner import run_here
from .two_services import NOBODY, TwoServices


def test_listing_and_draining_the_outbox(services: TwoServices) -> None:
    """What waits is listed, delivered by hand, and gone; nothing else is touched."""
    services.redeem(mode="deferred")
    listed = services.ask("outbox", "list")
    assert (listed["pending"], listed["dead"]) == (1, 0)
    assert listed["entries"][0]["handoff_id"] == services.minted.handoff_id
    assert "not tried yet" in run_here("outbox", "list", **services.variables).stdout
    options = ["--keys", str(services.folder / "keys.json"), "--now"]
    with consumer(services.log, services.keys) as service:
        down = services.ask("outbox", "drain", *options, "--consumer-url", NOBODY, status=1)
        assert (down["delivered"], down["postponed"], down["pending"]) == (0, 1, 1)
        assert "the last: unreachable" in run_here("outbox", "list", **services.variables).stdout
        done = services.ask("outbox", "drain", *options, "--consumer-url", service.url)
    assert (done["delivered"], done["pending"]) == (1, 0)
    assert services.log.find(services.minted.handoff_id).state.value == "consumed"
    assert run_here("outbox", "list", **services.variables).stdout == "0 waiting; 0 given up\n"


def test_draining_says_which_were_refused(services: TwoServices) -> None:
    """A refused entry is gone from the outbox: which handoff it was, and why, is said here, and nothing beside it."""
    services.redeem(mode="deferred")
    lost = issue(services.keys, services.log, services.clock)
    services.redeem(mode="deferred", minted=lost)
    services.log.revoke(services.minted.handoff_id)
    at = int(services.clock.now)
    services.log.consume(ConsumeCall("bff-consumer", "bff-tenant-booking", lost.handoff_id, "f" * 64, at, at), at)
    with consumer(services.log, services.keys) as service:
        options = ["--keys", str(services.folder / "keys.json"), "--now", "--consumer-url", service.url]
        done = run_here("outbox", "drain", *options, **services.variables)
    assert f"{services.minted.handoff_id}  refused: revoked_handoff\n" in done.stdout
    assert f"{lost.handoff_id}  refused: replayed\n" in done.stdout
    assert (done.stdout.splitlines()[2].partition(",")[0], done.stderr) == ("0 delivered", "")


def test_draining_over_a_mesh(services: TwoServices) -> None:
    """Plain http to another machine is refused, unless the operator says that something else encrypts."""
    services.redeem(mode="deferred")
    options = ["--keys", str(services.folder / "keys.json"), "--now", "--consumer-url", "http://bff-consumer.invalid"]
    assert services.ask("outbox", "drain", *options, status=2)["code"] == "configuration"
    done = services.ask("outbox", "drain", *options, "--allow-http", status=1)
    assert (done["postponed"], done["refusals"]) == (1, [])


def test_what_was_given_up_is_shown_and_tried_again_on_request(services: TwoServices) -> None:
    """Exit code 1 as long as anything is given up; --dead tries it again."""
    services.redeem(mode="deferred")
    (entry,) = services.store.outbox.entries(limit=9)
    services.store.outbox.bury(entry, dead_at=int(services.clock.now), outcome="status_401")
    assert services.ask("outbox", "list", status=1)["dead"] == 1
    assert "given up" in run_here("outbox", "list", **services.variables).stdout
    options = ["--keys", str(services.folder / "keys.json"), "--now"]
    with consumer(services.log, services.keys) as service:
        assert services.ask("outbox", "drain", *options, "--consumer-url", service.url)["delivered"] == 0
        assert services.ask("outbox", "drain", *options, "--dead", "--consumer-url", service.url)["delivered"] == 1
