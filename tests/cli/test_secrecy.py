"""No secret, MAC, whole token or signing string in any output but the one that is meant to have it."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ghasi_handoff import keyfile
from ghasi_handoff._base64url import b64u_encode
from tests.minter_and_verifier import secret

from .command_runner import STAY_OPTIONS, CommandRunner

BROWSER = secret("browser")
OTHER = secret("other")


def spellings(data: bytes) -> Iterator[bytes]:
    """The forms in which a secret could slip out."""
    yield data
    yield data.hex().encode()
    yield data.hex().upper().encode()
    yield repr(data).encode()
    yield repr(list(data))[1:-1].encode()
    for start in range(3):  # base64 of a text that has the secret somewhere inside depends on where it begins
        padded = bytes(start) + data
        inner = base64.b64encode(padded)[4 if start else 0 : len(padded) // 3 * 4]
        yield inner
        yield inner.translate(bytes.maketrans(b"+/", b"-_"))


@pytest.fixture(scope="module")
def runner_of_all(tmp_path_factory: pytest.TempPathFactory) -> CommandRunner:
    """The runner behind `outputs`."""
    return CommandRunner(tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="module")
def outputs(runner_of_all: CommandRunner) -> dict[str, bytes]:
    """All that each command prints, done and refused, in text and in JSON, on both streams."""
    runner = runner_of_all
    browser, other = runner.file("browser", BROWSER), runner.file("other", OTHER)
    broken = runner.file("broken", BROWSER + OTHER)
    token = runner.mint()
    version, kid, body, mac = token.split(".")
    altered = ".".join((version, kid, body, ("A" if mac[0] != "A" else "B") + mac[1:]))
    damaged = runner.file("damaged.json", runner.ring.to_json().replace('"sign_from"', '"sign_form"').encode())
    short = json.loads(runner.ring.to_json())
    short["keys"].append({**short["keys"][0], "kid": "twin"})
    twin = runner.file("twin.json", json.dumps(short).encode())
    truncated = runner.file("truncated.json", runner.ring.to_json()[:-5].encode())
    for path in (damaged, twin, truncated):
        Path(path).chmod(0o600)
    open_to_all = runner.file("open.json", runner.ring.to_json().encode())
    Path(open_to_all).chmod(0o644)

    def verify_with(path: str) -> list[str]:
        return [*runner.verify("--keys", path, token)]

    commands: dict[str, list[str]] = {
        "init": ["keys", "init", "--keys", str(runner.folder / "made.json")],
        "init again": ["keys", "init", "--keys", runner.key_file],
        "mint": ["mint", *runner.parties, *STAY_OPTIONS],
        "mint url": ["mint", *runner.parties, *STAY_OPTIONS, "--url", "https://aurora.example/handoff"],
        "mint refused": ["mint", *runner.parties, *STAY_OPTIONS, "--adults", "31"],
        "mint bad url": ["mint", *runner.parties, *STAY_OPTIONS, "--url", "http://aurora.example/handoff"],
        "inspect": ["inspect", token],
        "inspect refused": ["inspect", token + "A"],
        "verify": [*runner.verify(token)],
        "verify altered": [*runner.verify(altered)],
        "verify tenant": [*runner.verify("--tenant", "x", token)],
        "verify damaged": verify_with(damaged),
        "verify twin": verify_with(twin),
        "verify truncated": verify_with(truncated),
        "verify open": verify_with(open_to_all),
        "redeem": [*runner.redeem("--browser-secret-file", browser, token)],
        "redeem again": [*runner.redeem("--browser-secret-file", browser, token)],
        "redeem other": [*runner.redeem("--browser-secret-file", other, token)],
        "redeem fresh": [*runner.redeem(token)],
        "redeem broken": [*runner.redeem("--browser-secret-file", broken, token)],
        "redeem bad file": [*runner.redeem("--browser-secret-file", runner.key_file, token)],
        "payload of secrets": ["mint", *runner.parties, "--payload", runner.key_file],
        "signing-string": ["signing-string", token],
    }
    printed = {}
    made = runner.folder / "made.json"
    for name, arguments in commands.items():
        for kind, command in (("text", arguments), ("json", [*arguments, "--json"])):
            made.unlink(missing_ok=True)
            result = runner.run(*command)
            shown = printed[f"{name} {kind}"] = result.stdout_bytes + result.stderr_bytes
            if made.exists():
                (key,) = keyfile.load(made).keys
                assert not any(spelling in shown for spelling in spellings(key.secret))
    (runner.folder / "token").write_text(token, encoding="ascii")
    return printed


def test_no_secret_is_in_any_output(runner_of_all: CommandRunner, outputs: dict[str, bytes]) -> None:
    """Neither a key's secret nor a browser's, in no spelling, whether the command was done or refused."""
    secrets = [*(key.secret for key in runner_of_all.ring.keys), BROWSER, OTHER]
    for name, printed in outputs.items():
        assert printed, name
        for value in secrets:
            for spelling in spellings(value):
                assert spelling not in printed, name


def test_the_search_would_find_one(runner: CommandRunner) -> None:
    """The key file itself is full of findings, so the search is not blind."""
    content = Path(runner.key_file).read_bytes()
    assert any(spelling in content for spelling in spellings(runner.ring.keys[0].secret))
    for value in (b"x" + BROWSER, b"xx" + BROWSER + b"y", BROWSER):
        assert any(spelling in base64.b64encode(value) for spelling in spellings(BROWSER))


def test_the_token_and_its_mac_are_in_no_output(runner_of_all: CommandRunner, outputs: dict[str, bytes]) -> None:
    """Who gives a token to a command does not find it, or its MAC, in a terminal's scroll-back."""
    token = (runner_of_all.folder / "token").read_bytes()
    mac = token.split(b".")[3]
    for name, printed in outputs.items():
        assert mac[1:] not in printed, name


