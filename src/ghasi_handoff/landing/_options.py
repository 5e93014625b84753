"""An application's options -> refused when its routes are made, if they could only fail while a guest waits. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.landing._texts import PageTexts

_is_language_tag: Final = re.compile("[A-Za-z0-9]+(-[A-Za-z0-9]+)*").fullmatch


def check_callables(**functions: object) -> None:
    """Raise `ConfigurationError` for the first that cannot be called."""
    for name, function in functions.items():
        if not callable(function):
            raise ConfigurationError(f"{name} must be a callable that takes the request, not {type(function).__name__}")


def check_pages(texts: Mapping[str, PageTexts], start_url: str | None) -> None:
    """Raise `ConfigurationError` if these are no texts, or no link."""
    if not texts or not all(isinstance(name, str) and _is_language_tag(name) for name in texts):
        raise ConfigurationError("texts must hold a language, and language tags as its keys")
    if not all(isinstance(said, PageTexts) for said in texts.values()):
        raise ConfigurationError("texts must hold PageTexts")
    if start_url is not None and not start_url.startswith(("https://", "http://", "/")):
        raise ConfigurationError("start_url must be an absolute URL or a path")
