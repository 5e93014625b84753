"""For tests of your own code. Install ``ghasi-handoff[testing]``.

A store that you write is tested by what every store promises:

    from ghasi_handoff.testing import ReplayStoreConformance

    class TestMyStore(ReplayStoreConformance):
        def make_store(self, place):
            return MyStore(place / "replay.db")

An application is tested with a `FrozenClock`, a `FakeConsumer` in the place of the other service, a `HandoffBrowser`,
and tokens that must be refused, such as that of `expired_token`. The browser needs the extras ``[fastapi]`` and
``[client]``, too. pytest is loaded with the conformance kit, and the web framework with the browser, not before.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ghasi_handoff.testing._clock import FrozenClock
from ghasi_handoff.testing._consumer import FakeConsumer
from ghasi_handoff.testing._entries import handoff_id_at, redemption_id_of
from ghasi_handoff.testing._tokens import (
    expired_token,
    foreign_token,
    malformed_token,
    not_yet_valid_token,
    tampered_token,
    unknown_key_token,
    wrong_audience_token,
    wrong_issuer_token,
    wrong_tenant_token,
)

if TYPE_CHECKING:
    from ghasi_handoff.testing._browser import HandoffBrowser
    from ghasi_handoff.testing._conformance import AsyncReplayStoreConformance, ReplayStoreConformance

__all__ = [
    "AsyncReplayStoreConformance",
    "FakeConsumer",
    "FrozenClock",
    "HandoffBrowser",
    "ReplayStoreConformance",
    "expired_token",
    "foreign_token",
    "handoff_id_at",
    "malformed_token",
    "not_yet_valid_token",
    "redemption_id_of",
    "tampered_token",
    "unknown_key_token",
    "wrong_audience_token",
    "wrong_issuer_token",
    "wrong_tenant_token",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{'_browser' if name == 'HandoffBrowser' else '_conformance'}"), name)
