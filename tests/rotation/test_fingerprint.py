"""Fingerprints of rings: what two services may compare, and what tells nothing of a secret."""

from __future__ import annotations

import dataclasses
import hmac
import json
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from ghasi_handoff import KeyRing, KeyRingError, SigningKey, signing_string
from ghasi_handoff.handshake import consume_signing_string
from ghasi_handoff.rotation import Fingerprint, fingerprint
from tests.minter_and_verifier import NOW, at, key, secret


def test_the_hash_is_a_mac_of_the_kid_by_the_secret(ring: KeyRing) -> None:
    """Counted anew with the standard library: who has the secret can check it, and nobody else."""
    for made, true in zip(fingerprint(ring, at(NOW)).keys, ring.keys, strict=True):
        message = f"ghasi-fingerprint/v1\nHMAC-SHA256\n{true.kid}".encode()
        assert made.hash == hmac.new(true.secret, message, "sha256").hexdigest()[:32]


def test_no_token_or_call_has_the_hash_as_its_mac() -> None:
    """The first lines differ, so a hash that is shown never helps to sign: no string of the three formats is another's."""
    issued_at = 0x01A207BDAABA // 1000
    names = {"issuer": "i", "audience": "a", "handoff_id": "01a207bd-aaba-7c3a-9f12-5b6e0d4a8c71"}
    token = signing_string(kid="k", tenant="t", issued_at=issued_at, expires_at=issued_at + 300, payload=b"{}", **names)
    call = consume_signing_string(kid="k", redemption_id="0" * 64, consumed_at=1, sent_at=1, **names)
    firsts = {token.split(b"\n")[0], call.split(b"\n")[0], b"ghasi-fingerprint/v1"}
    assert len(firsts) == 3


def test_a_fingerprint_says_states_and_dates(ring: KeyRing) -> None:
    """Kids, states and dates are those of the ring at that time, in its order."""
    made = fingerprint(ring, at(NOW))
    assert made.at == at(NOW)
    assert [one.kid for one in made.keys] == [one.kid for one in ring.keys]
    for said, true in zip(made.keys, ring.keys, strict=True):
        assert said.state is ring.state(true.kid, at(NOW))
        dates = ("created_at", "sign_from", "verify_until", "revoked_at")
        assert [getattr(said, name) for name in dates] == [getattr(true, name) for name in dates]


def test_equal_rings_have_equal_fingerprints_and_others_do_not(ring: KeyRing) -> None:
    """The line to read out is equal for a copy at any time, and differs with any change that `KeyRing` can make."""
    here = fingerprint(ring, at(NOW)).ring
    assert here == fingerprint(KeyRing.from_json(ring.to_json()), at(NOW + 5)).ring
    changed = [ring.revoke("active"), ring.prune(at(NOW)), ring.rotate(now=at(NOW + 1000)), KeyRing([key("active")])]
    assert here not in {fingerprint(one, at(NOW)).ring for one in changed}
    assert len(here) == 19


def test_another_secret_of_the_same_name_is_another_hash() -> None:
    """The same kid and dates with another secret: that is what the hash is for."""
    one = key("a")
    other = SigningKey(kid="a", secret=secret("b"), created_at=one.created_at, sign_from=one.sign_from)
    assert fingerprint(KeyRing([one])).keys[0].hash != fingerprint(KeyRing([other])).keys[0].hash


def test_json_carries_a_fingerprint(ring: KeyRing) -> None:
    """What is written is read, to the last date; members that a later release adds are left out."""
    last_use = {"active": at(NOW - 5), "pending": datetime(2026, 11, 23, 10, tzinfo=timezone(timedelta(hours=1)))}
    made = fingerprint(ring, at(NOW), last_use=last_use)
    assert Fingerprint.from_json(made.to_json()) == made
    document = json.loads(made.to_json())
    document["more"] = document["keys"][0]["more"] = 1
    assert Fingerprint.from_json(json.dumps(document)) == made


def changed(**members: object) -> str:
    document = json.loads(fingerprint(KeyRing([key("a")]), at(NOW)).to_json())
    in_key = {name: value for name, value in members.items() if name in document["keys"][0]}
    document["keys"][0].update(in_key)
    document.update({name: value for name, value in members.items() if name not in in_key})
    return json.dumps(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        " " * 300_000 + "{}",
        changed(format="ghasi-handoff-fingerprint/v2"),
        changed(keys={}),
        changed(keys=[None]),
        changed(at=None),
        changed(at=5),
        changed(kid="a b"),
        changed(kid=5),
        changed(state="asleep"),
        changed(state=["active"]),
        changed(hash="0" * 31),
        changed(hash="Z" * 32),
        changed(hash=5),
        changed(sign_from=None),
        changed(sign_from="2026-02-30T00:00:00Z"),
        changed(verify_until="tomorrow"),
        5,
    ],
    ids=lambda text: str(text)[-60:],
)
def test_what_is_no_fingerprint_is_refused(text: Any) -> None:
    """Whatever another machine sends ends in a fingerprint or in this error."""
    with pytest.raises(KeyRingError, match="not a fingerprint"):
        Fingerprint.from_json(text)


def test_a_fingerprint_is_of_a_ring() -> None:
    """Not of a callable that gives one: which of its rings would it be of?"""
    with pytest.raises(KeyRingError, match="of a KeyRing, not of function"):
        fingerprint(lambda: KeyRing.generate())  # type: ignore[arg-type]


def test_values_are_frozen(ring: KeyRing) -> None:
    """What was found stays as it was found."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        fingerprint(ring).at = at(0)  # type: ignore[misc]


def test_a_key_file_is_not_taken_for_a_fingerprint() -> None:
    """Who sends a key file where its fingerprint is asked for is told how to make one; nothing of the file is repeated."""
    with pytest.raises(KeyRingError, match="this is a key file.*keys fingerprint") as caught:
        Fingerprint.from_json(KeyRing([key("old")]).to_json())
    assert "old" not in str(caught.value)
