"""For tests of your own code. Needs pytest: install ``ghasi-handoff[testing]``.

A store that you write is tested by what every store promises:

    from ghasi_handoff.testing import ReplayStoreConformance

    class TestMyStore(ReplayStoreConformance):
        def make_store(self, place):
            return MyStore(place / "replay.db")
"""

from ghasi_handoff.testing._conformance import AsyncReplayStoreConformance, ReplayStoreConformance
from ghasi_handoff.testing._entries import handoff_id_at, redemption_id_of

__all__ = ["AsyncReplayStoreConformance", "ReplayStoreConformance", "handoff_id_at", "redemption_id_of"]
