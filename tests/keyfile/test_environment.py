"""Rings from the environment: in a variable or a file, sealed or not; no error quotes a variable."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghasi_handoff import KeyRing, KeyRingError, keyfile
from ghasi_handoff.keyfile import LocalKeyEncryptionKey, _seal
from tests.keyfile.key_encryption import KEK, PURPOSE, private, sealing_environments
from tests.keyfile.no_secret_in_errors import assert_tells_nothing_of


def test_the_environment_names_a_file(ring: KeyRing, path: Path) -> None:
    """GHASI_HANDOFF_KEYS_FILE is the path of a key file."""
    keyfile.save(path, ring)
    assert keyfile.from_env({"GHASI_HANDOFF_KEYS_FILE": str(path)}) == ring


def test_the_environment_holds_the_ring(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    """GHASI_HANDOFF_KEYS holds what would be in the file; by default it is looked for in the process's environment."""
    monkeypatch.delenv("GHASI_HANDOFF_KEYS_FILE", raising=False)
    monkeypatch.setenv("GHASI_HANDOFF_KEYS", ring.to_json())
    assert keyfile.from_env() == ring


def test_the_environment_opens_a_sealed_ring(ring: KeyRing, path: Path, tmp_path: Path) -> None:
    """The key-encryption key may come from a variable or a file, the sealed ring too, and the purpose from a third."""
    sealed = _seal.seal(ring, LocalKeyEncryptionKey(KEK), PURPOSE)
    private(path, sealed)
    for how in sealing_environments(tmp_path):
        for where in ({"GHASI_HANDOFF_KEYS_FILE": str(path)}, {"GHASI_HANDOFF_KEYS": sealed}):
            assert keyfile.from_env({**how, **where, "GHASI_HANDOFF_KEYS_PURPOSE": PURPOSE}) == ring
            with pytest.raises(KeyRingError, match="another purpose"):
                keyfile.from_env({**how, **where})


@pytest.mark.parametrize("both", [False, True])
def test_the_environment_must_say_one_thing(ring: KeyRing, path: Path, both: bool) -> None:
    """Neither variable, or both, is an error that names both, and repeats no ring."""
    variables = {"GHASI_HANDOFF_KEYS_FILE": str(path), "GHASI_HANDOFF_KEYS": ring.to_json()} if both else {}
    with pytest.raises(KeyRingError, match="GHASI_HANDOFF_KEYS_FILE .*GHASI_HANDOFF_KEYS .*not both") as caught:
        keyfile.from_env(variables)
    assert_tells_nothing_of(ring, caught.value, locals_too=False)


def test_the_environment_must_name_one_key_encryption_key(tmp_path: Path) -> None:
    """Two key-encryption keys are one too many: which of them would be right?"""
    one, other = sealing_environments(tmp_path)
    with pytest.raises(KeyRingError, match="not both"):
        LocalKeyEncryptionKey.from_env({**one, **other})


def test_a_broken_ring_in_the_environment_is_not_quoted(ring: KeyRing) -> None:
    """The error names the variable, and neither it nor a traceback with local variables shows the ring."""
    with pytest.raises(KeyRingError, match="GHASI_HANDOFF_KEYS: not a key ring") as caught:
        keyfile.from_env({"GHASI_HANDOFF_KEYS": ring.to_json()[:-5]})
    error = caught.value
    assert error.__traceback__ is not None
    assert_tells_nothing_of(ring, error.with_traceback(None))
