"""One tree of errors: a stable code a leaf, and public text kept apart from the log's fields.

Raise -> ``exc.code`` for machines, ``exc.public_text`` for guests, ``str(exc)`` and ``exc.log_fields`` for operators.
"""

from __future__ import annotations

from typing import ClassVar

_TRY_AGAIN = "This service is not available right now. Please try again in a minute."
# One text for every refusal that an attacker could learn from: which check failed is the operator's to know.
_NOT_VALID = "This link is not valid. Please start again from the site that sent you here."


class HandoffError(Exception):
    """The root of the tree: ``except HandoffError`` catches everything that this library raises on purpose.

    The message (``str(exc)``) and ``log_fields`` are for operators. They never hold a secret, a MAC, a signing string
    or a whole token. ``public_text`` may be shown to anybody.

    Args:
        message: What happened and what to do, for an operator.
        handoff_id: The token's id. Given only once its MAC has matched.
        tenant: The tenant that the token is for. Given only once its MAC has matched.
        kid: The key's name, once its grammar has been checked.
    """

    code: ClassVar[str] = "handoff_error"
    public_text: ClassVar[str] = _TRY_AGAIN

    def __init__(
        self, message: str = "", *, handoff_id: str | None = None, tenant: str | None = None, kid: str | None = None
    ) -> None:
        super().__init__(message)
        self._facts = {"handoff_id": handoff_id, "tenant": tenant, "kid": kid}

    @property
    def log_fields(self) -> dict[str, str]:
        """What may be logged beside the code: ``handoff_id``, ``tenant`` and ``kid``, as far as they are authentic.

        Of a token whose MAC did not match, at most the ``kid`` is here.
        """
        return {name: value for name, value in self._facts.items() if value is not None}


class ConfigurationError(HandoffError):
    """The calling code is wrong, not its input: a cap exceeded, a naive clock, a payload class with a float field."""

    code = "configuration"


class KeyRingError(HandoffError):
    """A key, key ring or key file cannot be used."""

    code = "key_ring"


class InvalidHandoffInputError(HandoffError):
    """A handoff cannot be minted, or a URL cannot be made, from what was given."""

    code = "invalid_input"
    public_text = "Some of what was entered is not valid. Please check it and try again."


class ReplayStoreError(HandoffError):
    """The replay store could not confirm the outcome, so nothing was accepted. The same browser may try again."""

    code = "store_unavailable"


class HandoffLogError(ReplayStoreError):
    """The handoff log could not confirm the outcome. Repeating the call is safe.

    A kind of `ReplayStoreError`, so that handlers written for that one catch it.
    """

    code = "log_unavailable"


class ConfirmationUnavailableError(HandoffError):
    """The issuer could not confirm the redemption. The handoff stays with the browser that redeemed it.

    Attributes:
        reason: Why, in one word for logs and alarms: ``timeout``, ``unreachable``, ``circuit_open``,
            ``invalid_answer``, ``client_closed``, or ``status_404`` and the like.
    """

    code = "confirmation_unavailable"
    public_text = "Your booking is being confirmed. Please try again in a moment."

    def __init__(self, message: str = "", *, reason: str = "unknown", **facts: str | None) -> None:
        super().__init__(message, **facts)
        self.reason = reason


class InvalidTokenError(HandoffError):
    """A token was refused. Each leaf below is one reason."""

    code = "invalid_token"
    public_text = _NOT_VALID


class MalformedTokenError(InvalidTokenError):
    """Not a token of version 1: type, size, shape, grammar, or an expiry that is not after the issue."""

    code = "malformed"


class UnknownKeyError(InvalidTokenError):
    """The ring has no key of the token's kid."""

    code = "unknown_key"


class RetiredKeyError(UnknownKeyError):
    """The key's ``verify_until`` has passed."""

    code = "retired_key"


class RevokedKeyError(UnknownKeyError):
    """The key was revoked."""

    code = "revoked_key"


class InvalidMACError(InvalidTokenError):
    """The MAC does not match: the token was altered, or signed with another secret."""

    code = "invalid_mac"


class WrongIssuerError(InvalidTokenError):
    """Authentic, but minted by another issuer than the verifier expects."""

    code = "wrong_issuer"


class WrongAudienceError(InvalidTokenError):
    """Authentic, but meant for another service."""

    code = "wrong_audience"


class WrongTenantError(InvalidTokenError):
    """Authentic, but for another tenant than the one whose site was asked."""

    code = "wrong_tenant"


class NotYetValidTokenError(InvalidTokenError):
    """Issued in the verifier's future by more than the leeway: the two clocks differ."""

    code = "not_yet_valid"


class ExpiredTokenError(InvalidTokenError):
    """Too late, by more than the leeway."""

    code = "expired"
    public_text = "This link has expired. Please start again from the site that sent you here."


class LifetimeTooLongError(InvalidTokenError):
    """The token grants itself more time than the verifier's ``max_lifetime``."""

    code = "lifetime_too_long"


class InvalidPayloadError(InvalidTokenError):
    """Authentic and current, but the payload is not canonical JSON or not of the expected class."""

    code = "invalid_payload"


class ReplayedTokenError(InvalidTokenError):
    """The handoff already belongs to another browser."""

    code = "replayed"
    public_text = "This link was already used in another browser. Please start again from the site that sent you here."


class RevokedHandoffError(InvalidTokenError):
    """The issuer cancelled this handoff, or was told of its redemption too late."""

    code = "revoked_handoff"
    public_text = "This link was cancelled. Please start again from the site that sent you here."


class UnknownHandoffError(InvalidTokenError):
    """The issuer's handoff log has no such handoff."""

    code = "unknown_handoff"
