"""`redeem`: one browser, for good."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from hashlib import sha256
from pathlib import Path

import pytest

from ghasi_handoff._base64url import b64u_encode
from tests.minter_and_verifier import secret

from .command_runner import NOW, PAYLOAD, TENANT, CommandRunner
from .test_inspect import forged

RAW = secret("browser")
COOKIE = b64u_encode(RAW).encode()


@pytest.fixture
def browser(runner: CommandRunner) -> str:
    return runner.file("browser", RAW)


def test_text(runner: CommandRunner) -> None:
    """The first redemption says so, and what it was for."""
    result = runner.run(*runner.redeem(runner.mint()))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("redeemed: for the first time\n\nredemption id  ")
    assert "redeemed at    2026-11-23T09:30:00Z" in result.stdout
    assert '"property_id": "htl_0042"' in result.stdout


def test_json(runner: CommandRunner, browser: str) -> None:
    """As data; the redemption id follows from handoff and browser as the design says."""
    facts = runner.facts(*runner.redeem("--browser-secret-file", browser, runner.mint()))
    expected = sha256(b"ghasi-redemption/v1\n" + facts["handoff_id"].encode() + b"\n" + RAW).hexdigest()
    assert (facts["ok"], facts["verified"], facts["first"]) == (True, True, True)
    assert facts["redemption_id"] == expected
    assert facts["redeemed_at"] == "2026-11-23T09:30:00Z"
    assert facts["payload"] == PAYLOAD


def test_the_same_browser_may_repeat_it(runner: CommandRunner, browser: str) -> None:
    """The same secret gets the same redemption, with the time of the first; the text says that it is a repetition."""
    arguments = runner.redeem("--browser-secret-file", browser, runner.mint())
    first = runner.facts(*arguments)
    runner.clock.now += 7
    again = runner.facts(*arguments)
    assert again == {**first, "message": "redeemed again, by the same browser", "first": False}
    assert runner.run(*arguments).stdout.startswith("redeemed: again, by the same browser\n")


def test_raw_bytes_and_cookie_are_the_same_browser(runner: CommandRunner, browser: str) -> None:
    """The secret may be given as 32 bytes, or as the cookie has it, with or without an end of line."""
    token = runner.mint()
    ids = {
        runner.facts(*runner.redeem("--browser-secret-file", path, token))["redemption_id"]
        for path in (browser, runner.file("cookie", COOKIE), runner.file("line", COOKIE + b"\n"))
    }
    assert len(ids) == 1


def test_another_browser_is_refused(runner: CommandRunner, browser: str) -> None:
    """Whoever comes second with another secret is a replay."""
    token = runner.mint()
    runner.facts(*runner.redeem("--browser-secret-file", browser, token))
    other = runner.file("other", secret("other"))
    result = runner.run(*runner.redeem("--browser-secret-file", other, token))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("refused: replayed: ")
    assert f"tenant={TENANT}" in result.stderr


def test_without_a_secret_each_call_is_another_browser(runner: CommandRunner) -> None:
    """So a second call is a replay."""
    token = runner.mint()
    runner.facts(*runner.redeem(token))
    assert runner.facts(*runner.redeem(token), exit_code=1)["code"] == "replayed"


def test_a_refused_token_does_not_reach_the_store(runner: CommandRunner) -> None:
    """A token that does not verify makes no file."""
    assert runner.facts(*runner.redeem(forged(b"{}")), exit_code=1)["code"] == "unknown_key"
    assert not Path(runner.store).exists()


def test_the_grace_is_for_the_browser_that_redeemed(runner: CommandRunner, browser: str) -> None:
    """After the end, only the browser that redeemed in time gets its redemption once more, for 60 s."""
    arguments = runner.redeem("--browser-secret-file", browser, runner.mint())
    runner.facts(*arguments)
    runner.clock.now = NOW + 369
    assert runner.facts(*arguments)["first"] is False
    runner.clock.now = NOW + 370
    assert runner.facts(*arguments, exit_code=1)["code"] == "expired"


def test_the_row_is_in_the_log(runner: CommandRunner) -> None:
    """What was answered is in handoff_replay_log."""
    facts = runner.facts(*runner.redeem(runner.mint()))
    with closing(sqlite3.connect(runner.store)) as connection:
        rows = connection.execute("SELECT handoff_id, redemption_id, consumed_at FROM handoff_replay_log").fetchall()
    assert rows == [(facts["handoff_id"], facts["redemption_id"], NOW)]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        RAW[:31],
        RAW + b"\n",
        RAW + RAW,
        COOKIE[:42],
        COOKIE + b"\n\n",
        COOKIE + b"=",
        COOKIE[:-1] + b"!",
        b"\xff" * 43,
    ],
)
def test_a_browser_secret_that_is_none(runner: CommandRunner, content: bytes) -> None:
    """It is a mistake of the caller: exit code 2; it is not quoted, and nothing is redeemed."""
    path = runner.file("browser", content)
    result = runner.run(*runner.redeem("--browser-secret-file", path, runner.mint()))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: configuration: browser secret file {path}: it must hold 32 raw bytes")
    assert not Path(runner.store).exists()


def test_a_browser_secret_file_that_cannot_be_read(runner: CommandRunner, tmp_path: Path) -> None:
    """No file, or a folder."""
    for path in (tmp_path / "missing", tmp_path):
        facts = runner.facts(*runner.redeem("--browser-secret-file", str(path), runner.mint()), exit_code=2)
        assert facts["code"] == "configuration"


def test_a_store_that_gives_no_answer(runner: CommandRunner, tmp_path: Path) -> None:
    """No sure answer is a refusal with its own code, never a success."""
    runner.file("rubbish.db", b"this is not a database" * 100)
    for path in (tmp_path / "missing" / "replay.db", tmp_path / "rubbish.db", tmp_path):
        arguments = ("redeem", *runner.parties, "--store-url", f"sqlite:///{path}", runner.mint())
        result = runner.run(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("refused: store_unavailable: ")


@pytest.mark.parametrize("path", ["", ":memory:", "file:x"])
def test_a_store_that_is_no_file(runner: CommandRunner, path: str) -> None:
    """A store that would forget at the end of the process is refused."""
    result = runner.run("redeem", *runner.parties, "--store-url", f"sqlite:///{path}", runner.mint())
    assert result.exit_code == 2
    assert result.stderr.startswith("error: configuration: ")


def test_a_store_is_needed(runner: CommandRunner) -> None:
    """There is no default: another file is another memory."""
    result = runner.run("redeem", *runner.parties, runner.mint())
    assert result.exit_code == 2
    assert "name the store: --store-url" in result.stderr


def test_help_says_that_it_is_for_good(runner: CommandRunner) -> None:
    """Whoever tries it out on a guest's token is warned."""
    words = " ".join(runner.run("redeem", "--help").stdout.split())
    assert "The guest for whom the token was minted can no longer use it." in words
