"""Sealed key files: only the right key opens them, and each refusal says what to do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from ghasi_handoff import KeyRing, KeyRingError, keyfile
from ghasi_handoff._base64url import b64u_decode, b64u_encode
from ghasi_handoff.keyfile import LocalKeyEncryptionKey, _seal
from tests.keyfile.key_encryption import KEK, PURPOSE, private
from tests.keyfile.no_secret_in_errors import assert_tells_nothing_of, named
from tests.minter_and_verifier import secret
from tests.node import node
from tests.published_vectors import ROOT

FOLDER: Final = ROOT / "tests" / "vectors" / "sealed"
VECTORS: Final = sorted(FOLDER.glob("*.json"))


def load_vector(path: Path) -> dict[str, Any]:
    vector: dict[str, Any] = json.loads(path.read_text("ascii"))
    return vector


@pytest.fixture
def ring() -> KeyRing:
    return KeyRing.generate("2026-11a")


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


BAD_FILES: Final[dict[str, tuple[Callable[[str], str], str]]] = {
    "truncated": (lambda text: text[: len(text) // 2], "cut short"),
    "not sealed": (lambda text: KeyRing.generate().to_json(), "keys seal"),
    "future version": (lambda text: text.replace("keys/v1", "keys/v2"), "its version is unknown"),
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
    with pytest.raises(KeyRingError, match="not sealed as it should be"):
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
