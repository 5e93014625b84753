"""`demo --in-process`: the story is told, true, and readable; where the library does something else, it says so."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ghasi_handoff import (
    Consumption,
    ExpiredTokenError,
    KeyRing,
    KeyState,
    MintedHandoff,
    Minter,
    Verifier,
    WrongTenantError,
    keyfile,
)
from ghasi_handoff.demo import in_process
from ghasi_handoff.stores.sqlite import SQLiteReplayStore
from tests.minter_and_verifier import NOW

from .command_runner import CommandRunner, only_object

TITLES = [
    "A key ring",
    "Mint",
    "Redirect",
    "Verify",
    "Redeem",
    "The same browser again",
    "Another browser",
    "A tampered token",
    "A token for another tenant",
    "An expired token",
    "A rotation",
    "A revoked key",
    "Look into the replay log",
]
OUTCOMES = {
    "A key ring": "made: keys.json, mode 0600",
    "Mint": "minted: handoff ",
    "Redirect": "https://aurora.example/handoff?handoff=ghasi1.first.",
    "Verify": "accepted: 2 adults, htl_0042, 2026-12-23 to 2026-12-26",
    "Redeem": "accepted: for the first time, redemption ",
    "The same browser again": "accepted: 5 s later, the same redemption ",
    "Another browser": "refused: replayed: ",
    "A tampered token": "refused: invalid_mac: ",
    "A token for another tenant": "refused: wrong_tenant: ",
    "An expired token": "refused: expired: ",
    "A rotation": "accepted: a token signed by `first`",
    "A revoked key": "refused: revoked_key: ",
    "Look into the replay log": "handoff_id                            redemption_id        consumed_at",
}


@pytest.fixture
def told(runner: CommandRunner) -> str:
    """The demo's text."""
    result = runner.run("demo", "--in-process")
    assert (result.exit_code, result.stderr) == (0, "")
    return result.stdout


@pytest.fixture
def steps(runner: CommandRunner) -> dict[str, Any]:
    """The demo's steps as data, by title."""
    facts = only_object(runner.run("demo", "--in-process", "--json"))
    assert facts["ok"] is True
    return {step["title"]: step for step in facts["steps"]}


def test_the_steps_come_in_order(told: str) -> None:
    """Thirteen numbered steps, always the same."""
    assert re.findall(r"^ ?(\d+)  (.+)$", told, re.MULTILINE) == [(str(n), title) for n, title in enumerate(TITLES, 1)]
    assert "All 13 steps behaved as told" in told


@pytest.mark.parametrize("title", TITLES)
def test_each_step_says_why_and_what(told: str, title: str) -> None:
    """After its title, each step has a sentence, the call that it is about, and what came of it."""
    paragraph = re.split(r"^ ?\d+  ", told, flags=re.MULTILINE)[TITLES.index(title) + 1]
    lines = paragraph.splitlines()
    assert lines[1].endswith(".")
    assert lines[2].startswith("    > ")
    assert OUTCOMES[title] in "\n".join(lines[3:])


@pytest.mark.parametrize("title", TITLES)
def test_json_has_each_step(steps: dict[str, Any], title: str) -> None:
    """As data, each step has its number, its words and what came of it."""
    step = steps[title]
    assert step["number"] == TITLES.index(title) + 1
    assert all(step[name] for name in ("why", "call", "happened"))
    assert any(OUTCOMES[title] in line for line in step["happened"])


def test_json_has_the_facts(steps: dict[str, Any]) -> None:
    """What a program would look for is there under a name of its own."""
    codes = {title: step["code"] for title, step in steps.items() if "code" in step}
    assert codes == {
        "Another browser": "replayed",
        "A tampered token": "invalid_mac",
        "A token for another tenant": "wrong_tenant",
        "An expired token": "expired",
        "A revoked key": "revoked_key",
    }
    assert steps["Redeem"]["redemption_id"] == steps["The same browser again"]["redemption_id"]
    assert (steps["Redeem"]["first"], steps["The same browser again"]["first"]) == (True, False)
    assert steps["A rotation"]["states"] == {"first": "verify-only", "second": "active"}
    assert steps["A rotation"]["redeemed_with"] == ["first", "second"]
    assert steps["A revoked key"]["states"] == {"first": "verify-only", "second": "revoked", "third": "active"}
    log = steps["Look into the replay log"]
    assert [row["consumed_at"] for row in log["rows"]] == [NOW, NOW + 1215, NOW + 1215]
    assert log["rows"][0]["redemption_id"] == steps["Redeem"]["redemption_id"]
    assert [row["handoff_id"] for row in log["refused_rows"]] == [steps["Mint"]["handoff_id"]]


