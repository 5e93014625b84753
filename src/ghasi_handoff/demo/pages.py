"""The HTML of the two services' own pages."""

from __future__ import annotations

from html import escape
from typing import Final

from starlette.responses import HTMLResponse

_STYLE: Final = """\
:root { color-scheme: light dark; }
body { margin: 0; font: 1.0625rem/1.5 system-ui, sans-serif; color: #1c1c22; background: #f4f4f6; }
main { max-width: 44rem; margin: 0 auto; padding: 2.5rem 1.25rem; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .5rem; text-wrap: balance; }
h2 { font-size: 1.2rem; margin: 2rem 0 .75rem; }
section, dl { background: #fff; border-radius: .6rem; padding: 1rem 1.25rem; margin: 0 0 1rem; }
section h3 { font-size: 1.0625rem; margin: 0 0 .75rem; }
form { display: flex; flex-wrap: wrap; gap: .75rem; align-items: end; }
label { display: grid; font-size: .9rem; }
input { font: inherit; padding: .4rem .5rem; border: 1px solid #8a8a96; border-radius: .35rem; min-height: 2.75rem;
  box-sizing: border-box; }
button { font: inherit; font-weight: 600; min-height: 2.75rem; padding: .4rem 1.2rem; border: 0; border-radius: .35rem;
  color: #fff; background: #1d4f91; cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .4rem 1.25rem; }
dt { color: #5a5a66; } dd { margin: 0; overflow-wrap: anywhere; }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; } dd { margin-bottom: .5rem; } button { width: 100%; }
  label { flex: 1 1 8rem; min-width: 0; } input { width: 100%; min-width: 0; } }
@media (prefers-color-scheme: dark) { body { color: #ececf1; background: #17171c; } section, dl { background: #23232b; }
  dt { color: #a9a9b6; } button { color: #10131a; background: #8db8f2; } }
"""


def page(title: str, content: str, status: int = 200, form_targets: str = "'self'") -> HTMLResponse:
    """A page with a strict policy. `form_targets` is where forms may lead, redirects included."""
    html = (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{content}</main></body></html>\n"
    )
    policy = f"default-src 'none'; style-src 'unsafe-inline'; form-action {form_targets}; frame-ancestors 'none'"
    headers = {"Content-Security-Policy": f"{policy}; base-uri 'none'", "Cache-Control": "no-store"}
    return HTMLResponse(html, status, headers)
