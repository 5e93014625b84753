"""What happened -> a frozen object without secrets -> the logger ``ghasi_handoff``, and the application's hook."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import ClassVar, Final, TypeAlias, TypeVar

from typing_extensions import override

from ghasi_handoff.errors import ConfigurationError, HandoffError

_logger: Final = logging.getLogger("ghasi_handoff")
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffEvent:
    """Something that an operator may want to count, or be woken for. No field is a secret, a MAC or a token.

    Attributes:
        handoff_id: The handoff, as far as it is authentic.
        tenant: The hotel, as far as it is known.
        kid: The key that signed, once its grammar has been checked.
    """

    name: ClassVar[str] = "handoff"
    level: ClassVar[int] = logging.INFO

    handoff_id: str | None = None
    tenant: str | None = None
    kid: str | None = None

    def __init_subclass__(cls, *, name: str | None = None, level: int | None = None) -> None:
        cls.name = cls.name if name is None else name
        cls.level = cls.level if level is None else level

    @property
    def message(self) -> str:
        """The log's message: the event's name."""
        return self.name

    @property
    def log_fields(self) -> dict[str, object]:
        """The fields that have a value, for structured logs."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionEvent(HandoffEvent):
    """What became of one redemption.

    Attributes:
        redemption_id: Who redeemed, or tried.
    """

    redemption_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffRedeemed(RedemptionEvent, name="redeemed"):
    """A guest was let through.

    Attributes:
        first: Whether it was the first call of this browser, as far as the store could say.
        mode: ``strict`` or ``deferred``.
    """

    first: bool
    mode: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffRefused(HandoffEvent, name="refused"):
    """A token was refused, for another reason than a replay.

    Attributes:
        code: The error's code.
        reason: The error's text, for operators.
    """

    code: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffReplayed(RedemptionEvent, name="replayed", level=logging.WARNING):
    """A second browser tried a handoff that belongs to another.

    Attributes:
        holder: Who has it.
        gap_seconds: How long after the redemption. A scanner comes within seconds, a shared link after minutes.
    """

    holder: str
    gap_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRowLost(RedemptionEvent, name="local_row_lost", level=logging.CRITICAL):
    """The replay store gave the handoff to this browser, and bff-consumer's log names another: the store has lost rows.

    Attributes:
        deferred: Whether the guest had been let through already: then the handoff has two owners.
    """

    deferred: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RedemptionAbandoned(RedemptionEvent, name="redemption_abandoned", level=logging.WARNING):
    """In strict mode the outbox had to deliver: the guest's own request did not live to do it, nor a repetition of it.

    Attributes:
        age_seconds: How long ago.
    """

    age_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HandoffUnknown(RedemptionEvent, name="unknown_handoff", level=logging.ERROR):
    """bff-consumer's log does not have the handoff: a lagging replica, a lost row, or two environments mixed up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfirmationFailed(RedemptionEvent, name="confirmation_unavailable", level=logging.ERROR):
    """bff-consumer could not be reached, or its answer is not a final one.

    Attributes:
        reason: In one word; see `ConfirmationUnavailableError`.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryRefused(RedemptionEvent, name="delivery_refused", level=logging.WARNING):
    """bff-consumer refused what the outbox delivered: revoked there, or redeemed too late. The entry is settled.

    Attributes:
        code: ``revoked_handoff`` or ``expired``.
    """

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryGivenUp(RedemptionEvent, name="delivery_given_up", level=logging.CRITICAL):
    """An outbox entry could not be delivered for a day. It is kept; `ghasi-handoff outbox drain --dead` tries again.

    Attributes:
        age_seconds: How long ago.
        reason: What came of the last try.
    """

    age_seconds: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxAge(HandoffEvent, name="outbox_age", level=logging.DEBUG):
    """How much waits in the outbox. A running worker reports it about every half minute.

    Attributes:
        pending: Entries still to be delivered.
        dead: Entries given up.
        age_seconds: Since the oldest pending entry's redemption; 0 if none is pending.
    """

    pending: int
    dead: int
    age_seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CallAnswered(HandoffEvent, name="consume_call"):
    """At bff-consumer: a consume call was answered.

    Attributes:
        status: The HTTP status.
        code: The problem's code; None with a 200.
        reason: For a 401, why; outsiders are not told.
        redemption_id: Who redeemed, as far as the call is authentic.
    """

    status: int
    code: str | None = None
    reason: str | None = None
    redemption_id: str | None = None


# A warning: the reference must be found in the log of a service that has set up none.
@dataclass(frozen=True, slots=True, kw_only=True)
class PageRefused(HandoffEvent, name="page_refused", level=logging.WARNING):
    """A guest was shown a page that says no, or not now. Support finds it by the reference that the guest reads out.

    Attributes:
        reference: Eight characters.
        code: The error's code, or ``cross_origin``, ``framed``, ``forged_cookie``, ``no_cookie``, ``unknown_tenant``.
        status: The HTTP status.
    """

    reference: str
    code: str
    status: int

    @property
    @override
    def message(self) -> str:
        """The name, the reference and the code: the reference must also be found in a log without structure."""
        return f"{self.name} {self.reference} {self.code}"


OnEvent: TypeAlias = Callable[[HandoffEvent], None]


class Reporter:
    """Logs events and hands them to the application's hook, whose errors are logged and go no further."""

    def __init__(self, on_event: OnEvent | None) -> None:
        if on_event is not None and not callable(on_event):
            raise ConfigurationError(f"on_event must be a callable, not {type(on_event).__name__}")
        if inspect.iscoroutinefunction(on_event):
            raise ConfigurationError("on_event must be a plain function, not a coroutine function: it is not awaited")
        self._on_event = on_event

    def warn(self, exc: Exception) -> None:
        """Log an error that ends nothing."""
        if isinstance(exc, HandoffError):
            _logger.warning("%s: %s", exc.code, exc, extra={"handoff_event": "worker_failed", "handoff_code": exc.code})
        else:
            _logger.error("worker_failed", exc_info=exc, extra={"handoff_event": "worker_failed"})

    def report(self, event: HandoffEvent) -> None:
        """Log `event` and hand it to the hook."""
        extra = {f"handoff_{name}" if name != "handoff_id" else name: v for name, v in event.log_fields.items()}
        _logger.log(event.level, "%s", event.message, extra={"handoff_event": event.name, **extra})
        hook = self._on_event
        if hook is not None:
            harmless("the event hook", lambda: hook(event))


def harmless(what: str, work: Callable[[], _T]) -> _T | None:
    """What `work` returns; None if it raises, and the error is logged. Only for work that decides nothing."""
    try:
        return work()
    except Exception:  # any error: a guest must not be refused because a counter is broken
        _logger.exception("%s failed", what)
        return None
