"""The commands of one token, in the order of its life: mint, inspect, verify, redeem; and its signing string."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import click

from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff._canonical_json import is_canonical_payload
from ghasi_handoff._limits import DEFAULT_LIFETIME, MAX_LIFETIME_SECONDS
from ghasi_handoff._mint import Minter
from ghasi_handoff._redeem import Redeemer
from ghasi_handoff._signing_string import parse_body, signing_string_prefix
from ghasi_handoff._times import from_seconds, read_clock
from ghasi_handoff._token import parse_token
from ghasi_handoff._verify import Verifier
from ghasi_handoff.cli import _options
from ghasi_handoff.cli._input import read_browser_secret, read_payload, read_ring, read_token
from ghasi_handoff.cli._output import Answer, answers, iso, pretty, table
from ghasi_handoff.errors import MalformedTokenError
from ghasi_handoff.payload import BookingHandoff
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

if TYPE_CHECKING:
    from ghasi_handoff._signing_string import Body
    from ghasi_handoff._token import UnverifiedToken
    from ghasi_handoff._verify import VerifiedHandoff
    from ghasi_handoff.cli._output import Clock

_FunctionT = TypeVar("_FunctionT", bound=Callable[..., object])

# What a stay cannot do without, as option and as member of the payload.
_REQUIRED_OF_A_STAY: Final = {
    "--property-id": "property_id",
    "--check-in": "check_in",
    "--check-out": "check_out",
    "--adults": "adults",
}
_is_day: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}").fullmatch


def _day(_ctx: click.Context, _option: click.Parameter, text: str | None) -> date | None:
    if text is None:
        return None
    if _is_day(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass  # the thirtieth of February: said below like every other text that is no date
    raise click.BadParameter("a date is written like 2026-12-24")


def _stay_options(command: _FunctionT) -> _FunctionT:
    """The members of `BookingHandoff`, an option each. None where one is not given."""
    for option in reversed(
        [
            click.option("--property-id", metavar="ID", help="The hotel's property."),
            click.option("--check-in", callback=_day, metavar="YYYY-MM-DD", help="The first night."),
            click.option("--check-out", callback=_day, metavar="YYYY-MM-DD", help="The day of departure."),
            click.option("--adults", type=int, metavar="N", help="1 to 30."),
            click.option("--room-type-id", metavar="ID", help="The room type."),
            click.option("--rate-plan-id", metavar="ID", help="The rate plan."),
            click.option(
                "--child-age",
                "children_ages",
                type=int,
                metavar="N",
                multiple=True,
                help="0 to 17; once for each child.",
            ),
            click.option("--currency", metavar="CODE", help="Three letters A-Z; with --quoted-total-minor."),
            click.option("--quoted-total-minor", type=int, metavar="N", help="The price shown, in cents or the like."),
            click.option("--locale", metavar="TAG", help="A language tag, de or ar-EG for example."),
        ]
    ):
        command = option(command)
    return command


@click.command(short_help="Mint a token, or a URL with one.")
@_options.keys_file
@_options.issuer
@_options.audience
@_options.tenant
@click.option(
    "--lifetime",
    metavar="SECONDS",
    type=click.IntRange(1, MAX_LIFETIME_SECONDS),
    default=int(DEFAULT_LIFETIME.total_seconds()),
    show_default=True,
    help="How long the token is valid.",
)
@click.option("--url", "base", metavar="BASE", help="Print this URL with the token in it, not the token.")
@click.option("--param", metavar="NAME", help="The token's parameter in the URL.  [default: handoff]")
@click.option("--payload", "payload_file", metavar="FILE|-", help="What is handed over, as a JSON object.")
@_stay_options
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
    facts = {
        "token": minted.token,
        "url": url,
        "kid": minted.kid,
        "issuer": issuer,
        "audience": audience,
        "tenant": minted.tenant,
        "handoff_id": minted.handoff_id,
        "issued_at": iso(minted.issued_at),
        "expires_at": iso(minted.expires_at),
        "payload": _as_json(minted.payload),
    }
    return Answer(facts=facts, text=minted.token if url is None else url)


@click.command("inspect", short_help="Show what a token says, without verifying it.")
@_options.token
@answers
def inspect_(clock: Clock, *, token: str) -> Answer:
    """Show what a token says, without verifying any of it.

    It needs only the token, as an argument or with - on standard input, and no keys. Anybody can write a token that
    says anything: nothing that is shown here may be relied on.
    """
    unverified, body = _parse(read_token(token))
    now = _now(clock)
    lines = _Lines.unverified(unverified.kid, body)
    payload = json.loads(body.payload) if is_canonical_payload(body.payload) else None
    facts = {
        "verified": False,
        **lines.facts(),
        "seconds_since_issue": int((now - lines.issued_at).total_seconds()),
        "seconds_left": int((lines.expires_at - now).total_seconds()),
        "payload": payload,
        "payload_is_canonical": payload is not None,
    }
    shown = (
        "\n" + pretty(payload)
        if payload is not None
        else f"{len(body.payload)} bytes that are not canonical JSON; `ghasi-handoff signing-string` shows them"
    )
    warning = click.style("NOT VERIFIED", fg="red", bold=True)
    text = (
        f"{warning}: anybody can write a token that says this. Rely on nothing here before `ghasi-handoff verify`.\n\n"
        f"{lines.table(now)}\n\npayload: {shown}"
    )
    return Answer(facts=facts, text=text)


@click.command(short_help="Verify a token; nothing changes.")
@_options.keys_file
@_options.issuer
@_options.audience
@_options.tenant
@_options.leeway
@_options.max_lifetime
@_options.token
@answers
def verify(
    clock: Clock,
    *,
    keys_file: str | None,
    issuer: str,
    audience: str,
    tenant: str,
    leeway: int,
    max_lifetime: int,
    token: str,
) -> Answer:
    """Verify a token: authentic, addressed to this audience and tenant, and current.

    It needs --keys, --issuer, --audience, --tenant and the token. The token is an argument, or with - on standard
    input; an argument can be seen by other users of the machine, and stays in the shell's history.

    Nothing changes by this: a verified token can still be redeemed. The payload must be a booking.
    """
    read = read_token(token)
    verifier = _verifier(
        clock, keys_file=keys_file, issuer=issuer, audience=audience, leeway=leeway, max_lifetime=max_lifetime
    )
    verified = verifier.verify(read, tenant=tenant)
    word = click.style("verified", fg="green", bold=True)
    headline = f"{word}: authentic, for {verified.tenant}, and current. It is not redeemed by this."
    return Answer(facts=_facts(verified), text=f"{headline}\n\n{_description(verified, clock)}")


@click.command(short_help="Verify a token and redeem it, for good.")
@_options.keys_file
@_options.issuer
@_options.audience
@_options.tenant
@_options.leeway
@_options.max_lifetime
@click.option("--store", metavar="PATH", required=True, help="The SQLite file that remembers; made if it is not there.")
@click.option(
    "--browser-secret-file",
    metavar="FILE",
    help="The browser's secret: 32 raw bytes, or the cookie's value.  [default: a fresh secret]",
)
@_options.token
@answers
def redeem(
    clock: Clock,
    *,
    keys_file: str | None,
    issuer: str,
    audience: str,
    tenant: str,
    leeway: int,
    max_lifetime: int,
    store: str,
    browser_secret_file: str | None,
    token: str,
) -> Answer:
    """Verify a token and redeem it, for good: its handoff belongs to one browser from now on.

    It needs --keys, --issuer, --audience, --tenant, --store and the token. The token is an argument, or with - on
    standard input; an argument can be seen by other users of the machine, and stays in the shell's history.

    Without --browser-secret-file each call is a browser of its own, so a second call is refused as a replay. The guest
    for whom the token was minted can no longer use it.
    """
    read = read_token(token)
    secret = None if browser_secret_file is None else read_browser_secret(browser_secret_file)
    verifier = _verifier(
        clock, keys_file=keys_file, issuer=issuer, audience=audience, leeway=leeway, max_lifetime=max_lifetime
    )
    with SQLiteReplayStore(store) as replay_store:
        redeemer = Redeemer(verifier, replay_store)
        if secret is None:
            redemption = redeemer.redeem(read, tenant=tenant)
        else:
            redemption = redeemer.redeem(read, tenant=tenant, browser_secret=secret)
    how = "for the first time" if redemption.first else "again, by the same browser"
    word = click.style("redeemed", fg="green", bold=True)
    rows = [("redemption id", redemption.redemption_id), ("redeemed at", iso(redemption.redeemed_at))]
    facts = {
        "first": redemption.first,
        "redemption_id": redemption.redemption_id,
        "redeemed_at": iso(redemption.redeemed_at),
        **_facts(redemption.handoff),
    }
    text = f"{word}: {how}\n\n{table(rows)}\n\n{_description(redemption.handoff, clock)}"
    return Answer(facts=facts, text=text)


@click.command("signing-string", short_help="Print the bytes that a token's MAC covers.")
@_options.token
@answers
def signing_string(_clock: Clock, *, token: str) -> Answer:
    """Print the exact bytes that a token's MAC covers, with nothing added, to compare with another implementation.

    It needs only the token, as an argument or with - on standard input, and no keys. Nothing is verified.

    The signing string holds no secret and no MAC, so nobody can make a token from it. It does hold all that the guest
    chose: this library never puts it in a message or a log, and neither should you. This command is the one exception,
    because to show it is its purpose.
    """
    unverified, body = _parse(read_token(token))
    data = signing_string_prefix(unverified.kid) + unverified.body
    facts = {
        "verified": False,
        "kid": unverified.kid,
        "handoff_id": body.handoff_id,
        "length": len(data),
        "signing_string": _utf8(data),
        "signing_string_b64u": b64u_encode(data),
    }
    return Answer(facts=facts, text=data)


def _payload(path: str | None, stay: dict[str, object]) -> BookingHandoff:
    given = {name: value for name, value in stay.items() if value not in (None, ())}
    if path is not None:
        if given:
            raise click.UsageError("the payload comes from --payload or from options of its own, not from both")
        return read_payload(path)
    missing = [option for option, name in _REQUIRED_OF_A_STAY.items() if name not in given]
    if missing:
        raise click.UsageError(f"nothing to hand over: give --payload, or these too: {', '.join(missing)}")
    return BookingHandoff.from_input(given)


def _verifier(
    clock: Clock, *, keys_file: str | None, issuer: str, audience: str, leeway: int, max_lifetime: int
) -> Verifier:
    return Verifier(
        read_ring(keys_file),
        issuer=issuer,
        audience=audience,
        leeway=timedelta(seconds=leeway),
        max_lifetime=timedelta(seconds=max_lifetime),
        clock=clock,
    )


def _parse(token: str) -> tuple[UnverifiedToken, Body]:
    """The parts of a token that anybody may have made.

    Raises:
        MalformedTokenError: As `Verifier.verify` would raise it, were the MAC right.
    """
    unverified = parse_token(token)
    body = parse_body(unverified.body)
    if body is None:
        raise MalformedTokenError("the body is outside the grammar", kid=unverified.kid)
    if body.expires_at <= body.issued_at:
        raise MalformedTokenError("expires-at is not after issued-at", kid=unverified.kid)
    return unverified, body


class _Lines(NamedTuple):
    """What a token says besides its payload, verified or not."""

    kid: str
    issuer: str
    audience: str
    tenant: str
    handoff_id: str
    issued_at: datetime
    expires_at: datetime

    @classmethod
    def unverified(cls, kid: str, body: Body) -> _Lines:
        times = from_seconds(body.issued_at), from_seconds(body.expires_at)
        return cls(kid, body.issuer, body.audience, body.tenant, body.handoff_id, *times)

    @classmethod
    def verified(cls, by: VerifiedHandoff) -> _Lines:
        return cls(by.kid, by.issuer, by.audience, by.tenant, by.handoff_id, by.issued_at, by.expires_at)

    def facts(self) -> dict[str, object]:
        return {**self._asdict(), "issued_at": iso(self.issued_at), "expires_at": iso(self.expires_at)}

    def table(self, now: datetime) -> str:
        rows = {name.replace("_", " "): str(value) for name, value in self.facts().items()}
        rows["issued at"] += f"  ({_distance(self.issued_at - now, 'ahead')})"
        rows["expires at"] += f"  ({_distance(self.expires_at - now, 'left')})"
        return table(list(rows.items()))


def _distance(difference: timedelta, word_for_future: str) -> str:
    seconds = difference // timedelta(seconds=1)
    return f"{seconds} s {word_for_future}" if seconds > 0 else f"{-seconds} s ago"


def _facts(verified: VerifiedHandoff) -> dict[str, object]:
    return {"verified": True, **_Lines.verified(verified).facts(), "payload": _as_json(verified.payload)}


def _description(verified: VerifiedHandoff, clock: Clock) -> str:
    return f"{_Lines.verified(verified).table(_now(clock))}\n\npayload:\n{pretty(_as_json(verified.payload))}"


def _now(clock: Clock) -> datetime:
    return from_seconds(int(read_clock(clock)))


def _as_json(payload: BookingHandoff) -> object:
    return payload.model_dump(mode="json", exclude_defaults=True)


def _utf8(data: bytes) -> str | None:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None
