"""The story of a handoff in one process, on SQLite in a temporary folder, with a clock of its own. Needs no extra."""

from __future__ import annotations

import secrets
import sqlite3
import stat
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs, urlsplit

from ghasi_handoff import keyfile
from ghasi_handoff._limits import DEFAULT_LEEWAY, DEFAULT_LIFETIME, DEFAULT_PROPAGATION
from ghasi_handoff._mint import Minter
from ghasi_handoff._redeem import Redeemer
from ghasi_handoff._times import from_seconds
from ghasi_handoff._verify import Verifier
from ghasi_handoff.demo.telling import Happened, Step, SurpriseError, check, labelled, short, with_nine_adults
from ghasi_handoff.errors import (
    ExpiredTokenError,
    HandoffError,
    InvalidMACError,
    KeyRingError,
    ReplayedTokenError,
    RevokedKeyError,
    WrongTenantError,
)
from ghasi_handoff.keys import KeyRing, KeyState
from ghasi_handoff.payload import BookingHandoff
from ghasi_handoff.stores.sqlite import SQLiteReplayStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from ghasi_handoff._mint import MintedHandoff
    from ghasi_handoff._redeem import Redemption

ISSUER: Final = "bff-consumer"
AUDIENCE: Final = "bff-tenant-booking"
TENANT: Final = "tn_aurora"
OTHER_TENANT: Final = "tn_borealis"
LANDING: Final = "https://aurora.example/handoff"
LIFETIME: Final = int(DEFAULT_LIFETIME.total_seconds())
LEEWAY: Final = int(DEFAULT_LEEWAY.total_seconds())

INTRODUCTION: Final = (
    f"A guest picks a room on the consumer site ({ISSUER}) and is sent on to the hotel's own booking site"
    f" ({AUDIENCE}). The link carries a handoff token: what the guest chose, signed, valid for minutes, good for one"
    " browser. Everything below really happens, in a temporary folder, and is checked. The story has a clock of its"
    " own, so nobody has to wait."
)
_ROWS: Final = "SELECT handoff_id, redemption_id, consumed_at FROM handoff_replay_log"
_REFUSED_ROWS: Final = "SELECT handoff_id, redemption_id, refused_at FROM handoff_replay_refused"


class StoryClock:
    """Seconds that pass only when the story says so."""

    def __init__(self, start: float) -> None:
        self.now = int(start)

    def __call__(self) -> float:
        return float(self.now)

    def forward(self, seconds: int) -> None:
        self.now += seconds


