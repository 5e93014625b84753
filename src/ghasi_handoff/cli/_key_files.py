"""--keys, --kek-file, --purpose, --out -> a ring, and where its successor goes. One change at a time.

``keys seal`` is here, too: it changes the file and not the ring.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from ghasi_handoff import keyfile
from ghasi_handoff._base64url import b64u_encode
from ghasi_handoff.cli import _options
from ghasi_handoff.cli._options import packed
from ghasi_handoff.cli._output import Answer, Clock, answers, printable, table
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keyfile import LocalKeyEncryptionKey
from ghasi_handoff.keyfile._file import read_secret_file, write_secret_file
from ghasi_handoff.keyfile._seal import is_sealed
from ghasi_handoff.keys import KeyRing

_READ_ONLY: Final = (errno.EROFS, errno.EACCES, errno.EPERM)

_out: Final = click.option(
    "--out",
    metavar="FILE",
    help="Write the new ring to this file, which must not exist yet, and leave the other as it is: for a file that is"
    " mounted read-only.",
)
_dry_run: Final = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key file, and the key and purpose for which it is sealed, if it is. Its methods raise `KeyRingError`."""

    path: str
    kek: LocalKeyEncryptionKey | None
    purpose: str

    def load(self) -> KeyRing:
        return keyfile.load(self.path, kek=self.kek, purpose=self.purpose)

    def save(self, ring: KeyRing, *, new: bool) -> None:
        """Replace the file; or make a `new` one, which must not exist yet."""
        try:
            with _taking(self.path, "key file", "name another file") if new else nullcontext():
                keyfile.save(self.path, ring, kek=self.kek, purpose=self.purpose)
        except KeyRingError as exc:
            if not new and isinstance(exc.__cause__, OSError) and exc.__cause__.errno in _READ_ONLY:
                raise KeyRingError(f"{exc}; to write the new ring to another file: --out FILE") from exc.__cause__
            raise


@dataclass(frozen=True, slots=True)
class Change:
    """A ring that is being changed, and where its successor goes: None for a dry run."""

    ring: KeyRing
    target: KeyFile | None
    is_new: bool  # the target must not exist yet

    def write(self, new: KeyRing) -> tuple[str | None, tuple[str, str]]:
        """Write the new ring. Returns where it is now, None if nothing was written, and a row that says so."""
        if self.target is None:
            return None, ("dry run", "nothing was written")
        if new == self.ring and not self.is_new:
            return None, ("file", "unchanged")
        self.target.save(new, new=self.is_new)
        return self.target.path, ("file", printable(self.target.path))


@dataclass(frozen=True, slots=True)
class KeyFileOptions:
    """What the options say: a path, where the key-encryption key is, and what the file is sealed for."""

    keys_file: str
    kek_file: str | None
    purpose: str

    def file(self) -> KeyFile:
        """The key file, with the key-encryption key read."""
        variables = dict(os.environ)
        try:
            if self.kek_file is not None:
                variables["GHASI_HANDOFF_KEK_FILE"] = self.kek_file
            return KeyFile(self.keys_file, LocalKeyEncryptionKey.from_env(variables), self.purpose)
        finally:
            del variables  # a traceback that shows local variables must not show the environment


@dataclass(frozen=True, slots=True)
class ChangeOptions(KeyFileOptions):
    """The same for a command that changes the ring, with --out and --dry-run."""

    out: str | None
    dry_run: bool

    @contextmanager
    def changing(self) -> Generator[Change]:
        """The ring, to be changed, with no other command changing it meanwhile."""
        file = self.file()
        if self.dry_run:
            yield Change(file.load(), None, is_new=False)
        elif self.out is not None:
            yield Change(file.load(), replace(file, path=self.out), is_new=True)
        else:
            real = replace(file, path=_behind_link(file.path))
            with _locked(real.path):
                yield Change(real.load(), real, is_new=False)


_named: Final = (_options.required_keys_file, _options.kek_file, _options.purpose)
key_file: Final = packed("given", KeyFileOptions, *_named)
key_file_to_change: Final = packed("given", ChangeOptions, *_named, _out, _dry_run)
new_key_file: Final = packed("given", KeyFileOptions, _options.new_keys_file, *_named[1:])


