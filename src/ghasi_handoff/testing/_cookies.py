"""Set-Cookie -> kept or refused -> Cookie, as Chromium does it (RFC 6265bis, sections 5.6 and 5.8).

All URLs are https, or http on loopback, which Chromium trusts as well.
"""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, NamedTuple
from urllib.parse import SplitResult

from ghasi_handoff._times import read_clock

# Chromium's exception for sign-in forms of other sites, "Lax+POST".
LAX_POST_SECONDS: Final = 120


class _Place(NamedTuple):
    """What makes two cookies the same one."""

    name: str
    domain: str
    host_only: bool
    path: str

    def covers(self, url: SplitResult) -> bool:
        host, path = url.hostname or "", url.path or "/"
        # "/shop" covers "/shop" and "/shop/rooms", not "/shopping".
        inside = path == self.path or path.startswith(self.path if self.path.endswith("/") else f"{self.path}/")
        return inside and (host == self.domain if self.host_only else _is_within(host, self.domain))


class _Cookie(NamedTuple):
    value: str
    kept_at: float
    ends_at: float
    same_site: str

    def goes_cross_site(self, method: str, now: float) -> bool:
        """With a link from elsewhere Lax goes, too. So does what has no SameSite; for two minutes even with a form."""
        if method == "GET":
            return self.same_site != "strict"
        unsaid = self.same_site not in ("strict", "lax", "none")
        return self.same_site == "none" or (unsaid and now < self.kept_at + LAX_POST_SECONDS)


class CookieJar:
    """The cookies of one browser. Safe to share between threads, which are the browser's tabs."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._cookies: dict[_Place, _Cookie] = {}
        self._lock = threading.Lock()

    def take(self, header: str, url: SplitResult) -> str:
        """Keep what one ``Set-Cookie`` field of the answer from `url` says, or tell why not."""
        pair, *rest = (part.strip() for part in header.split(";"))
        # Without a name it is kept and sent as a bare value, which some servers take for a pair.
        name, value = (part.strip() for part in (pair if "=" in pair else f"={pair}").split("=", 1))
        attributes: dict[str, str] = {}
        for part in rest:  # the last of two counts
            attribute, _, setting = part.partition("=")
            attributes[attribute.strip().lower()] = setting.strip()
        domain = attributes.get("domain", "").removeprefix(".").lower()
        problem = _problem(name, value, attributes, domain, url)
        if problem:
            return problem
        path = attributes.get("path", "")
        if not path.startswith("/"):
            path = (url.path or "/").rpartition("/")[0] or "/"
        place = _Place(name, domain or url.hostname or "", not domain, path)
        ends_at = self._end(attributes)
        now = read_clock(self._clock)
        with self._lock:
            before = self._cookies.get(place)
            if before is not None and (ends_at <= now or before.value != value):
                del self._cookies[place]  # with a new value it is a new cookie, behind the others
                before = None
            if ends_at > now:
                kept_at = now if before is None else before.kept_at
                self._cookies[place] = _Cookie(value, kept_at, ends_at, attributes.get("samesite", "").lower())
        return ""

    def cookies(self, url: SplitResult, *, site: str, method: str) -> list[tuple[str, str]]:
        """What goes with a top-level navigation whose ``Sec-Fetch-Site`` is `site`, those of longer paths first."""
        now = read_clock(self._clock)
        with self._lock:
            kept = sorted(self._cookies.items(), key=lambda found: -len(found[0].path))
        return [
            (place.name, cookie.value)
            for place, cookie in kept
            if place.covers(url)
            and cookie.ends_at > now
            and (site != "cross-site" or cookie.goes_cross_site(method, now))
        ]

    def _end(self, attributes: dict[str, str]) -> float:
        max_age = attributes.get("max-age", "")
        if max_age.removeprefix("-").isdecimal():
            return read_clock(self._clock) + int(max_age)
        try:
            moment = parsedate_to_datetime(attributes["expires"])
        except (KeyError, ValueError):
            return float("inf")  # until the browser is closed
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _problem(name: str, value: str, attributes: dict[str, str], domain: str, url: SplitResult) -> str:
    """Why a browser drops the cookie, or nothing."""
    if not name and (not value or value.lower().startswith(("__host-", "__secure-"))):
        return "a cookie without a name, that is empty or would pass for one with a prefix"
    host = url.hostname or ""
    if domain and not (_is_within(host, domain) and ("." in domain or domain == host)):  # "example" is nobody's
        return f"{name}: the Domain {domain} is not the host's"
    # Prefixes count in any case: a server may compare names so.
    prefix = name.lower()
    if prefix.startswith(("__host-", "__secure-")) and "secure" not in attributes:
        return f"{name}: this prefix needs Secure"
    if prefix.startswith("__host-") and domain:
        return f"{name}: this prefix forbids Domain"
    if prefix.startswith("__host-") and attributes.get("path") != "/":
        return f"{name}: this prefix needs Path=/"
    if attributes.get("samesite", "").lower() == "none" and "secure" not in attributes:
        return f"{name}: SameSite=None needs Secure"
    return ""


def _is_within(host: str, domain: str) -> bool:
    return host == domain or (host.endswith(f".{domain}") and not is_address(host))


def is_address(host: str) -> bool:
    """Whether a host is an IP address: those have no domains above them."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
