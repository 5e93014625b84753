"""Sealed key files, and rings from the environment: only the right key opens them, and each refusal says what to do."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from ghasi_handoff import KeyRing, KeyRingError, keyfile
from ghasi_handoff._base64url import b64u_decode, b64u_encode
from ghasi_handoff.keyfile import LocalKeyEncryptionKey, _kek, _seal
from tests.minter_and_verifier import secret
from tests.node import node
from tests.published_vectors import ROOT

from .test_keyfile import assert_tells_nothing_of, chain

FOLDER: Final = ROOT / "tests" / "vectors" / "sealed"
VECTORS: Final = sorted(FOLDER.glob("*.json"))
KEK: Final = secret("kek")
PURPOSE: Final = "bff-consumer/bff-tenant-booking"


def load_vector(path: Path) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads(path.read_text("ascii"))
    return vector


def private(path: Path, content: str | bytes) -> Path:
    """A file of its owner alone."""
    path.touch(0o600)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.fixture
def kek() -> LocalKeyEncryptionKey:
    return LocalKeyEncryptionKey(KEK)


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing.generate("2026-11a")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


# The format


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: path.stem)
def test_the_library_agrees_with_the_vector(path: Path, tmp_path: Path) -> None:
    """A sealed file of the vectors opens, or is refused, as they say."""
    vector = load_vector(path)
    file = private(tmp_path / "keys.json", vector["file"])
    opener = LocalKeyEncryptionKey(b64u_decode(vector["kek"]) or b"")
    if vector["expect"] == "opens":
        assert keyfile.load(file, kek=opener, purpose=vector["purpose"]) == KeyRing.from_json(vector["ring"])
    else:
        with pytest.raises(KeyRingError, match=f"key file {file}: "):
            keyfile.load(file, kek=opener, purpose=vector["purpose"])


def check(files: list[Path]) -> subprocess.CompletedProcess[str]:
    """The second implementation, over these vectors."""
    program = ROOT / "tests" / "vectors" / "open_sealed.mjs"
    return subprocess.run([node(), program, *files], capture_output=True, text=True, timeout=60, check=False)


def test_an_independent_program_opens_what_the_library_seals(tmp_path: Path, ring: KeyRing) -> None:
    """Node's own AES-GCM agrees with every vector, and opens a file that was sealed just now."""
    wrap = LocalKeyEncryptionKey(KEK)
    drawn: list[bytes] = []

    def random_bytes(size: int) -> bytes:
        drawn.append(os.urandom(size))
        return drawn[-1]

    fresh = {
        "expect": "opens",
        "kek": b64u_encode(KEK),
        "purpose": PURPOSE,
        "context": f"ghasi-handoff-sealed-keys/v1\nAES-256-GCM\n{PURPOSE}",
        "file": _seal.seal(ring, wrap, PURPOSE, random_bytes=random_bytes),
        "data_key": b64u_encode(drawn[0]),
        "ring": ring.to_json(),
    }
    sealed_now = private(tmp_path / "fresh.json", json.dumps(fresh))
    done = check([*VECTORS, sealed_now])
    assert (done.returncode, done.stdout.count("ok ")) == (0, len(VECTORS) + 1), done.stdout + done.stderr


def test_a_planted_wrong_vector_is_noticed(tmp_path: Path) -> None:
    """The second implementation nods nothing through: each vector with its outcome turned round fails."""
    turned = {"opens": "refused", "refused": "opens"}
    files = []
    for path in VECTORS:
        vector = load_vector(path)
        files.append(private(tmp_path / path.name, json.dumps({**vector, "expect": turned[vector["expect"]]})))
    done = check(files)
    assert (done.returncode, done.stdout.count("FAIL ")) == (1, len(VECTORS))


