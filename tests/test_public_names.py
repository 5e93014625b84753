"""The public names: code written against the design's section 7 runs unchanged; importing stays light; every test says what it promises."""

from __future__ import annotations

import ast
import asyncio
from datetime import date, timedelta
from pathlib import Path
from types import ModuleType
from typing import get_type_hints

import pytest

import ghasi_handoff
from ghasi_handoff import (
    AsyncRedeemer,
    BookingHandoff,
    HandoffError,
    KeyRing,
    Minter,
    Redeemer,
    SigningKey,
    Verifier,
    handshake,
    keyfile,
    signing_string,
    testing,
)
from ghasi_handoff.stores.memory import AsyncMemoryReplayStore, MemoryReplayStore
from ghasi_handoff.stores.sqlite import AsyncSQLiteReplayStore, SQLiteReplayStore
from tests.fresh_interpreter import modules_after
from tests.minter_and_verifier import NOW, at, secret

PROMISED = [
    "BookingHandoff",
    "HandoffPayload",
    "KeyRing",
    "SigningKey",
    "Minter",
    "MintedHandoff",
    "Verifier",
    "VerifiedHandoff",
    "Redeemer",
    "AsyncRedeemer",
    "Redemption",
    "ReplayStore",
    "AsyncReplayStore",
    "Consumption",
    "signing_string",
    "HandoffError",
]
ROOT = Path(__file__).parent.parent


def test_promised_names_stand_in_the_top_package() -> None:
    """Each name of the design is there, and the list is sorted for its readers."""
    assert set(PROMISED) <= set(ghasi_handoff.__all__)
    assert all(hasattr(ghasi_handoff, name) for name in ghasi_handoff.__all__)
    assert len(ghasi_handoff.__all__) == len(set(ghasi_handoff.__all__))


def test_the_designs_code_runs_unchanged(tmp_path: Path) -> None:
    """Section 7, line by line."""
    keys = KeyRing.generate(kid=None, now=None)
    path = tmp_path / "keys.json"
    keyfile.save(path, keys)
    keys = keyfile.load(path)
    minter = Minter(keys, issuer="bff-consumer", audience="bff-tenant-booking")
    stay = BookingHandoff(property_id="htl_0042", check_in=date(2026, 12, 24), check_out=date(2026, 12, 27), adults=2)
    minted = minter.mint(stay, tenant="tn_aurora")
    assert all(
        (
            minted.token,
            minted.handoff_id,
            minted.tenant,
            minted.payload,
            minted.kid,
            minted.issued_at,
            minted.expires_at,
        )
    )
    assert minted.url("https://aurora.example/handoff", param="handoff").endswith(minted.token)

    verifier = Verifier(keys, issuer="bff-consumer", audience="bff-tenant-booking")
    verified = verifier.verify(minted.token, tenant="tn_aurora")
    assert (verified.payload, verified.handoff_id, verified.tenant, verified.kid) == (
        stay,
        minted.handoff_id,
        "tn_aurora",
        minted.kid,
    )
    store = SQLiteReplayStore(str(tmp_path / "replay.db"))
    redeemer = Redeemer(verifier, store)
    redemption = redeemer.redeem(minted.token, tenant="tn_aurora", browser_secret=secret("browser"))
    assert redemption.handoff == verified
    assert redemption.first
    assert len(redemption.redemption_id) == 64
    assert redemption.redeemed_at.tzinfo is not None
    with pytest.raises(HandoffError) as caught:
        redeemer.redeem(minted.token, tenant="tn_aurora")
    assert (caught.value.code, set(caught.value.log_fields)) == ("replayed", {"handoff_id", "tenant", "kid"})
    assert caught.value.public_text
    store.close()
    assert signing_string(
        kid=minted.kid,
        issuer="bff-consumer",
        audience="bff-tenant-booking",
        tenant=minted.tenant,
        handoff_id=minted.handoff_id,
        issued_at=int(minted.issued_at.timestamp()),
        expires_at=int(minted.expires_at.timestamp()),
        payload=b'{"adults":2,"check_in":"2026-12-24","check_out":"2026-12-27","property_id":"htl_0042"}',
    ).startswith(b"ghasi-handoff/v1\n")


