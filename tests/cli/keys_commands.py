"""Runs a command of the group `keys` with the runner's key file."""

from __future__ import annotations

from typing import Any

from ghasi_handoff import keyfile

from .command_runner import CommandRunner, only_object


def kids(runner: CommandRunner) -> list[str]:
    return [one.kid for one in keyfile.load(runner.key_file).keys]


def run(runner: CommandRunner, *arguments: str, exit_code: int = 0) -> str:
    """What `keys …` prints, with the runner's key file."""
    result = runner.run("keys", *arguments, "--keys", runner.key_file)
    assert (result.exit_code, result.stderr) == (exit_code, ""), result.output
    return result.stdout


def facts(runner: CommandRunner, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    """The same for machines."""
    return only_object(runner.run("keys", *arguments, "--keys", runner.key_file, "--json"), exit_code)
