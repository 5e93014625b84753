"""The whole story of a handoff, run for real on SQLite in a temporary folder, and checked at each step."""

from __future__ import annotations

import re
import secrets
import sqlite3
import stat
import tempfile
import textwrap
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn
from urllib.parse import parse_qs, urlsplit

import click

from ghasi_handoff import keyfile
from ghasi_handoff._encoding import b64u_decode, b64u_encode, from_seconds, read_clock
from ghasi_handoff._mint import DEFAULT_LIFETIME, Minter
from ghasi_handoff._redeem import Redeemer
from ghasi_handoff._verify import DEFAULT_LEEWAY, Verifier
from ghasi_handoff._version import __version__
from ghasi_handoff.cli._output import REFUSED, iso, printable, refuse, write, write_json
from ghasi_handoff.errors import (
    ConfigurationError,
    ExpiredTokenError,
    HandoffError,
    InvalidMACError,
    KeyRingError,
    ReplayedTokenError,
    RevokedKeyError,
    WrongTenantError,
)
from ghasi_handoff.keys import DEFAULT_PROPAGATION, KeyRing, KeyState
from ghasi_handoff.payload import BookingHandoff
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

if TYPE_CHECKING:
    from collections.abc import Callable

    from ghasi_handoff._mint import MintedHandoff
    from ghasi_handoff._redeem import Redemption
    from ghasi_handoff.cli._output import Clock

WIDTH: Final = 100

ISSUER: Final = "bff-consumer"
AUDIENCE: Final = "bff-tenant-booking"
TENANT: Final = "tn_aurora"
OTHER_TENANT: Final = "tn_borealis"
LANDING: Final = "https://aurora.example/handoff"
LIFETIME: Final = int(DEFAULT_LIFETIME.total_seconds())
LEEWAY: Final = int(DEFAULT_LEEWAY.total_seconds())

_INTRODUCTION: Final = (
    f"A guest picks a room on the consumer site ({ISSUER}) and is sent on to the hotel's own booking site"
    f" ({AUDIENCE}). The link carries a handoff token: what the guest chose, signed, valid for minutes, good for one"
    " browser. Everything below really happens, in a temporary folder, and is checked. The story has a clock of its"
    " own, so nobody has to wait."
)
_ROWS: Final = "SELECT handoff_id, redemption_id, consumed_at FROM handoff_replay_log"
_REFUSED_ROWS: Final = "SELECT handoff_id, redemption_id, refused_at FROM handoff_replay_refused"


class _SurpriseError(Exception):
    """The library did something else than this story tells."""


class _StoryClock:
    """Seconds that pass only when the story says so."""

    def __init__(self, start: float) -> None:
        self.now = int(start)

    def __call__(self) -> float:
        return float(self.now)

    def forward(self, seconds: int) -> None:
        self.now += seconds


class _Happened(NamedTuple):
    """What came of a step: lines for people, facts for ``--json``."""

    lines: list[str]
    facts: dict[str, object]


