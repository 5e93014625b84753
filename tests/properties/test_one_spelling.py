"""One handoff under one key has exactly one accepted text; any other text is refused."""

from __future__ import annotations

import base64
import binascii
import itertools
import string
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ghasi_handoff import HandoffPayload, InvalidTokenError, KeyRing, MintedHandoff, SigningKey, Verifier
from ghasi_handoff._base64url import b64u_decode, b64u_encode

from . import oracle
from .strategies import NOW, SITE, STAY, PayloadT, Site, Words, any_payloads, aware, secret_of, share, sites, words

B64U = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
# All of ASCII, and what some reader takes for a character of the grammar.
ALPHABET = [chr(code) for code in range(128)] + list(
    "\x80\x85\xa0é\u0131\u017f\u200b\u2024\u2028\u212a\ufeff\uff0e\uff11\uff21\uff41\ud800\udfff\U0001f600"
)


def refused(verifier: Verifier[PayloadT], token: str, tenant: str) -> bool:
    """Whether the verifier refuses this text."""
    try:
        verifier.verify(token, tenant=tenant)
    except InvalidTokenError:
        return True
    return False


def crowded_ring() -> KeyRing:
    """Keys whose kids are one character apart, so that a changed kid often names another key."""
    kids = ["2026-11a", "2026-11b", "026-11a", "2026-1a", "2026-11aa", "2026-11A", "ghasi1", "2026-11"]
    keys = [
        SigningKey(kid=kid, secret=secret_of(kid), created_at=aware(0), sign_from=aware(NOW - position))
        for position, kid in enumerate(kids)
    ]
    return KeyRing(keys)


@pytest.mark.parametrize("length", [0, 1, 2])
def test_every_change_of_one_character_is_refused(length: int) -> None:
    """Change, insert or delete one character, anywhere, to anything: no such text verifies (each residue of the body's length)."""
    minted = SITE_OF_ALL.minter().mint(Words(text="a" * length), tenant="tn_aurora")
    verifier = Verifier(crowded_ring(), issuer="i", audience="a", payload_type=Words, clock=lambda: NOW)
    token = minted.token
    assert minted.kid == "2026-11a"
    assert not refused(verifier, token, "tn_aurora")
    accepted = []
    for place in range(len(token) + 1):
        before, here, after = token[:place], token[place : place + 1], token[place + 1 :]
        changed = [before + other + after for other in ALPHABET if here and other != here]
        inserted = [before + other + here + after for other in ALPHABET]
        deleted = [before + after] if here else []
        accepted += [text for text in (*changed, *inserted, *deleted) if not refused(verifier, text, "tn_aurora")]
    assert accepted == []


SITE_OF_ALL = replace(SITE, secret=secret_of("2026-11a"), issuer="i", audience="a")


@share(2)
@given(site=sites, payload=any_payloads, data=st.data())
def test_any_edit_is_refused(site: Site, payload: HandoffPayload, data: st.DataObject) -> None:
    """A token in which a stretch of up to eight characters is replaced by any text does not verify."""
    token = site.minter().mint(payload, tenant=site.tenant).token
    start = data.draw(st.integers(0, len(token)))
    end = start + data.draw(st.integers(0, 8))
    edited = token[:start] + data.draw(st.text(max_size=3) | st.text(B64U + ".", max_size=9)) + token[end:]
    assume(edited != token)
    assert refused(site.verifier_of(type(payload)), edited, site.tenant)


@st.composite
def respelled(draw: st.DrawFn, text: str) -> str:
    """Base64 text in another spelling that lenient decoders read as the same bytes."""
    unused = 0 if len(text) % 4 == 0 else 16 if len(text) % 4 == 2 else 4
    ways = ["pad", "more padding", "alphabet", "break", "escape", "bits"]
    way = draw(st.sampled_from(ways if unused else ways[:-1]))
    if way == "pad":
        return text + "=" * (-len(text) % 4 or draw(st.integers(1, 4)))
    if way == "more padding":
        return text + "=" * draw(st.integers(1, 9))
    if way == "alphabet":
        return text.replace("-", "+").replace("_", "/")
    place = draw(st.integers(0, len(text)))
    if way == "break":
        return (
            text[:place] + draw(st.sampled_from(["\n", "\r\n", " ", "\t", "\x00", "=", "\u200b", "!"])) + text[place:]
        )
    if way == "escape":
        return (
            text[:place]
            + "".join(f"%{ord(character):02x}" for character in text[place : place + 1])
            + text[place + 1 :]
        )
    last = B64U.index(text[-1])
    return text[:-1] + B64U[last - last % unused + draw(st.integers(1, unused - 1))]