def test_the_designs_constructors_take_what_it_says(tmp_path: Path) -> None:
    """Keys, rings, stores and the async redeemer, with the parameters that the design names."""
    signing_key = SigningKey(
        kid="k", secret=secret(), created_at=at(NOW), sign_from=at(NOW), verify_until=None, revoked_at=None
    )
    ring = KeyRing([signing_key])
    ring = ring.rotate(kid=None, now=None, propagation=timedelta(minutes=15)).revoke("k", now=None).prune(now=None)
    assert KeyRing.from_json(ring.to_json()) == ring
    minter = Minter(
        lambda: KeyRing([signing_key]), issuer="a", audience="b", lifetime=timedelta(minutes=5), clock=lambda: NOW
    )
    verifier = Verifier(
        lambda: KeyRing([signing_key]), issuer="a", audience="b", payload_type=BookingHandoff, leeway=timedelta(seconds=10),
        max_lifetime=timedelta(minutes=10), clock=lambda: NOW,
    )  # fmt: skip
    stay = BookingHandoff.from_input(
        {"property_id": "x", "check_in": "2026-12-24", "check_out": "2026-12-27", "adults": 2}
    )
    token = minter.mint(stay, tenant="t").token
    MemoryReplayStore(capacity=5)
    SQLiteReplayStore(tmp_path / "a.db", outbox=True).close()

    async def redeem() -> bool:
        async with (
            AsyncSQLiteReplayStore(tmp_path / "b.db", outbox=False) as store,
            AsyncMemoryReplayStore(capacity=5) as other,
        ):
            first = await AsyncRedeemer(verifier, store).redeem(token, tenant="t", browser_secret=b"1" * 32)
            again = await AsyncRedeemer(verifier, other).redeem(token, tenant="t")
            return first.first and again.first

    assert asyncio.run(redeem())


@pytest.mark.parametrize(
    ("module", "not_loaded"),
    [
        (
            "ghasi_handoff",
            {
                "sqlite3",
                "asyncio",
                "click",
                "fastapi",
                "psycopg",
                "redis",
                "multiprocessing",
                "ssl",
                "logging",
                "pytest",
            },
        ),
        ("ghasi_handoff.handshake", {"httpx2", "psycopg"}),
        ("ghasi_handoff.testing", {"httpx2", "starlette", "fastapi", "pytest", "hypothesis"}),
        ("ghasi_handoff.testing._browser", {"fastapi", "pytest"}),
        ("ghasi_handoff.demo.steps", {"pytest", "hypothesis"}),
        ("ghasi_handoff.landing", {"anyio", "fastapi", "starlette", "psycopg", "httpx2"}),
    ],
)
def test_an_import_is_light(module: str, not_loaded: set[str]) -> None:
    """No driver, no framework, no command line: a service pays for what it uses."""
    assert modules_after(f"import {module}") & not_loaded == set()


@pytest.mark.parametrize(
    ("package", "names", "loaded"),
    [
        (handshake, "ConsumeClient, PostgresHandoffLog", {"httpx2", "psycopg"}),
        (testing, "HandoffBrowser", {"httpx2", "starlette"}),
        (testing, "ReplayStoreConformance", {"pytest"}),
    ],
)
def test_a_driver_comes_with_the_name_that_needs_it(package: ModuleType, names: str, loaded: set[str]) -> None:
    """HTTP client, PostgreSQL driver, framework and pytest. A name that is not there is no import."""
    assert modules_after(f"from {package.__name__} import {names}") >= loaded
    with pytest.raises(AttributeError):
        package.nonsense  # noqa: B018


@pytest.mark.parametrize(
    ("package", "name"), [(package, name) for package in (handshake, testing) for name in sorted(package.__all__)]
)
def test_public_names_of_a_package_are_documented(package: ModuleType, name: str) -> None:
    """Each is there and has a docstring."""
    assert (getattr(package, name).__doc__ or "").strip()


@pytest.mark.parametrize("name", sorted(set(ghasi_handoff.__all__) - {"__version__"}))
def test_public_names_are_documented(name: str) -> None:
    """Each has a docstring, and annotations that resolve."""
    thing = getattr(ghasi_handoff, name)
    assert (thing.__doc__ or "").strip()
    get_type_hints(thing)


def test_every_test_states_its_promise() -> None:
    """One promise a test, in its docstring."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert silent == []
