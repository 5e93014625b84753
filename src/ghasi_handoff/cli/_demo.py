"""``ghasi-handoff demo``: the story of `ghasi_handoff.demo`, told step by step; or its services, up for a browser."""

from __future__ import annotations

import signal
import sys
import tempfile
import textwrap
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, NoReturn

import click

from ghasi_handoff._version import __version__
from ghasi_handoff.cli._output import REFUSED, plain, refuse, write, write_object
from ghasi_handoff.demo.service_process import ServiceError
from ghasi_handoff.demo.services import Services, watch
from ghasi_handoff.errors import ConfigurationError, HandoffError

if TYPE_CHECKING:
    from ghasi_handoff.demo.steps import Step

_WIDTH: Final = 100
_NEEDED: Final = ("fastapi", "httpx2", "pydantic_settings", "uvicorn")
_MODE_HELP: Final = "Whether bff-consumer is told before the guest goes on, or after."
_port: Final = click.IntRange(1, 65535)


@click.command(short_help="Show the whole story, between two real services.")
@click.option("--serve", is_flag=True, help="Tell no story: leave the services up for a browser, until Ctrl-C.")
@click.option("--consumer-port", metavar="PORT", type=_port, help="bff-consumer's port.  [default: a free one]")
@click.option("--booking-port", metavar="PORT", type=_port, help="bff-tenant-booking's.  [default: a free one]")
# No variables for these: a demo must not use a real service's keys or databases because its shell has them.
@click.option("--keys", "keys_file", metavar="FILE", help="The key file.  [default: a new one]")
@click.option("--log-url", metavar="URL", help="The handoff log: sqlite:///... or postgresql://...")
@click.option("--store-url", metavar="URL", help="The replay store: sqlite:///..., postgresql://... or redis://...")
@click.option("--mode", type=click.Choice(["strict", "deferred"]), default="strict", show_default=True, help=_MODE_HELP)
@click.option("--data", metavar="FOLDER", help="Keep keys, databases and logs there.  [default: a temporary folder]")
@click.option("--json", "as_json", is_flag=True, help="Print the steps as one JSON object.")
def demo(
    *,
    serve: bool,
    as_json: bool,
    data: str | None,
    keys_file: str | None,
    log_url: str | None,
    store_url: str | None,
    mode: str,
    consumer_port: int | None,
    booking_port: int | None,
) -> None:
    """Show the whole story: a guest books, is sent on and redeems; and what is refused, cancelled, or dies under way.

    It needs nothing: no key, no file, no server. It runs both services as processes of their own on this machine, with
    SQLite in a temporary folder, which it removes. It asks them over HTTP, shows what each logs, and checks each step;
    if one does not behave as told, it says which and exits with 1. Key files and URLs of the environment are not used.
    It needs the extra all.
    """
    if serve and as_json:
        raise click.UsageError("--serve tells no story, so there is nothing for --json.")
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        refuse(ConfigurationError(f"the demo needs {', '.join(missing)}: install ghasi-handoff[all]"), as_json=as_json)
    try:
        made = _folder(data)
    except OSError as exc:
        kind = "temporary folder" if data is None else f"folder {data}"
        refuse(ConfigurationError(f"no {kind} can be made: {exc.strerror}"), as_json=as_json)
    with made as folder:
        try:
            services = Services(
                Path(folder),
                quiet=not serve,
                keys_file=Path(keys_file) if keys_file else None,
                log_url=log_url or "",
                store_url=store_url or "",
                mode=mode,
                consumer_port=consumer_port or 0,
                booking_port=booking_port or 0,
            )
        except HandoffError as exc:
            refuse(exc, as_json=as_json)
        with _ending_on_sigterm(), services:
            if serve:
                _serve(services)
                return
            where = "the temporary folder is gone" if data is None else f"everything is kept in {data}"
            _tell_story(services, where, as_json=as_json)


def _folder(data: str | None) -> AbstractContextManager[str]:
    """The folder that is to be kept, made if need be; or a temporary one."""
    if data is None:
        return tempfile.TemporaryDirectory(prefix="ghasi-handoff-demo-")
    Path(data).mkdir(mode=0o700, parents=True, exist_ok=True)
    return nullcontext(data)


def _serve(services: Services) -> None:
    try:
        services.start()
        write(
            f"Open {click.style(f'{services.consumer.origin}/', bold=True)} in Chromium or Firefox; Ctrl-C stops both"
            " services.\n"
            f"Mode {services.mode}; files in {services.folder}.\n"
            "Safari keeps no Secure cookies from http, so it is told that cookies are needed."
        )
        watch(services)
    except KeyboardInterrupt:
        write("\nstopping both services")
        raise
    except ServiceError as exc:
        _fail(plain(exc))


@contextmanager
def _ending_on_sigterm() -> Generator[None]:
    """SIGTERM unwinds, as Ctrl-C does: so the services are stopped and the temporary folder is removed."""

    def end(number: int, frame: FrameType | None) -> NoReturn:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tell_story(services: Services, where: str, *, as_json: bool) -> None:
    import httpx2

    from ghasi_handoff.demo.steps import INTRODUCTION, STEPS
    from ghasi_handoff.demo.story import Story, SurpriseError

    told: list[dict[str, object]] = []
    if not as_json:
        write(f"{click.style(f'ghasi-handoff {__version__}', bold=True)}\n\n{textwrap.fill(INTRODUCTION, _WIDTH)}")
    with Story(services) as story:
        for number, step in enumerate(STEPS, start=1):
            if not as_json:
                write(_heading(number, step))
            try:
                happened = step.run(story)
            except (HandoffError, SurpriseError, ServiceError, OSError, httpx2.HTTPError) as exc:
                code = f"{exc.code}: " if isinstance(exc, HandoffError) else ""
                message = f'step {number} ("{step.title}") did not behave as told: {code}{plain(exc)}'
                if not as_json:
                    _fail(message)
                write_object("demo_failed", message, {"step": number, "steps": told})
                raise click.exceptions.Exit(REFUSED) from None
            what = {"number": number, "title": step.title, "why": step.why, "call": step.call}
            told.append({**what, "happened": happened.lines, **happened.facts})
            if not as_json:
                write("\n".join(_indented(line) for line in happened.lines))
    if as_json:
        write_object(None, f"all {len(STEPS)} steps behaved as told", {"steps": told})
    else:
        end = f"All {len(STEPS)} steps behaved as told, and {where}. Next, for a browser of your own:"
        write("\n" + textwrap.fill(f"{end} ghasi-handoff demo --serve", _WIDTH, break_on_hyphens=False))


def _fail(message: str) -> NoReturn:
    click.echo(f"{click.style('failed', fg='red', bold=True)}: {message}", err=True)
    raise click.exceptions.Exit(REFUSED) from None


def _heading(number: int, step: Step) -> str:
    title = click.style(f"{number:2}  {step.title}", bold=True)
    return f"\n{title}\n{_indented(step.why)}\n{click.style(_indented(f'> {step.call}'), dim=True)}"


def _indented(line: str) -> str:
    margin = " " * (4 + len(line) - len(line.lstrip()))
    return textwrap.fill(
        line.lstrip(), _WIDTH, initial_indent=margin, subsequent_indent=f"{margin}  ", break_on_hyphens=False
    )
