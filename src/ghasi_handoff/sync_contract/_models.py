"""Contract, entry, finding, matrix: frozen, camelCase in JSON, as the platform's TypeScript; and the one error."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel
from typing_extensions import override

NOT_STATED: Final = "not stated"

_Text = Annotated[str, Field(min_length=1)]
_Number = Annotated[int, Field(ge=1)]


class UnreadableError(Exception):
    """A registry or contract that cannot be read with certainty, so that nothing can be said about it.

    Not a `HandoffError`: this room stands apart from the handoff, and imports nothing of it.

    Attributes:
        file: The path as it was given.
        line: From 1.
        column: From 1, in characters.
        reason: What could not be read, and what would be.
    """

    def __init__(self, file: str, line: int, reason: str, *, column: int = 1) -> None:
        super().__init__(file, line, reason, column)
        self.file = file
        self.line = line
        self.column = column
        self.reason = reason

    @override
    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class _Value(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
    )

    def to_json(self) -> dict[str, object]:
        """This value as a JSON object, with the platform's names."""
        return self.model_dump(mode="json", by_alias=True)


class OwnedAggregate(_Value):
    """One aggregate of a service, and what the desktop has to do with it.

    Attributes:
        name: As the platform writes it.
        replicated: Whether the desktop's SQLite holds it.
        conflict_policy: ``n/a`` where nothing is replicated.
        reason: Why it is not replicated.
        retention: How long it is kept, or ``not stated``.
    """

    name: _Text
    replicated: bool
    conflict_policy: _Text
    reason: _Text
    retention: _Text = NOT_STATED


class FutureCandidate(_Value):
    """What may be synchronised one day, deferred, and never with the desktop.

    Attributes:
        name: What would be synchronised.
        trigger: What it waits for.
        conflict_policy: The policy that it would have.
        ordered_by: The member that the policy goes by, or ``not stated``.
        between: The two sides, and through what.
        design: The path of its design, or ``not stated``.
    """

    name: _Text
    trigger: _Text
    conflict_policy: _Text
    ordered_by: _Text = NOT_STATED
    between: _Text
    design: _Text = NOT_STATED


class SyncContract(_Value):
    """What a service's aggregates have to do with the desktop.

    Attributes:
        service_name: As the registry would write it.
        aggregates: All that the service owns.
        reasons: Why the service is out of the desktop's scope.
        future_candidates: Deferred.
    """

    service_name: _Text
    aggregates: tuple[OwnedAggregate, ...]
    reasons: tuple[_Text, ...]
    future_candidates: tuple[FutureCandidate, ...]

    @property
    def replicated_aggregates(self) -> tuple[OwnedAggregate, ...]:
        """Those of its aggregates that the desktop holds."""
        return tuple(aggregate for aggregate in self.aggregates if aggregate.replicated)

    def to_markdown(self) -> str:
        """Its aggregates, the reasons and the future candidates."""
        owned = [
            (f"`{one.name}`", "Yes" if one.replicated else "No", one.conflict_policy, one.reason, one.retention)
            for one in self.aggregates
        ]
        future = [
            (one.name, one.trigger, one.conflict_policy, one.ordered_by, one.between, one.design)
            for one in self.future_candidates
        ]
        parts = [
            _table(
                "Aggregate owned", "Replicated to desktop SQLite?", "Conflict policy", "Reason", "Retention", rows=owned
            ),
            f"Why `{self.service_name}` is out of scope:",
            "\n".join(f"{number}. {reason}" for number, reason in enumerate(self.reasons, 1)),
            "Future candidates, deferred:",
            _table("Candidate", "Trigger", "Conflict policy", "By", "Between", "Design", rows=future),
        ]
        return "\n\n".join(parts)


class Place(_Value):
    """Where something stands: a path as it was given, a line and a column, both from 1, the column in characters."""

    file: str
    line: _Number
    column: _Number = 1


class RegistryEntry(_Value):
    """One entry of a sync registry.

    Attributes:
        service_name: Printable ASCII without blanks.
        aggregate: Printable ASCII without blanks.
        scope: The text, or what is written there, if that is no text.
        conflict_policy: As `scope`.
        service_at: Where the service's name stands.
        aggregate_at: Where the aggregate's name stands.
    """

    service_name: _Text
    aggregate: _Text
    scope: str
    conflict_policy: str
    service_at: Place
    aggregate_at: Place


class Finding(_Value):
    """Something of bff-consumer-service that the desktop would get.

    Attributes:
        rule: ``bff-consumer-aggregate``, ``bff-consumer-name`` or ``bff-consumer-service``.
        service_name: The entry's service.
        aggregate: The entry's aggregate.
        reason: Why it must not be there.
        at: Where it is.
    """

    rule: str
    service_name: str
    aggregate: str
    reason: str
    at: Place


class ContractRow(_Value):
    """One row of a ``SYNC_CONTRACT.md``.

    Attributes:
        aggregate: Its name.
        replicated: Whether the desktop's SQLite holds it.
        conflict_policy: A word of the vocabulary.
        notes: The cells of all other columns, by the column's name.
        at: Where the row stands.
    """

    aggregate: _Text
    replicated: bool
    conflict_policy: _Text
    notes: dict[str, str]
    at: Place


class ServiceContract(_Value):
    """One ``SYNC_CONTRACT.md``: what a service says of its own aggregates.

    Attributes:
        service_name: The name of the folder that holds the file.
        file: The path of the file.
        aggregates: The rows of its table, in their order.
    """

    service_name: _Text
    file: str
    aggregates: tuple[ContractRow, ...]

    @property
    def replicated_aggregates(self) -> tuple[ContractRow, ...]:
        """Those of its aggregates that the desktop holds."""
        return tuple(row for row in self.aggregates if row.replicated)


class MatrixRow(_Value):
    """One aggregate that the desktop holds.

    Attributes:
        aggregate: Its name.
        service_name: The service that owns it.
        conflict_policy: How a conflict is settled.
        at: Where its contract says so.
    """

    aggregate: str
    service_name: str
    conflict_policy: str
    at: Place


class SyncMatrix(_Value):
    """The platform's conflict policy for each aggregate that the desktop holds.

    Attributes:
        rows: By aggregate.
        contributing_none: The services that have a contract and replicate nothing.
    """

    rows: tuple[MatrixRow, ...]
    contributing_none: tuple[str, ...]

    def to_markdown(self) -> str:
        """A table, and the services that are not in it."""
        rows = [(f"`{row.aggregate}`", f"`{row.service_name}`", row.conflict_policy) for row in self.rows]
        none = ", ".join(f"`{name}`" for name in self.contributing_none) or "none"
        table = _table("Aggregate", "Service", "Conflict policy", rows=rows)
        return f"{table}\n\nServices that contribute no row: {none}."


def _table(*columns: str, rows: Iterable[tuple[str, ...]]) -> str:
    head = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    return "\n".join([*head, *(f"| {' | '.join(row)} |" for row in rows)])
