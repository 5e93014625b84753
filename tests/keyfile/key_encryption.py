"""A key-encryption key, and the ways to hand it over, for the tests of sealed files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ghasi_handoff._base64url import b64u_encode
from tests.minter_and_verifier import secret

KEK: Final = secret("kek")
PURPOSE: Final = "bff-consumer/bff-tenant-booking"


def private(path: Path, content: str | bytes) -> Path:
    """A file of its owner alone."""
    path.touch(0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def sealing_environments(tmp_path: Path) -> Iterator[dict[str, str]]:
    yield {"GHASI_HANDOFF_KEK": b64u_encode(KEK)}
    yield {"GHASI_HANDOFF_KEK_FILE": str(private(tmp_path / "kek", KEK))}
