"""``verify`` and ``redeem``: token -> accepted, with all that it says, or refused with the library's code."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import click

from ghasi_handoff._limits import DEFAULT_MAX_LIFETIME, MAX_LIFETIME_SECONDS
from ghasi_handoff._redeem import Redeemer
from ghasi_handoff._times import read_clock
from ghasi_handoff._verify import VerifiedHandoff, Verifier
from ghasi_handoff.cli import _options
from ghasi_handoff.cli._input import read_browser_secret, read_ring, read_token
from ghasi_handoff.cli._inspect import handoff_facts, token_table
from ghasi_handoff.cli._output import Answer, Clock, answers, iso, pretty, table
from ghasi_handoff.errors import ExpiredTokenError


@dataclass(frozen=True, slots=True)
class TokenToVerify:
    """What the options of both commands say."""

    keys_file: str | None
    issuer: str
    audience: str
    tenant: str
    leeway: int
    max_lifetime: int
    token: str

    def read(self, clock: Clock) -> tuple[str, Verifier]:
        """The token, and the verifier that the options describe."""
        token = read_token(self.token)
        verifier = Verifier(
            read_ring(self.keys_file),
            issuer=self.issuer,
            audience=self.audience,
            leeway=timedelta(seconds=self.leeway),
            max_lifetime=timedelta(seconds=self.max_lifetime),
            clock=clock,
        )
        return token, verifier


_to_verify: Final = _options.packed(
    "given",
    TokenToVerify,
    *_options.parties,
    _options.leeway,
    _options.seconds(
        "--max-lifetime", 1, MAX_LIFETIME_SECONDS, DEFAULT_MAX_LIFETIME, "The longest lifetime that a token may have."
    ),
    _options.token,
)


@click.command(short_help="Verify a token; nothing changes.")
@_to_verify
@answers
def verify(clock: Clock, *, given: TokenToVerify) -> Answer:
    """Verify a token: authentic, addressed to this audience and tenant, and current.

    It needs --keys, --issuer, --audience, --tenant and the token. The token is an argument, or with - on standard
    input; an argument can be seen by other users of the machine, and stays in the shell's history.

    Nothing changes: a verified token can still be redeemed. The payload must be a booking.
    """
    token, verifier = given.read(clock)
    verified = verifier.verify(token, tenant=given.tenant)
    word = click.style("verified", fg="green", bold=True)
    said = f"authentic, for {verified.tenant}, and current"
    return Answer(
        message=f"the token is {said}; it is not redeemed by this",
        facts={"verified": True, **handoff_facts(verified)},
        text=f"{word}: {said}. It is not redeemed by this.\n\n{_description(verified, clock)}",
    )


@click.command(short_help="Verify a token and redeem it, for good.")
@_to_verify
@_options.store_url
@_options.timeout
@click.option(
    "--browser-secret-file",
    metavar="FILE",
    help="The browser's secret: 32 raw bytes, or the cookie's value.  [default: a fresh secret]",
)
@answers
def redeem(
    clock: Clock, *, given: TokenToVerify, store_url: str | None, timeout: float, browser_secret_file: str | None
) -> Answer:
    """Verify a token and redeem it, for good: its handoff belongs to one browser from now on.

    It needs --keys, --issuer, --audience, --tenant, --store-url and the token. The token is an argument, or with - on
    standard input; an argument can be seen by other users of the machine, and stays in the shell's history. A SQLite
    file is made if it is not there.

    Without --browser-secret-file each call is a browser of its own, so a second call is refused as a replay. The guest
    for whom the token was minted can no longer use it.
    """
    token, verifier = given.read(clock)
    secret = None if browser_secret_file is None else read_browser_secret(browser_secret_file)
    # A refused token must not make a file. Whether an expired one is in its grace is for the redeemer to say.
    with suppress(ExpiredTokenError):
        verifier.verify(token, tenant=given.tenant)
    with _options.StoreOptions(store_url, timeout).opened(clock, new=True) as store:
        redeemer = Redeemer(verifier, store)
        secrets = {} if secret is None else {"browser_secret": secret}
        redemption = redeemer.redeem(token, tenant=given.tenant, **secrets)
    how = "for the first time" if redemption.first else "again, by the same browser"
    word = click.style("redeemed", fg="green", bold=True)
    redeemed_at = iso(redemption.redeemed_at)
    rows = table([("redemption id", redemption.redemption_id), ("redeemed at", redeemed_at)])
    return Answer(
        message=f"redeemed {how}",
        facts={
            "first": redemption.first,
            "redemption_id": redemption.redemption_id,
            "redeemed_at": redeemed_at,
            "verified": True,
            **handoff_facts(redemption.handoff),
        },
        text=f"{word}: {how}\n\n{rows}\n\n{_description(redemption.handoff, clock)}",
    )


def _description(verified: VerifiedHandoff, clock: Clock) -> str:
    lines = token_table(verified.kid, verified.body, int(read_clock(clock)))
    return f"{lines}\n\npayload:\n{pretty(handoff_facts(verified)['payload'])}"
