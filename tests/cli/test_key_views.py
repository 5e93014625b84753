"""`keys list`: a table of keys and a timeline of their states."""

from __future__ import annotations

from ghasi_handoff import KeyRing, keyfile
from tests.minter_and_verifier import NOW, at

from .command_runner import CommandRunner
from .keys_commands import facts, run


def test_list_shows_states_dates_and_a_timeline(runner: CommandRunner) -> None:
    """A table of keys, then one line a key: what it may do from now on, with the time of each change."""
    run(runner, "rotate", "--kid", "2026-12")
    assert run(runner, "list") == (
        "kid      state        signs from            verifies until\n"
        "2026-11  active       2026-11-23T09:13:20Z  2026-11-23T10:47:00Z\n"
        "2026-12  pending      2026-11-23T09:45:00Z  no end yet\n"
        "\n"
        "         now             23 Nov 09:45    23 Nov 10:47\n"
        "         |               |               |\n"
        "2026-11  ================----------------\n"
        "2026-12  ................================================\n"
        "\n"
        "= active: signs, verifies  . pending: verifies already  - verify-only  x revoked\n"
    )


def test_a_long_timeline_goes_on_below(runner: CommandRunner) -> None:
    """In a terminal of 80 characters no line of a list wraps: more changes than fit beside each other go on below."""
    ring = KeyRing.generate(now=at(NOW - 1000))
    for start in (0, 901, 1802):
        ring = ring.rotate(now=at(NOW + start))
    keyfile.save(runner.key_file, ring)
    shown = run(runner, "list").splitlines()
    assert max(map(len, shown)) <= 80
    assert sum(line.lstrip().startswith("|") for line in shown) == 3
    changes = {one["at"][11:16] for one in facts(runner, "list")["changes"]}
    assert len(changes) == 6
    assert all(any(time in line for line in shown if "Nov" in line) for time in changes)


def test_list_for_machines(runner: CommandRunner) -> None:
    """One object: the signer, the keys with states and dates, and every change to come."""
    run(runner, "rotate", "--kid", "2026-12")
    shown = facts(runner, "list")
    assert (shown["ok"], shown["at"], shown["signer"]) == (True, "2026-11-23T09:30:00Z", "2026-11")
    assert [(one["kid"], one["state"]) for one in shown["keys"]] == [("2026-11", "active"), ("2026-12", "pending")]
    assert shown["keys"][0] == {
        "kid": "2026-11",
        "state": "active",
        "created_at": "2026-11-23T09:13:20Z",
        "sign_from": "2026-11-23T09:13:20Z",
        "verify_until": "2026-11-23T10:47:00Z",
        "revoked_at": None,
    }
    assert shown["changes"] == [
        {"at": "2026-11-23T09:45:00Z", "kid": "2026-11", "state": "verify-only"},
        {"at": "2026-11-23T09:45:00Z", "kid": "2026-12", "state": "active"},
        {"at": "2026-11-23T10:47:00Z", "kid": "2026-11", "state": "retired"},
    ]


def test_list_shows_a_revoked_key(runner: CommandRunner) -> None:
    """A revoked key stands in the table with its date, and in the timeline as crosses."""
    run(runner, "revoke", "2026-11")
    shown = run(runner, "list")
    assert "2026-11  revoked      2026-11-23T09:13:20Z  revoked 2026-11-23T09:30:00Z\n" in shown
    assert "2026-11  xxxx" in shown