def test_the_signing_string_is_in_one_output_only(outputs: dict[str, bytes]) -> None:
    """Only the command of that name prints it."""
    for name, printed in outputs.items():
        found = b"ghasi-handoff/v1" in printed or b64u_encode(b"ghasi-handoff/v1").encode()[:20] in printed
        assert found is name.startswith("signing-string"), name


def test_every_command_was_looked_at(runner: CommandRunner, outputs: dict[str, bytes]) -> None:
    """The outputs above are of all commands there are."""
    listed = runner.run("--help").stdout.split("Commands:\n")[1].split("\n\n")[0].splitlines()
    for command in (line.split()[0] for line in listed):
        if command in ("demo", "store", "handoff", "outbox", "sync-contract"):
            continue  # print no token; tests/demo, test_store.py and test_handoff.py look for passwords and tokens
        assert any(name.split()[0] == ("init" if command == "keys" else command) for name in outputs)


def test_refusals_of_the_whole_output_say_their_code(outputs: dict[str, bytes]) -> None:
    """In text, each refusal begins with its kind and code."""
    for name in ("init again", "mint refused", "inspect refused", "verify altered", "verify twin", "redeem other"):
        assert re.match(rb"(refused|error): [a-z_]+: .", outputs[f"{name} text"]), name
        facts: dict[str, Any] = json.loads(outputs[f"{name} json"])
        assert facts["ok"] is False
        assert list(facts)[:3] == ["ok", "code", "message"]


@pytest.mark.parametrize("option", ["--keys", "--browser-secret-file", "--store-url", "--payload", "--url", "--tenant"])
@pytest.mark.parametrize(
    "given",
    [b64u_encode(BROWSER), base64.b64encode(BROWSER).decode(), BROWSER.hex(), BROWSER.hex().upper(), "token"],
    ids=["base64url", "base64", "hex", "HEX", "token"],
)
def test_a_secret_for_a_path_is_not_repeated(
    runner: CommandRunner, monkeypatch: pytest.MonkeyPatch, option: str, given: str
) -> None:
    """Who gives the secret where its file is asked for does not find it in the message, and the message is still of use."""
    monkeypatch.chdir(runner.folder)  # a store of that name is made here
    token = runner.mint()
    given = token if given == "token" else given
    arguments = ("mint", *runner.parties) if option in ("--payload", "--url") else runner.redeem(token)
    stay = STAY_OPTIONS if option == "--url" else ()
    for more in ([], ["--json"]):
        result = runner.run(*arguments, *stay, *more, option, given)
        assert given not in result.output
        assert given[7:] not in result.output
        if option in ("--keys", "--browser-secret-file", "--payload"):
            assert result.exit_code == 2
            assert f" {given[:6]}...: " in result.output


@pytest.mark.parametrize("name", ["keys", "a-folder-with-a-long-name/another-one-in-it/keys", "k.json"])
def test_a_path_is_still_named(runner: CommandRunner, name: str) -> None:
    """A path is said in full, if it is there or does not look like a secret."""
    path = runner.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"{}")
    path.chmod(0o644)
    assert f"key file {path}: " in runner.run(*runner.verify("--keys", str(path), "x")).stderr
    assert "key file missing/keys.json: " in runner.run(*runner.verify("--keys", "missing/keys.json", "x")).stderr


@pytest.mark.parametrize("command", ["mint", "verify", "redeem"])
def test_no_traceback_holds_a_key(runner: CommandRunner, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """An error that nobody foresaw shows no key, even to a reporter that shows the variables of every frame."""

    def fail(*_args: object, **_kwargs: object) -> None:
        raise ZeroDivisionError

    token = runner.mint()
    monkeypatch.setattr(f"ghasi_handoff.cli._{'mint' if command == 'mint' else 'verify'}.Answer", fail)
    arguments = {
        "mint": ("mint", *runner.parties, *STAY_OPTIONS),
        "verify": runner.verify(token),
        "redeem": runner.redeem(token),
    }
    variables = _variables(lambda: runner.run(*arguments[command]))
    assert b"2026-11" in variables
    assert not any(spelling in variables for spelling in spellings(runner.ring.keys[0].secret))


def _variables(call: Callable[[], object]) -> bytes:
    try:
        call()
    except ZeroDivisionError as exc:
        frames = []
        traceback = exc.__traceback__
        while traceback is not None:
            if "ghasi_handoff" in traceback.tb_frame.f_code.co_filename:
                frames.append(repr(traceback.tb_frame.f_locals))
            traceback = traceback.tb_next
        return "\n".join(frames).encode()
    raise AssertionError("nothing was raised")
