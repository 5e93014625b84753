"""What the story expects of answers, and how it reads and changes a link's token."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import httpx2

from ghasi_handoff._token import build_token, parse_token
from ghasi_handoff.testing._pages import Page


class SurpriseError(Exception):
    """Something else happened than the story tells."""


def check(condition: bool, otherwise: str) -> None:
    """`SurpriseError` with the text `otherwise`, unless `condition` holds."""
    if not condition:
        raise SurpriseError(otherwise)


def expect(answer: httpx2.Response, status: int, title: str | None = None) -> None:
    """`SurpriseError` unless the answer has this status and, if given, this heading."""
    path, found = answer.url.path, Page(answer).title
    check(answer.status_code == status, f"{path} answered {answer.status_code}, not {status}")
    check(title in (None, found), f'{path} shows the page "{found}", not "{title}"')


def token_of(link: str) -> str:
    """The token in a redirect's URL."""
    return parse_qs(urlsplit(link).query)["handoff"][0]


def without_chance(answer: httpx2.Response) -> str:
    """A page without what is random in it: the reference and the policy's nonce."""
    return re.sub(r'nonce="[^"]*"|<bdi>[^<]*</bdi>', "", answer.text)


def with_nine_adults(token: str) -> str:
    """The token of a stay of 2 adults, altered to 9, with the MAC that it had."""
    kid, body, mac_text = parse_token(token)
    check(b'"adults":2' in body, "the token does not carry the number of adults")
    return build_token(kid, body.replace(b'"adults":2', b'"adults":9'), mac_text)