def test_the_vectors_are_what_their_program_writes(tmp_path: Path) -> None:
    """Nobody edits a vector by hand: the program writes the same files again."""
    maker = shutil.copy(ROOT / "tests" / "vectors" / "make_sealed_vectors.py", tmp_path)
    subprocess.run([sys.executable, maker], check=True, capture_output=True, timeout=120)
    written = {path.name: path.read_bytes() for path in (tmp_path / "sealed").glob("*.json")}
    assert written == {path.name: path.read_bytes() for path in VECTORS}


# Sealing


def test_round_trip(ring: KeyRing, path: Path, kek: LocalKeyEncryptionKey) -> None:
    """What is saved sealed is loaded with the same key and purpose, and lies on the disk in mode 0600 without its secrets."""
    keyfile.save(path, ring, kek=kek, purpose=PURPOSE)
    assert keyfile.load(path, kek=kek, purpose=PURPOSE) == ring
    assert path.stat().st_mode & 0o7777 == 0o600
    assert not any(spelling in path.read_text() for spelling in (ring.keys[0].secret.hex(), "2026-11a"))
    assert b64u_encode(ring.keys[0].secret) not in path.read_text()


def test_no_two_sealed_files_share_a_key(ring: KeyRing, kek: LocalKeyEncryptionKey) -> None:
    """Sealing one ring twice makes two files that have no encrypted part in common: nonces and data keys are fresh."""
    one, other = (json.loads(_seal.seal(ring, kek)) for _ in range(2))
    assert not any(one[name] == other[name] for name in ("wrapped_key", "nonce", "ciphertext"))


def named(exc: BaseException) -> str:
    return "\n".join(str(link) for link in chain(exc))


