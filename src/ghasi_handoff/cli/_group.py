"""The group ``ghasi-handoff``: its commands, in the order of a handoff's life, and what holds for all of them."""

from __future__ import annotations

import io
import itertools
import os
import re
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import click
from typing_extensions import override

from ghasi_handoff._version import __version__
from ghasi_handoff.cli._demo import demo
from ghasi_handoff.cli._handoff import handoff
from ghasi_handoff.cli._inspect import inspect_, signing_string
from ghasi_handoff.cli._keys import keys
from ghasi_handoff.cli._mint import mint
from ghasi_handoff.cli._options import OrderedGroup
from ghasi_handoff.cli._outbox import outbox
from ghasi_handoff.cli._output import BROKEN_PIPE, INTERRUPTED, UNUSABLE, forget_unwritten, printable, write_object
from ghasi_handoff.cli._store import store
from ghasi_handoff.cli._sync_contract import sync_contract
from ghasi_handoff.cli._verify import redeem, verify

_EPILOG: Final = """\
\b
Exit codes:
    0  done
    1  refused, or something is wrong; the code and the reason are printed
    2  wrong usage, or a key file or configuration that cannot be used
  130  interrupted (Ctrl-C)
  141  nobody read the output to its end (a broken pipe)

With --json, a command prints one JSON object on standard output and nothing on standard error, also if it is refused
or used wrongly. Secrets are read from files or the environment, never from an argument.
"""

# Longer than any word that click or this package writes, shorter than any secret in hex or base64.
_LONG_WORD: Final = re.compile(r"\S{40,}")
_AS_JSON: Final = "ghasi_handoff.as_json"


class _MainGroup(OrderedGroup):
    """The top of the tree. Wrong usage, Ctrl-C and a broken pipe end here, whichever command they came from."""

    @override
    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: object
    ) -> click.Context:
        # Where the arguments cannot be parsed, nothing but they themselves says that JSON is wanted.
        as_json = "--json" in itertools.takewhile(lambda argument: argument != "--", args)
        with _ending(as_json=as_json):
            context = super().make_context(info_name, args, parent, **extra)
        context.meta[_AS_JSON] = as_json
        return context

    @override
    def invoke(self, ctx: click.Context) -> object:
        with _ending(as_json=ctx.meta[_AS_JSON]):
            return super().invoke(ctx)


@contextmanager
def _ending(*, as_json: bool) -> Generator[None]:
    """What ends a command before its answer -> what is said of it, and the exit code."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:  # a usage error by its class, but its message is the help
        raise
    except click.UsageError as exc:
        # It quotes the argument that is wrong: a token or secret in the wrong place must not be repeated.
        message = printable(_LONG_WORD.sub(lambda word: f"{word[0][:6]}...", exc.format_message()))
        if not as_json:
            raise click.UsageError(message, exc.ctx) from None
        with _ending(as_json=False):
            write_object("usage", message, {})
        raise click.exceptions.Exit(UNUSABLE) from None
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except BrokenPipeError as exc:  # whoever read this has gone, as `head` does: nobody is there to be told
        forget_unwritten()
        raise click.exceptions.Exit(BROKEN_PIPE) from exc


@click.group(
    "ghasi-handoff",
    cls=_MainGroup,
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
