"""A collaborator of the wrong kind, asyncio or not, is refused when a service starts."""

from __future__ import annotations

import inspect
from typing import Any

from ghasi_handoff.errors import ConfigurationError


def require(part: object, method: str, *, awaited: bool, name: str, kind: str) -> Any:
    """Return the part; `ConfigurationError` unless it has the method, and that is async where the caller awaits it."""
    call = getattr(part, method, None)
    if not callable(call) or inspect.iscoroutinefunction(call) is not awaited:
        raise ConfigurationError(f"the {name} must be {kind}; {type(part).__name__} is not")
    return part


def require_callables(**functions: object) -> None:
    """Raise `ConfigurationError` for the first that cannot be called."""
    for name, function in functions.items():
        if not callable(function):
            raise ConfigurationError(f"{name} must be a callable, not {type(function).__name__}")
