"""The application's functions, called as FastAPI calls its own: ``async def`` is awaited, ``def`` runs in a thread."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from ghasi_handoff.landing import GuestRequest

Tenant: TypeAlias = Callable[[Request], str | None] | Callable[[Request], Awaitable[str | None]]
PublicOrigin: TypeAlias = Callable[[Request], str] | Callable[[Request], Awaitable[str]]


async def called(function: Callable[..., Any], *arguments: Any) -> Any:
    """The result of `function`, awaited or out of a thread."""
    # An object with an async __call__ is as good as an async def.
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        return await function(*arguments)
    result = await run_in_threadpool(function, *arguments)
    # A lambda around an async def: left alone it would pass for an answer that is not None.
    return await result if inspect.isawaitable(result) else result


def of_guest(function: Callable[..., Any]) -> Callable[..., Awaitable[Any]]:
    """`function`, which takes FastAPI's request, for the landing, which has a `GuestRequest`."""

    async def call(guest: GuestRequest, *arguments: Any) -> Any:
        return await called(function, guest.native, *arguments)

    return call
