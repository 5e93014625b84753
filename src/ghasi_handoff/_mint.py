"""payload, tenant -> key -> body -> MAC -> token. `Minter`. No I/O: clock and randomness are passed in."""

from __future__ import annotations

import ipaddress
import re
import secrets
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from typing_extensions import TypeVar

from ghasi_handoff._handoff import Handoff
from ghasi_handoff._limits import DEFAULT_LIFETIME, MAX_LIFETIME_SECONDS, MAX_SECONDS
from ghasi_handoff._mac import compute_mac
from ghasi_handoff._payload_bytes import encode_payload
from ghasi_handoff._signing_string import Body, build_body, required_name
from ghasi_handoff._times import read_clock, whole_seconds
from ghasi_handoff._token import build_token
from ghasi_handoff.errors import ConfigurationError, InvalidHandoffInputError
from ghasi_handoff.keys import KeyRing, ring_source
from ghasi_handoff.payload import BookingHandoff, HandoffPayload

_PayloadT = TypeVar("_PayloadT", bound=HandoffPayload)
_PayloadT_co = TypeVar("_PayloadT_co", bound=HandoffPayload, default=BookingHandoff, covariant=True)

# A parameter's name that needs no escaping in a query.
_is_parameter: Final = re.compile("[A-Za-z0-9._~-]{1,64}").fullmatch
# Printable ASCII without space, quotes, angle brackets, backslash and the like: what browsers and parsers read alike
# (RFC 3986).
_is_url_text: Final = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+").fullmatch


