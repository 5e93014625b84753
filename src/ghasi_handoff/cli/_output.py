"""answer or error -> standard output, standard error, exit code. Nothing else in this package prints.

With ``--json`` each command prints one object on one line: ``ok``, ``code`` (``ok``, or what is wrong), ``message``,
then the facts. docs/reference/cli-schemas.json has the schema of each command's object.
"""

from __future__ import annotations

import functools
import json
import os
import re
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

import click

from ghasi_handoff._times import from_seconds, read_clock
from ghasi_handoff.errors import ConfigurationError, HandoffError, KeyRingError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Clock: TypeAlias = Callable[[], float]

REFUSED: Final = 1
UNUSABLE: Final = 2
# As the shell reports a process that SIGINT or SIGPIPE has ended: neither done nor refused.
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

# A whole word: a token's beginning, or what could be 30 bytes or more. A path with a dot is no such word.
_SECRET_LIKE: Final = re.compile(r"(?<!\S)(ghasi1\.[^\s:]+|[A-Za-z0-9+/_-]{40,}={0,2})(?=:?(\s|$))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command found out."""

    message: str  # one short sentence
    facts: Mapping[str, object]  # for --json, beside ok, code and message: the same names each time
    text: str | bytes | None = None  # for people, if that is more than the message; bytes are written as they are
    problem: str | None = None  # the stable code of what is wrong
    status: int = REFUSED  # the exit code if there is a problem


def answers(command: Callable[..., Answer]) -> Callable[..., None]:
    """A command that returns its answer -> one that prints it, has ``--json``, and reports a refusal by its code.

    The command gets the clock, and its options by name.
    """

    @click.option("--json", "as_json", is_flag=True, help="Print the result or the refusal as one JSON object.")
    @functools.wraps(command)
    def run(*, as_json: bool, **options: object) -> None:
        clock: Clock = click.get_current_context().obj
        try:
            answer = command(clock, **options)
        except HandoffError as exc:
            refuse(exc, as_json=as_json)
        if as_json:
            write_object(answer.problem, answer.message, answer.facts)
        else:
            write(answer.message if answer.text is None else answer.text)
        if answer.problem is not None:
            raise click.exceptions.Exit(answer.status)

    return run


def refuse(exc: HandoffError, *, as_json: bool) -> NoReturn:
    """Report `exc` and end: 2 for a key ring or configuration that cannot be used, 1 for everything else."""
    status = UNUSABLE if isinstance(exc, (ConfigurationError, KeyRingError)) else REFUSED
    message = plain(exc)
    if as_json:
        write_object(exc.code, message, exc.log_fields)
    else:
        word = click.style("error" if status == UNUSABLE else "refused", fg="red", bold=True)
        lines = [f"{word}: {exc.code}: {message}"]
        if exc.log_fields:
            lines.append("  " + "  ".join(f"{name}={value}" for name, value in exc.log_fields.items()))
        click.echo("\n".join(lines), err=True)
    raise click.exceptions.Exit(status)


def write(text: str | bytes) -> None:
    """Text with an end of line, or bytes as they are, to standard output."""
    # Bytes may come from a token that nobody has verified: data in a pipe, but maybe commands to a terminal.
    if isinstance(text, bytes) and sys.stdout is not None and sys.stdout.isatty():
        shown = text.decode("utf-8", errors="surrogateescape")  # a surrogate is not printable
        if not shown.replace("\n", "").isprintable():
            reason = "these bytes would not show as they are in a terminal; redirect the output, or use --json"
            refuse(ConfigurationError(reason), as_json=False)
    try:
        click.echo(text, nl=isinstance(text, str))
    except BrokenPipeError:
        raise
    except OSError as exc:
        forget_unwritten()
        click.echo(f"error: standard output cannot be written: {exc.strerror}", err=True)
        raise click.exceptions.Exit(UNUSABLE) from exc


def write_object(problem: str | None, message: str, facts: Mapping[str, object]) -> None:
    """The JSON object of a command, on one line, in ASCII: what an unverified token holds can't steer a terminal."""
    whole = {"ok": problem is None, "code": problem or "ok", "message": message, **facts}
    write(json.dumps(whole, ensure_ascii=True))


@contextmanager
def progress_shown(text: str, *, quiet: bool = False) -> Generator[Callable[[int], None] | None]:
    """What to call with a number to show `text` with it, on standard error, until the answer is there.

    None where nobody is to see it: with ``--json`` and `quiet`, and where standard error is no terminal.
    """
    if quiet or click.get_current_context().params["as_json"] or sys.stderr is None or not sys.stderr.isatty():
        yield None
        return
    widest = 0

    def show(number: int) -> None:
        nonlocal widest
        line = text.format(f"{number:,}")
        widest = max(widest, len(line))
        click.echo(f"\r{line}", nl=False, err=True)

    try:
        yield show
    finally:
        if widest:
            click.echo(f"\r{' ' * widest}\r", nl=False, err=True)


def forget_unwritten() -> None:
    """Give up what standard output did not take: else the interpreter tries again at its end, and says so at length."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def printable(text: str) -> str:
    """`text` with everything that would not show, or would steer a terminal, as an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def plain(exc: Exception) -> str:
    """The printable message, without what was given for a path and is a token, or looks like a secret.

    ``--browser-secret-file SECRET`` is an easy mistake, and a message about a file names it. What exists is a path.
    """
    message = printable(str(exc))
    return _SECRET_LIKE.sub(lambda word: word[0] if os.path.exists(word[0]) else f"{word[0][:6]}...", message)


def table(rows: Sequence[tuple[str, str]]) -> str:
    """Names and values, one pair a line, the values in one column."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:{width}}  {value}" for name, value in rows)


def iso(moment: datetime | int) -> str:
    """A UTC datetime, or Unix seconds, as ``2026-11-23T09:30:00Z``."""
    return f"{from_seconds(moment) if isinstance(moment, int) else moment:%Y-%m-%dT%H:%M:%SZ}"


def now_of(clock: Clock) -> datetime:
    """The clock's reading, in whole seconds."""
    return from_seconds(int(read_clock(clock)))


def facts_of(record: DataclassInstance) -> dict[str, object]:
    """A record's fields for ``--json``: datetimes, and the Unix seconds of a field ``at`` or ``…_at``, as ISO 8601."""
    return {name: _fact(name, value) for name, value in asdict(record).items()}


def _fact(name: str, value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [_fact(name, one) for one in value]
    if isinstance(value, dict):
        return {inner: _fact(inner, one) for inner, one in value.items()}
    if isinstance(value, datetime) or (isinstance(value, int) and name.split("_")[-1] == "at"):
        return iso(value)
    return value


def pretty(payload: object) -> str:
    """A payload for people: JSON on several lines, indented, in ASCII for the reason that `write_object` gives."""
    return "\n".join(f"  {line}" for line in json.dumps(payload, ensure_ascii=True, indent=2).splitlines())