class Story:
    """The two services, two browsers, a clock, and what happened so far."""

    def __init__(self, folder: Path, clock: StoryClock) -> None:
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

    def key_ring(self) -> Happened:
        keyfile.save(self.key_file, self.keys)
        loaded = keyfile.load(self.key_file)
        check(loaded == self.keys, "the key file does not hold the ring that was saved")
        self.keys = loaded
        mode = stat.S_IMODE(self.key_file.stat().st_mode)
        check(mode == 0o600, f"the key file has mode {mode:04o}, not 0600")
        check(self._state("first") is KeyState.ACTIVE, "the new key does not sign")
        lines = ["made: keys.json, mode 0600, with the key `first`, which signs from now on"]
        return Happened(lines, {"kid": "first", "state": KeyState.ACTIVE.value, "mode": f"{mode:04o}"})

    def mint(self) -> Happened:
        self.minted = minted = self.minter.mint(self.stay, tenant=TENANT)
        lifetime = int((minted.expires_at - minted.issued_at).total_seconds())
        check(lifetime == LIFETIME, f"the token lives {lifetime} s")
        version, kid, body, mac = minted.token.split(".")
        lines = [
            f"minted: handoff {minted.handoff_id}",
            f"valid from {_iso(minted.issued_at)} to {_iso(minted.expires_at)}; four parts, joined by dots:",
            f"  version  {version}",
            f"  kid      {kid}",
            *labelled("body", text=body),
            f"  MAC      {mac}",
        ]
        facts: dict[str, object] = {
            "handoff_id": minted.handoff_id,
            "token": minted.token,
            "issued_at": _iso(minted.issued_at),
            "expires_at": _iso(minted.expires_at),
        }
        return Happened(lines, facts)

    def redirect(self) -> Happened:
        url = self.minted.url(LANDING)
        check(parse_qs(urlsplit(url).query) == {"handoff": [self.minted.token]}, "the URL does not carry the token")
        shortened = f"{url[:70]}..."
        return Happened([f"{shortened} ({len(url)} characters)"], {"url_shortened": shortened, "length": len(url)})

    def verify(self) -> Happened:
        verified = self.verifier.verify(self.minted.token, tenant=TENANT)
        check(verified.payload == self.stay, "the payload is not what was handed over")
        check(self.verifier.verify(self.minted.token, tenant=TENANT) == verified, "a second look shows something else")
        check(not self.store_file.exists(), "verifying has written to the store")
        stay = verified.payload
        lines = [
            f"accepted: {stay.adults} adults, {stay.property_id}, {stay.check_in} to {stay.check_out}",
            "accepted: the same token once more; nothing has been written anywhere",
        ]
        return Happened(
            lines, {"handoff_id": verified.handoff_id, "payload": stay.model_dump(mode="json", exclude_defaults=True)}
        )

    def redeem(self) -> Happened:
        redemption = self._redeem(self.minted.token, self.browser)
        check(redemption.first, "the first redemption says that it is not the first")
        lines = [f"accepted: for the first time, redemption {short(redemption.redemption_id)}"]
        return Happened(lines, {"first": True, "redemption_id": redemption.redemption_id})

    def same_browser(self) -> Happened:
        self.clock.forward(5)
        redemption = self.redeemer.redeem(self.minted.token, tenant=TENANT, browser_secret=self.browser)
        check(not redemption.first, "the repetition says that it is the first redemption")
        check(redemption.redemption_id == self.redemption_ids[0], "the repetition is another redemption")
        lines = [f"accepted: 5 s later, the same redemption {short(redemption.redemption_id)}, not a second one"]
        return Happened(lines, {"first": False, "redemption_id": redemption.redemption_id})

    def another_browser(self) -> Happened:
        refusal = _refusal(
            ReplayedTokenError,
            lambda: self.redeemer.redeem(self.minted.token, tenant=TENANT, browser_secret=self.other_browser),
        )
        self.refused_ids.append(self.minted.handoff_id)
        lines = [_refused(refusal), f'the guest reads: "{refusal.public_text}"']
        return Happened(lines, {"code": refusal.code, "public_text": refusal.public_text})

    def tampered(self) -> Happened:
        token = self.minter.mint(self.stay, tenant=TENANT).token
        altered = with_nine_adults(token)
        refusal = _refusal(InvalidMACError, lambda: self.verifier.verify(altered, tenant=TENANT))
        check(set(refusal.log_fields) == {"kid"}, "the refusal repeats what an altered token says")
        self.verifier.verify(token, tenant=TENANT)
        return Happened([_refused(refusal), "accepted: the same token, unaltered"], {"code": refusal.code})

    def another_tenant(self) -> Happened:
        token = self.minter.mint(self.stay, tenant=TENANT).token
        refusal = _refusal(WrongTenantError, lambda: self.verifier.verify(token, tenant=OTHER_TENANT))
        self.verifier.verify(token, tenant=TENANT)
        return Happened([_refused(refusal), f"accepted: the same token, at {TENANT}"], {"code": refusal.code})

    def expired(self) -> Happened:
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
        return Happened(lines, {"code": refusal.code, "last_second": last})

    def rotation(self) -> Happened:
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
            check(redemption.first, f"the token of the key `{kid}` was redeemed before")
            lines.append(f"accepted: a token signed by `{kid}`, redemption {short(redemption.redemption_id)}")
        return Happened(lines, {"redeemed_with": ["first", "second"], "states": self._states_by_kid()})

    def revoked_key(self) -> Happened:
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
        return Happened(lines, {"code": refusal.code, "mint_code": nobody.code, "states": self._states_by_kid()})

    def replay_log(self) -> Happened:
        # Read only, and with sqlite3 alone, as anybody on that machine could.
        with closing(sqlite3.connect(f"{self.store_file.as_uri()}?mode=ro", uri=True)) as connection:
            rows = connection.execute(f"{_ROWS} ORDER BY consumed_at, handoff_id").fetchall()
            refused = connection.execute(_REFUSED_ROWS).fetchall()
        # Compared without their order: the last two were redeemed within one second.
        logged = sorted(row[1] for row in rows)
        check(logged == sorted(self.redemption_ids), "the log holds other redemptions than were made")
        check([row[0] for row in refused] == self.refused_ids, "the log holds other refusals than were made")
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
        return Happened(lines, facts)

    def _redeem(self, token: str, browser: bytes) -> Redemption[BookingHandoff]:
        redemption = self.redeemer.redeem(token, tenant=TENANT, browser_secret=browser)
        self.redemption_ids.append(redemption.redemption_id)
        return redemption

    def _mint_with(self, kid: str) -> MintedHandoff[BookingHandoff]:
        minted = self.minter.mint(self.stay, tenant=TENANT)
        check(minted.kid == kid, f"the key `{minted.kid}` signed, not `{kid}`")
        return minted

    def _state(self, kid: str) -> KeyState:
        return self.keys.state(kid, now=from_seconds(self.clock.now))

    def _states_by_kid(self) -> dict[str, str]:
        return {key.kid: self._state(key.kid).value for key in self.keys.keys}

    def _states(self, *expected: str) -> str:
        states = self._states_by_kid()
        shown = ", ".join(f"`{kid}` is {state}" for kid, state in states.items())
        check(tuple(states.values()) == expected, f"the states of the keys are wrong: {shown}")
        return shown


