"""The group ``ghasi-handoff``: its commands, in the order of a handoff's life, and what holds for all of them."""

from __future__ import annotations

import io
import os
import re
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import click
from typing_extensions import override

from ghasi_handoff._version import __version__
from ghasi_handoff.cli._demo import demo
from ghasi_handoff.cli._handoff import handoff
from ghasi_handoff.cli._keys import keys
from ghasi_handoff.cli._outbox import outbox
from ghasi_handoff.cli._output import printable
from ghasi_handoff.cli._store import store
from ghasi_handoff.cli._sync_contract import sync_contract
from ghasi_handoff.cli._tokens import inspect_, mint, redeem, signing_string, verify

if TYPE_CHECKING:
    from collections.abc import Generator

_EPILOG: Final = """\
\b
Exit codes:
    0  done
    1  refused; the code and the reason are on standard error
    2  wrong usage, or a key file or configuration that cannot be used
  141  nobody read the output to its end (a broken pipe)

With --json, what happened is one JSON object on standard output, a refusal too; wrong usage is always plain text
on standard error. Secrets are read from files or the environment, never from an argument.
"""

# Longer than any word that click or this package writes, shorter than any secret in hex or base64.
_LONG_WORD: Final = re.compile(r"\S{40,}")


class _Group(click.Group):
    """The top of the tree: commands in the order they were added, and no pasted secret in a usage error."""

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    @override
    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        with _long_words_hidden():
            return super().make_context(info_name, args, parent, **extra)

    @override
    def invoke(self, ctx: click.Context) -> Any:
        with _long_words_hidden():
            return super().invoke(ctx)


@contextmanager
def _long_words_hidden() -> Generator[None]:
    """A usage error quotes the argument that is wrong: a token or secret in the wrong place must not be repeated."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # a usage error by its class, but its message is the help
        raise
    except click.UsageError as exc:
        message = printable(_LONG_WORD.sub(lambda word: f"{word[0][:6]}...", exc.format_message()))
        raise click.UsageError(message, exc.ctx) from None


@click.group(
    "ghasi-handoff",
    cls=_Group,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, prog_name="ghasi-handoff")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Signed, short-lived, single-use handoff tokens: make keys, mint, look inside, verify, redeem and trace.

    Begin with `ghasi-handoff demo`: it shows the whole story on real data and leaves nothing behind.
    """
    # A clock may come in as click's obj (``main(obj=clock)``); the tests use it. No option and no variable sets it.
    ctx.obj = time.time if ctx.obj is None else ctx.obj
    if os.environ.get("NO_COLOR"):  # https://no-color.org: present and not empty
        ctx.color = False
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A path with a letter that the terminal's encoding lacks must not end in a traceback.
        sys.stdout.reconfigure(errors="backslashreplace")


for _command in (demo, keys, mint, inspect_, verify, redeem, signing_string, store, handoff, outbox, sync_contract):
    main.add_command(_command)
