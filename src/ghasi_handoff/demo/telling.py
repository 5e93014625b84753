"""What both stories are made of: steps that do something real, check it, and say what happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, NamedTuple, TypeVar

from ghasi_handoff._base64url import b64u_decode, b64u_encode

WIDTH: Final = 100

_StoryT = TypeVar("_StoryT")


class SurpriseError(Exception):
    """Something else happened than the story tells."""


class Happened(NamedTuple):
    """What came of a step.

    Attributes:
        lines: For people.
        facts: For ``--json``.
    """

    lines: list[str]
    facts: dict[str, object]


class Step(NamedTuple, Generic[_StoryT]):
    """A step of a story.

    Attributes:
        title: A few words.
        why: One sentence, of one line.
        call: The call, request or command that the step is about.
        run: Does it.
    """

    title: str
    why: str
    call: str
    run: Callable[[_StoryT], Happened]


def check(condition: bool, otherwise: str) -> None:
    """Go on only if `condition` holds.

    Raises:
        SurpriseError: It does not. Its text is `otherwise`.
    """
    if not condition:
        raise SurpriseError(otherwise)


def short(redemption_id: str) -> str:
    """The beginning of a redemption id: enough to see which one it is."""
    return f"{redemption_id[:16]}..."


def labelled(name: str, *, text: str) -> list[str]:
    """`text` in lines of the story's width, `name` before the first."""
    room = WIDTH - 16
    pieces = [text[start : start + room] for start in range(0, len(text), room)]
    return [f"  {name if not position else '':8} {piece}" for position, piece in enumerate(pieces)]


def with_nine_adults(token: str) -> str:
    """The token of a stay of 2 adults, altered to 9. Its MAC stays as it was.

    Raises:
        SurpriseError: It is no such token.
    """
    version, kid, body_text, mac = token.split(".")
    body = b64u_decode(body_text)
    check(body is not None and b'"adults":2' in body, "the token does not carry the number of adults")
    altered = b64u_encode((body or b"").replace(b'"adults":2', b'"adults":9'))
    return ".".join((version, kid, altered, mac))
