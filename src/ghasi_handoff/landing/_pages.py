"""kind, texts, form -> one page of HTML that needs nothing else: no script, no font, no other host. `Page`."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import Final, Literal, TypeAlias

from ghasi_handoff._limits import PAGE_RETRIES_EVERY_SECONDS
from ghasi_handoff.landing._texts import Message, PageTexts, choose_language

# Presses the button after the form's delay. A hidden or prerendered page waits until it is visible, and a guest who has
# gone back is not sent forward again. A delay of 0 submits before the page has loaded: then the next page replaces it
# in the history, and the token with it. A page without a form takes the query out of its own address.
_SCRIPT: Final = (files("ghasi_handoff.landing") / "page.js").read_text("utf-8")
_STYLE: Final = (files("ghasi_handoff.landing") / "page.css").read_text("utf-8")

Kind: TypeAlias = Literal[
    "proceed",
    "confirming",
    "not_confirmed",
    "unavailable",
    "invalid",
    "expired",
    "replayed",
    "revoked",
    "cookies",
    "forbidden",
    "unknown_site",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page for a guest, for the application's own template: put `head` into the head, `content` into the body.

    Both are HTML, ready to be used without further escaping, and complete without JavaScript. A template with a style
    of its own may leave `head` out; then it says title and viewport itself.

    Attributes:
        kind: Which page: ``proceed``, or the name of a refusal; a field of `PageTexts`.
        status: The HTTP status.
        language: A key of the texts, for ``<html lang>``.
        direction: ``ltr`` or ``rtl``, for ``<html dir>``.
        title: The heading, as plain text.
        text: The text, as plain text.
        reference: Support finds a refusal in the log by it. None: nothing was refused.
        nonce: For a script or style of the template's own: the page's content security policy requires it.
        head: HTML: title, viewport, robots, and the page's style.
        content: HTML: heading, text, form or link, reference, and the script that presses the button.
    """

    kind: Kind
    status: int
    language: str
    direction: str
    title: str
    text: str
    reference: str | None
    nonce: str
    head: str
    content: str = field(repr=False)  # it may hold the token


def make_page(
    kind: Kind,
    status: int,
    languages: Sequence[str],
    texts: Mapping[str, PageTexts],
    *,
    start_url: str | None = None,
    fields: Mapping[str, str] | None = None,
    delay: int | None = None,
    reference: str | None = None,
) -> Page:
    """A page in the best of `languages`. Without `fields` it has no form.

    `delay` is in milliseconds; without it, the form waits for its button.
    """
    language = choose_language(languages, texts)
    words, nonce = texts[language], secrets.token_urlsafe(16)
    message: Message = getattr(words, kind)
    # Without the script the address keeps its token. These refusals may pass by themselves, when clocks or key files
    # have caught up, and a reload needs it. All refused tokens alike: a difference would tell which check has failed.
    keeps_address = fields is None and kind in ("invalid", "unavailable")
    script = "" if keeps_address else f'<script nonce="{nonce}">{_SCRIPT}</script>'
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="robots" content="noindex"><title>{escape(message.title)}</title>'
        f'<style nonce="{nonce}">{_STYLE}</style>'
    )
    parts = [f"<h1>{escape(message.title)}</h1>", f'<p role="status">{escape(message.text)}</p>']
    if fields is not None:
        label = words.proceed_button if kind == "proceed" else words.try_again
        hidden = "".join(
            f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in fields.items()
        )
        waits = "" if delay is None else f' data-delay="{delay}"'
        # A relative action: the same path, whatever an ingress has put before it, and without the query's token.
        parts.append(
            f'<form id="handoff" method="post" action="handoff"{waits}>{hidden}'
            f'<button type="submit">{escape(label)}</button></form>'
        )
    if start_url is not None and kind not in ("proceed", "confirming"):
        style = "again" if fields is None else "again second"
        parts.append(
            f'<p class="start"><a class="{style}" href="{escape(start_url)}">{escape(words.start_again)}</a></p>'
        )
    if reference is not None:
        parts.append(f'<p class="reference">{escape(words.reference)}: <bdi>{reference}</bdi></p>')
    return Page(
        kind=kind,
        status=status,
        language=language,
        direction=words.direction,
        title=message.title,
        text=message.text,
        reference=reference,
        nonce=nonce,
        head=head,
        # The script stands last: what it looks for is there.
        content="".join(parts) + script,
    )


def html_of(page: Page) -> str:
    """The whole document, for an application without a template of its own."""
    return (
        f'<!doctype html>\n<html lang="{escape(page.language)}" dir="{escape(page.direction)}"><head>{page.head}</head>'
        f"<body><main>{page.content}</main></body></html>\n"
    )


def headers_of(page: Page) -> dict[str, str]:
    """The headers with which it must be sent."""
    policy = (
        f"default-src 'none'; script-src 'nonce-{page.nonce}'; style-src 'self' 'nonce-{page.nonce}'; img-src 'self';"
        " font-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
    headers = {
        "Cache-Control": "no-store",
        "Content-Language": page.language,
        "Content-Security-Policy": policy,
        "Content-Type": "text/html; charset=utf-8",
        # Not no-referrer: under it the form's Origin would be "null". The path and query, and so the token, stay here.
        "Referrer-Policy": "strict-origin",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
    }
    return headers | ({"Retry-After": f"{PAGE_RETRIES_EVERY_SECONDS}"} if page.status == 503 else {})
