"""mint, url, the signing string and verify: no I/O, one thread. A round is twenty calls.

The yardsticks are the least that somebody could write with the standard library: JSON, HMAC, base64. They check
neither times nor addressee, and have no payload class.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
import uuid
from typing import Any, Final

import pytest

from benchmarks.measured import Benchmark, measure
from ghasi_handoff import BookingHandoff, InvalidMACError, Minter, Verifier, signing_string

TENANT: Final = "tn_aurora"
SIDES: Final = {"issuer": "bff-consumer", "audience": "bff-tenant-booking"}
URL: Final = "https://aurora.example/handoff"
SIZE: Final = {"rounds": 600, "calls": 20}
SECRET: Final = b"\x5a" * 32


def bare_mint(facts: dict[str, Any]) -> str:
    """A signed text of the facts."""
    now = int(time.time())
    claims = {**SIDES, "tenant": TENANT, "id": str(uuid.uuid4()), "issued": now, "expires": now + 300, "booking": facts}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode())
    return f"{body.decode()}.{hmac.digest(SECRET, body, 'sha256').hex()}"


def bare_verify(token: str) -> dict[str, Any]:
    """The facts of a signed text."""
    body, _, mac = token.partition(".")
    if not hmac.compare_digest(mac, hmac.digest(SECRET, body.encode(), "sha256").hex()):
        raise ValueError("mac")
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(body))
    return claims


@pytest.fixture(scope="module")
def facts(stay: BookingHandoff) -> dict[str, Any]:
    """The booking as the yardsticks have it; they work."""
    found = stay.model_dump(mode="json")
    assert bare_verify(bare_mint(found))["booking"] == found
    return found


@pytest.mark.benchmark(group="mint, 20 calls", disable_gc=True)
class TestMint:
    """The work of bff-consumer for each redirect. The yardstick makes a signed text of a dict."""

    def test_mint(
        self, benchmark: Benchmark, minter: Minter, verifier: Verifier, stay: BookingHandoff, facts: dict[str, Any]
    ) -> None:
        """A booking to a token."""
        assert verifier.verify(minter.mint(stay, tenant=TENANT).token, tenant=TENANT).payload == stay
        measure(benchmark, lambda: minter.mint(stay, tenant=TENANT), lambda: bare_mint(facts), **SIZE)

    def test_url(self, benchmark: Benchmark, minter: Minter, stay: BookingHandoff, facts: dict[str, Any]) -> None:
        """A minted token to the URL of the redirect."""
        minted = minter.mint(stay, tenant=TENANT)
        assert minted.url(URL) == f"{URL}?handoff={minted.token}"
        measure(benchmark, lambda: minted.url(URL), lambda: bare_mint(facts), **SIZE)

    def test_signing_string(
        self, benchmark: Benchmark, minter: Minter, stay: BookingHandoff, facts: dict[str, Any]
    ) -> None:
        """The bytes under the MAC, from parts that are checked."""
        minted = minter.mint(stay, tenant=TENANT)
        canonical = stay.model_dump_json(exclude_defaults=True)
        parts: dict[str, Any] = {
            "kid": minted.kid,
            **SIDES,
            "tenant": TENANT,
            "handoff_id": minted.handoff_id,
            "issued_at": int(minted.issued_at.timestamp()),
            "expires_at": int(minted.expires_at.timestamp()),
            "payload": json.dumps(json.loads(canonical), sort_keys=True, separators=(",", ":")).encode(),
        }
        body = base64.urlsafe_b64decode(minted.token.split(".")[2] + "===")
        assert signing_string(**parts).endswith(body)
        measure(benchmark, lambda: signing_string(**parts), lambda: bare_mint(facts), **SIZE)


@pytest.mark.benchmark(group="verify, 20 calls", disable_gc=True)
class TestVerify:
    """The work of bff-tenant-booking before it asks a store. The yardstick reads a signed text into a dict."""

    def test_good(
        self, benchmark: Benchmark, minter: Minter, verifier: Verifier, stay: BookingHandoff, facts: dict[str, Any]
    ) -> None:
        """A good token to a verified handoff."""
        token, bare = minter.mint(stay, tenant=TENANT).token, bare_mint(facts)
        assert verifier.verify(token, tenant=TENANT).payload == stay
        measure(benchmark, lambda: verifier.verify(token, tenant=TENANT), lambda: bare_verify(bare), **SIZE)

    def test_forged(
        self, benchmark: Benchmark, minter: Minter, verifier: Verifier, stay: BookingHandoff, facts: dict[str, Any]
    ) -> None:
        """A token under another's MAC to `InvalidMACError`: what a flood of forgeries costs."""
        first, second = (minter.mint(stay, tenant=TENANT).token for _ in range(2))
        forged, bare = f"{first.rpartition('.')[0]}.{second.rpartition('.')[2]}", bare_mint(facts)

        def refuse() -> bool:
            try:
                verifier.verify(forged, tenant=TENANT)
            except InvalidMACError:
                return True
            return False

        assert refuse()
        measure(benchmark, refuse, lambda: bare_verify(bare), **SIZE)
