"""A scope is one value, and one text in every store."""

from __future__ import annotations

import pytest

from ghasi_handoff.replay import Scope


@pytest.mark.parametrize(("issuer", "audience"), [("bff-consumer", "bff-tenant-booking"), ("a", "b"), ("a.b:c/d", "_")])
def test_a_scope_is_read_back_from_its_text(issuer: str, audience: str) -> None:
    """The text names the issuer first, then the audience; reading it gives the same scope."""
    scope = Scope(issuer, audience)
    assert str(scope) == issuer + "\n" + audience
    assert Scope.parse(str(scope)) == scope


def test_two_scopes_have_two_texts() -> None:
    """What is issued from a to b is not what is issued from b to a."""
    assert str(Scope("a", "b")) != str(Scope("b", "a"))


@pytest.mark.parametrize("text", ["", "bff-consumer"])
def test_a_text_that_is_no_scope_names_no_audience(text: str) -> None:
    """A row that something else has written is read without an error; nobody can sign a call for an empty audience."""
    assert Scope.parse(text) == Scope(text, "")