BAD_FILES: Final[dict[str, tuple[Callable[[str], str], str]]] = {
    "truncated": (lambda text: text[: len(text) // 2], "cut short"),
    "not sealed": (lambda text: KeyRing.generate().to_json(), "keys seal"),
    "future version": (lambda text: text.replace("keys/v1", "keys/v2"), "version this library does not know"),
    "swapped purpose": (lambda text: text.replace(PURPOSE, "staging"), "another purpose"),
    "member twice": (lambda text: text.replace('"nonce"', '"nonce": "", "nonce"'), "cut short"),
    "no ciphertext": (lambda text: text.replace('"ciphertext"', '"text"'), "its members must be"),
    "empty nonce": (lambda text: json.dumps({**json.loads(text), "nonce": ""}), "base64url"),
    "short nonce": (lambda text: json.dumps({**json.loads(text), "nonce": "AAAA"}), "has been altered"),
    "wrapped key too short": (lambda text: json.dumps({**json.loads(text), "wrapped_key": "AAAA"}), "another key-enc"),
    "number for text": (lambda text: json.dumps({**json.loads(text), "nonce": 5}), "base64url"),
    "nested deeply": (lambda text: "[" * 200_000 + text, "cut short"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_spoilt_sealed_file_says_what_to_do(ring: KeyRing, path: Path, kek: LocalKeyEncryptionKey, name: str) -> None:
    """Each way in which a sealed file can be wrong is an error that names the file and the way out, and tells no secret."""
    change, expected = BAD_FILES[name]
    private(path, change(_seal.seal(ring, kek, PURPOSE)))
    with pytest.raises(KeyRingError, match=f"key file {path}: .*{expected}") as caught:
        keyfile.load(path, kek=kek, purpose=PURPOSE)
    error = caught.value.with_traceback(None)
    assert_tells_nothing_of(ring, error)
    assert not any(spelling in named(error) for spelling in (KEK.hex(), b64u_encode(KEK)))


def test_the_wrong_key_is_said(ring: KeyRing, path: Path, kek: LocalKeyEncryptionKey) -> None:
    """A file that another key-encryption key sealed is refused with that suspicion."""
    keyfile.save(path, ring, kek=kek)
    with pytest.raises(KeyRingError, match="another key-encryption key.*of this environment"):
        keyfile.load(path, kek=LocalKeyEncryptionKey(secret("staging")))


def test_a_file_that_agrees_on_a_purpose_it_was_not_sealed_for_is_refused(
    ring: KeyRing, path: Path, kek: LocalKeyEncryptionKey
) -> None:
    """The purpose is bound, not only compared: who edits it in the file gains nothing."""
    private(path, _seal.seal(ring, kek, PURPOSE).replace(PURPOSE, "staging"))
    with pytest.raises(KeyRingError, match="another key-encryption key, or has been altered"):
        keyfile.load(path, kek=kek, purpose="staging")


def test_a_sealed_file_without_its_key_says_where_the_key_comes_from(
    ring: KeyRing, path: Path, kek: LocalKeyEncryptionKey
) -> None:
    """Loading a sealed file without a key names the variables that would give one."""
    keyfile.save(path, ring, kek=kek)
    with pytest.raises(KeyRingError, match="sealed; give its key-encryption key .GHASI_HANDOFF_KEK_FILE, "):
        keyfile.load(path)


def test_a_plain_file_is_refused_where_a_sealed_one_is_expected(
    ring: KeyRing, path: Path, kek: LocalKeyEncryptionKey
) -> None:
    """Whoever can write the file, but has no key-encryption key, cannot put a ring of their own there."""
    keyfile.save(path, ring)
    with pytest.raises(KeyRingError, match="it is not sealed"):
        keyfile.load(path, kek=kek)


@pytest.mark.parametrize("purpose", ["", "a b", "a\nb", "ä", "a" * 65])
def test_a_purpose_outside_the_grammar_seals_nothing(
    ring: KeyRing, path: Path, kek: LocalKeyEncryptionKey, purpose: str
) -> None:
    """A purpose that could be mistaken for the line after it is refused, and no file is made."""
    with pytest.raises(KeyRingError, match="purpose of a sealed file"):
        keyfile.save(path, ring, kek=kek, purpose=purpose)
    assert not path.exists()


def test_a_sealed_file_that_others_can_read_is_refused(ring: KeyRing, path: Path, kek: LocalKeyEncryptionKey) -> None:
    """Sealed or not, one rule holds: a key-encryption key that leaks later opens nothing that nobody could copy."""
    keyfile.save(path, ring, kek=kek)
    path.chmod(0o644)
    with pytest.raises(KeyRingError, match="others than its owner.*chmod 600.*defaultMode 0400"):
        keyfile.load(path, kek=kek)


# The key-encryption key


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


# The environment


def test_the_environment_names_a_file(ring: KeyRing, path: Path) -> None:
    """GHASI_HANDOFF_KEYS_FILE is the path of a key file."""
    keyfile.save(path, ring)
    assert keyfile.from_env({"GHASI_HANDOFF_KEYS_FILE": str(path)}) == ring


def test_the_environment_holds_the_ring(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    """GHASI_HANDOFF_KEYS holds what would be in the file; by default it is looked for in the process's environment."""
    monkeypatch.delenv("GHASI_HANDOFF_KEYS_FILE", raising=False)
    monkeypatch.setenv("GHASI_HANDOFF_KEYS", ring.to_json())
    assert keyfile.from_env() == ring


def sealing_environments(tmp_path: Path) -> Iterator[dict[str, str]]:
    yield {"GHASI_HANDOFF_KEK": b64u_encode(KEK)}
    yield {"GHASI_HANDOFF_KEK_FILE": str(private(tmp_path / "kek", KEK))}


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


def test_the_protocol_is_what_a_kms_needs() -> None:
    """Two methods, and the local key has them."""
    assert isinstance(LocalKeyEncryptionKey(KEK), keyfile.KeyEncryptionKey)
    assert isinstance(FakeKMS(), keyfile.KeyEncryptionKey)
    assert not isinstance(object(), keyfile.KeyEncryptionKey)
    assert len(KEK) == _kek.KEY_BYTES
