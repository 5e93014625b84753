"""The mistakes that people make with keys, one by one: each is an error with its place, and with what to do."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from ghasi_handoff import KeyRing, KeyRingError, Minter, keyfile
from ghasi_handoff.keyfile import LocalKeyEncryptionKey
from tests.minter_and_verifier import AUDIENCE, ISSUER, NOW, STAY, TENANT, at, key, secret

KEK: Final = LocalKeyEncryptionKey(secret("kek"))


def ring_text() -> str:
    return KeyRing([key("2026-11")]).to_json()


def with_secret(data: bytes) -> str:
    """A key file whose secret somebody pasted from somewhere else."""
    document: dict[str, Any] = json.loads(ring_text())
    document["keys"][0]["secret"] = base64.urlsafe_b64encode(data).decode().rstrip("=")
    return json.dumps(document)


def with_keys(keys: list[Any]) -> str:
    return json.dumps({**json.loads(ring_text()), "keys": keys})


def sealed(tmp_path: Path, *, kek: LocalKeyEncryptionKey = KEK, purpose: str = "prod") -> str:
    path = tmp_path / "sealed.json"
    keyfile.save(path, KeyRing([key("2026-11")]), kek=kek, purpose=purpose)
    return path.read_text()


@dataclass
class Mistake:
    """What is in the file, whether a key-encryption key is given, and words that the error must have."""

    content: Callable[[Path], str]
    words: tuple[str, ...]
    sealed: bool = False
    mode: int = 0o600


TWICE: Final = json.loads(ring_text())["keys"] * 2
PEM: Final = b"-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIBkg0123456789\n-----END EC PRIVATE KEY-----\n"
SSH: Final = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ4v0yqXz5uYzS3hD8l8bQ ops@ghasi"
JWK: Final = (
    b'{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}'
)
DECODE: Final = ("key 2026-11", "printable text", "decode it, or generate a random one")

MISTAKES: Final = {
    "truncated": Mistake(lambda _: ring_text()[:200], ("not JSON", "Take it from its source again")),
    "wrong key-encryption key": Mistake(
        lambda tmp_path: sealed(tmp_path, kek=LocalKeyEncryptionKey(secret("other"))),
        ("another key-encryption key", "is it the key of this environment?"),
        sealed=True,
    ),
    "swapped associated data": Mistake(
        lambda tmp_path: sealed(tmp_path, purpose="staging").replace('"staging"', '"prod"'),
        ("another key-encryption key, or has been altered", "is it the key of this environment?"),
        sealed=True,
    ),
    "sealed for another purpose": Mistake(
        lambda tmp_path: sealed(tmp_path, purpose="staging"),
        ("another purpose than prod", "is it this environment's file?"),
        sealed=True,
    ),
    "future version": Mistake(lambda _: ring_text().replace("keys/v1", "keys/v2"), ("ghasi-handoff-keys/v1", "update ghasi-handoff")),
    "future sealed version": Mistake(
        lambda tmp_path: sealed(tmp_path).replace("keys/v1", "keys/v2"), ("library knows", "sealed-keys/v1", "update ghasi-handoff"), sealed=True
    ),
    "world-readable": Mistake(
        lambda _: ring_text(), ("others than its owner", "mode 0644", "chmod 600", "defaultMode 0400", "rotate"), mode=0o644
    ),
    "duplicate kid": Mistake(lambda _: with_keys(TWICE), ("key 2026-11", "two keys have this kid", "from its source again")),
    "PEM": Mistake(lambda _: with_secret(PEM), DECODE),
    "SSH": Mistake(lambda _: with_secret(SSH), DECODE),
    "JWK": Mistake(lambda _: with_secret(JWK), DECODE),
    "hex": Mistake(lambda _: with_secret(secret("a").hex().encode()), DECODE),
    "base64": Mistake(lambda _: with_secret(base64.b64encode(secret("a"))), DECODE),
    "pass-phrase": Mistake(lambda _: with_secret(b"correct horse battery staple, and then some more"), DECODE),
    "short": Mistake(lambda _: with_secret(secret("a")[:31]), ("31 bytes", "at least 32 are needed")),
    "empty ring": Mistake(lambda _: with_keys([]), ("at least one key", "keys init")),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_is_an_error_that_says_what_to_do(tmp_path: Path, name: str) -> None:
    """The file is refused with its path, what is wrong, and the way out; nothing that is in it is quoted."""
    mistake = MISTAKES[name]
    path = tmp_path / "keys.json"
    path.write_text(mistake.content(tmp_path))
    path.chmod(mistake.mode)
    with pytest.raises(KeyRingError) as caught:
        keyfile.load(path, kek=KEK if mistake.sealed else None, purpose="prod")
    message = str(caught.value)
    assert message.startswith(f"key file {path}: ")
    for words in mistake.words:
        assert words in message
    assert not any(word in message for word in ("MHcCAQEE", "AAAAC3Nz", "AyM1SysP", "correct horse", secret("a").hex()))


def test_a_ring_that_cannot_sign_says_why_when_it_should() -> None:
    """Verifiers need such a ring, so it loads; minting with it says which key is revoked, or that none has begun."""
    revoked = KeyRing([key("2026-11")]).revoke("2026-11")
    future = KeyRing([key("2026-11", NOW + 60)])
    for ring, words in (
        (revoked, "key 2026-11 is revoked.*rotate the ring"),
        (future, "lies ahead; check the clock, or wait"),
    ):
        loaded = KeyRing.from_json(ring.to_json())
        with pytest.raises(KeyRingError, match=f"no key can sign.*{words}"):
            Minter(loaded, issuer=ISSUER, audience=AUDIENCE, clock=lambda: NOW).mint(STAY, tenant=TENANT)
        assert loaded.state("2026-11", at(NOW)).value in ("revoked", "pending")
