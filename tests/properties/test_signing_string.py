"""parts -> the bytes that the MAC covers: injective, and exactly these."""

from __future__ import annotations

import base64
from typing import TypedDict

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ghasi_handoff import HandoffPayload, InvalidHandoffInputError, signing_string

from . import oracle
from .strategies import Site, any_payloads, free_bits, kids, names, sites
from .test_canonical_json import canonical_texts


class Parts(TypedDict):
    """The arguments of `signing_string`."""

    kid: str
    issuer: str
    audience: str
    tenant: str
    handoff_id: str
    issued_at: int
    expires_at: int
    payload: bytes


@st.composite
def parts(draw: st.DrawFn) -> Parts:
    """Arguments that are taken."""
    issued_at = draw(
        st.one_of(st.sampled_from([0, 9, 10, oracle.MAX_SECONDS - 1]), st.integers(0, oracle.MAX_SECONDS - 1))
    )
    return Parts(
        kid=draw(kids),
        issuer=draw(names),
        audience=draw(names),
        tenant=draw(names),
        handoff_id=oracle.handoff_id(issued_at * 1000 + draw(st.integers(0, 999)), draw(free_bits)),
        issued_at=issued_at,
        expires_at=draw(st.integers(issued_at + 1, oracle.MAX_SECONDS)),
        payload=draw(canonical_texts.filter(lambda data: len(data) <= 2048)),
    )


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[Parts, Parts]:
    """Two sets of arguments: one field differs, or characters have moved over a boundary, or all is drawn anew."""
    one, other = draw(parts()), draw(parts())
    fields = draw(st.sets(st.sampled_from(["kid", "issuer", "audience", "tenant", "payload", "expires_at", "times"])))
    second = one.copy()
    if "kid" in fields:
        second["kid"] = other["kid"]
    if "issuer" in fields:
        joined = one["issuer"] + one["audience"]
        cut = draw(st.integers(1, len(joined) - 1))
        assume(cut <= 64 and len(joined) - cut <= 64)
        second["issuer"], second["audience"] = joined[:cut], joined[cut:]
    if "audience" in fields:
        second["audience"], second["tenant"] = second["tenant"], second["audience"]
    if "tenant" in fields:
        second["tenant"] = other["tenant"]
    if "payload" in fields:
        second["payload"] = other["payload"]
    if "expires_at" in fields:
        second["expires_at"] = max(second["issued_at"] + 1, other["expires_at"])
    if "times" in fields:
        second["handoff_id"], second["issued_at"] = other["handoff_id"], other["issued_at"]
        second["expires_at"] = max(second["issued_at"] + 1, second["expires_at"])
    return one, second


@given(pair=neighbours())
def test_different_parts_give_different_strings(pair: tuple[Parts, Parts]) -> None:
    """Two sets of arguments give one string exactly when they are the same."""
    one, other = pair
    assert (signing_string(**one) == signing_string(**other)) is (one == other)


@given(given_parts=parts())
def test_first_nine_lfs_give_the_parts_back(given_parts: Parts) -> None:
    """There is a left inverse: splitting at the first nine LFs recovers every argument."""
    lines = signing_string(**given_parts).split(b"\n", 9)
    assert lines[:2] == [b"ghasi-handoff/v1", b"HMAC-SHA256"]
    kid, issuer, audience, tenant, handoff_id, issued_at, expires_at = (line.decode("ascii") for line in lines[2:9])
    recovered = Parts(
        kid=kid,
        issuer=issuer,
        audience=audience,
        tenant=tenant,
        handoff_id=handoff_id,
        issued_at=int(issued_at),
        expires_at=int(expires_at),
        payload=lines[9],
    )
    assert recovered == given_parts


@given(site=sites, payload=any_payloads)
def test_mac_covers_exactly_the_signing_string(site: Site, payload: HandoffPayload) -> None:
    """A token's MAC is the HMAC-SHA256, by the standard library, of `signing_string` of what was minted."""
    minted = site.minter().mint(payload, tenant=site.tenant)
    string = signing_string(
        kid=minted.kid,
        issuer=site.issuer,
        audience=site.audience,
        tenant=minted.tenant,
        handoff_id=minted.handoff_id,
        issued_at=int(minted.issued_at.timestamp()),
        expires_at=int(minted.expires_at.timestamp()),
        payload=oracle.canonical_json(oracle.json_value(payload)),
    )
    version, kid, body_text, mac_text = minted.token.split(".")
    assert (version, kid) == ("ghasi1", site.kid)
    assert mac_text == oracle.b64u(oracle.mac(site.secret, string))
    body = base64.urlsafe_b64decode(body_text + "=" * (-len(body_text) % 4))
    assert string == oracle.signing_string(kid, body)


_wrong_names = st.sampled_from(
    ["", "a" * 65, "a\n", "\na", "a b", "é", "a\x00", "\uff41", None, b"a", 1, ["a"], "a\nb"]
)
_wrong = {
    "kid": st.sampled_from(["", "k" * 33, "k\n", "k.k", "k/k", "é", None, b"k", 1]),
    "issuer": _wrong_names,
    "audience": _wrong_names,
    "tenant": _wrong_names,
    "handoff_id": st.sampled_from(
        [
            *("", None, 7, b"0", "0" * 36, "{}", "\n", "00000000-0000-4000-8000-000000000000"),
            *("00000000-0000-7000-c000-000000000000", "00000000-0000-7000-8000-000000000000\n"),
            "ffffffff-ffff-7000-8000-00000000000F",
        ]
    ),
    "issued_at": st.sampled_from([-1, 1.0, True, None, "1", oracle.MAX_SECONDS + 1, 10**400, float("nan")]),
    "expires_at": st.sampled_from([-1, 0, 1.0, True, None, "1", oracle.MAX_SECONDS + 1, 10**400, float("nan")]),
    "payload": st.sampled_from(
        [
            b"",
            b"[]",
            b"{} ",
            b"{}\n",
            b'{"a":null}',
            b'{"a":1.0}',
            b'{"b":1,"a":1}',
            b"\xff",
            "{}",
            None,
            bytearray(b"{}"),
        ]
    ),
}


@given(given_parts=parts(), data=st.data(), name=st.sampled_from(sorted(_wrong)))
def test_what_is_outside_the_grammar_has_no_signing_string(given_parts: Parts, data: st.DataObject, name: str) -> None:
    """An argument outside the grammar is refused as input, not written into the string."""
    wrong = {**given_parts, name: data.draw(_wrong[name])}
    with pytest.raises(InvalidHandoffInputError):
        signing_string(**wrong)  # type: ignore[arg-type]
