"""What `nats-http call` prints: rows for people, or one JSON object for programs."""

import base64
import json
from collections.abc import Iterator, Sequence
from typing import Any

import typer

from ..formats.fields import Pair
from .call import Answer
from .callers import Rows


def write_answer(answer: Answer, *, color: bool) -> str:
    """A line for each row, and then the body. JSON is indented."""
    rows = list(_list_rows(answer))
    lines = [_write_row(name, value, answer, color=color) for name, value in rows]
    return "\n".join([*lines, *([_write_body(answer.body)] if answer.body else [])])


def _list_rows(answer: Answer) -> Iterator[tuple[str, str]]:
    if answer.route is not None:
        yield "route", answer.route
    if answer.subject is not None:
        yield "subject", _clean(answer.subject)
        yield "payload", _write_text(answer.payload) if answer.payload else "(empty)"
        yield "headers", "\n         ".join(_write_block(answer.sent)) or "(none)"
    if answer.reason is not None:
        yield "NATS", f"not connected: {_clean(answer.reason)}"
    if answer.seconds is not None:
        yield "time", f"{answer.seconds * 1000:.1f} ms"
    if answer.status is not None:
        yield "status", str(answer.status)
    for template in answer.near:
        yield "near", template
    if answer.headers:
        yield "answer", "\n         ".join(f"{name}: {value}" for name, value in _decode(answer.headers))


def _write_row(name: str, value: str, answer: Answer, *, color: bool) -> str:
    label = f"{name:8}"
    if not color:
        return f"{label} {value}"
    if name == "status":
        value = typer.style(value, fg="red" if answer.is_error else "green", bold=True)
    return f"{typer.style(label, dim=True)} {value}"


def _write_body(body: bytes) -> str:
    try:
        return _clean(json.dumps(json.loads(body), indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):
        return _write_text(body.removesuffix(b"\n"))


def _write_text(data: bytes) -> str:
    try:
        return _clean(data.decode())
    except UnicodeDecodeError:
        return f"({len(data)} bytes that are not text)"


def _clean(text: str) -> str:
    """The text without characters that would control a terminal."""
    return "".join(
        c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def _write_block(block: bytes) -> list[str]:
    return [f"{name}: {value}" for name, value in _list_sent(block)]


def _list_sent(block: bytes) -> Rows:
    """The headers of a block, with their names as they were sent."""
    lines = block.decode("utf-8", "replace").split("\r\n")[1:]
    return [(name, _clean(value.strip())) for name, colon, value in (line.partition(":") for line in lines) if colon]


def _decode(headers: Sequence[Pair]) -> Rows:
    return [(name.decode("latin-1"), _clean(value.decode("utf-8", "replace"))) for name, value in headers]


def write_json(answer: Answer) -> str:
    """One object. A body that is JSON is a value, and any other text is a string. Bytes that are not text are in
    `body_base64`, and those of the payload in `payload_base64`."""
    sent = None
    if answer.subject is not None:
        sent = {
            "subject": answer.subject,
            "headers": _join(_list_sent(answer.sent)),
            **_put_body("payload", answer.payload),
        }
    return json.dumps(
        {
            "route": answer.route,
            "sent": sent,
            "seconds": answer.seconds,
            "near": answer.near,
            "not_connected": answer.reason,
            "status": answer.status,
            "headers": _join(_decode(answer.headers)),
            **_put_body("body", answer.body),
        },
        indent=2,
    )


def _join(rows: Rows) -> dict[str, str]:
    """The headers by their names. Several values of one name are joined by commas (RFC 9110 §5.3)."""
    found: dict[str, str] = {}
    for name, value in rows:
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


def _put_body(name: str, data: bytes) -> dict[str, Any]:
    try:
        return {name: json.loads(data)}
    except (ValueError, RecursionError):
        pass
    try:
        return {name: data.decode()}
    except UnicodeDecodeError:
        return {f"{name}_base64": base64.b64encode(data).decode()}
