"""A text that is right, or none -> texts as nobody should send them."""

from __future__ import annotations

import string
from typing import Final

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from ghasi_handoff.errors import ConfigurationError

B64U: Final = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
# Characters that some reader, somewhere, treats in its own way: quotes, controls, white space of other scripts, letters
# that change their number when their case is changed, marks that combine, characters that do not show.
ODD_CHARACTERS: Final = (
    '"\\/\x00\x01\b\t\n\x0b\f\r\x1f \x7f\x80\x85\xa0é.=+-_%&<\u017f\u212a\u0131\u0301\u200b\u202e\u2028\u2029'
    "\ufeff\uff0e\uffff\U0001f600\U0010ffff"
)
SURROGATES: Final = "\ud800\udbff\udc00\udfff"


def hostile_texts(near: str | None = None, *, encodable: bool = False, max_size: int = 5000) -> SearchStrategy[str]:
    """Texts as nobody should send them, and somebody does: for tokens, tenants, form fields, headers.

    Any characters, with controls, white space, lone surrogates and characters that do not show; nothing at all; 4096,
    4097 and `max_size` characters.

    Args:
        near: A text that is right, such as a tenant's name. Then many of the texts look like it, or differ from it by a
            character. None is equal to it.
        encodable: Leave out lone surrogates, which UTF-8 cannot carry: for what is sent over a network.
        max_size: How many characters a text has at most, texts that look like `near` apart.

    Raises:
        ConfigurationError: `max_size` is negative.

    >>> from hypothesis import given, settings
    >>> tenants = {"tn_aurora": "Aurora"}
    >>> @settings(max_examples=10, deadline=None)
    ... @given(name=hostile_texts(near="tn_aurora"))
    ... def test_no_other_name_finds_the_hotel(name):
    ...     assert name not in tenants
    >>> test_no_other_name_finds_the_hotel()
    """
    if max_size < 0:
        raise ConfigurationError("max_size must not be negative")
    odd = ODD_CHARACTERS if encodable else ODD_CHARACTERS + SURROGATES
    every = st.characters(codec="utf-8" if encodable else None)
    sizes = st.sampled_from([size for size in (64, 4096, 4097) if size < max_size] + [max_size])
    # Not one text of all these characters: few of them would be odd.
    texts = [st.text(some, max_size=min(max_size, 40)) for some in (every, odd, odd + string.printable)]
    units = st.text(odd, min_size=1, max_size=8) | every
    texts.append(st.builds(lambda unit, size: (unit * (size // len(unit) + 1))[:size], units, sizes))
    if near is None:
        return st.one_of(texts)
    alike = [st.sampled_from(_look_alikes(near)), _edits(near, odd)]
    return st.one_of(alike + texts).filter(lambda text: text != near)


def _look_alikes(right: str) -> list[str]:
    data = right.encode("utf-8", "replace")
    around = [*" \n\t\x00\u200b\ufeff\u2028\u0301'\"/;.", "\r\n", "%00"]
    return [
        *(change(right) for change in (str.upper, str.lower, str.title, str.swapcase)),
        "".join(chr(ord(character) + 0xFEE0) if "!" <= character <= "~" else character for character in right),
        right.translate(str.maketrans("aeopcxyABEKMHOPCTX", "аеорсхуАВЕКМНОРСТХ")),  # noqa: RUF001 - Cyrillic
        *("", right[:-1], right[1:], right[::-1], right + right, repr(data), "".join(f"%{byte:02X}" for byte in data)),
        *(text for more in around for text in (more + right, right + more)),
        *(f"{right}{separator}{right}" for separator in (" ", ",", "\n", "\x00", "/../")),
    ]


@st.composite
def _edits(draw: DrawFn, right: str, odd: str) -> str:
    place = draw(st.integers(0, len(right)))
    other: str = draw(st.sampled_from(["", *odd, *string.ascii_letters, *string.digits]))
    return right[:place] + other + right[place + draw(st.integers(0, 1)) :]
