"""The document of `/status`, a live page for people. Its attributes name the data with which scripts fill it.

Law: it has no inline script or style, so its policy needs no exceptions. It contains no text of a route, a service or a
failure: scripts insert these as text.
"""

from collections.abc import Container
from html import escape

from ..formats.html import PAGES, STATUS, write_navigation
from .assets import Assets

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
)
"""The Content-Security-Policy of this page: nothing inline, and nothing from other sites."""

# Each state has its own shape, since not everybody sees colours.
_ICONS = {
    "well": '<circle cx="12" cy="12" r="10"/><path d="m7.5 12.5 3 3 6-6.5"/>',
    "warn": '<path d="M12 2.5 22.5 21h-21Z"/><path d="M12 9.5v5m0 3v.01"/>',
    "bad": '<path d="M8 2h8l6 6v8l-6 6H8l-6-6V8Z"/><path d="m8.5 8.5 7 7m0-7-7 7"/>',
    "idle": '<circle cx="12" cy="12" r="10"/><path d="M8 12h8"/>',
}

_HERO = """
<p class="banner" id="banner" hidden></p>
<header class="hero" id="hero" data-level="idle">
<svg class="icon" aria-hidden="true"><use id="hero-icon" href="#icon-idle"/></svg>
<div class="words"><h1>{title}</h1><p class="headline" id="headline">Waiting for the first numbers</p>
<p class="detail" id="detail"></p></div>
<div class="controls"><p class="live" id="live" data-live="connecting"><span class="dot" aria-hidden="true"></span>
<span id="live-text">Connecting</span></p><button type="button" id="pause">Pause</button></div>
</header>
<p class="unseen" role="status" id="announcement"></p>
<noscript><p class="note">This page needs JavaScript. Its numbers are at <a href="{data}">{data}</a> too.</p></noscript>
"""

_CARDS = """
<dl class="cards numbers">
<div class="card wide"><dt>Requests</dt><dd class="value"><span class="number" id="rate">–</span>
<span class="aside" id="rate-aside"></span></dd><dd class="drawing" id="rate-drawing"></dd></div>
<div class="card" id="failing-card"><dt>Failing</dt><dd><span class="number" id="failing">–</span>
<span class="aside">in the last minute</span></dd></div>
<div class="card"><dt>In flight</dt><dd><span class="number" id="in-flight">–</span>
<span class="aside" id="in-flight-limit"></span></dd><dd class="drawing" id="in-flight-drawing"></dd></div>
<div class="card"><dt>Connections</dt><dd><span class="number" id="connections">–</span>
<span class="aside">of callers</span></dd></div>
<div class="card"><dt>Up for</dt><dd><span class="number" id="uptime">–</span>
<span class="aside" id="gateway-aside"></span></dd></div>
</dl>
"""

_NATS = """
<section class="panel numbers" id="nats" aria-labelledby="nats-heading">
<div class="head"><h2 id="nats-heading">NATS</h2><p class="badge" id="nats-badge" data-level="idle">
<svg class="icon" aria-hidden="true"><use href="#icon-idle"/></svg><span>not known yet</span></p></div>
<div class="nats"><div><ul class="servers" id="nats-servers"></ul><dl class="facts">
<div><dt>Round trip</dt><dd id="round-trip">–</dd><dd class="drawing" id="round-trip-drawing"></dd></div>
<div><dt>Reconnects</dt><dd id="reconnects">–</dd></div></dl></div>
<figure><div id="timeline"></div><p class="axis" aria-hidden="true"><span>5 minutes ago</span><span>now</span></p>
<figcaption id="timeline-words"></figcaption></figure></div>
</section>
"""

_SORTABLE = {
    "trouble": "State",
    "name": "Route",
    "rate": "Rate",
    "failing": "Failing",
    "p50": "p50",
    "p95": "p95",
    "p99": "p99",
}
_FAILURE_COLUMNS = ("Time", "Route", "Status", "Problem", "Delivered", "Took", "Request id")
_SERVICE_COLUMNS = ("Service", "Instances", "Requests", "Errors", "Average", "Routes")


async def write_status_page(assets: Assets, title: str, root: str, pages: Container[str] = PAGES) -> str:
    """The page for a caller who sees the gateway under `root`, which is percent-encoded. `title` is text. The page
    links to `pages`."""
    script, style, icon = [
        await assets.write_address(name, root) for name in ("status.js", "status.css", "favicon.svg")
    ]
    data = f"{root}{STATUS}/data"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Status – {escape(title)}</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f'<link rel="icon" type="image/svg+xml" href="{icon}"><link rel="stylesheet" href="{style}">'
        f'<script type="module" src="{script}"></script></head>'
        f'<body data-root="{root}" data-events="{root}{STATUS}/events" data-snapshot="{data}">'
        f"{_write_icons()}{write_navigation(root, pages, here=STATUS)}"
        f"<main>{_HERO.format(title=escape(title), data=data)}{_CARDS}{_NATS}"
        f"{_write_routes()}{_write_failures()}{_write_services()}</main></body></html>"
    )


def _write_icons() -> str:
    symbols = (f'<symbol id="icon-{name}" viewBox="0 0 24 24">{shape}</symbol>' for name, shape in _ICONS.items())
    return f'<svg hidden aria-hidden="true">{"".join(symbols)}</svg>'


def _write_routes() -> str:
    headers = "".join(
        f'<th scope="col" role="columnheader" class="{key}">'
        f'<button type="button" data-sort="{key}">{text}</button></th>'
        for key, text in _SORTABLE.items()
    )
    drawing = '<th scope="col" role="columnheader" class="spark">Last 5 min</th>'
    return _write_panel("routes", "Routes", _write_table("routes", headers + drawing))


def _write_failures() -> str:
    return _write_panel("failures", "Latest failures", _write_table("failures", _write_headers(_FAILURE_COLUMNS)))


def _write_services() -> str:
    notes = '<p class="note" id="unanswered" hidden></p>'
    table = _write_table("services", _write_headers(_SERVICE_COLUMNS))
    unused = '<ul class="note" id="services-unused" aria-label="Not used" hidden></ul>'
    return _write_panel("services", "Services", f'{notes}{table}<p class="note" id="services-note" hidden></p>{unused}')


def _write_headers(names: tuple[str, ...]) -> str:
    return "".join(
        f'<th scope="col" role="columnheader" class="{name.lower().replace(" ", "-")}">{name}</th>' for name in names
    )


def _write_table(name: str, headers: str) -> str:
    """An empty table. It names all roles, since some browsers forget them if the style shows rows as cards."""
    return (
        f'<table role="table" id="{name}-table" aria-labelledby="{name}-heading"><thead role="rowgroup">'
        f'<tr role="row">{headers}</tr></thead><tbody role="rowgroup" id="{name}"></tbody></table>'
        f'<p class="empty" id="{name}-empty">Waiting for the first numbers.</p>'
        f'<button type="button" class="more" id="{name}-more" hidden></button>'
    )


def _write_panel(name: str, heading: str, content: str) -> str:
    return (
        f'<section class="panel numbers" aria-labelledby="{name}-heading">'
        f'<div class="head"><h2 id="{name}-heading">{heading}</h2><p class="count" id="{name}-count"></p>'
        f'<input type="search" id="{name}-filter" aria-label="Filter {heading.lower()}" placeholder="Filter"'
        f' autocomplete="off" spellcheck="false"></div>{content}</section>'
    )