def test_it_is_readable(told: str) -> None:
    """ASCII, at most 100 columns, no white space at the end of a line."""
    assert told.isascii()
    for line in told.splitlines():
        assert len(line) <= 100
        assert line == line.rstrip()


def test_sentences_fit_their_line() -> None:
    """Each step's reason is one sentence that needs one line."""
    for step in in_process.STEPS:
        assert len(step.why) <= 96
        assert step.why.count(". ") == 0


def test_only_what_is_random_differs(runner: CommandRunner, told: str) -> None:
    """Told twice at one time, only ids, MAC, token and redemption ids differ."""

    def skeleton(text: str) -> list[str]:
        return [re.sub(r"[A-Za-z0-9_-]{16,}", "*", line) for line in text.splitlines()]

    assert skeleton(runner.run("demo", "--in-process").stdout) == skeleton(told)


def test_the_token_is_shown_once(runner: CommandRunner, told: str) -> None:
    """The token stands there once, in its parts; elsewhere it is shortened."""
    mac = re.findall(r"MAC +([A-Za-z0-9_-]{43})$", told, re.MULTILINE)
    assert len(mac) == 1
    assert told.count(mac[0]) == 1
    data = runner.run("demo", "--in-process", "--json").stdout
    token = json.loads(data)["steps"][1]["token"]
    assert data.count(token) == 1
    assert data.count(token.split(".")[2][:40]) == 2  # and once in the parts that the text shows
    assert len(re.findall(r"ghasi1\.[A-Za-z0-9_.-]{60,}", data)) == 1


def test_nothing_stays_behind(runner: CommandRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The temporary folder is removed, after a failure too."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    assert runner.run("demo", "--in-process").exit_code == 0
    assert list(temporary.iterdir()) == []
    monkeypatch.setattr(in_process, "LIFETIME", 299)
    assert runner.run("demo", "--in-process").exit_code == 1
    assert list(temporary.iterdir()) == []


def test_no_temporary_folder(runner: CommandRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where no folder can be made, it says so and exits with 2."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    result = runner.run("demo", "--in-process")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: configuration: no temporary folder can be made: ")
    assert only_object(runner.run("demo", "--in-process", "--json"), 2)["code"] == "configuration"


def test_a_broken_clock(runner: CommandRunner) -> None:
    """A clock that tells no time is a configuration error, here and elsewhere."""
    runner.clock.now = float("nan")
    assert runner.run("demo", "--in-process").exit_code == 2
    assert only_object(runner.run("demo", "--in-process", "--json"), 2)["code"] == "configuration"
    assert runner.facts("mint", *runner.parties, "--payload", "-", stdin=b"{}", exit_code=1)["code"] == "invalid_input"


def open_file(monkeypatch: pytest.MonkeyPatch) -> None:
    save = keyfile.save

    def fault(path: str, keys: KeyRing) -> None:
        save(path, keys)
        Path(path).chmod(0o644)

    monkeypatch.setattr(keyfile, "save", fault)


def short_life(monkeypatch: pytest.MonkeyPatch) -> None:
    init = Minter.__init__

    def fault(self: Minter, keys: Any, **options: Any) -> None:
        init(self, keys, **options, lifetime=timedelta(seconds=299))

    monkeypatch.setattr(Minter, "__init__", fault)


def url_without_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MintedHandoff, "url", lambda _self, base: f"{base}?handoff=ghasi1")


def verify_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    verify = Verifier.verify
    init = in_process.Story.__init__

    def remember(self: in_process.Story, folder: Path, clock: Any) -> None:
        init(self, folder, clock)

        def fault(verifier: Verifier, token: str, *, tenant: str) -> Any:
            self.store_file.touch()
            return verify(verifier, token, tenant=tenant)

        monkeypatch.setattr(Verifier, "verify", fault)

    monkeypatch.setattr(in_process.Story, "__init__", remember)


