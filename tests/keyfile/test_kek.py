"""The key-encryption key: 32 bytes from a file or the environment, or a KMS; it shows nowhere."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from ghasi_handoff import KeyRing, KeyRingError, keyfile
from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff.keyfile import LocalKeyEncryptionKey, _kek, _seal
from tests.keyfile.key_encryption import KEK, PURPOSE, private
from tests.keyfile.no_secret_in_errors import assert_tells_nothing_of, named


@pytest.mark.parametrize(
    "content", [KEK, b64u_encode(KEK).encode(), b64u_encode(KEK).encode() + b"\n"], ids=["raw", "text", "line"]
)
def test_a_key_file_holds_raw_bytes_or_text(ring: KeyRing, tmp_path: Path, content: bytes) -> None:
    """32 raw bytes, and the same in base64url, are the same key-encryption key."""
    opener = LocalKeyEncryptionKey.from_file(private(tmp_path / "kek", content))
    assert _seal.unseal(_seal.seal(ring, LocalKeyEncryptionKey(KEK)), opener) == ring


@pytest.mark.parametrize(
    "content",
    [
        b"",
        KEK[:31],
        KEK + b"\n",
        KEK.hex().encode(),
        KEK.hex()[:32].encode(),
        b"correct horse battery staple",
        b"correct horse battery staple!!!!",
        b"\0" * 32,
        KEK * 2,
    ],
    ids=["empty", "short", "line end", "hex", "half", "pass-phrase", "pass-phrase of 32", "zeros", "long"],
)
def test_what_is_no_key_encryption_key_is_refused(tmp_path: Path, content: bytes) -> None:
    """A key-encryption key of another length or spelling is refused, with the spelling that is right, and is not quoted."""
    file = private(tmp_path / "kek", content)
    with pytest.raises(KeyRingError, match="must be 32 random bytes, raw or as 43 characters of base64url") as caught:
        LocalKeyEncryptionKey.from_file(file)
    with pytest.raises(KeyRingError):
        LocalKeyEncryptionKey.from_env({"GHASI_HANDOFF_KEK": content.decode("latin-1") or " "})
    assert len(content) < 5 or content.decode("latin-1") not in named(caught.value)


@pytest.mark.parametrize(
    "key",
    [b"correct horse battery staple!!!!", KEK.hex()[:32].encode(), b"\0" * 32, KEK[:31], KEK + b"k", bytearray(KEK), "k" * 32, None],
    ids=["pass-phrase", "half of hex", "zeros", "short", "long", "bytearray", "text", "None"],
)  # fmt: skip
def test_what_is_no_key_encryption_key_is_refused_when_given_directly(key: Any) -> None:
    """A key that comes from neither a file nor the environment is held to the same rules, and is not quoted."""
    with pytest.raises(KeyRingError, match="must be 32 random bytes, raw or as 43 characters of base64url") as caught:
        LocalKeyEncryptionKey(key)
    assert not key or not any(part in named(caught.value) for part in ("correct horse", KEK.hex()[:32], "kkkk"))


def test_a_key_encryption_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    """The gate of key files holds for the key of their keys."""
    file = private(tmp_path / "kek", KEK)
    file.chmod(0o640)
    with pytest.raises(KeyRingError, match=f"key-encryption key {file}: others than its owner"):
        LocalKeyEncryptionKey.from_file(file)


def test_a_key_encryption_key_does_not_show(kek: LocalKeyEncryptionKey) -> None:
    """It is in no repr, and refuses to be pickled."""
    assert repr(kek) == "LocalKeyEncryptionKey()"
    with pytest.raises(KeyRingError, match="not pickled"):
        pickle.dumps(kek)


class FakeKMS:
    """A KMS as a service sees it: it keeps what it wrapped, and answers by a handle."""

    def __init__(self) -> None:
        self.kept: dict[bytes, tuple[bytes, bytes]] = {}
        self.broken: Exception | None = None

    def wrap(self, data_key: bytes, context: bytes) -> bytes:
        handle = f"arn:aws:kms:key/{len(self.kept)}".encode()
        self.kept[handle] = (data_key, context)
        return handle

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        if self.broken is not None:
            raise self.broken
        data_key, sealed_for = self.kept[wrapped]
        if context != sealed_for:
            raise PermissionError("InvalidCiphertextException")
        return data_key


def test_a_kms_seals_and_opens(ring: KeyRing, path: Path) -> None:
    """Any object with wrap and unwrap does, and it gets the file's format, algorithm and purpose as context."""
    kms = FakeKMS()
    keyfile.save(path, ring, kek=kms, purpose=PURPOSE)
    assert keyfile.load(path, kek=kms, purpose=PURPOSE) == ring
    ((data_key, context),) = kms.kept.values()
    assert len(data_key) == 32
    assert context == f"ghasi-handoff-sealed-keys/v1\nAES-256-GCM\n{PURPOSE}".encode()


def test_a_kms_that_fails_is_a_key_ring_error(ring: KeyRing, path: Path) -> None:
    """Whatever a KMS client raises becomes an error of ours that names its class, with the original as its cause."""
    kms = FakeKMS()
    keyfile.save(path, ring, kek=kms)
    kms.broken = ConnectionError("no route to kms.eu-central-1")
    with pytest.raises(KeyRingError, match=f"key file {path}: .*cannot unwrap .ConnectionError.*reachable") as caught:
        keyfile.load(path, kek=kms)
    assert caught.value.__cause__ is kms.broken


@pytest.mark.parametrize("answer", [b"", "text", None, b"x" * 70_000], ids=["nothing", "text", "None", "too much"])
def test_a_kms_that_answers_nonsense_seals_nothing(ring: KeyRing, path: Path, answer: object) -> None:
    """What is no wrapped key makes no file: it could never be opened."""

    class Nonsense(FakeKMS):
        def wrap(self, data_key: bytes, context: bytes) -> Any:
            return answer

    with pytest.raises(KeyRingError, match="key-encryption key's wrap"):
        keyfile.save(path, ring, kek=Nonsense())
    assert not path.exists()


def test_a_kms_that_encrypts_nothing_is_noticed(ring: KeyRing, path: Path) -> None:
    """A stub that hands the data key back would put it into the file, beside what it encrypts."""

    class Stub(FakeKMS):
        def wrap(self, data_key: bytes, context: bytes) -> bytes:
            return b"v1:" + data_key

    with pytest.raises(KeyRingError, match="no encrypted key") as caught:
        keyfile.save(path, ring, kek=Stub())
    assert not path.exists()
    assert_tells_nothing_of(ring, caught.value.with_traceback(None))


def test_the_protocol_is_what_a_kms_needs() -> None:
    """Two methods, and the local key has them."""
    assert isinstance(LocalKeyEncryptionKey(KEK), keyfile.KeyEncryptionKey)
    assert isinstance(FakeKMS(), keyfile.KeyEncryptionKey)
    assert not isinstance(object(), keyfile.KeyEncryptionKey)
    assert len(KEK) == _kek.KEY_BYTES
