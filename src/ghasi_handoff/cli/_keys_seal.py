"""``keys seal``: a key file in the clear -> the same, encrypted."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from ghasi_handoff import keyfile
from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff.cli._key_files import KeyFile, KeyFileOptions, behind_link, key_file, locked, out, taking
from ghasi_handoff.cli._output import Answer, answers, printable, table
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keyfile import LocalKeyEncryptionKey
from ghasi_handoff.keyfile._file import read_secret_file, write_secret_file
from ghasi_handoff.keyfile._seal import is_sealed

if TYPE_CHECKING:
    from ghasi_handoff.cli._output import Clock
    from ghasi_handoff.keys import KeyRing


@click.command()
@key_file
@out
@click.option("--make-kek", is_flag=True, help="First make the --kek-file, which must not exist yet.")
@click.option("--new-kek-file", metavar="FILE", help="Seal a file that is sealed already with this key instead.")
@answers
def seal(_clock: Clock, *, given: KeyFileOptions, out: str | None, make_kek: bool, new_kek_file: str | None) -> Answer:
    """Encrypt a key file with a key-encryption key, so that the file alone is worth nothing.

    It needs --kek-file (or GHASI_HANDOFF_KEK), and whoever reads the file needs it from now on, and the same --purpose.
    Keep the two apart. What was in the clear may still be in backups: rotate, and revoke the old keys in time.
    """
    source = behind_link(given.keys_file)
    with locked(source):
        if make_kek:
            if given.kek_file is None:
                raise click.UsageError("--make-kek needs --kek-file: where to put it.")
            _in_the_clear(source)  # what cannot be sealed must not leave a key behind, which the next try would refuse
            with taking(given.kek_file, "key-encryption key", "leave out --make-kek to use it"):
                write_secret_file(given.kek_file, b64u_encode(secrets.token_bytes(32)) + "\n")
        file = replace(given, keys_file=source).file()
        if file.kek is None:
            raise click.UsageError("Missing option '--kek-file' (or GHASI_HANDOFF_KEK_FILE, or GHASI_HANDOFF_KEK).")
        new_kek = file.kek if new_kek_file is None else LocalKeyEncryptionKey.from_file(new_kek_file)
        ring = _in_the_clear(source) if new_kek_file is None else file.load()
        target = KeyFile(source if out is None else out, new_kek, given.purpose)
        if out is None:
            target.save(ring)
        else:
            target.save_new(ring)
    return Answer(
        message="sealed the key file",
        facts={"path": target.path, "purpose": given.purpose, "kids": [key.kid for key in ring.keys]},
        text=table([("sealed", printable(target.path)), ("purpose", printable(given.purpose))]),
    )


def _in_the_clear(path: str) -> KeyRing:
    if is_sealed(read_secret_file(path, "key file").decode("utf-8", errors="replace")):
        raise KeyRingError(f"key file {path}: it is sealed already; to seal it with another key: --new-kek-file FILE")
    return keyfile.load(path)
