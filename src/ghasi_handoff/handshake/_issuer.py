# Generated from _issuer_async.py by tools/sync_twins.py. Do not edit.
"""payload, tenant -> token -> row of the handoff log -> the token is given out. In this order and no other."""

from __future__ import annotations

from typing_extensions import TypeVar

from ghasi_handoff._mint import MintedHandoff, Minter
from ghasi_handoff._require import Wrapped, require
from ghasi_handoff.errors import ConfigurationError, HandoffLogError
from ghasi_handoff.handshake._steps import Step, reached
from ghasi_handoff.payload import HandoffPayload
from ghasi_handoff.stores._handoff_log import HandoffRecord
from ghasi_handoff.stores._maintained import HandoffLog

_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload)


class HandoffIssuer:
    """Mints, and writes down what it minted before anybody has the token: a token in the world is in the log.

    Args:
        minter: Makes the tokens.
        log: `SQLiteHandoffLog`, `PostgresHandoffLog`, or another `HandoffLog`.

    Raises:
        ConfigurationError: An argument has the wrong type.
    """

    def __init__(self, minter: Minter, log: HandoffLog) -> None:
        if not isinstance(minter, Minter):
            raise ConfigurationError(f"the first argument must be a Minter, not {type(minter).__name__}")
        require(log, "record", awaited=False, name="log", kind="HandoffLog")
        self._minter = minter
        self._log = log

    def issue(self, payload: _PayloadT, *, tenant: str) -> MintedHandoff[_PayloadT]:
        """A handoff of `payload` to the site of `tenant`, valid from now on, and known to the log.

        Raises:
            InvalidHandoffInputError: The tenant is outside the grammar, or the payload is not valid.
            KeyRingError: No key can sign now.
            HandoffLogError: It is not sure that the log has it. No token is given out.
            ConfigurationError: The clock or the source of randomness is broken.
        """
        minted = self._minter.mint(payload, tenant=tenant)
        reached(Step.ISSUE_MINTED)
        with Wrapped("log", HandoffLogError, handoff_id=minted.handoff_id, tenant=minted.tenant, kid=minted.kid):
            self._log.record(_record(minted))
        reached(Step.ISSUE_LOGGED)
        return minted


def _record(minted: MintedHandoff[_PayloadT]) -> HandoffRecord:
    signed = minted.body._asdict()
    del signed["payload"]  # what the guest chose is not in the log
    return HandoffRecord(kid=minted.kid, **signed)
