"""How a store or a handoff log is to be opened: what `_open` passes on to a product."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from ghasi_handoff._limits import DEFAULT_STORE_TIMEOUT_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """How a store or a handoff log is to be opened.

    Attributes:
        create: Make a file that is not there. Otherwise a mistyped path is an error. The tables of a server are always
            the operator's to make.
        outbox: Write outbox entries, if the product has an outbox.
        timeout: Seconds that an operation may take.
        clock: Returns Unix seconds.
    """

    create: bool = False
    outbox: bool = False
    timeout: float = DEFAULT_STORE_TIMEOUT_SECONDS
    clock: Callable[[], float] = time.time
