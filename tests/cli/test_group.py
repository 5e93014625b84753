"""The group `ghasi-handoff`: help, version, exit codes, and what a usage error may repeat."""

from __future__ import annotations

import pytest

from ghasi_handoff import __version__

from .command_runner import STAY_OPTIONS, CommandRunner
from .test_inspect import forged

PARTIES = ["--keys", "--issuer", "--audience", "--tenant"]
VARIABLES = ["GHASI_HANDOFF_KEYS_FILE", "GHASI_HANDOFF_ISSUER", "GHASI_HANDOFF_AUDIENCE"]
COMMANDS = [
    "demo",
    "keys",
    "mint",
    "inspect",
    "verify",
    "redeem",
    "signing-string",
    "store",
    "handoff",
    "outbox",
    "sync-contract",
]
SEALED = ["--kek-file", "GHASI_HANDOFF_KEK_FILE", "--purpose", "GHASI_HANDOFF_KEYS_PURPOSE"]
NEEDS = {
    "demo": [
        *("It needs nothing", "--serve", "--consumer-port", "--booking-port", "--keys", "--log-url", "--store-url"),
        *("--mode", "--data", "--json"),
    ],
    "keys": ["init", "list", "rotate", "revoke", "prune", "fingerprint", "doctor", "seal", "one master file"],
    "keys init": ["It needs --keys", VARIABLES[0], "never overwritten", "--kid", "--json", "--kek-file"],
    "keys list": ["--keys", VARIABLES[0], *SEALED, "--json", "No secret is shown"],
    "keys rotate": [
        *("--keys", VARIABLES[0], *SEALED, "--out", "--kid", "--propagation", "default: 15m", "--emergency", "--peer"),
        *("--dry-run", "--json", "refused with exit code 1"),
    ],
    "keys revoke": ["--keys", *SEALED, "--out", "--all", "--replace", "--kid", "--dry-run", "--json", "never refused"],
    "keys prune": ["--keys", *SEALED, "--out", "--dry-run", "--json", "Safe to repeat"],
    "keys fingerprint": ["--keys", *SEALED, "--json", "No secret is shown"],
    "keys doctor": ["--keys", *SEALED, "--peer", "--json", "Exit code 1"],
    "keys seal": ["--keys", *SEALED, "--out", "--make-kek", "--new-kek-file", "--json", "Keep the two apart"],
    "mint": [
        *("It needs --keys, --issuer, --audience, --tenant", "--payload", "--json", "--lifetime", "--url", "--param"),
        *PARTIES,
        *VARIABLES,
        *{option for option in STAY_OPTIONS if option.startswith("--")},
    ],
    "inspect": ["It needs only the token", "no keys", "without verifying", "TOKEN|-", "--json"],
    "verify": [
        *("It needs --keys, --issuer, --audience, --tenant and the token", "TOKEN|-", "--json"),
        *("--leeway", "--max-lifetime", "default: 10", "default: 600", "shell's history"),
        *PARTIES,
        *VARIABLES,
    ],
    "redeem": [
        *("It needs --keys, --issuer, --audience, --tenant, --store-url and the token", "TOKEN|-", "--json"),
        *("--leeway", "--max-lifetime", "--browser-secret-file", "shell's history"),
        *PARTIES,
        *VARIABLES,
    ],
    "sync-contract": ["check", "matrix", "show"],
    "sync-contract check": ["It needs the extra sync-contract", "REGISTRY...", "never run", "--sarif", "--json"],
    "sync-contract matrix": ["It needs the folder", "SYNC_CONTRACT.md", "--policy", "n/a, lww+diff", "--json"],
    "sync-contract show": ["bff-consumer-service", "--json"],
    "signing-string": ["It needs only the token", "no keys", "TOKEN|-", "--json"],
}


def test_version(runner: CommandRunner) -> None:
    """--version says which release this is."""
    result = runner.run("--version")
    assert (result.exit_code, result.stdout) == (0, f"ghasi-handoff, version {__version__}\n")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands_in_order(runner: CommandRunner, option: str) -> None:
    """Help shows the commands as they follow each other in a handoff's life, and what the exit codes mean."""
    result = runner.run(option)
    assert result.exit_code == 0
    listed = [line.split()[0] for line in result.stdout.split("Commands:\n")[1].split("\n\n")[0].splitlines()]
    assert listed == COMMANDS
    for words in ("0  done", "1  refused", "2  wrong usage", "130  interrupted", "141  nobody read"):
        assert words in result.stdout


