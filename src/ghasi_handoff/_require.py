"""Collaborators that an application hands over: of the wrong kind, or raising what is no error of this library."""

from __future__ import annotations

import inspect
from typing import Any

from ghasi_handoff.errors import ConfigurationError, HandoffError


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


class Wrapped:
    """While it is entered, what a store or log of the application's own raises becomes an error of this library.

    Its callers handle a store in doubt, and no errors of drivers that they have never heard of. The cause is kept.
    Cancellation and Ctrl-C pass.
    """

    __slots__ = ("_error", "_facts", "_name")

    def __init__(self, name: str, error: type[HandoffError], **facts: str) -> None:
        self._name = name
        self._error = error
        self._facts = facts

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, raised: BaseException | None, traceback: object) -> None:
        if isinstance(raised, Exception) and not isinstance(raised, HandoffError):
            # The type only: what it says may hold a password, or the entry.
            raise self._error(f"the {self._name} raised {type(raised).__name__}", **self._facts) from raised
