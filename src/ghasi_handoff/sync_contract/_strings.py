r"""``'bff\u002dconsumer'`` -> text. Escapes of JavaScript strings and templates, as strict code has them."""

from __future__ import annotations

import re
from typing import Final

_ESCAPE: Final = re.compile(
    r"\\(?:u\{(?P<braced>[0-9A-Fa-f]+)\}|u(?P<four>[0-9A-Fa-f]{4})|x(?P<two>[0-9A-Fa-f]{2})"
    r"|(?P<line>\r\n|[\n\r\u2028\u2029])|(?P<nul>0(?![0-9]))|(?P<other>.|$))",
    re.DOTALL,
)
_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
# `\1` and `\08` are octal in sloppy code and errors in modules; `\u` and `\x` need their digits.
_NOT_ESCAPES: Final = frozenset("0123456789ux")


def unescape(raw: str) -> str | None:
    """What stands between the quotes, with its escapes read; None if an escape is wrong.

    See ECMA-262, sections 12.9.4 and 12.9.6.
    """
    parts: list[str] = []
    end = 0
    for match in _ESCAPE.finditer(raw):
        character = _character(match)
        if character is None:
            return None
        parts += [raw[end : match.start()], character]
        end = match.end()
    return "".join([*parts, raw[end:]])


def _character(match: re.Match[str]) -> str | None:
    digits = match["braced"] or match["four"] or match["two"]
    if digits is not None:
        code = int(digits, 16)
        return chr(code) if code <= 0x10FFFF else None
    if match["line"] is not None:
        return ""
    if match["nul"] is not None:
        return "\0"
    other = match["other"]
    return None if not other or other in _NOT_ESCAPES else _CONTROLS.get(other, other)
