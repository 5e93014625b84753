"""``mint``: a key ring and what the guest chose -> a token, or a URL with one."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import date, timedelta
from typing import Final

import click

from ghasi_handoff._limits import DEFAULT_LIFETIME, MAX_LIFETIME_SECONDS
from ghasi_handoff._mint import Minter
from ghasi_handoff.cli import _options
from ghasi_handoff.cli._input import read_payload, read_ring
from ghasi_handoff.cli._inspect import handoff_facts
from ghasi_handoff.cli._output import Answer, Clock, answers
from ghasi_handoff.payload import BookingHandoff

_REQUIRED_OF_A_STAY: Final = ("property_id", "check_in", "check_out", "adults")
_is_day: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch


def _day(_ctx: click.Context, _option: click.Parameter, text: str | None) -> date | None:
    if text is None:
        return None
    with suppress(ValueError):  # the thirtieth of February
        if _is_day(text):
            return date.fromisoformat(text)
    raise click.BadParameter("a date is written like 2026-12-24")


# The members of `BookingHandoff`, an option each. None or () where one is not given.
_stay: Final = _options.declared(
    click.option("--property-id", metavar="ID", help="The hotel's property."),
    click.option("--check-in", callback=_day, metavar="YYYY-MM-DD", help="The first night."),
    click.option("--check-out", callback=_day, metavar="YYYY-MM-DD", help="The day of departure."),
    click.option("--adults", type=int, metavar="N", help="1 to 30."),
    click.option("--room-type-id", metavar="ID", help="The room type."),
    click.option("--rate-plan-id", metavar="ID", help="The rate plan."),
    click.option("--child-age", "children_ages", type=int, metavar="N", multiple=True, help="0 to 17, for each child."),
    click.option("--currency", metavar="CODE", help="Three letters A-Z; with --quoted-total-minor."),
    click.option("--quoted-total-minor", type=int, metavar="N", help="The quoted price in minor units, such as cents."),
    click.option("--locale", metavar="TAG", help="A language tag, de or ar-EG for example."),
)


@click.command(short_help="Mint a token, or a URL with one.")
@_options.declared(*_options.parties)
@_options.seconds("--lifetime", 1, MAX_LIFETIME_SECONDS, DEFAULT_LIFETIME, "How long the token is valid.")
@click.option("--url", "base", metavar="BASE", help="Print this URL with the token in it, not the token.")
@click.option("--param", metavar="NAME", help="The token's parameter in the URL.  [default: handoff]")
@click.option("--payload", "payload_file", metavar="FILE|-", help="What is handed over, as a JSON object.")
@_stay
@answers
def mint(
    clock: Clock,
    *,
    keys_file: str | None,
    issuer: str,
    audience: str,
    tenant: str,
    lifetime: int,
    base: str | None,
    param: str | None,
    payload_file: str | None,
    **stay: object,
) -> Answer:
    """Mint a token and print it, alone on its line.

    It needs --keys, --issuer, --audience, --tenant, and what is handed over: either --payload, or at least
    --property-id, --check-in, --check-out and --adults.

    Whoever has the token can redeem it once: do not log it.
    """
    if param is not None and base is None:
        raise click.UsageError("--param names the parameter in the URL: it needs --url")
    payload = _payload(payload_file, stay)
    ring = read_ring(keys_file)
    minter = Minter(ring, issuer=issuer, audience=audience, lifetime=timedelta(seconds=lifetime), clock=clock)
    minted = minter.mint(payload, tenant=tenant)
    url = None if base is None else minted.url(base, "handoff" if param is None else param)
    return Answer(
        message=f"minted a token for {minted.tenant}, valid for {lifetime} s",
        facts={"token": minted.token, "url": url, **handoff_facts(minted)},
        text=minted.token if url is None else url,
    )


def _payload(path: str | None, stay: dict[str, object]) -> BookingHandoff:
    given = {name: value for name, value in stay.items() if value not in (None, ())}
    if path is not None:
        if given:
            raise click.UsageError("the payload comes from --payload or from options of its own, not from both")
        return read_payload(path)
    missing = [f"--{name.replace('_', '-')}" for name in _REQUIRED_OF_A_STAY if name not in given]
    if missing:
        raise click.UsageError(f"nothing to hand over: give --payload, or these too: {', '.join(missing)}")
    return BookingHandoff.from_input(given)
