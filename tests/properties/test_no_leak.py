"""No error shows a secret, a MAC, a signing string or a token, and before the MAC none says more than the kid."""

from __future__ import annotations

import base64
import json
import re
import traceback
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghasi_handoff import (
    ConfigurationError,
    HandoffError,
    HandoffPayload,
    InvalidHandoffInputError,
    KeyRing,
    KeyRingError,
    Redeemer,
    ReplayStoreError,
    Verifier,
)
from ghasi_handoff.stores.memory import MemoryReplayStore
from ghasi_handoff.testing.strategies import payloads

from . import oracle
from .booking_texts import booking_texts
from .hostile import any_texts, bodies, near_tokens
from .strategies import NOW, SITE, STAY, aware, secret_of, share
from .test_agreement import PLAIN, Config, configs, keyed, plain_bodies
from .test_mint_refuses import forged

BROWSER_SECRET = secret_of("browser")
SECRETS = [SITE.secret, BROWSER_SECRET, secret_of("k"), secret_of("2026-11"), secret_of("2026-11A")]


def spellings(data: bytes) -> set[str]:
    """How bytes may show in a text."""
    ways = [data.hex(), data.hex().upper(), base64.b64encode(data).decode().rstrip("="), oracle.b64u(data)]
    ways += [data.decode("latin-1"), repr(data)[2:-1], repr(bytearray(data))[12:-2], str(list(data))[1:-1]]
    number = str(int.from_bytes(data, "big"))
    return {*ways, number} if len(number) > 40 else {*ways}


SECRET_TEXTS = set().union(*map(spellings, SECRETS))


def forbidden(token: str) -> set[str]:
    """The texts that no error about this token may show: secrets, the token and, if its kid has a key, the right MAC."""
    texts = set(SECRET_TEXTS)
    if len(token) > 60:  # a text that is shorter than any token is no token: part of it may be a kid
        texts |= {token, repr(token)[1:-1]}
    match = re.fullmatch(r"ghasi1\.([A-Za-z0-9_-]{1,32})\.([A-Za-z0-9_-]+)\..*", token, re.ASCII | re.DOTALL)
    if match and len(match[2]) % 4 != 1:
        body = base64.urlsafe_b64decode(match[2] + "=" * (-len(match[2]) % 4))
        string = oracle.signing_string(match[1], body)
        texts |= {string.decode("latin-1"), repr(string)[2:-1]}
        texts |= {body.decode("latin-1"), match[2]} if len(body) > 40 else set()
        for secret in SECRETS:
            texts |= spellings(oracle.mac(secret, string))
    return texts


def everything_said(exc: BaseException) -> str:
    """All that an error, its causes and contexts say, to whomever asks."""
    said = []
    for one in chain(exc):
        said += [str(one), repr(one), repr(one.args), repr(vars(one)), repr(getattr(one, "__notes__", ""))]
        said += [
            repr(getattr(one, name))
            for name in ("object", "doc", "log_fields", "public_text", "code")
            if hasattr(one, name)
        ]
    return "\n".join([*said, *traceback.format_exception(exc)])


def chain(exc: BaseException | None) -> Iterator[BaseException]:
    """The error, its causes and its contexts."""
    if exc is not None:
        yield exc
        yield from chain(exc.__cause__)
        yield from chain(exc.__context__)


def refusal(token: str, config: Config, *, redeem: bool) -> HandoffError | None:
    """The error that ends verify or redeem, if one does."""
    verifier = config.verifier()
    store = MemoryReplayStore(clock=lambda: config.now)
    try:
        if redeem:
            redeemer = Redeemer(verifier, store)
            redeemer.redeem(token, tenant=config.tenant)
            redeemer.redeem(token, tenant=config.tenant, browser_secret=BROWSER_SECRET)
        else:
            verifier.verify(token, tenant=config.tenant)
    except HandoffError as exc:
        return exc
    return None


contents = st.one_of(bodies(booking_texts), plain_bodies())
tokens = st.one_of(keyed(contents), keyed(contents), near_tokens(), any_texts)


@share(3)
@given(token=tokens, config=configs() | st.just(PLAIN), redeem=st.booleans())
def test_no_refusal_tells_a_secret(token: str, config: Config, redeem: bool) -> None:
    """No refusal, nor its cause, shows a secret, the right MAC, the signing string or a whole token."""
    exc = refusal(token, config, redeem=redeem)
    if exc is not None:
        said = everything_said(exc)
        assert [text for text in forbidden(token) if text in said] == []
        assert list(chain(exc)) == [exc]


