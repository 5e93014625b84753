"""How far a long command is -> standard error, if that is a terminal. Gone again before the answer is shown."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


@contextmanager
def progress_shown(text: str, *, quiet: bool = False) -> Generator[Callable[[int], None] | None]:
    """What to call with a number to show `text` with it, or None where nobody is to see it.

    That is so with ``--json`` and `quiet`, and wherever standard error is no terminal: a log file, a cron job's mail.
    """
    as_json = click.get_current_context().params["as_json"]
    if quiet or as_json or sys.stderr is None or not sys.stderr.isatty():
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
