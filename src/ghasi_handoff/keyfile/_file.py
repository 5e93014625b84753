"""path -> bytes that nobody else can read; text -> a file of its owner alone, whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile

from ghasi_handoff._limits import MAX_KEY_FILE_BYTES
from ghasi_handoff.errors import KeyRingError


def read_secret_file(path: str | os.PathLike[str], what: str) -> bytes:
    """The content of the file `path`, if only this user, or root and a group of ours, may use it.

    `what` names the file in the `KeyRingError` that says why it is not read.
    """
    name = f"{what} {os.fspath(path)}"
    try:
        # The checks are made on the open file, not on its name: nobody can exchange it in between. NONBLOCK: a FIFO
        # must not hang.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise KeyRingError(f"{name}: not a regular file")
            if _others_may_use(status):
                raise KeyRingError(
                    f"{name}: others than its owner may use it (mode {stat.S_IMODE(status.st_mode):04o}); chmod 600 it"
                    " (a Kubernetes secret: defaultMode 0400), and if others may have read it, rotate and revoke its"
                    " keys"
                )
            if status.st_size > MAX_KEY_FILE_BYTES:
                raise KeyRingError(f"{name}: {status.st_size} bytes are too many")
            return file.read(MAX_KEY_FILE_BYTES + 1)
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        raise KeyRingError(f"{name}: {getattr(exc, 'strerror', None) or exc}") from exc


def write_secret_file(path: str | os.PathLike[str], text: str) -> None:
    """Put `text` into the file `path`, mode 0600, so that after a crash there is the old file or the new one.

    Root leaves the file to its owner. After a `KeyRingError` an earlier file is still there, whole.
    """
    target = os.path.abspath(os.fspath(path))
    folder = os.path.dirname(target)
    try:
        # mkstemp makes the file with mode 0600, under a name that nobody can have prepared.
        descriptor, temporary = tempfile.mkstemp(prefix=".keys-", dir=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                _keep_owner(descriptor, target)
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
        folder_descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder_descriptor)
        finally:
            os.close(folder_descriptor)
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the path
        raise KeyRingError(f"key file {target}: {getattr(exc, 'strerror', None) or exc}") from exc
    finally:
        del text  # a traceback that shows local variables must not show the secrets


def _others_may_use(status: os.stat_result) -> bool:
    """Whether somebody else than this process's user could read or write the file.

    One exception, which PostgreSQL makes for its private keys, too: a file of root that its group may only read, where
    that group is ours and we are not root. Kubernetes mounts secrets like that for a pod with an fsGroup (root, the
    fsGroup, mode 0440), and a process that is not root can have them in no other way. The group was given to the
    process by whoever runs it. Root itself needs no group to read a file: there, the group is somebody else.
    """
    mode = status.st_mode
    user = os.geteuid()
    if status.st_uid == 0 and user != 0 and status.st_gid in {os.getegid(), *os.getgroups()}:
        return bool(mode & (stat.S_IWGRP | stat.S_IXGRP | stat.S_IRWXO))
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO))


def _keep_owner(descriptor: int, target: str) -> None:
    """Give the new file to the old one's owner, if we are root: else its service could no longer read it.

    Not where somebody else could have put the old one there: only in a folder of that owner, or of root alone.
    """
    if os.geteuid() != 0 or not os.path.isfile(target) or os.path.islink(target):
        return
    old, folder = os.lstat(target), os.stat(os.path.dirname(target))
    private = not folder.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if private and folder.st_uid in (0, old.st_uid):
        os.fchown(descriptor, old.st_uid, old.st_gid)
