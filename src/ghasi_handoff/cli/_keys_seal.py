"""``keys seal``: a key file in the clear -> the same, encrypted."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import click

from ghasi_handoff import keyfile
from ghasi_handoff._encoding import b64u_encode
from ghasi_handoff.cli._key_files import KeyFile, key_file, key_file_options, locked, out
from ghasi_handoff.cli._output import Answer, answers, printable, table
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keyfile import LocalKeyEncryptionKey
from ghasi_handoff.keyfile._file import write_secret_file

if TYPE_CHECKING:
    from ghasi_handoff.cli._output import Clock


@click.command()
@key_file_options
@out
@click.option("--make-kek", is_flag=True, help="First make the --kek-file, which must not exist yet.")
@click.option("--new-kek-file", metavar="FILE", help="Of a file that is sealed already: seal it with this key instead.")
@answers
def seal(
    _clock: Clock,
    *,
    keys_file: str,
    kek_file: str | None,
    purpose: str,
    out: str | None,
    make_kek: bool,
    new_kek_file: str | None,
) -> Answer:
    """Encrypt a key file with a key-encryption key, so that the file alone is worth nothing.

    It needs --kek-file (or GHASI_HANDOFF_KEK), and whoever reads the file needs it from now on, and the same --purpose.
    Keep the two apart. What was in the clear may still be in backups: rotate, and revoke the old keys in time.
    """
    if make_kek:
        if kek_file is None:
            raise click.UsageError("--make-kek needs --kek-file: where to put it.")
        _make_kek(kek_file)
    file = key_file(keys_file, kek_file, purpose)
    if file.kek is None:
        raise click.UsageError("Missing option '--kek-file' (or GHASI_HANDOFF_KEK_FILE, or GHASI_HANDOFF_KEK).")
    new_kek = file.kek if new_kek_file is None else LocalKeyEncryptionKey.from_file(new_kek_file)
    target = KeyFile(keys_file if out is None else out, new_kek, purpose)
    with locked(keys_file):
        ring = keyfile.load(keys_file) if new_kek_file is None else file.load()
        if out is None:
            target.save(ring)
        else:
            target.save_new(ring)
    facts = {"path": target.path, "purpose": purpose, "kids": [key.kid for key in ring.keys]}
    return Answer(facts=facts, text=table([("sealed", printable(target.path)), ("purpose", printable(purpose))]))


def _make_kek(path: str) -> None:
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except OSError as exc:
        raise KeyRingError(f"key-encryption key {path}: {exc.strerror}") from exc
    write_secret_file(path, b64u_encode(secrets.token_bytes(32)) + "\n")
