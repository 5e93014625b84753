"""When the guest goes on: after bff-consumer has confirmed, or before."""

from __future__ import annotations

from typing import Literal, TypeAlias

from ghasi_handoff.errors import ConfigurationError

Mode: TypeAlias = Literal["strict", "deferred"]


def require_mode(mode: object) -> None:
    """Refuse any other mode with a `ConfigurationError`."""
    if mode not in ("strict", "deferred"):
        raise ConfigurationError('mode must be "strict" or "deferred"')
