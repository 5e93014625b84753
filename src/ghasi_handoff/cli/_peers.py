"""FILE or URL -> the other side's fingerprint. A file, or one GET with limits; https only, but for loopback."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

from typing_extensions import override

from ghasi_handoff._limits import MAX_FINGERPRINT_CHARACTERS, PEER_TIMEOUT_SECONDS
from ghasi_handoff._mint import is_loopback
from ghasi_handoff.errors import ConfigurationError
from ghasi_handoff.rotation import Fingerprint


def read_peer(where: str) -> tuple[Fingerprint, bool]:
    """The other side's fingerprint, and whether it was made just now."""
    if "://" in where:
        return Fingerprint.from_json(_fetched(where)), True
    try:
        with Path(where).open("rb") as file:
            return Fingerprint.from_json(file.read(MAX_FINGERPRINT_CHARACTERS).decode("utf-8", errors="replace")), False
    except OSError as exc:
        raise ConfigurationError(f"peer {where}: {exc.strerror or exc}") from exc


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """The answer must come from where it was asked: a redirect could lead to any host, and out of TLS."""

    @override
    def redirect_request(self, *args: object, **kwargs: object) -> None:
        return None


def _fetched(url: str) -> str:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise ConfigurationError("the peer's URL has no valid host") from None
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
        raise ConfigurationError("the peer's URL must be https; http is for loopback addresses only")
    if "@" in parts.netloc:
        raise ConfigurationError("the peer's URL must not hold a user name or password")
    # What is asked in the clear must not leave the machine: no proxy of the environment stands between.
    direct = [urllib.request.ProxyHandler({})] if parts.scheme == "http" else []
    opener = urllib.request.build_opener(_NoRedirect, *direct)
    try:
        with opener.open(url, timeout=PEER_TIMEOUT_SECONDS) as answer:
            data: bytes = answer.read(MAX_FINGERPRINT_CHARACTERS)
    except urllib.error.HTTPError as exc:
        raise ConfigurationError(f"peer {parts.netloc}: it answers {exc.code}") from None
    except (OSError, ValueError, http.client.HTTPException) as exc:  # the last: not HTTP, or a space in the URL
        reason = getattr(exc, "reason", None) or f"{type(exc).__name__}: {exc}"
        raise ConfigurationError(f"peer {parts.netloc}: {reason}") from None
    return data.decode("utf-8", errors="replace")
