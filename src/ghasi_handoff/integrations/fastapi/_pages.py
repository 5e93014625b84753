"""message, form -> one page of HTML that needs nothing else: no script, no font, no other host. `Page`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from typing import Final, Literal, TypeAlias

from ghasi_handoff.integrations.fastapi._texts import Message, PageTexts

# Presses the button where `delay` says so. A page that is hidden or only prerendered waits until it is seen, and who
# has gone back is not sent forward again. The address of a refused page is shortened: nothing is lost by it.
_SCRIPT: Final = """\
(function () {
  var form = document.getElementById("handoff"), sent = false;
  if (!form) { history.replaceState(null, "", location.pathname); return; }
  var delay = form.getAttribute("data-delay");
  var navigation = performance.getEntriesByType("navigation")[0];
  if (delay === null || (navigation && navigation.type === "back_forward")) { return; }
  function go() {
    if (sent || document.prerendering || document.visibilityState !== "visible") { return; }
    sent = true;
    setTimeout(function () { form.submit(); }, Number(delay));
  }
  document.addEventListener("visibilitychange", go);
  document.addEventListener("prerenderingchange", go);
  go();
})();
"""
_STYLE: Final = """\
:root { color-scheme: light dark; }
body { margin: 0; font: 1.125rem/1.5 system-ui, sans-serif; color: #1c1c22; background: #f4f4f6; }
main { box-sizing: border-box; max-width: 34rem; margin: 0 auto; padding: 12vh 1.25rem 2rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem; }
p { margin: 0 0 1.25rem; }
button, .again { display: inline-block; box-sizing: border-box; min-height: 3rem; padding: .65rem 1.4rem; border: 0;
  border-radius: .5rem; font: inherit; font-weight: 600; text-decoration: none; color: #fff; background: #1d4f91;
  cursor: pointer; }
.second { color: #1d4f91; background: transparent; box-shadow: inset 0 0 0 2px #1d4f91; }
button:focus-visible, a:focus-visible { outline: 3px solid #e3930b; outline-offset: 3px; }
form { display: inline-block; margin: 0 0 1rem; margin-inline-end: 1rem; }
.reference { font-size: 1rem; color: #5a5a66; }
.reference bdi { font-family: ui-monospace, monospace; letter-spacing: .08em; }
@media (max-width: 30rem) { main { padding-top: 8vh; } form, button, .again { display: block; width: 100%; }
  .again { text-align: center; } form { margin-inline-end: 0; } }
@media (prefers-color-scheme: dark) { body { color: #ececf1; background: #17171c; } .reference { color: #a9a9b6; }
  button, .again { color: #10131a; background: #8db8f2; }
  .second { color: #8db8f2; background: transparent; box-shadow: inset 0 0 0 2px #8db8f2; } }
"""

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
        reference: By it support finds a refusal in the log; None where nothing was refused.
        nonce: For a script or style of the template's own: the page's content security policy wants it.
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
    *,
    language: str,
    texts: PageTexts,
    nonce: str,
    fields: Mapping[str, str] | None = None,
    delay: int | None = None,
    start_url: str | None = None,
    reference: str | None = None,
    keep_address: bool = False,
) -> Page:
    """A page.

    Args:
        kind: Which.
        status: The HTTP status.
        language: Which language the texts are in.
        texts: What it says.
        nonce: Of the content security policy.
        fields: Hidden fields of the form; None for a page without one.
        delay: Milliseconds after which the form submits itself; None: it waits for its button.
        start_url: Where the guest may start again.
        reference: Of a refusal.
        keep_address: Do not shorten the address of a page without a form: the refusal may pass, and a reload needs it.
    """
    message: Message = getattr(texts, kind)
    script = "" if fields is None and keep_address else f'<script nonce="{nonce}">{_SCRIPT}</script>'
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="robots" content="noindex"><title>{escape(message.title)}</title>'
        f'<style nonce="{nonce}">{_STYLE}</style>'
    )
    parts = [f"<h1>{escape(message.title)}</h1>", f'<p role="status">{escape(message.text)}</p>']
    if fields is not None:
        label = texts.proceed_button if kind == "proceed" else texts.try_again
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
        parts.append(f'<p><a class="{style}" href="{escape(start_url)}">{escape(texts.start_again)}</a></p>')
    if reference is not None:
        parts.append(f'<p class="reference">{escape(texts.reference)}: <bdi>{reference}</bdi></p>')
    return Page(
        kind=kind,
        status=status,
        language=language,
        direction=texts.direction,
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
