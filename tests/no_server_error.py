"""The error of a server or browser that this machine does not have."""

from __future__ import annotations


class NoServerError(Exception):
    """There is no such server or browser on this machine; the message says what was looked for and what to install."""
