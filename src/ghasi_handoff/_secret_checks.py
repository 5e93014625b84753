"""secret -> why it cannot be one. Refuses what gets here by mistake, not what is merely weak."""

from __future__ import annotations

from ghasi_handoff._limits import MIN_SECRET_BYTES


def secret_problem(secret: object) -> str:
    """Why `secret` cannot be a secret, or nothing. Refuses what gets here by mistake, not what is merely weak.

    A random secret of 32 bytes is refused with a probability below 2^-35 (tests/test_secret_checks.py counts it).
    """
    if type(secret) is not bytes:
        return f"its secret must be bytes, not {type(secret).__name__}"
    if len(secret) < MIN_SECRET_BYTES:
        return f"its secret has {len(secret)} bytes; at least {MIN_SECRET_BYTES} are needed"
    if secret == secret[:1] * len(secret):
        return "its secret is one byte, repeated"
    if is_printable(secret):
        return (
            "its secret is printable text (hex, base64, a pass-phrase, PEM, JWK?); decode it, or generate a random one"
        )
    return ""


def is_printable(data: bytes) -> bool:
    """Whether this is text, and so no random bytes: of 32 of those it is so with a probability below 2^-35."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character in "\t\n\r" for character in text)
