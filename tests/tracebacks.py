"""An error -> the part of its traceback that the library is responsible for, as the most talkative formatter prints it."""

from __future__ import annotations

from traceback import TracebackException


def own_frames(error: BaseException) -> str:
    """The library's frames, with the local variables of each, and of each cause. The test's own frame comes before them."""
    text = "".join(TracebackException.from_exception(error, capture_locals=True).format())
    return text.partition("/ghasi_handoff/")[2]