@click.command()
@key_file
@_out
@click.option("--make-kek", is_flag=True, help="First make the --kek-file, which must not exist yet.")
@click.option("--new-kek-file", metavar="FILE", help="Seal a file that is sealed already with this key instead.")
@answers
def seal(_clock: Clock, *, given: KeyFileOptions, out: str | None, make_kek: bool, new_kek_file: str | None) -> Answer:
    """Encrypt a key file with a key-encryption key, so that the file alone is worth nothing.

    It needs --kek-file (or GHASI_HANDOFF_KEK), and whoever reads the file needs it from now on, and the same --purpose.
    Keep the two apart. What was in the clear may still be in backups: rotate, and revoke the old keys in time.
    """
    source = _behind_link(given.keys_file)
    with _locked(source):
        if make_kek:
            if given.kek_file is None:
                raise click.UsageError("--make-kek needs --kek-file: where to put it.")
            _in_the_clear(source)  # what cannot be sealed must not leave a key behind, which the next try would refuse
            with _taking(given.kek_file, "key-encryption key", "leave out --make-kek to use it"):
                write_secret_file(given.kek_file, b64u_encode(secrets.token_bytes(32)) + "\n")
        file = replace(given, keys_file=source).file()
        if file.kek is None:
            raise click.UsageError("Missing option '--kek-file' (or GHASI_HANDOFF_KEK_FILE, or GHASI_HANDOFF_KEK).")
        new_kek = file.kek if new_kek_file is None else LocalKeyEncryptionKey.from_file(new_kek_file)
        ring = _in_the_clear(source) if new_kek_file is None else file.load()
        target = KeyFile(source if out is None else out, new_kek, given.purpose)
        target.save(ring, new=out is not None)
    return Answer(
        message="sealed the key file",
        facts={"path": target.path, "purpose": given.purpose, "kids": [key.kid for key in ring.keys]},
        text=table([("sealed", printable(target.path)), ("purpose", printable(given.purpose))]),
    )


@contextmanager
def _taking(path: str, what: str, instead: str) -> Generator[None]:
    """The name of a file that does not exist yet, to be written within; free again if that fails.

    If it exists, the error says what to do `instead`.
    """
    try:
        # The name is taken first, and only if it is free: of two at once, one is refused. EXCL follows no link.
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    except FileExistsError as exc:
        raise KeyRingError(f"{what} {path}: it exists already and is not overwritten; {instead}") from exc
    except OSError as exc:
        raise KeyRingError(f"{what} {path}: {exc.strerror}") from exc
    try:
        yield
    except BaseException:
        Path(path).unlink(missing_ok=True)  # the empty file that held the name
        raise


def _behind_link(path: str) -> str:
    """The file that is to be replaced: where a link leads to, as its content was read there.

    If the link itself were replaced, whoever reads the other file would never learn of the change.
    """
    return os.path.realpath(path) if os.path.islink(path) else path


@contextmanager
def _locked(path: str) -> Generator[None]:
    """While this is held, no other command changes a key file of the same folder."""
    # On the folder: the file itself is replaced by a save, and a lock on it would go with it.
    folder = os.path.dirname(os.path.abspath(path))
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as exc:
        raise KeyRingError(f"key file {path}: {exc.strerror}") from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise KeyRingError(f"key file {path}: another command is changing it; see: keys list") from exc
        except OSError as exc:  # not every network file system has locks
            raise KeyRingError(
                f"key file {path}: its folder cannot be locked ({exc.strerror}); make sure that nobody else changes"
                " it, and write the new ring to another file: --out FILE"
            ) from exc
        yield
    finally:
        os.close(descriptor)


def _in_the_clear(path: str) -> KeyRing:
    if is_sealed(read_secret_file(path, "key file").decode("utf-8", errors="replace")):
        raise KeyRingError(f"key file {path}: it is sealed already; to seal it with another key: --new-kek-file FILE")
    return keyfile.load(path)
