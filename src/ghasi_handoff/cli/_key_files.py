"""--keys, --kek-file, --purpose, --out -> a ring, and where its successor goes. One change at a time."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import click

from ghasi_handoff import keyfile
from ghasi_handoff.cli import _options
from ghasi_handoff.cli._options import packed
from ghasi_handoff.cli._output import printable
from ghasi_handoff.errors import KeyRingError
from ghasi_handoff.keyfile import LocalKeyEncryptionKey
from ghasi_handoff.keys import KeyRing

_READ_ONLY: Final = (errno.EROFS, errno.EACCES, errno.EPERM)

out: Final = click.option(
    "--out",
    metavar="FILE",
    help="Write the new ring to this file, which must not exist yet, and leave the other as it is: for a file that is"
    " mounted read-only.",
)
dry_run: Final = click.option("--dry-run", is_flag=True, help="Only say what would be done.")


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A key file, and the key and purpose for which it is sealed, if it is. Its methods raise `KeyRingError`."""

    path: str
    kek: LocalKeyEncryptionKey | None
    purpose: str

    def load(self) -> KeyRing:
        """The ring."""
        return keyfile.load(self.path, kek=self.kek, purpose=self.purpose)

    def save(self, ring: KeyRing) -> None:
        """Replace the file."""
        try:
            keyfile.save(self.path, ring, kek=self.kek, purpose=self.purpose)
        except KeyRingError as exc:
            if isinstance(exc.__cause__, OSError) and exc.__cause__.errno in _READ_ONLY:
                raise KeyRingError(f"{exc}; to write the new ring to another file: --out FILE") from exc.__cause__
            raise

    def save_new(self, ring: KeyRing) -> None:
        """Save to a file that does not exist yet."""
        with taking(self.path, "key file", "name another file"):
            keyfile.save(self.path, ring, kek=self.kek, purpose=self.purpose)


@dataclass(frozen=True, slots=True)
class Change:
    """A ring that is being changed.

    Attributes:
        ring: As it is in the file.
        target: Where the new one goes; None for a dry run.
        is_new: Whether that must be a file which does not exist yet.
    """

    ring: KeyRing
    target: KeyFile | None
    is_new: bool

    def write(self, new: KeyRing) -> str | None:
        """Write the new ring, and return where it is now; None for a dry run, or where nothing has changed."""
        if self.target is None or (new == self.ring and not self.is_new):
            return None
        if self.is_new:
            self.target.save_new(new)
        else:
            self.target.save(new)
        return self.target.path

    def written(self, path: str | None) -> tuple[str, str]:
        """A row that says what was written where, for the `path` that `write` returned."""
        if self.target is None:
            return ("dry run", "nothing was written")
        return ("file", printable(path) if path is not None else "unchanged")


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
        if self.dry_run or self.out is not None:
            target = None if self.dry_run or self.out is None else replace(file, path=self.out)
            yield Change(file.load(), target, is_new=True)
            return
        real = replace(file, path=behind_link(file.path))
        with locked(real.path):
            yield Change(real.load(), real, is_new=False)


_named: Final = (_options.required_keys_file, _options.kek_file, _options.purpose)
key_file: Final = packed("given", KeyFileOptions, *_named)
key_file_to_change: Final = packed("given", ChangeOptions, *_named, out, dry_run)
new_key_file: Final = packed("given", KeyFileOptions, _options.new_keys_file, *_named[1:])


@contextmanager
def taking(path: str, what: str, instead: str) -> Generator[None]:
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


def behind_link(path: str) -> str:
    """The file that is to be replaced: where a link leads to, as its content was read there.

    If the link itself were replaced, whoever reads the other file would never learn of the change.
    """
    return os.path.realpath(path) if os.path.islink(path) else path


@contextmanager
def locked(path: str) -> Generator[None]:
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
            raise KeyRingError(
                f"key file {path}: another command is changing it; see what it did with: keys list"
            ) from exc
        except OSError as exc:  # not every network file system has locks
            raise KeyRingError(
                f"key file {path}: its folder cannot be locked ({exc.strerror}); make sure that nobody else changes"
                " it, and write the new ring to another file: --out FILE"
            ) from exc
        yield
    finally:
        os.close(descriptor)