def test_no_command_is_answered_with_the_help(runner: CommandRunner) -> None:
    """Without a command there is help, and exit code 2."""
    result = runner.run()
    assert result.exit_code == 2
    assert "Commands:" in result.stderr
    assert "keys" in result.stderr


@pytest.mark.parametrize("command", NEEDS)
def test_help_says_what_a_command_needs(runner: CommandRunner, command: str) -> None:
    """Each command's help names all that it needs, and fits a terminal of 80 columns."""
    result = runner.run(*command.split(), "--help")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.isascii()
    assert max(map(len, result.stdout.splitlines())) <= 80
    words = " ".join(result.stdout.split())
    for needed in NEEDS[command]:
        assert needed in words


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["--nonsense"],
        ["verify", "--nonsense"],
        ["keys", "nonsense"],
        ["inspect"],
        ["inspect", "a", "b"],
        ["signing-string"],
        ["demo", "a"],
        ["keys", "init"],
        ["redeem", "a"],
    ],
)
def test_wrong_usage_ends_with_2(runner: CommandRunner, arguments: list[str]) -> None:
    """Wrong usage prints nothing on standard output, says how it is meant on standard error, and exits with 2."""
    result = runner.run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: ghasi-handoff")
    assert "Try 'ghasi-handoff" in result.stderr


def test_a_slip_of_the_pen_is_helped(runner: CommandRunner) -> None:
    """Hiding what was pasted does not hide click's suggestions."""
    assert "--tenant" in runner.run("verify", "--tennant", "x").stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["{}"],
        ["--{}"],
        ["keys", "{}"],
        ["demo", "{}"],
        ["mint", "{}"],
        ["keys", "init", "--keys", "new.json", "{}"],
        ["keys", "init", "--secret={}"],
        ["inspect", "a", "{}"],
        ["verify", "--leeway", "{}", "a"],
        ["mint", "--adults", "{}"],
        ["mint", "--check-in", "{}"],
        ["redeem", "--browser-secret", "{}", "a"],
        ["redeem", "--browser-secret={}", "a"],
        ["verify", "--{}", "a"],
    ],
)
@pytest.mark.parametrize("misplaced", [forged(b"{}"), "a1" * 32, "Zm9v" * 10 + "YmE"])
def test_a_misplaced_token_or_secret_is_not_repeated(
    runner: CommandRunner, arguments: list[str], misplaced: str
) -> None:
    """Pasted in the wrong place, a token, or a secret in hex or base64, is not in the message: messages are logged."""
    result = runner.run(*(argument.format(misplaced) for argument in arguments))
    assert result.exit_code == 2
    assert misplaced not in result.output
    assert misplaced[7:40] not in result.output


def test_a_usage_error_cannot_steer_the_terminal(runner: CommandRunner) -> None:
    """Control characters of an argument are shown as escapes."""
    result = runner.run("demo", "\x1b[2J\u202e")
    assert "\x1b" not in result.stderr
    assert "\\x1b[2J\\u202e" in result.stderr


@pytest.mark.parametrize(("color", "no_color", "styled"), [(True, "", True), (True, "1", False), (False, "", False)])
def test_colour_is_for_terminals_only(runner: CommandRunner, color: bool, no_color: str, styled: bool) -> None:
    """Colour goes to a terminal, unless NO_COLOR is set and not empty; standard error likewise."""
    token = runner.mint()
    env = {"NO_COLOR": no_color}
    for arguments in (runner.verify(token), ("inspect", token), runner.verify("--tenant", "x", token)):
        assert ("\x1b[" in runner.run(*arguments, env=env, color=color).output) is styled


def test_json_is_never_coloured(runner: CommandRunner) -> None:
    """Not even for a terminal."""
    token = runner.mint()
    for arguments in (["inspect", "--json", token], ["inspect", "--json", "x"]):
        assert "\x1b" not in runner.run(*arguments, color=True).output