@share(3)
@given(site=sites, text=words, data=st.data())
def test_other_spellings_of_base64_are_refused(site: Site, text: str, data: st.DataObject) -> None:
    """Padding, the other alphabet, unused bits, white space and escapes make no second spelling of body or MAC."""
    token = site.minter().mint(Words(text=text), tenant=site.tenant).token
    version, kid, body, mac = token.split(".")
    respell_body, respell_mac = data.draw(st.sampled_from([(True, False), (False, True), (True, True)]))
    body = data.draw(respelled(body)) if respell_body else body
    mac = data.draw(respelled(mac)) if respell_mac else mac
    other = ".".join((version, kid, body, mac))
    assume(other != token)
    assert refused(site.verifier_of(Words), other, site.tenant)


def test_unused_bits_make_no_second_spelling() -> None:
    """Each other setting of the last characters' unused bits is refused, for body and MAC."""
    for length in range(3):
        token = SITE.minter().mint(Words(text="a" * length), tenant=SITE.tenant).token
        version, kid, body, mac = token.split(".")
        verifier = SITE.verifier_of(Words)
        for bodies, macs in itertools.product(same_bytes(body), same_bytes(mac)):
            text = ".".join((version, kid, bodies, macs))
            assert refused(verifier, text, SITE.tenant) is (text != token)


def same_bytes(text: str) -> list[str]:
    """The texts that a decoder that ignores unused bits reads as the same bytes."""
    padding = "=" * (-len(text) % 4)
    meant = base64.urlsafe_b64decode(text + padding)
    return [text[:-1] + last for last in B64U if base64.urlsafe_b64decode(text[:-1] + last + padding) == meant]


@given(site=sites, data=st.data())
def test_parts_in_another_place_are_refused(site: Site, data: st.DataObject) -> None:
    """Parts exchanged, left out, doubled, or joined from two tokens do not verify."""
    one, other = (site.minter().mint(STAY, tenant=site.tenant).token for _ in range(2))
    pool = [*one.split("."), *other.split(".")]
    chosen = data.draw(
        st.one_of(
            st.permutations(pool[:4]),
            st.lists(st.sampled_from(pool), min_size=3, max_size=6),
            st.sampled_from([[one, one], [one, ""], ["", one], [one, other], [one, *pool[:4]]]),
        )
    )
    text = data.draw(st.sampled_from([".", ".", ".", "..", "", "\n"])).join(chosen)
    assume(text not in (one, other))
    assert refused(site.verifier(), text, site.tenant)


@given(site=sites, prefix=words, suffix=words)
def test_nothing_may_surround_a_token(site: Site, prefix: str, suffix: str) -> None:
    """A token with anything before or after it does not verify."""
    token = site.minter().mint(STAY, tenant=site.tenant).token
    assume(prefix + suffix)
    assert refused(site.verifier(), prefix + token + suffix, site.tenant)


@given(site=sites, change=st.sampled_from([str.upper, str.lower, str.swapcase, str.title]))
def test_case_is_kept(site: Site, change: Callable[[str], str]) -> None:
    """A token in another case does not verify."""
    minted: MintedHandoff = site.minter().mint(STAY, tenant=site.tenant)
    text = change(minted.token)
    assume(text != minted.token)
    assert refused(site.verifier(), text, site.tenant)


@given(site=sites, seed=st.integers(0, 2**32))
def test_another_secret_makes_no_valid_token(site: Site, seed: int) -> None:
    """A token that one key signed does not verify under another secret of the same kid."""
    token = site.minter().mint(STAY, tenant=site.tenant).token
    other = replace(site, secret=secret_of(("other", seed)))
    assert refused(other.verifier(), token, site.tenant)


@given(site=sites, body=st.binary(min_size=1, max_size=300), mac=st.binary(min_size=32, max_size=32))
def test_a_guessed_mac_is_refused(site: Site, body: bytes, mac: bytes) -> None:
    """A body with any MAC that is not its own does not verify."""
    assume(mac != oracle.mac(site.secret, oracle.signing_string(site.kid, body)))
    with pytest.raises(InvalidTokenError) as caught:
        site.verifier().verify(f"ghasi1.{site.kid}.{oracle.b64u(body)}.{oracle.b64u(mac)}", tenant=site.tenant)
    assert caught.value.code == "invalid_mac"


@share(3)
@given(data=st.binary(max_size=100))
def test_base64url_is_that_of_the_standard_library(data: bytes) -> None:
    """Encoding gives what the standard library gives, and decoding gives the bytes back."""
    assert b64u_encode(data) == oracle.b64u(data)
    assert b64u_decode(oracle.b64u(data)) == data


@share(5)
@given(text=st.one_of(st.text(B64U, max_size=9), st.text(B64U + "+/= \n", max_size=12), st.text(max_size=9)))
def test_base64url_has_one_spelling(text: str) -> None:
    """A text decodes exactly when it is what encoding gives for some bytes."""
    try:
        read = base64.urlsafe_b64decode(text.encode("utf-8", "surrogatepass") + b"=" * (-len(text) % 4))
    except binascii.Error:
        read = None
    expected = read if read is not None and oracle.b64u(read) == text else None
    assert b64u_decode(text) == expected
