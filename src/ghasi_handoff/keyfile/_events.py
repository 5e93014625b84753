"""What happened to a key file -> a frozen object without secrets, in the shape of the handshake's events."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar, Final, TypeAlias

_logger: Final = logging.getLogger("ghasi_handoff")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRingEvent:
    """Something that happened to a watched key file.

    Attributes:
        source: The file's path, or the name of the function that loads the ring.
    """

    name: ClassVar[str] = "key_ring"
    level: ClassVar[int] = logging.INFO

    source: str

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields, for structured logs."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def message(self) -> str:
        """The log's message: what happened, and what to do."""
        return f"{self.name}: {self.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRingReloaded(KeyRingEvent):
    """Another ring is in use from now on.

    Attributes:
        kids: Its keys, in the order of ``sign_from``.
        added: Keys that the ring before did not have.
        removed: Keys that only the ring before had.
        revoked: Keys that are revoked now, and were not before.
    """

    name: ClassVar[str] = "key_ring_reloaded"

    kids: tuple[str, ...]
    added: tuple[str, ...]
    removed: tuple[str, ...]
    revoked: tuple[str, ...]

    @property
    def message(self) -> str:
        changes = [("added", self.added), ("removed", self.removed), ("revoked", self.revoked)]
        said = "; ".join(f"{what} {', '.join(kids)}" for what, kids in changes if kids)
        return f"{self.name}: {self.source}: {said or 'dates changed'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRingReloadFailed(KeyRingEvent):
    """The file is gone or cannot be used; the last good ring stays in use. Reported at each try until one succeeds.

    Attributes:
        reason: Why, and what to do.
        since_seconds: How long ago a try succeeded.
    """

    name: ClassVar[str] = "key_ring_reload_failed"
    level: ClassVar[int] = logging.ERROR

    reason: str
    since_seconds: int

    @property
    def message(self) -> str:
        return f"{self.name}: {self.reason}; the last good ring stays in use, read {self.since_seconds} s ago"


OnKeyRingEvent: TypeAlias = Callable[[KeyRingEvent], None]


def report(event: KeyRingEvent, on_event: OnKeyRingEvent | None) -> None:
    """Log `event` and hand it to the hook. What the hook, or a log handler, raises goes no further."""
    extra = {f"handoff_{name}": value for name, value in event.log_fields.items()}
    # Whatever it is, SystemExit too: keys must go on being read though a counter or a log handler is broken.
    with contextlib.suppress(BaseException):
        _logger.log(event.level, "%s", event.message, extra={"handoff_event": event.name, **extra})
    if on_event is not None:
        try:
            on_event(event)
        except BaseException:
            with contextlib.suppress(BaseException):
                _logger.exception("the event hook failed")
