"""A course of acts, each run or awaited: so that sync and asyncio take the same steps, written once."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeAlias, TypeVar

from ghasi_handoff.errors import HandoffError

_T = TypeVar("_T")
# A piece of I/O. Its result is sent back into the course, or its error thrown.
Act: TypeAlias = Callable[[], Any]
Course: TypeAlias = Generator[Act, Any, _T]


def drive(course: Course[_T]) -> _T:
    """Run each act of `course`, and give its result."""
    try:
        act = next(course)
        while True:
            try:
                result = act()
            except HandoffError as exc:
                act = course.throw(exc)
            else:
                act = course.send(result)
    except StopIteration as end:
        done: _T = end.value
        return done


async def drive_async(course: Course[_T]) -> _T:
    """Await each act of `course`, and give its result."""
    try:
        act = next(course)
        while True:
            try:
                result = await act()
            except HandoffError as exc:
                act = course.throw(exc)
            else:
                act = course.send(result)
    except StopIteration as end:
        done: _T = end.value
        return done
