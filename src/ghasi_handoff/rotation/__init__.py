"""ring, clock -> what happens when, what to wait for, and how two services' copies compare. Pure: no I/O.

The command line and an operator's endpoint stand on these; `KeyRing` itself makes the rings.
"""

from ghasi_handoff._limits import LEAST_PROPAGATION
from ghasi_handoff.rotation._compare import Finding, compare
from ghasi_handoff.rotation._fingerprint import Fingerprint, KeyFingerprint, fingerprint
from ghasi_handoff.rotation._plan import StateChange, Wait, state_changes, waits

__all__ = [
    "LEAST_PROPAGATION",
    "Finding",
    "Fingerprint",
    "KeyFingerprint",
    "StateChange",
    "Wait",
    "compare",
    "fingerprint",
    "state_changes",
    "waits",
]
