"""`ghasi-handoff demo`, run in this process; its services are processes in any case."""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from click.testing import CliRunner, Result

from ghasi_handoff.cli import main
from ghasi_handoff.demo.services import Services, answer_of

TITLES = [
    "Two services",
    "Book",
    "The landing page",
    "Redeemed",
    "The booking",
    "A refresh and a double click",
    "Another browser",
    "Somebody else's booking",
    "A tampered token",
    "A token for another hotel",
    "A form on another site",
    "A cancelled handoff",
    "bff-consumer dies",
    "bff-consumer is back",
    "What became of it",
    "What the logs do not say",
]


def run(*arguments: str, env: dict[str, str] | None = None) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["demo", *arguments], env=env or {}, catch_exceptions=False)


def steps(*arguments: str, env: dict[str, str] | None = None) -> dict[str, Any]:
    """The story as data, by title."""
    result = run("--json", *arguments, env=env)
    assert (result.exit_code, result.stderr) == (0, ""), result.output
    check_no_secret(result.stdout)
    facts = json.loads(result.stdout)
    assert facts["ok"] is True
    return {step["title"]: step for step in facts["steps"]}


def check_no_secret(told: str) -> None:
    """No whole token, MAC, cookie or redemption id is in the text: nothing but handoff ids is as long as one."""
    assert "__Host-" not in told
    ids = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    assert not re.findall(r"[A-Za-z0-9_-]{40,}", re.sub(ids, "", told))
    assert not re.findall(r"ghasi1\.[^.\s]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", told)


@contextmanager
def operator_in_process(**defaults: Any) -> Generator[None]:
    """While it lasts, the operator's commands of a story run in this process: half of a story is their interpreters.

    That they do the same in processes of their own is shown by `test_on_redis`.

    Args:
        defaults: Of options, by command: ``handoff={"init": {"timeout": 1}}``.
    """

    def operate(services: Services, *arguments: str) -> dict[str, Any]:
        done = CliRunner().invoke(
            main,
            [*arguments, "--json"],
            env=services.environment,
            catch_exceptions=False,
            default_map=defaults,
        )
        return answer_of(arguments, done.stdout, done.stderr)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Services, "operate", operate)
        yield
