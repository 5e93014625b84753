"""Two verifiers that share no code give every token the same verdict."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

from ghasi_handoff import BookingHandoff, InvalidTokenError, KeyRing, SigningKey, Verifier
from ghasi_handoff.testing.strategies import key_rings

from . import oracle
from .booking_texts import booking_texts, right_texts
from .hostile import any_texts, bodies, near_tokens
from .strategies import LAST_READING, NOW, SITE, STAY, aware, free_bits, names, readings, secret_of, share

STAY_TEXT = oracle.canonical_json(oracle.json_value(STAY))


@dataclass(frozen=True)
class Config:
    """All that a verifier knows, in the words of a test vector."""

    keys: tuple[dict[str, Any], ...]
    tenant: str = SITE.tenant
    leeway: int = 10
    max_lifetime: int = 600
    now: float = NOW

    @property
    def ring(self) -> KeyRing:
        """The keys as the library has them."""
        return KeyRing(
            [
                SigningKey(
                    kid=key["kid"],
                    secret=bytes.fromhex(key["secret_hex"]),
                    created_at=aware(0),
                    sign_from=aware(key["sign_from"]),
                    verify_until=None if key["verify_until"] is None else aware(key["verify_until"]),
                    revoked_at=None if key["revoked_at"] is None else aware(key["revoked_at"]),
                )
                for key in self.keys
            ]
        )

    def verifier(self) -> Verifier:
        """The library's verifier, so configured."""
        return Verifier(
            self.ring,
            issuer=SITE.issuer,
            audience=SITE.audience,
            leeway=timedelta(seconds=self.leeway),
            max_lifetime=timedelta(seconds=self.max_lifetime),
            clock=lambda: self.now,
        )

    def vector(self, token: str) -> dict[str, Any]:
        """The token and the configuration as a test vector has them."""
        return {
            "token": token,
            "tenant": self.tenant,
            "keys": list(self.keys),
            "issuer": SITE.issuer,
            "audience": SITE.audience,
            "leeway": self.leeway,
            "max_lifetime": self.max_lifetime,
            "now": self.now,
        }


SITE_KEY = {
    "kid": SITE.kid,
    "secret_hex": SITE.secret.hex(),
    "sign_from": NOW,
    "verify_until": None,
    "revoked_at": None,
}
PLAIN = Config((SITE_KEY,))


@st.composite
def rings(draw: st.DrawFn) -> tuple[dict[str, Any], ...]:
    """One to five keys around the present, in each state, under kids and secrets that the tokens tried have."""
    ring = draw(key_rings(now=aware(NOW)))
    kids = draw(st.permutations([SITE.kid, "k", "2026-11A", "2026-11", "2026-11b"]))
    keys: list[dict[str, Any]] = [
        {
            "kid": kid,
            "secret_hex": secret_for(kid).hex(),
            "sign_from": int(key.sign_from.timestamp()),
            "verify_until": None if key.verify_until is None else int(key.verify_until.timestamp()),
            "revoked_at": None if key.revoked_at is None else int(key.revoked_at.timestamp()),
        }
        for kid, key in zip(kids, ring.keys, strict=False)
    ]
    if SITE.kid not in kids[: len(keys)] and draw(st.integers(0, 3)) > 0:  # mostly a ring that has the site's key
        keys[0] |= {"kid": SITE.kid, "secret_hex": SITE.secret.hex()}
    return tuple(keys)


def secret_for(kid: str) -> bytes:
    """The secret of a kid, in every ring."""
    return SITE.secret if kid == SITE.kid else secret_of(kid)


@st.composite
def configs(draw: st.DrawFn) -> Config:
    """Any configuration around the present."""
    offset = draw(st.sampled_from([0, -1, -10, -11, 309, 310, 311, 59, 60]) | st.integers(-4000, 8000))
    return Config(
        keys=draw(rings()),
        tenant=draw(st.sampled_from(["TN_AURORA", "", "tn_aurora\n"]) | names | any_texts)
        if draw(st.integers(0, 5)) == 0
        else SITE.tenant,
        leeway=draw(st.sampled_from([0, 1, 10, 60]) | st.integers(0, 60)),
        max_lifetime=draw(st.sampled_from([1, 299, 300, 600, 3600]) | st.integers(1, 3600)),
        now=NOW + offset + draw(st.sampled_from([0, 0, 0.5, 0.9375])),
    )


def compare(token: str, config: Config) -> str:
    """Ask both; they must say the same, and where they accept, tell the same facts. Returns what they said."""
    expected, facts = oracle.verdict(config.vector(token))
    verifier = config.verifier()
    said, verified = "accepted", None
    try:
        verified = verifier.verify(token, tenant=config.tenant)
    except InvalidTokenError as exc:
        said = exc.code
    assert said == expected
    if verified is None:
        return said
    assert verified.handoff_id == facts["handoff_id"]
    assert verified.issued_at == aware(facts["issued_at"])
    assert verified.expires_at == aware(facts["expires_at"])
    assert oracle.json_value(verified.payload) == facts["payload"]
    assert (verified.tenant, verified.issuer, verified.audience) == (config.tenant, SITE.issuer, SITE.audience)
    assert type(verified.payload) is BookingHandoff
    return said


def signed(body: bytes) -> str:
    """A token of any body with a valid MAC."""
    return oracle.signed(SITE.kid, SITE.secret, body)


