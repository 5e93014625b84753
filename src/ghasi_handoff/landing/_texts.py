"""What the pages say, in English, German and Arabic: texts.toml. An application may add languages, or other texts."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Final, Literal

from ghasi_handoff.errors import ConfigurationError

_is_language_tag: Final = re.compile("[A-Za-z0-9]+(-[A-Za-z0-9]+)*").fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A page's heading and its text.

    Attributes:
        title: A few words; also the title of the window.
        text: One or two sentences.
    """

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PageTexts:
    """Everything that the pages say in one language. Plain text: it is escaped where it is used.

    Attributes:
        direction: ``ltr``, or ``rtl`` for Arabic, Hebrew and others.
        proceed: The landing page.
        proceed_button: Its button.
        confirming: bff-consumer has not confirmed yet; the page tries again by itself.
        not_confirmed: It has not confirmed for 20 seconds.
        unavailable: The store could not confirm the outcome, or no key can sign.
        try_again: The button of these three.
        invalid: There is no token, or no valid one for this site.
        expired: The token has expired.
        replayed: Another browser has the handoff.
        revoked: The handoff was cancelled.
        cookies: The browser keeps no cookies.
        forbidden: The form is not from our own page, the page is in a frame, or a cookie is forged.
        unknown_site: There is no such hotel here.
        start_again: The link to the site where the guest began.
        reference: The word before the reference.
    """

    direction: Literal["ltr", "rtl"] = "ltr"
    proceed: Message
    proceed_button: str
    confirming: Message
    not_confirmed: Message
    unavailable: Message
    try_again: str
    invalid: Message
    expired: Message
    replayed: Message
    revoked: Message
    cookies: Message
    forbidden: Message
    unknown_site: Message
    start_again: str
    reference: str


def _texts(table: Mapping[str, Any]) -> PageTexts:
    texts: dict[str, Any] = {name: Message(**said) if isinstance(said, dict) else said for name, said in table.items()}
    return PageTexts(**texts)


TEXTS: Final[Mapping[str, PageTexts]] = {
    language: _texts(table)
    for language, table in tomllib.loads((files("ghasi_handoff.landing") / "texts.toml").read_text("utf-8")).items()
}


def check_pages(texts: Mapping[str, PageTexts], start_url: str | None) -> None:
    """Refuse, when a service starts, what could only fail while a guest waits."""
    if not texts or not all(isinstance(name, str) and _is_language_tag(name) for name in texts):
        raise ConfigurationError("texts must hold a language, and language tags as its keys")
    if not all(isinstance(said, PageTexts) for said in texts.values()):
        raise ConfigurationError("texts must hold PageTexts")
    if start_url is not None and not start_url.startswith(("https://", "http://", "/")):
        raise ConfigurationError("start_url must be an absolute URL or a path")


def choose_language(wanted: Sequence[str], texts: Mapping[str, PageTexts]) -> str:
    """The first of `wanted` (tags in lower case, the preferred one first) that `texts` has, else its first.

    ``de-AT`` finds ``de``, too: RFC 4647, section 3.4.
    """
    known = {name.lower(): name for name in texts}
    for tag in wanted:
        parts = tag.split("-")
        for length in range(len(parts), 0, -1):
            name = known.get("-".join(parts[:length]))
            if name is not None:
                return name
    return next(iter(texts))
