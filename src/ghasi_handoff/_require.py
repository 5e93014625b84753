"""A collaborator of the wrong kind, asyncio or not, is refused when a service starts."""

from __future__ import annotations

import inspect
from typing import Any

from ghasi_handoff.errors import ConfigurationError


def require(part: object, method: str, *, awaited: bool, name: str, kind: str) -> Any:
    """Return the part, or refuse it if its method is not of the wanted kind, async or not.

    Args:
        part: What was handed over.
        method: The method that will be called.
        awaited: Whether the caller awaits it.
        name: What the argument is, for the message.
        kind: What it must be, for the message.

    Raises:
        ConfigurationError: It has no such method, or one of the other kind.
    """
    call = getattr(part, method, None)
    if not callable(call) or inspect.iscoroutinefunction(call) is not awaited:
        raise ConfigurationError(f"the {name} must be {kind}; {type(part).__name__} is not")
    return part