def consuming(monkeypatch: pytest.MonkeyPatch, change: Callable[[int, str, Consumption], Consumption]) -> None:
    """Let `change` alter the store's answers; it is given their number and the asking redemption id."""
    consume = SQLiteReplayStore.consume
    calls: list[str] = []

    def fault(self: SQLiteReplayStore, handoff_id: str, *, redemption_id: str, **entry: Any) -> Consumption:
        answer = consume(self, handoff_id, redemption_id=redemption_id, **entry)
        calls.append(handoff_id)
        return change(len(calls), redemption_id, answer)

    monkeypatch.setattr(SQLiteReplayStore, "consume", fault)


def never_first(monkeypatch: pytest.MonkeyPatch) -> None:
    consuming(monkeypatch, lambda _number, _asking, answer: Consumption(answer.holder, False, answer.consumed_at))


def locks_out_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    consuming(
        monkeypatch,
        lambda number, _asking, answer: Consumption("0" * 64, False, answer.consumed_at) if number == 2 else answer,
    )


def everybody_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    consuming(monkeypatch, lambda _number, asking, answer: Consumption(asking, answer.first, answer.consumed_at))


def tampering_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_process, "with_nine_adults", lambda token: token)


def tenant_unseen(monkeypatch: pytest.MonkeyPatch) -> None:
    verify = Verifier.verify

    def fault(self: Verifier, token: str, *, tenant: str) -> Any:
        try:
            return verify(self, token, tenant=tenant)
        except WrongTenantError:
            return verify(self, token, tenant=in_process.TENANT)

    monkeypatch.setattr(Verifier, "verify", fault)


def another_code(monkeypatch: pytest.MonkeyPatch) -> None:
    verify = Verifier.verify

    def fault(self: Verifier, token: str, *, tenant: str) -> Any:
        try:
            return verify(self, token, tenant=tenant)
        except WrongTenantError as exc:
            raise ExpiredTokenError(str(exc)) from exc

    monkeypatch.setattr(Verifier, "verify", fault)


def always_active(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyRing, "state", lambda _self, _kid, now: KeyState.ACTIVE)


def never_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    forward = in_process.StoryClock.forward
    monkeypatch.setattr(
        in_process.StoryClock, "forward", lambda self, seconds: forward(self, seconds if seconds < 309 else 0)
    )


def rotates_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rotate = KeyRing.rotate

    def fault(self: KeyRing, kid: str, now: datetime, propagation: timedelta | None = None) -> KeyRing:
        return rotate(self, kid, now, timedelta(0))

    monkeypatch.setattr(KeyRing, "rotate", fault)


def revokes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyRing, "revoke", lambda self, _kid, now: self)


def remembers_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    consume = SQLiteReplayStore.consume

    def fault(self: SQLiteReplayStore, handoff_id: str, *, scope: str, redemption_id: str, **entry: Any) -> Consumption:
        consume(self, handoff_id, scope="another", redemption_id=redemption_id, **entry)
        return consume(self, handoff_id, scope=scope, redemption_id=redemption_id, **entry)

    monkeypatch.setattr(SQLiteReplayStore, "consume", fault)


FAULTS = [
    (1, open_file),
    (2, short_life),
    (3, url_without_token),
    (4, verify_writes),
    (5, never_first),
    (6, locks_out_the_same),
    (7, everybody_holds),
    (8, tampering_unseen),
    (9, tenant_unseen),
    (9, another_code),
    (10, never_expires),
    (11, rotates_at_once),
    (11, always_active),
    (12, revokes_nothing),
    (13, remembers_too_much),
]


@pytest.mark.parametrize(("number", "plant"), FAULTS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_a_fault_is_caught_where_it_is(
    runner: CommandRunner, monkeypatch: pytest.MonkeyPatch, number: int, plant: Callable[[pytest.MonkeyPatch], None]
) -> None:
    """The demo checks what it claims: with a fault planted in the library, it exits with 1 and names the step."""
    plant(monkeypatch)
    result = runner.run("demo", "--in-process")
    assert result.exit_code == 1
    assert result.stderr.startswith(f'failed: step {number} ("{TITLES[number - 1]}") did not behave as told: ')
    assert result.stderr.count("\n") == 1
    assert "behaved as told." not in result.stdout
    monkeypatch.undo()
    plant(monkeypatch)
    facts = only_object(runner.run("demo", "--in-process", "--json"), 1)
    assert (facts["ok"], facts["code"], facts["step"]) == (False, "demo_failed", number)
    assert [step["title"] for step in facts["steps"]] == TITLES[: number - 1]
