"""That no error about a key file shows a secret: not in its text, its causes or the local variables of its traceback."""

from __future__ import annotations

import base64
import traceback
from collections.abc import Iterator

from ghasi_handoff import KeyRing


def spellings(ring: KeyRing) -> Iterator[str]:
    """How a secret of the ring might show in a text."""
    for key in ring.keys:
        yield repr(key.secret)[2:-1]
        yield key.secret.hex()
        yield base64.b64encode(key.secret).decode("ascii").rstrip("=")
        yield base64.urlsafe_b64encode(key.secret).decode("ascii").rstrip("=")


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error and everything that a log may show along with it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def assert_tells_nothing_of(ring: KeyRing, error: BaseException, *, locals_too: bool = True) -> None:
    """No secret shows in the error, its chain, or its traceback."""
    shown = [text for link in chain(error) for text in (str(link), repr(link), repr(link.args), repr(link.__dict__))]
    formatted = traceback.TracebackException.from_exception(error, capture_locals=locals_too).format()
    text = "\n".join([*shown, *formatted])
    assert not [secret for secret in spellings(ring) if secret in text]


def named(exc: BaseException) -> str:
    """The texts of an error and of its causes."""
    return "\n".join(str(link) for link in chain(exc))