@share(3)
@given(
    token=st.one_of(tokens, keyed(contents).map(lambda text: text[:-9] + "AAAAAAAAA")),
    config=configs(),
    redeem=st.booleans(),
)
def test_before_the_mac_at_most_the_kid_is_told(token: str, config: Config, redeem: bool) -> None:
    """An error before the MAC has matched has at most the kid in its log_fields, of the right grammar and from the token."""
    exc = refusal(token, config, redeem=redeem)
    if exc is None or authentic(token, config):
        return
    assert exc.code in ("malformed", "unknown_key", "retired_key", "revoked_key", "invalid_mac")
    assert set(exc.log_fields) <= {"kid"}
    for kid in exc.log_fields.values():
        assert re.fullmatch("[A-Za-z0-9_-]{1,32}", kid, re.ASCII)
        assert kid == token.split(".")[1]


def authentic(token: str, config: Config) -> bool:
    """Whether the MAC was right and a usable key's: then the error may say more."""
    if any(
        token == oracle.signed(key["kid"], bytes.fromhex(key["secret_hex"]), body)
        for key in config.keys
        for body in body_in(token)
    ):
        expected, _ = oracle.verdict(config.vector(token))
        return expected not in ("unknown_key", "retired_key", "revoked_key")
    return False


def body_in(token: str) -> list[bytes]:
    """The body of a text with the shape of a token."""
    parts = token.split(".")
    if len(parts) != 4 or not re.fullmatch("[A-Za-z0-9_-]+", parts[2], re.ASCII) or len(parts[2]) % 4 == 1:
        return []
    return [oracle.body_of(token)]


@share(3)
@given(mark=st.text("0123456789abcdef", min_size=12, max_size=12), data=st.data(), redeem=st.booleans())
def test_before_the_mac_nothing_of_the_body_is_told(mark: str, data: st.DataObject, redeem: bool) -> None:
    """If the MAC does not match, the error shows nothing of the body: no tenant, id, time or payload."""
    lines = [
        f"iss-{mark}",
        f"aud-{mark}",
        f"ten-{mark}",
        f"{mark[:8]}-{mark[8:]}-7000-8000-000000000000",
        str(NOW),
        str(NOW + 300),
    ]
    body = "\n".join(lines).encode() + b'\n{"mark":"' + mark.encode() + b'"}'
    right = oracle.signed(SITE.kid, SITE.secret, body)
    wrong = data.draw(st.binary(min_size=32, max_size=32).map(oracle.b64u))
    token = right.rsplit(".", 1)[0] + "." + wrong
    exc = refusal(token, PLAIN, redeem=redeem)
    assert exc is not None
    assert exc.code == "invalid_mac"
    said = everything_said(exc)
    assert [text for text in (mark, mark[:8], str(NOW), str(NOW + 300), wrong) if text in said] == []


@given(bad=st.binary(min_size=1, max_size=80) | st.text())
def test_a_refused_browser_secret_is_not_told(bad: object) -> None:
    """A browser secret of the wrong kind is refused without being shown."""
    redeemer = Redeemer(SITE.verifier(), MemoryReplayStore())
    secret = BROWSER_SECRET + bad if isinstance(bad, bytes) else BROWSER_SECRET.hex() + str(bad)
    with pytest.raises(ConfigurationError) as caught:
        redeemer.redeem("ghasi1", tenant=SITE.tenant, browser_secret=secret)  # type: ignore[arg-type]
    said = everything_said(caught.value)
    assert [text for text in spellings(BROWSER_SECRET) if text in said] == []


@share(2)
@given(first=st.integers(0, 9), times=st.integers(0, 3))
def test_no_refusal_of_a_store_tells_a_secret(first: int, times: int) -> None:
    """Replayed, full or late: the error shows neither a browser's secret nor the token."""
    token = SITE.minter().mint(STAY, tenant=SITE.tenant).token
    clock = iter([NOW] * (2 + first % 3) + [NOW + 1000 * times] * 99)
    verifier = Verifier(SITE.ring, issuer=SITE.issuer, audience=SITE.audience, clock=lambda: next(clock))
    redeemer = Redeemer(verifier, MemoryReplayStore(capacity=1 + first % 2, clock=lambda: NOW))
    others = [SITE.minter().mint(STAY, tenant=SITE.tenant).token for _ in range(2)]
    for text, secret in [(token, BROWSER_SECRET), (token, SITE.secret), *((other, BROWSER_SECRET) for other in others)]:
        try:
            redeemer.redeem(text, tenant=SITE.tenant, browser_secret=secret)
        except (HandoffError, ReplayStoreError) as exc:
            said = everything_said(exc)
            assert [shown for shown in forbidden(text) if shown in said] == []