@st.composite
def keyed(draw: st.DrawFn, contents: st.SearchStrategy[bytes]) -> str:
    """A token under the site's key, another key, the wrong key, or one that no ring has."""
    kid, secret = draw(
        st.sampled_from(
            [(SITE.kid, SITE.secret)] * 6
            + [
                ("k", secret_of("k")),
                ("2026-11", secret_of("2026-11")),
                (SITE.kid, secret_of("k")),
                ("none", SITE.secret),
            ]
        )
    )
    return oracle.signed(kid, secret, draw(contents))


@st.composite
def plain_bodies(draw: st.DrawFn) -> bytes:
    """A body that is right but for its times, maybe."""
    issued_at = NOW + draw(st.sampled_from([0, 10, 11, -309, -310, 60, 61]) | st.integers(-4000, 4000))
    expires_at = issued_at + draw(st.sampled_from([1, 300, 600, 601, 3600, 3601]) | st.integers(-10, 3700))
    handoff_id = oracle.handoff_id(issued_at * 1000 + draw(st.integers(0, 999)), draw(free_bits))
    lines = (SITE.issuer, SITE.audience, SITE.tenant, handoff_id, str(issued_at), str(expires_at))
    return "\n".join(lines).encode() + b"\n" + STAY_TEXT


@st.composite
def addressed_bodies(draw: st.DrawFn) -> bytes:
    """A body that is right but for its addressee, maybe."""
    others = ["bff-other", "tn_other", SITE.issuer, SITE.audience, SITE.tenant]
    right = (SITE.issuer, SITE.audience, SITE.tenant)
    lines = [draw(st.sampled_from([name] * 5 + others)) for name in right]
    lines += [oracle.handoff_id(NOW * 1000, draw(free_bits)), str(NOW), str(NOW + 300)]
    return "\n".join(lines).encode() + b"\n" + STAY_TEXT


def with_payload(payload: bytes) -> str:
    """A token that is right but for its payload, maybe."""
    lines = (SITE.issuer, SITE.audience, SITE.tenant, oracle.handoff_id(NOW * 1000, 1), str(NOW), str(NOW + 300))
    return signed("\n".join(lines).encode() + b"\n" + payload)


@share(5)
@given(body=bodies(st.just(STAY_TEXT)) | addressed_bodies())
def test_bodies(body: bytes) -> None:
    """The verdicts agree for any text in the lines of the body."""
    compare(signed(body), PLAIN)


@share(4)
@given(payload=booking_texts)
def test_payloads(payload: bytes) -> None:
    """The verdicts agree for any payload."""
    compare(with_payload(payload), PLAIN)


@share(5)
@given(token=keyed(plain_bodies()), config=configs())
def test_configurations(token: str, config: Config) -> None:
    """The verdicts agree for any clock, leeway, max lifetime, tenant and states of the keys."""
    compare(token, config)


@share(3)
@given(
    token=keyed(st.one_of(bodies(booking_texts), bodies(right_texts), plain_bodies())),
    config=configs(),
    data=st.data(),
)
def test_everything_at_once(token: str, config: Config, data: st.DataObject) -> None:
    """If several things are wrong with token and configuration, both verifiers report the same one."""
    for _ in range(data.draw(st.sampled_from([0, 0, 0, 1, 2]))):
        place = data.draw(st.integers(0, len(token)))
        token = token[:place] + data.draw(st.sampled_from([*"ABab019-_.=+/ \n", "", "é"])) + token[place + 1 :]
    compare(token, config)


@share(3)
@given(token=st.one_of(any_texts, near_tokens()), config=configs())
def test_texts(token: str, config: Config) -> None:
    """The verdicts agree for any text."""
    compare(token, config)


@given(reading=readings, lifetime=st.integers(1, 600), offset=st.integers(-20, 20) | st.integers(280, 700))
def test_all_of_time(reading: float, lifetime: int, offset: int) -> None:
    """From 1970 to the year 9999 the verdicts agree."""
    issued_at = math.floor(reading)
    now = reading + offset
    if not 0 <= now <= LAST_READING:
        return
    lines = (SITE.issuer, SITE.audience, SITE.tenant, oracle.handoff_id(issued_at * 1000, 5), str(issued_at))
    body = "\n".join(lines).encode() + f"\n{issued_at + lifetime}\n".encode() + STAY_TEXT
    compare(signed(body), Config(({**SITE_KEY, "sign_from": 0},), now=now))


def test_the_inputs_tried_reach_every_verdict() -> None:
    """The comparison is not one of refusals alone: each verdict comes up, and acceptance often."""
    seen: dict[str, int] = {}
    plain = st.just(PLAIN)
    tried = [
        (bodies(st.just(STAY_TEXT)).map(signed), plain),
        (booking_texts.map(with_payload), plain),
        (addressed_bodies().map(signed), plain),
        (keyed(plain_bodies()), plain),
        (plain_bodies().map(signed), configs()),
    ]
    always_the_same = settings(max_examples=60, derandomize=True, database=None, phases=[Phase.generate])
    for tokens, some_configs in tried:

        @always_the_same
        @given(token=tokens, config=some_configs)
        def collect(token: str, config: Config) -> None:
            said = compare(token, config)
            seen[said] = seen.get(said, 0) + 1

        collect()
    assert seen["accepted"] >= 20
    every = st.one_of(*(st.tuples(tokens, some_configs) for tokens, some_configs in tried))
    for verdict in (
        *("malformed", "unknown_key", "revoked_key", "retired_key", "invalid_mac", "wrong_issuer", "wrong_audience"),
        *("wrong_tenant", "lifetime_too_long", "not_yet_valid", "expired", "invalid_payload"),
    ):
        if verdict not in seen:  # a rare one, which 60 examples may miss
            find(every, lambda both: compare(*both) == verdict, settings=settings(always_the_same, max_examples=5000))  # noqa: B023
