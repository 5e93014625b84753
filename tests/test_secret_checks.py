"""Values that may not be a secret. A random secret is never refused."""

from __future__ import annotations

import base64
import secrets
from fractions import Fraction
from typing import Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from ghasi_handoff._secret_checks import secret_problem
from tests.minter_and_verifier import secret

PRIVATE_KEY: Final = ed25519.Ed25519PrivateKey.generate()
TEXT_SECRETS: Final = {
    "hex": secret().hex().encode(),
    "base64": base64.b64encode(secret()),
    "base64url": base64.urlsafe_b64encode(secret()),
    "pass-phrase": b"correct horse battery staple and some more",
    "pass-phrase with newline": b"correct horse battery staple and some more\r\n",
    "Arabic pass-phrase": "\u0643\u0644\u0645\u0629 \u0633\u0631 \u0637\u0648\u064a\u0644\u0629 \u062c\u062f\u0627\u064b".encode(),
    "pem": PRIVATE_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
    "ssh": PRIVATE_KEY.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    "ssh public": PRIVATE_KEY.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH),
    "jwk": b'{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75"}',
}


@pytest.mark.parametrize("length", [0, 1, 16, 31])
def test_a_secret_has_at_least_32_bytes(length: int) -> None:
    """A short secret is an error when it is loaded, not a warning."""
    assert "at least 32" in secret_problem(secret()[:length])


@pytest.mark.parametrize("wrong", [None, "x" * 32, bytearray(32), memoryview(secret()), 5])
def test_a_secret_is_bytes(wrong: object) -> None:
    """Text has several encodings, and a bytearray can change: only bytes are a secret."""
    assert "must be bytes" in secret_problem(wrong)


@pytest.mark.parametrize("byte", [0, 1, 127, 255])
def test_one_repeated_byte_is_no_secret(byte: int) -> None:
    """A zeroed buffer and its like are refused."""
    assert "one byte, repeated" in secret_problem(bytes([byte]) * 32)


@pytest.mark.parametrize("form", TEXT_SECRETS)
def test_text_is_no_secret(form: str) -> None:
    """Hex, base64, a pass-phrase in any script, PEM, SSH and JWK are refused: their bytes were meant to be decoded."""
    assert "printable text" in secret_problem(TEXT_SECRETS[form])


def test_random_secrets_are_accepted() -> None:
    """No gate stands in the way of a random secret, of any length."""
    for length in (32, 33, 48, 64, 65, 200):
        for _ in range(200):
            assert secret_problem(secrets.token_bytes(length)) == ""


def test_the_text_gate_refuses_a_random_secret_hardly_ever() -> None:
    """Counted, not sampled: fewer than one in 2^35 random secrets of 32 bytes is printable UTF-8."""
    printable = [0, 0, 0, 0, 0]  # characters the gate takes for text, by their length in UTF-8
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        character = chr(code)
        if character.isprintable() or character in "\t\n\r":
            printable[len(character.encode())] += 1
    texts = [1] + [0] * 32  # texts[n]: byte strings of length n that are such text
    for length in range(1, 33):
        texts[length] = sum(printable[size] * texts[length - size] for size in range(1, min(4, length) + 1))
    assert Fraction(texts[32], 256**32) < Fraction(1, 2**35)