@share(2)
@given(payload=forged(payloads()))
def test_no_refusal_of_mint_tells_a_secret_or_the_input(payload: HandoffPayload) -> None:
    """A refusal of mint shows no secret, and no other error with the input in it stands behind it."""
    refused: list[BaseException] = []
    try:
        SITE.minter().mint(payload, tenant=SITE.tenant)
    except InvalidHandoffInputError as exc:
        refused = list(chain(exc))
    assert len(refused) < 2
    for error in refused:
        said = everything_said(error)
        assert [text for text in SECRET_TEXTS if text in said] == []


@st.composite
def ring_texts(draw: st.DrawFn) -> str:
    """The JSON of a ring of three keys, damaged in some place."""
    ring = KeyRing(SITE.ring.keys).rotate(kid="k", now=aware(NOW)).rotate(kid="l", now=aware(NOW))
    text = ring.to_json()
    for _ in range(draw(st.integers(1, 3))):
        how = draw(st.sampled_from(["edit", "edit", "cut", "exchange", "member"]))
        if how == "member":
            name = draw(
                st.sampled_from(["kid", "secret", "created_at", "sign_from", "verify_until", "revoked_at", "format"])
            )
            other = draw(
                st.sampled_from(
                    ["null", "1", '""', "[]", '"2026-02-30T00:00:00Z"', '"2026-11-23T09:30:00Z"', '"k"', '"secret"']
                )
            )
            text = re.sub(f'"{name}": ("[^"]*"|null)', f'"{name}": {other}', text, count=1)
        elif how == "exchange":
            one, two = draw(st.permutations(["kid", "secret", "created_at", "sign_from", "format"]))[:2]
            text = text.replace(f'"{one}"', '"\x00"').replace(f'"{two}"', f'"{one}"').replace('"\x00"', f'"{two}"')
        else:
            place = draw(st.integers(0, len(text)))
            end = place + draw(st.sampled_from([0, 1, 1, 2, 40])) if how == "edit" else len(text)
            text = (
                text[:place]
                + draw(st.sampled_from(["", "", '"', "}", "{", ",", "=", "\\", "A", "é", "\ud800", "null"]))
                + text[end:]
            )
    return text


@share(5)
@given(text=st.one_of(ring_texts(), any_texts, st.sampled_from(["[" * 100_000, '{"a":' * 100_000, "1" * 5000, "NaN"])))
def test_no_refusal_of_a_ring_tells_its_secrets(text: str) -> None:
    """Any text gives a ring or a `KeyRingError` that shows no secret of the text."""
    present = set(re.findall("[A-Za-z0-9_-]{43}", text))
    refused: list[BaseException] = []
    try:
        ring = KeyRing.from_json(text)
        assert KeyRing.from_json(ring.to_json()) == ring
    except KeyRingError as exc:
        refused = list(chain(exc))
    assert len(refused) < 2
    for error in refused:
        said = everything_said(error)
        shown = {*SECRET_TEXTS, *present, *(spelling for secret in present for spelling in spellings(decoded(secret)))}
        assert [hidden for hidden in shown if hidden in said] == []


def decoded(text: str) -> bytes:
    """43 characters of base64url as 32 bytes."""
    return base64.urlsafe_b64decode(text + "=")


@share(0.5)
@given(seed=st.integers())
def test_rings_and_keys_show_no_secret(seed: int) -> None:
    """repr, str, format and the state of a ring or key do not show its secret. Only `to_json` and `secret` do."""
    ring = KeyRing.generate(kid="k", now=aware(NOW)).rotate(kid="l", now=aware(NOW + seed % 1000))
    hidden = set().union(*(spellings(key.secret) for key in ring.keys))
    minter = SITE.minter()
    minted = minter.mint(STAY, tenant=SITE.tenant)
    shown = [repr(item) + str(item) + f"{item}" for item in (ring, *ring.keys, minter, SITE.verifier(), minted)]
    shown.append(json.dumps(shown) + repr(ring.keys) + repr(SITE.verifier().verify(minted.token, tenant=SITE.tenant)))
    assert [text for text in hidden | SECRET_TEXTS | {minted.token} if text in "".join(shown)] == []
