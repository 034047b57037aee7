"""HTML pages for people: plain, readable on any screen, in light and dark, without scripts. Pure.

Law: each text in a page comes from `escape`, `mark_code` or `write_link`.
"""

import base64
import hashlib
from collections.abc import Container
from html import escape

_STYLE = """\
:root{color-scheme:light dark;--page:#fff;--ink:#1c2733;--faint:#566472;--soft:#eef1f4;--line:#d5dce3;--link:#0b5cad}
@media(prefers-color-scheme:dark){:root{--page:#12181e;--ink:#dfe6ec;--faint:#9aa8b5;--soft:#222d37;--line:#35424e;
--link:#7db8f2}}
body{font:16px/1.6 system-ui,sans-serif;max-width:46rem;margin:0 auto;padding:1rem 1rem 3rem;background:var(--page);
color:var(--ink);overflow-wrap:break-word}
nav{display:flex;flex-wrap:wrap;gap:.25rem 1.25rem;padding-bottom:.75rem;border-bottom:1px solid var(--line)}
a{color:var(--link)}
h1{line-height:1.25;margin:1.5rem 0 1rem}h2{font-size:1.1rem;margin:2rem 0 .5rem}
.status{color:var(--faint);font-weight:400;margin-right:.35em}
code{background:var(--soft);padding:.1em .3em;border-radius:3px;overflow-wrap:anywhere}
table{border-collapse:collapse;width:100%}
th,td{padding:.35rem 1rem .35rem 0;text-align:left;vertical-align:top;border-bottom:1px solid var(--line)}
th{color:var(--faint);font-weight:600;white-space:nowrap}
@media(max-width:30rem){body{font-size:15px}th,td{padding-right:.6rem}}
"""
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode("ascii")).digest()).decode("ascii")

POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
"""The Content-Security-Policy of these pages: no scripts, and nothing from other sites."""

FAVICON = "/docs/assets/favicon.svg"
"""The path of the icon, below the root."""

STATUS = "/status"
"""The path of the status page, below the root."""

_LINKS = {STATUS: "Status", "/docs": "API documentation", "/redoc": "API reference", "/problems": "All problems"}

PAGES = tuple(_LINKS)
"""The paths, below the root, of the pages that link to each other. A gateway may leave some out."""


def write_page(title: str, body: str, *, root: str, heading: str | None = None, pages: Container[str] = PAGES) -> str:
    """A page with links to `pages`. `title` is text. `body` and `heading` are markup. The default of `heading` is the
    title. `root` is the path under which callers see the gateway."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<link rel="icon" type="image/svg+xml" href="{escape(root + FAVICON)}"><style>{_STYLE}</style></head>'
        f"<body>{write_navigation(root, pages)}<main><h1>{heading or escape(title)}</h1>{body}</main>"
        "</body></html>"
    )


def write_navigation(root: str, pages: Container[str] = PAGES, *, here: str = "") -> str:
    """Links to these pages of the gateway. `here` is the path, below the root, of the page with the links."""
    shown = ((path, text) for path, text in _LINKS.items() if path in pages)
    links = (write_link(root + path, text, is_here=path == here) for path, text in shown)
    return f"<nav>{''.join(links)}</nav>"


def write_link(target: str, text: str, *, is_here: bool = False) -> str:
    """A link as markup. With `is_here` it leads to the page that contains it."""
    current = ' aria-current="page"' if is_here else ""
    return f'<a href="{escape(target)}"{current}>{escape(text)}</a>'


def mark_code(text: str) -> str:
    """The escaped text. Its parts in backquotes become code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