STEPS: Final = (
    Step(
        "A key ring",
        "Both services sign and verify with one ring of secrets, in a file that only its owner can read.",
        'keyfile.save("keys.json", KeyRing.generate())',
        Story.key_ring,
    ),
    Step(
        "Mint",
        f"The consumer site signs what the guest chose, for one hotel ({TENANT}), valid for {LIFETIME} seconds.",
        f'minted = minter.mint(stay, tenant="{TENANT}")',
        Story.mint,
    ),
    Step(
        "Redirect",
        "The token travels as one parameter of a URL, so the two services need no connection for it.",
        f'minted.url("{LANDING}")',
        Story.redirect,
    ),
    Step(
        "Verify",
        "The booking site checks MAC, addressee, times and payload; a link scanner's visit is harmless.",
        f'verifier.verify(token, tenant="{TENANT}")',
        Story.verify,
    ),
    Step(
        "Redeem",
        "One row in the replay log gives the handoff to one browser, known by the secret in its cookie.",
        f'redeemer.redeem(token, tenant="{TENANT}", browser_secret=cookie)',
        Story.redeem,
    ),
    Step(
        "The same browser again",
        "A double click, a refresh or a lost reply must not lock the guest out.",
        f'redeemer.redeem(token, tenant="{TENANT}", browser_secret=cookie)',
        Story.same_browser,
    ),
    Step(
        "Another browser",
        "Whoever else finds the link, in a log or a chat, comes too late.",
        f'redeemer.redeem(token, tenant="{TENANT}", browser_secret=another_cookie)',
        Story.another_browser,
    ),
    Step(
        "A tampered token",
        "Somebody turns 2 adults into 9; without the secret, nobody can make a MAC that matches.",
        f'verifier.verify(altered, tenant="{TENANT}")',
        Story.tampered,
    ),
    Step(
        "A token for another tenant",
        "A token for one hotel opens no booking at another, though both share the service and its keys.",
        f'verifier.verify(token, tenant="{OTHER_TENANT}")',
        Story.another_tenant,
    ),
    Step(
        "An expired token",
        f"Links stay in histories, so they die early: after {LIFETIME} s, plus {LEEWAY} s for clocks that differ.",
        f'redeemer.redeem(token, tenant="{TENANT}")',
        Story.expired,
    ),
    Step(
        "A rotation",
        "A new key reaches every process before it signs, and the old one still verifies: nobody notices.",
        "keys = keys.rotate()",
        Story.rotation,
    ),
    Step(
        "A revoked key",
        "If a secret may have leaked, revoke its key: what it signed is refused; a new key takes over.",
        'keys = keys.revoke("second").rotate(propagation=timedelta(0))',
        Story.revoked_key,
    ),
    Step(
        "Look into the replay log",
        "Operators see which redemption holds which handoff; nothing in the file is a credential.",
        f'sqlite3 replay.db "{_ROWS}"',
        Story.replay_log,
    ),
)


def _table(names: tuple[str, str, str], rows: list[tuple[str, str, int]]) -> list[str]:
    shown = [names, *((handoff_id, short(redemption_id), str(seconds)) for handoff_id, redemption_id, seconds in rows)]
    return [f"  {first:36}  {second:19}  {third}" for first, second, third in shown]


def _refused(refusal: HandoffError) -> str:
    return f"refused: {refusal.code}: {refusal}"


def _refusal(expected: type[HandoffError], call: Callable[[], object]) -> HandoffError:
    """The refusal that `call` ends in, which must be exactly this one."""
    try:
        call()
    except HandoffError as exc:
        check(type(exc) is expected, f"refused with {exc.code}, not {expected.code}: {exc}")
        return exc
    raise SurpriseError(f"it was accepted; it should have been refused with {expected.code}")


def _iso(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"
