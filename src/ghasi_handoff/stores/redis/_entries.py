"""A consume -> its key and value -> SET and GET -> who holds the handoff. No I/O."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import quote

from ghasi_handoff._limits import MAX_PREFIX_CHARACTERS
from ghasi_handoff._signing_string import handoff_id_seconds
from ghasi_handoff.errors import ConfigurationError, InvalidHandoffInputError, ReplayStoreError
from ghasi_handoff.replay import Consumption, ReplayRecord, ReplayTrace, check_entry

_is_prefix: Final = re.compile(f"[A-Za-z0-9._:/-]{{1,{MAX_PREFIX_CHARACTERS}}}").fullmatch
_parse_value: Final = re.compile(rb"(.+) (0|[1-9][0-9]{0,11})", re.DOTALL).fullmatch


# What the server said to SET, and to GET.
Answers: TypeAlias = tuple[object, object]


class Ask(NamedTuple):
    """A consume, as Redis is asked for it."""

    handoff_id: str
    redemption_id: str
    consumed_at: int
    key: str
    value: bytes
    milliseconds: int

    @property
    def set_command(self) -> tuple[str | bytes | int, ...]:
        """Takes the key, unless it is taken."""
        return "SET", self.key, self.value, "NX", "PX", self.milliseconds

    @property
    def get_command(self) -> tuple[str, str]:
        """Tells who has the key."""
        return "GET", self.key


def key_prefix(prefix: str) -> str:
    """The prefix of all keys of a store. It has no wildcard, and no hash tag that would put all keys on one node."""
    if not isinstance(prefix, str) or not _is_prefix(prefix):
        raise ConfigurationError("prefix must be 1 to 64 characters of A-Z a-z 0-9 . _ : / -")
    return prefix


@lru_cache(maxsize=256)
def _quoted_scope(scope: str) -> str:
    # Neither the scope's part nor the id has a colon: no two entries, even of different prefixes, share a key.
    return quote(scope, safe="", errors="surrogatepass")


def entry_key(prefix: str, scope: str, handoff_id: str) -> str:
    """The key of an entry."""
    return f"{prefix}:{_quoted_scope(scope)}:{handoff_id}"


def ask(prefix: str, handoff_id: str, scope: str, redemption_id: str, consumed_at: int, retain_until: int) -> Ask:
    """What Redis is asked for an entry."""
    check_entry(handoff_id, scope, redemption_id, consumed_at, retain_until)
    try:
        value = f"{redemption_id} {consumed_at}".encode()
    except UnicodeEncodeError:
        raise InvalidHandoffInputError("redemption_id must be text that UTF-8 can encode") from None
    # Counted from the id's own time, so that no caller's clock shortens it: the key outlives retain_until by as much as
    # the consume was later. An id ahead of the caller's clock is counted from that clock, which lengthens it.
    # Never PXAT: with a time that is past by the server's clock, it answers OK and stores nothing.
    seconds = retain_until - min(handoff_id_seconds(handoff_id), consumed_at)
    key = entry_key(prefix, scope, handoff_id)
    return Ask(handoff_id, redemption_id, consumed_at, key, value, 1000 * seconds)


def read_answers(asked: Ask, set_answer: object, get_answer: object) -> Consumption:
    """Who holds the handoff, by the answer to GET alone."""
    for answer in (set_answer, get_answer):
        # Even if GET has a value: a read-only replica has one that its primary may not have.
        if isinstance(answer, Exception):
            raise answer
    if get_answer is None:
        raise ReplayStoreError("Redis: the entry is gone: evicted, deleted or expired", handoff_id=asked.handoff_id)
    entry = _read(get_answer)
    if entry is None:
        raise ReplayStoreError("Redis: the key holds a value that is no entry", handoff_id=asked.handoff_id)
    holder, consumed_at = entry
    first = set_answer not in (None, False) and entry == (asked.redemption_id, asked.consumed_at)
    return Consumption(holder, first, consumed_at)


def read_trace(value: object, scope: str) -> ReplayTrace:
    """What the value of a key tells of its handoff."""
    entry = _read(value, "replace")  # support must see what is there; a consume takes no such holder
    return ReplayTrace((ReplayRecord(scope, *entry),) if entry is not None else (), (), ())


def _read(value: object, errors: str = "strict") -> tuple[str, int] | None:
    """Holder and consumed-at. The client may have decoded the value."""
    data = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    match = _parse_value(data) if isinstance(data, bytes) else None
    try:
        return (match[1].decode(errors=errors), int(match[2])) if match else None
    except UnicodeDecodeError:
        return None