class _Story:
    """The two services, two browsers, a clock, and what happened so far."""

    def __init__(self, folder: Path, clock: _StoryClock) -> None:
        self.clock = clock
        self.key_file = folder / "keys.json"
        self.store_file = folder / "replay.db"
        self.keys = KeyRing.generate(kid="first", now=from_seconds(clock.now))
        # A callable, as in a service that loads its keys anew: whoever rotates does not restart anything.
        self.minter = Minter(lambda: self.keys, issuer=ISSUER, audience=AUDIENCE, clock=clock)
        self.verifier = Verifier(lambda: self.keys, issuer=ISSUER, audience=AUDIENCE, clock=clock)
        self.store = SQLiteReplayStore(self.store_file, clock=clock)
        self.redeemer = Redeemer(self.verifier, self.store)
        # What a service would find in each browser's cookie.
        self.browser, self.other_browser = secrets.token_bytes(32), secrets.token_bytes(32)
        arrival = from_seconds(clock.now).date() + timedelta(days=30)
        self.stay = BookingHandoff(
            property_id="htl_0042",
            check_in=arrival,
            check_out=arrival + timedelta(days=3),
            adults=2,
            currency="EUR",
            quoted_total_minor=45900,
        )
        self.redemption_ids: list[str] = []
        self.refused_ids: list[str] = []

    def key_ring(self) -> _Happened:
        keyfile.save(self.key_file, self.keys)
        loaded = keyfile.load(self.key_file)
        _check(loaded == self.keys, "the key file does not hold the ring that was saved")
        self.keys = loaded
        mode = stat.S_IMODE(self.key_file.stat().st_mode)
        _check(mode == 0o600, f"the key file has mode {mode:04o}, not 0600")
        _check(self._state("first") is KeyState.ACTIVE, "the new key does not sign")
        lines = ["made: keys.json, mode 0600, with the key `first`, which signs from now on"]
        return _Happened(lines, {"kid": "first", "state": KeyState.ACTIVE.value, "mode": f"{mode:04o}"})

    def mint(self) -> _Happened:
        self.minted = minted = self.minter.mint(self.stay, tenant=TENANT)
        lifetime = int((minted.expires_at - minted.issued_at).total_seconds())
        _check(lifetime == LIFETIME, f"the token lives {lifetime} s")
        version, kid, body, mac = minted.token.split(".")
        lines = [
            f"minted: handoff {minted.handoff_id}",
            f"valid from {iso(minted.issued_at)} to {iso(minted.expires_at)}; four parts, joined by dots:",
            f"  version  {version}",
            f"  kid      {kid}",
            *_labelled("body", text=body),
            f"  MAC      {mac}",
        ]
        facts: dict[str, object] = {
            "handoff_id": minted.handoff_id,
            "token": minted.token,
            "issued_at": iso(minted.issued_at),
            "expires_at": iso(minted.expires_at),
        }
        return _Happened(lines, facts)

    def redirect(self) -> _Happened:
        url = self.minted.url(LANDING)
        _check(parse_qs(urlsplit(url).query) == {"handoff": [self.minted.token]}, "the URL does not carry the token")
        shortened = f"{url[:70]}..."
        return _Happened([f"{shortened} ({len(url)} characters)"], {"url_shortened": shortened, "length": len(url)})

    def verify(self) -> _Happened:
        verified = self.verifier.verify(self.minted.token, tenant=TENANT)
        _check(verified.payload == self.stay, "the payload is not what was handed over")
        _check(self.verifier.verify(self.minted.token, tenant=TENANT) == verified, "a second look shows something else")
        _check(not self.store_file.exists(), "verifying has written to the store")
        stay = verified.payload
        lines = [
            f"accepted: {stay.adults} adults, {stay.property_id}, {stay.check_in} to {stay.check_out}",
            "accepted: the same token once more; nothing has been written anywhere",
        ]
        return _Happened(
            lines, {"handoff_id": verified.handoff_id, "payload": stay.model_dump(mode="json", exclude_defaults=True)}
        )

    def redeem(self) -> _Happened:
        redemption = self._redeem(self.minted.token, self.browser)
        _check(redemption.first, "the first redemption says that it is not the first")
        lines = [f"accepted: for the first time, redemption {_short(redemption.redemption_id)}"]
        return _Happened(lines, {"first": True, "redemption_id": redemption.redemption_id})

    def same_browser(self) -> _Happened:
        self.clock.forward(5)
        redemption = self.redeemer.redeem(self.minted.token, tenant=TENANT, browser_secret=self.browser)
        _check(not redemption.first, "the repetition says that it is the first redemption")
        _check(redemption.redemption_id == self.redemption_ids[0], "the repetition is another redemption")
        lines = [f"accepted: 5 s later, the same redemption {_short(redemption.redemption_id)}, not a second one"]
        return _Happened(lines, {"first": False, "redemption_id": redemption.redemption_id})

    def another_browser(self) -> _Happened:
        refusal = _refusal(
            ReplayedTokenError,
            lambda: self.redeemer.redeem(self.minted.token, tenant=TENANT, browser_secret=self.other_browser),
        )
        self.refused_ids.append(self.minted.handoff_id)
        lines = [_refused(refusal), f'the guest reads: "{refusal.public_text}"']
        return _Happened(lines, {"code": refusal.code, "public_text": refusal.public_text})

    def tampered(self) -> _Happened:
        token = self.minter.mint(self.stay, tenant=TENANT).token
        altered = _with_nine_adults(token)
        refusal = _refusal(InvalidMACError, lambda: self.verifier.verify(altered, tenant=TENANT))
        _check(set(refusal.log_fields) == {"kid"}, "the refusal repeats what an altered token says")
        self.verifier.verify(token, tenant=TENANT)
        return _Happened([_refused(refusal), "accepted: the same token, unaltered"], {"code": refusal.code})

    def another_tenant(self) -> _Happened:
        token = self.minter.mint(self.stay, tenant=TENANT).token
        refusal = _refusal(WrongTenantError, lambda: self.verifier.verify(token, tenant=OTHER_TENANT))
        self.verifier.verify(token, tenant=TENANT)
        return _Happened([_refused(refusal), f"accepted: the same token, at {TENANT}"], {"code": refusal.code})

    def expired(self) -> _Happened:
        token = self.minter.mint(self.stay, tenant=TENANT).token
        last = LIFETIME + LEEWAY - 1
        self.clock.forward(last)
        self.verifier.verify(token, tenant=TENANT)
        self.clock.forward(1)
        refusal = _refusal(ExpiredTokenError, lambda: self.redeemer.redeem(token, tenant=TENANT))
        lines = [
            f"accepted: {last} s after the mint, the last second",
            f"{_refused(refusal)} ({last + 1} s after the mint)",
        ]
        return _Happened(lines, {"code": refusal.code, "last_second": last})

    def rotation(self) -> _Happened:
        self.keys = self.keys.rotate(kid="second", now=from_seconds(self.clock.now))
        lines = [f"at once:      {self._states('active', 'pending')}"]
        delay = int(DEFAULT_PROPAGATION.total_seconds())
        self.clock.forward(delay - 1)
        old = self._mint_with("first")
        self.clock.forward(1)
        new = self._mint_with("second")
        lines.append(f"{delay // 60} min later: {self._states('verify-only', 'active')}")
        for kid, minted in (("first", old), ("second", new)):
            redemption = self._redeem(minted.token, self.browser)
            _check(redemption.first, f"the token of the key `{kid}` was redeemed before")
            lines.append(f"accepted: a token signed by `{kid}`, redemption {_short(redemption.redemption_id)}")
        return _Happened(lines, {"redeemed_with": ["first", "second"], "states": self._states_by_kid()})

    def revoked_key(self) -> _Happened:
        minted = self._mint_with("second")
        now = from_seconds(self.clock.now)
        self.keys = self.keys.revoke("second", now=now)
        refusal = _refusal(RevokedKeyError, lambda: self.verifier.verify(minted.token, tenant=TENANT))
        nobody = _refusal(KeyRingError, lambda: self.minter.mint(self.stay, tenant=TENANT))
        self.clock.forward(1)
        self.keys = self.keys.rotate(kid="third", now=from_seconds(self.clock.now), propagation=timedelta(0))
        self.verifier.verify(self._mint_with("third").token, tenant=TENANT)
        lines = [
            _refused(refusal),
            _refused(nobody),
            "accepted: a token of the key `third`, from a rotation without delay",
            f"now:          {self._states('verify-only', 'revoked', 'active')}",
        ]
        return _Happened(lines, {"code": refusal.code, "mint_code": nobody.code, "states": self._states_by_kid()})

    def replay_log(self) -> _Happened:
        # Read only, and with sqlite3 alone, as anybody on that machine could.
        with closing(sqlite3.connect(f"{self.store_file.as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(f"{_ROWS} ORDER BY consumed_at, handoff_id").fetchall()
            refused = connection.execute(_REFUSED_ROWS).fetchall()
        # Compared without their order: the last two were redeemed within one second.
        logged = sorted(row[1] for row in rows)
        _check(logged == sorted(self.redemption_ids), "the log holds other redemptions than were made")
        _check([row[0] for row in refused] == self.refused_ids, "the log holds other refusals than were made")
        lines = [
            *_table(("handoff_id", "redemption_id", "consumed_at"), rows),
            "and whom it refused, kept for a day in handoff_replay_refused:",
            *_table(("handoff_id", "redemption_id", "refused_at"), refused),
        ]
        facts: dict[str, object] = {
            "rows": [dict(zip(("handoff_id", "redemption_id", "consumed_at"), row, strict=True)) for row in rows],
            "refused_rows": [
                dict(zip(("handoff_id", "redemption_id", "refused_at"), row, strict=True)) for row in refused
            ],
        }
        return _Happened(lines, facts)

    def _redeem(self, token: str, browser: bytes) -> Redemption[BookingHandoff]:
        redemption = self.redeemer.redeem(token, tenant=TENANT, browser_secret=browser)
        self.redemption_ids.append(redemption.redemption_id)
        return redemption

    def _mint_with(self, kid: str) -> MintedHandoff[BookingHandoff]:
        minted = self.minter.mint(self.stay, tenant=TENANT)
        _check(minted.kid == kid, f"the key `{minted.kid}` signed, not `{kid}`")
        return minted

    def _state(self, kid: str) -> KeyState:
        return self.keys.state(kid, now=from_seconds(self.clock.now))

    def _states_by_kid(self) -> dict[str, str]:
        return {key.kid: self._state(key.kid).value for key in self.keys.keys}

    def _states(self, *expected: str) -> str:
        states = self._states_by_kid()
        shown = ", ".join(f"`{kid}` is {state}" for kid, state in states.items())
        _check(tuple(states.values()) == expected, f"the states of the keys are wrong: {shown}")
        return shown


class _Step(NamedTuple):
    """A step: its title, one sentence of what and why, the call that it is about, and the call itself."""

    title: str
    why: str
    call: str
    run: Callable[[_Story], _Happened]


STEPS: Final = (
    _Step(
        "A key ring",
        "Both services sign and verify with one ring of secrets, in a file that only its owner can read.",
        'keyfile.save("keys.json", KeyRing.generate())',
        _Story.key_ring,
    ),
    _Step(
        "Mint",
        f"The consumer site signs what the guest chose, for one hotel ({TENANT}), valid for {LIFETIME} seconds.",
        f'minted = minter.mint(stay, tenant="{TENANT}")',
        _Story.mint,
    ),
    _Step(
        "Redirect",
        "The token travels as one parameter of a URL, so the two services need no connection for it.",
        f'minted.url("{LANDING}")',
        _Story.redirect,
    ),
    _Step(
        "Verify",
        "The booking site checks MAC, addressee, times and payload; a link scanner's visit is harmless.",
        f'verifier.verify(token, tenant="{TENANT}")',
        _Story.verify,
    ),
    _Step(
        "Redeem",
        "One row in the replay log gives the handoff to one browser, known by the secret in its cookie.",
        f'redeemer.redeem(token, tenant="{TENANT}", browser_secret=cookie)',
        _Story.redeem,
    ),
    _Step(
        "The same browser again",
        "A double click, a refresh or a lost reply must not lock the guest out.",
        f'redeemer.redeem(token, tenant="{TENANT}", browser_secret=cookie)',
        _Story.same_browser,
    ),
    _Step(
        "Another browser",
        "Whoever else finds the link, in a log or a chat, comes too late.",
        f'redeemer.redeem(token, tenant="{TENANT}", browser_secret=another_cookie)',
        _Story.another_browser,
    ),
    _Step(
        "A tampered token",
        "Somebody turns 2 adults into 9; without the secret, nobody can make a MAC that matches.",
        f'verifier.verify(altered, tenant="{TENANT}")',
        _Story.tampered,
    ),
    _Step(
        "A token for another tenant",
        "A token for one hotel opens no booking at another, though both share the service and its keys.",
        f'verifier.verify(token, tenant="{OTHER_TENANT}")',
        _Story.another_tenant,
    ),
    _Step(
        "An expired token",
        f"Links stay in histories, so they die early: after {LIFETIME} s, plus {LEEWAY} s for clocks that differ.",
        f'redeemer.redeem(token, tenant="{TENANT}")',
        _Story.expired,
    ),
    _Step(
        "A rotation",
        "A new key reaches every process before it signs, and the old one still verifies: nobody notices.",
        "keys = keys.rotate()",
        _Story.rotation,
    ),
    _Step(
        "A revoked key",
        "If a secret may have leaked, revoke its key: what it signed is refused; a new key takes over.",
        'keys = keys.revoke("second").rotate(propagation=timedelta(0))',
        _Story.revoked_key,
    ),
    _Step(
        "Look into the replay log",
        "Operators see which redemption holds which handoff; nothing in the file is a credential.",
        f'sqlite3 replay.db "{_ROWS}"',
        _Story.replay_log,
    ),
)


@click.command(short_help="Show the whole story on real data; it needs nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print the steps as one JSON object.")
@click.pass_obj
def demo(clock: Clock, *, as_json: bool) -> None:
    """Show the whole story: mint, redirect, verify, redeem, a rotation, and all that is refused.

    It needs nothing: no key, no file, no network. It runs the real library on SQLite in a temporary folder, which it
    removes, and checks each step; if one does not behave as told, it says which and exits with 1.
    """
    told: list[dict[str, object]] = []
    if not as_json:
        write(f"{click.style(f'ghasi-handoff {__version__}', bold=True)}\n\n{textwrap.fill(_INTRODUCTION, WIDTH)}")
    try:
        temporary = tempfile.TemporaryDirectory(prefix="ghasi-handoff-demo-")
    except OSError as exc:
        refuse(ConfigurationError(f"no temporary folder can be made: {exc.strerror}"), as_json=as_json)
    with temporary as folder:
        try:
            story = _Story(Path(folder), _StoryClock(read_clock(clock)))
        except HandoffError as exc:  # an SQLite that is too old, say
            refuse(exc, as_json=as_json)
        with story.store:
            for number, step in enumerate(STEPS, start=1):
                _tell(number, step, story, told, as_json=as_json)
    if as_json:
        write_json({"ok": True, "steps": told})
    else:
        write(
            f"\nAll {len(STEPS)} steps behaved as told, and the temporary folder is gone."
            " Next: ghasi-handoff keys init --help"
        )


def _tell(number: int, step: _Step, story: _Story, told: list[dict[str, object]], *, as_json: bool) -> None:
    if not as_json:
        write(_heading(number, step))
    try:
        happened = step.run(story)
    except (HandoffError, _SurpriseError, sqlite3.Error, OSError) as exc:
        _end_surprised(number, step, exc, told, as_json=as_json)
    what = {"number": number, "title": step.title, "why": step.why, "call": step.call}
    told.append({**what, "happened": happened.lines, **happened.facts})
    if not as_json:
        write("\n".join(_indented(line) for line in happened.lines))


def _end_surprised(
    number: int, step: _Step, exc: Exception, told: list[dict[str, object]], *, as_json: bool
) -> NoReturn:
    code = f"{exc.code}: " if isinstance(exc, HandoffError) else ""
    message = f'step {number} ("{step.title}") did not behave as told: {code}{printable(str(exc))}'
    if as_json:
        write_json({"ok": False, "code": "demo_failed", "message": message, "step": number, "steps": told})
    else:
        click.echo(f"{click.style('failed', fg='red', bold=True)}: {message}", err=True)
    raise click.exceptions.Exit(REFUSED)


def _heading(number: int, step: _Step) -> str:
    title = click.style(f"{number:2}  {step.title}", bold=True)
    return f"\n{title}\n{_indented(step.why)}\n{click.style(_indented(f'> {step.call}'), dim=True)}"


def _indented(line: str) -> str:
    margin = " " * (4 + len(line) - len(line.lstrip()))
    wrapped = textwrap.fill(
        line.lstrip(), WIDTH, initial_indent=margin, subsequent_indent=f"{margin}  ", break_on_hyphens=False
    )
    colours = {"accepted": "green", "refused": "red"}
    return re.sub(
        r"^( *)(accepted|refused)\b", lambda found: found[1] + click.style(found[2], fg=colours[found[2]]), wrapped
    )


def _labelled(name: str, *, text: str) -> list[str]:
    room = WIDTH - 16
    pieces = [text[start : start + room] for start in range(0, len(text), room)]
    return [f"  {name if not position else '':8} {piece}" for position, piece in enumerate(pieces)]


def _table(names: tuple[str, str, str], rows: list[tuple[str, str, int]]) -> list[str]:
    shown = [names, *((handoff_id, _short(redemption_id), str(seconds)) for handoff_id, redemption_id, seconds in rows)]
    return [f"  {first:36}  {second:19}  {third}" for first, second, third in shown]


def _short(redemption_id: str) -> str:
    return f"{redemption_id[:16]}..."


def _refused(refusal: HandoffError) -> str:
    return f"refused: {refusal.code}: {refusal}"


def _check(condition: bool, otherwise: str) -> None:
    if not condition:
        raise _SurpriseError(otherwise)


def _refusal(expected: type[HandoffError], call: Callable[[], object]) -> HandoffError:
    """The refusal that `call` ends in, which must be exactly this one."""
    try:
        call()
    except HandoffError as exc:
        _check(type(exc) is expected, f"refused with {exc.code}, not {expected.code}: {exc}")
        return exc
    raise _SurpriseError(f"it was accepted; it should have been refused with {expected.code}")


def _with_nine_adults(token: str) -> str:
    version, kid, body_text, mac = token.split(".")
    body = b64u_decode(body_text)
    _check(body is not None and b'"adults":2' in body, "the token does not carry the number of adults")
    altered = b64u_encode((body or b"").replace(b'"adults":2', b'"adults":9'))
    return ".".join((version, kid, altered, mac))