class MintedHandoff(Handoff[_PayloadT_co]):
    """A handoff as its issuer knows it: what was signed, and the token. Frozen; the token is not in its repr.

    Attributes:
        token: The text for the URL. Whoever has it can redeem it once: do not log it.
        handoff_id: The token's unique id, for logs and joins.
        tenant: The hotel that it is for.
        payload: The validated payload, as a verifier will see it.
        kid: The key that signed.
        issued_at: Aware datetime in UTC, whole seconds.
        expires_at: Aware datetime in UTC, whole seconds.
    """

    __slots__ = ("_token",)

    def __init__(self, token: str, body: Body, kid: str, payload: _PayloadT_co) -> None:
        super().__init__(body, kid, payload)
        self._token = token

    @property
    def token(self) -> str:
        """The text for the URL. Whoever has it can redeem it once: do not log it."""
        return self._token

    def url(self, base: str, param: str = "handoff") -> str:
        """The redirect's URL: `base` with the token as one more query parameter, before a fragment.

        Args:
            base: An absolute https URL (http only for a loopback address), without user name or password.
            param: The parameter's name, 1 to 64 characters of ``A-Z a-z 0-9 . _ ~ -``.

        Raises:
            InvalidHandoffInputError: `base` is not such a URL, or has that parameter already.
        """
        if not isinstance(param, str) or not _is_parameter(param):
            raise InvalidHandoffInputError("param must be 1 to 64 characters of A-Z a-z 0-9 . _ ~ -")
        if not isinstance(base, str) or not _is_url_text(base):
            raise InvalidHandoffInputError("the URL must be ASCII text without spaces or control characters")
        try:
            parts = urlsplit(base)
            host, port = parts.hostname, parts.port
        except ValueError:  # brackets around something else than an IPv6 address, or a port that is no number
            raise InvalidHandoffInputError("the URL has no valid host and port") from None
        if not host or port == 0:
            raise InvalidHandoffInputError("the URL must be absolute, with a host and a valid port or none")
        if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(host)):
            raise InvalidHandoffInputError("the URL must be https; http is for loopback addresses only")
        if "@" in parts.netloc:
            raise InvalidHandoffInputError("the URL must not hold a user name or password")
        if any(name == param for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
            raise InvalidHandoffInputError(f"the URL already has a parameter {param}")
        query = f"{parts.query}&{param}={self._token}" if parts.query else f"{param}={self._token}"
        return urlunsplit(parts._replace(query=query))


class Minter:
    """Makes handoffs: one per redirect. Safe to share between threads.

    Args:
        keys: The ring of this issuer and audience, or a callable that returns the present one (for hot reload).
        issuer: The name of this service, 1 to 64 characters of ``A-Z a-z 0-9 . _ : / -``.
        audience: The name of the service that verifies; likewise.
        lifetime: How long a token is valid: whole seconds, at most an hour.
        clock: Returns Unix seconds.
        random_bytes: Returns that many cryptographically secure random bytes.

    Raises:
        ConfigurationError: One of these does not hold.

    >>> from datetime import date
    >>> minter = Minter(KeyRing.generate(), issuer="bff-consumer", audience="bff-tenant-booking")
    >>> stay = BookingHandoff(
    ...     property_id="htl_0042", check_in=date(2026, 12, 24), check_out=date(2026, 12, 27), adults=2
    ... )
    >>> minted = minter.mint(stay, tenant="tn_aurora")
    >>> minted.expires_at - minted.issued_at
    datetime.timedelta(seconds=300)
    """

    def __init__(
        self,
        keys: KeyRing | Callable[[], KeyRing],
        *,
        issuer: str,
        audience: str,
        lifetime: timedelta = DEFAULT_LIFETIME,
        clock: Callable[[], float] = time.time,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._keys = ring_source(keys)
        self._issuer = required_name(issuer, "issuer", ConfigurationError)
        self._audience = required_name(audience, "audience", ConfigurationError)
        self._lifetime = whole_seconds(lifetime, name="lifetime", least=1, most=MAX_LIFETIME_SECONDS)
        self._clock = clock
        self._random_bytes = random_bytes

    @property
    def key_source(self) -> Callable[[], KeyRing]:
        """Returns the present ring."""
        return self._keys

    def mint(self, payload: _PayloadT, *, tenant: str) -> MintedHandoff[_PayloadT]:
        """A handoff of `payload` to the site of `tenant`, valid from now on.

        Raises:
            InvalidHandoffInputError: The tenant is outside the grammar, or the payload is not valid (it is validated
                anew).
            KeyRingError: No key can sign now.
            ConfigurationError: The clock or the source of randomness is broken.
        """
        # One reading for key, issued-at and id: else a key could sign a token from before or after its time.
        reading = read_clock(self._clock)
        issued_at = int(reading)
        expires_at = issued_at + self._lifetime
        if expires_at > MAX_SECONDS:
            raise ConfigurationError("the clock stands too close to the end of the year 9999")
        plain_tenant = required_name(tenant, "tenant")
        key = self._keys().signing_key(issued_at)
        checked, payload_bytes = encode_payload(payload)
        handoff_id = _new_handoff_id(reading, self._random_bytes)
        body = Body(self._issuer, self._audience, plain_tenant, handoff_id, issued_at, expires_at, payload_bytes)
        body_bytes = build_body(body)
        token = build_token(key.kid, body_bytes, compute_mac(key, body_bytes))
        return MintedHandoff(token, body, key.kid, checked)


def _new_handoff_id(reading: float, random_bytes: Callable[[int], bytes]) -> str:
    """A UUIDv7 (RFC 9562, section 5.7): 48 bits of milliseconds, version, 12 random bits, variant, 62 random bits."""
    seconds = int(reading)
    # Not int(reading * 1000): that may round up into the next second, and id and issued-at would disagree.
    milliseconds = seconds * 1000 + min(999, int((reading - seconds) * 1000))
    random = random_bytes(10)
    if type(random) is not bytes or len(random) != 10:
        raise ConfigurationError("random_bytes(10) must return 10 bytes")
    stamp, entropy = f"{milliseconds:012x}", random.hex()
    variant = "89ab"[int(entropy[3], 16) & 3]
    return f"{stamp[:8]}-{stamp[8:]}-7{entropy[:3]}-{variant}{entropy[4:7]}-{entropy[7:19]}"


def is_loopback(host: str) -> bool:
    """Whether a URL's host is this machine, so that plain http to it does not leave it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
