"""The tree of errors: codes, texts, log fields."""

from __future__ import annotations

import pickle

import pytest

import ghasi_handoff
from ghasi_handoff import HandoffError, InvalidTokenError, UnknownKeyError
from ghasi_handoff import errors as tree

# The design's table, section 7. A code is a promise: dashboards and the other services depend on it.
CODES = {
    "ConfigurationError": ("configuration", "HandoffError"),
    "KeyRingError": ("key_ring", "HandoffError"),
    "InvalidHandoffInputError": ("invalid_input", "HandoffError"),
    "ReplayStoreError": ("store_unavailable", "HandoffError"),
    "HandoffLogError": ("log_unavailable", "ReplayStoreError"),
    "ConfirmationUnavailableError": ("confirmation_unavailable", "HandoffError"),
    "MalformedTokenError": ("malformed", "InvalidTokenError"),
    "UnknownKeyError": ("unknown_key", "InvalidTokenError"),
    "RetiredKeyError": ("retired_key", "UnknownKeyError"),
    "RevokedKeyError": ("revoked_key", "UnknownKeyError"),
    "InvalidMACError": ("invalid_mac", "InvalidTokenError"),
    "WrongIssuerError": ("wrong_issuer", "InvalidTokenError"),
    "WrongAudienceError": ("wrong_audience", "InvalidTokenError"),
    "WrongTenantError": ("wrong_tenant", "InvalidTokenError"),
    "NotYetValidTokenError": ("not_yet_valid", "InvalidTokenError"),
    "ExpiredTokenError": ("expired", "InvalidTokenError"),
    "LifetimeTooLongError": ("lifetime_too_long", "InvalidTokenError"),
    "InvalidPayloadError": ("invalid_payload", "InvalidTokenError"),
    "ReplayedTokenError": ("replayed", "InvalidTokenError"),
    "RevokedHandoffError": ("revoked_handoff", "InvalidTokenError"),
    "UnknownHandoffError": ("unknown_handoff", "InvalidTokenError"),
}
# The only refusals of a token whose text may tell a guest anything: none of them helps an attacker.
TELLING = {"expired", "replayed", "revoked_handoff"}


@pytest.mark.parametrize("name", CODES)
def test_each_leaf_has_its_code_and_parent(name: str) -> None:
    """Codes and parents are those of the design, and each leaf stands in the top package."""
    error: type[HandoffError] = getattr(tree, name)
    code, parent = CODES[name]
    assert error.code == code
    assert error.__bases__ == (getattr(tree, parent),)
    assert getattr(ghasi_handoff, name) is error


def test_the_tree_has_no_other_leaf() -> None:
    """Every error is in the table above, and no two have the same code."""
    assert {name for name, value in vars(tree).items() if isinstance(value, type)} == {
        *CODES,
        "HandoffError",
        "InvalidTokenError",
    }
    assert len({code for code, _ in CODES.values()}) == len(CODES)


def test_refusals_look_alike_from_outside() -> None:
    """Every refusal of a token, those apart that help nobody, says the same to the guest."""
    refusals = [getattr(tree, name) for name in CODES if issubclass(getattr(tree, name), InvalidTokenError)]
    assert len({error.public_text for error in refusals if error.code not in TELLING}) == 1


def test_log_fields_hold_what_is_known() -> None:
    """Only the facts that were given appear; the message is for operators."""
    error = UnknownKeyError("no key k", kid="k")
    assert error.log_fields == {"kid": "k"}
    assert str(error) == "no key k"
    full = tree.ReplayedTokenError("again", handoff_id="h", tenant="t", kid="k")
    assert full.log_fields == {"handoff_id": "h", "tenant": "t", "kid": "k"}


def test_errors_can_be_pickled() -> None:
    """An error crosses a process boundary whole: a worker's refusal is still a refusal in its parent."""
    error = pickle.loads(pickle.dumps(tree.ExpiredTokenError("late", handoff_id="h", tenant="t", kid="k")))
    assert (type(error), str(error), error.log_fields) == (
        tree.ExpiredTokenError,
        "late",
        {"handoff_id": "h", "tenant": "t", "kid": "k"},
    )
