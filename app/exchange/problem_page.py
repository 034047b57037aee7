"""Writes a problem document as a page, for callers who prefer HTML. Pure."""

from collections.abc import Container, Iterator, Mapping
from html import escape
from typing import Any

from ..formats.html import PAGES, mark_code, write_link, write_page

DELIVERED = {
    "no": "No: the service has not run.",
    "yes": "Yes: the service has run.",
    "unknown": "Unknown: the service may or may not have run.",
}
RETRYABLE = {True: "A retry of the same request is safe.", False: "Don't just repeat the request."}


def write_problem_page(problem: Mapping[str, Any], *, root: str, pages: Container[str] = PAGES) -> str:
    """The HTML page of a problem document, with all its members. `root` is the path under which the caller sees the
    gateway. The page links only to `pages`."""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{markup}</td></tr>" for name, markup in _list_rows(problem))
    more = write_link(problem["type"], "What this means, and what to do about it")
    body = f"<p>{mark_code(problem['detail'])}</p>{_write_errors(problem)}<table>{rows}</table><p>{more}</p>"
    heading = f'<span class="status">{problem["status"]}</span> {escape(problem["title"])}'
    return write_page(f"{problem['status']} {problem['title']}", body, root=root, heading=heading, pages=pages)


def _list_rows(problem: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The rows of the table: a name and the markup of its value."""
    if "instance" in problem:
        yield "Request", f"<code>{escape(problem['instance'])}</code>"
    yield "Request id", f"<code>{escape(problem['request_id'])}</code>"
    yield "Delivered", DELIVERED[problem["delivered"]]
    yield "Retryable", RETRYABLE[problem["retryable"]]


def _write_errors(problem: Mapping[str, Any]) -> str:
    errors = [
        f"<li><code>{escape(error.get('pointer') or error.get('parameter', ''))}</code>: {escape(error['detail'])}</li>"
        for error in problem.get("errors", ())
    ]
    return f"<ul>{''.join(errors)}</ul>" if errors else ""
