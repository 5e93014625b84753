"""``inspect`` and ``signing-string``: token -> what it says, and the bytes that its MAC covers. Nothing is verified."""

from __future__ import annotations

import json
from contextlib import suppress

import click

from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff._canonical_json import is_canonical_payload
from ghasi_handoff._handoff import Handoff
from ghasi_handoff._signing_string import Body, parse_body, signing_string_prefix
from ghasi_handoff._times import read_clock
from ghasi_handoff._token import UnverifiedToken, parse_token
from ghasi_handoff.cli import _options
from ghasi_handoff.cli._input import read_token
from ghasi_handoff.cli._output import Answer, Clock, answers, iso, pretty, table
from ghasi_handoff.errors import MalformedTokenError


@click.command("inspect", short_help="Show what a token says, without verifying it.")
@_options.token
@answers
def inspect_(clock: Clock, *, token: str) -> Answer:
    """Show what a token says, without verifying any of it.

    It needs only the token, as an argument or with - on standard input, and no keys. Anybody can write a token that
    says anything: rely on nothing that is shown here.
    """
    unverified, body = _parse(read_token(token))
    now = int(read_clock(clock))
    payload = json.loads(body.payload) if is_canonical_payload(body.payload) else None
    shown = (
        "\n" + pretty(payload)
        if payload is not None
        else f"{len(body.payload)} bytes that are not canonical JSON; `ghasi-handoff signing-string` shows them"
    )
    warning = click.style("NOT VERIFIED", fg="red", bold=True)
    reason = "anybody can write a token that says this. Rely on nothing here before `ghasi-handoff verify`."
    return Answer(
        message="not verified: anybody can write a token that says this",
        facts={
            "verified": False,
            **token_facts(unverified.kid, body),
            "seconds_since_issue": now - body.issued_at,
            "seconds_left": body.expires_at - now,
            "payload": payload,
            "payload_is_canonical": payload is not None,
        },
        text=f"{warning}: {reason}\n\n{token_table(unverified.kid, body, now)}\n\npayload: {shown}",
    )


@click.command("signing-string", short_help="Print the bytes that a token's MAC covers.")
@_options.token
@answers
def signing_string(_clock: Clock, *, token: str) -> Answer:
    """Print the exact bytes that a token's MAC covers, with nothing added, to compare with another implementation.

    It needs only the token, as an argument or with - on standard input, and no keys. Nothing is verified.

    The signing string holds no secret and no MAC, so nobody can make a token from it. It does hold all that the guest
    chose. This library never puts it in a message or a log, and neither should you. This command is the one exception.
    """
    unverified, body = _parse(read_token(token))
    data = signing_string_prefix(unverified.kid) + unverified.body
    text = None
    with suppress(UnicodeDecodeError):  # a payload that nobody has verified
        text = data.decode("utf-8")
    facts = {
        "verified": False,
        "kid": unverified.kid,
        "handoff_id": body.handoff_id,
        "length": len(data),
        "signing_string": text,
        "signing_string_b64u": b64u_encode(data),
    }
    return Answer(message=f"the MAC covers {len(data)} bytes; nothing was verified", facts=facts, text=data)


def token_facts(kid: str, body: Body) -> dict[str, str]:
    """What it says besides its payload, for ``--json``."""
    return {
        "kid": kid,
        "issuer": body.issuer,
        "audience": body.audience,
        "tenant": body.tenant,
        "handoff_id": body.handoff_id,
        "issued_at": iso(body.issued_at),
        "expires_at": iso(body.expires_at),
    }


def token_table(kid: str, body: Body, now: int) -> str:
    """The same for people: one line each, the times with their distance from `now`."""
    rows = {name.replace("_", " "): value for name, value in token_facts(kid, body).items()}
    rows["issued at"] += f"  ({_distance(body.issued_at - now, 'ahead')})"
    rows["expires at"] += f"  ({_distance(body.expires_at - now, 'left')})"
    return table(list(rows.items()))


def handoff_facts(handoff: Handoff) -> dict[str, object]:
    """What it says with its payload, whose members at their default are left out, as in the token."""
    payload = handoff.payload.model_dump(mode="json", exclude_defaults=True)
    return {**token_facts(handoff.kid, handoff.body), "payload": payload}


def _distance(seconds: int, word_for_future: str) -> str:
    return f"{seconds} s {word_for_future}" if seconds > 0 else f"{-seconds} s ago"


def _parse(token: str) -> tuple[UnverifiedToken, Body]:
    """The parts of a token that anybody may have made. What verify would call malformed is refused."""
    unverified = parse_token(token)
    body = parse_body(unverified.body)
    if body is None:
        raise MalformedTokenError("the body is outside the grammar", kid=unverified.kid)
    if body.expires_at <= body.issued_at:
        raise MalformedTokenError("expires-at is not after issued-at", kid=unverified.kid)
    return unverified, body
