"""Log lines for people: `19:00:44 gateway  503 GET /greet/sue no-responders 0.8 ms subject=greet.sue`.

Laws:
1. A line has the time of day, the program, the level if it is `warning` or higher, the event, and its fields.
2. A field that is None is left out. Each item of a list is on a line of its own below.
3. Characters of callers and services that can't be printed are escaped. So they can't move the cursor, or look like
   another line.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .record import Record

if TYPE_CHECKING:
    from structlog.typing import EventDict

PART = "gateway  "  # as wide as the names of the other programs
INDENT = "\n    "
MAX_PATH = 48  # characters

_COLORS = {"warning": "33", "error": "31", "critical": "31"}
_PLAIN_LEVELS = ("info", "debug")
_SHOWN = (
    "caller",
    "scheme",
    "detail",
    "wanted",
    "got",
    "subject",
    "service_error_code",
    "service_error",
    "reply_fault",
)


class Console:
    """Writes these lines. With `color` warnings are yellow and errors red."""

    def __init__(self, *, color: bool) -> None:
        self._color = color

    def __call__(self, event: "EventDict") -> str:
        level = event.pop("level", "info")
        traceback = event.pop("exception", None)
        head = f"{event.pop('timestamp')} {PART}"
        name = str(event.pop("event"))
        words = list(_write_exchange(event) if name == "exchange" else _write_event(name, level, event))
        text = " ".join(words).replace(f" {INDENT}", INDENT)
        if self._color and (code := _COLORS.get(level)):
            text = f"\x1b[{code}m{text}\x1b[0m"
        return head + text + (f"\n{traceback}" if traceback else "")


def show_path(record: Record) -> str | None:
    """The path of a request without its query, as printable ASCII of at most MAX_PATH characters."""
    if record.path is None:
        return None
    start = record.path[: MAX_PATH + 1]
    text = "".join(chr(byte) if 0x20 < byte < 0x7F else f"%{byte:02X}" for byte in start)
    return text if len(text) <= MAX_PATH else f"{text[: MAX_PATH - 1]}…"


def _write_event(name: str, level: str, event: "EventDict") -> Iterator[str]:
    if level not in _PLAIN_LEVELS:
        yield level
    yield _escape(name)  # the event of a library may have any character
    yield from _write_fields(event, list(event))


def _write_exchange(event: "EventDict") -> Iterator[str]:
    """The most useful fields. The JSON lines of `serve` have all of them."""
    shown = event.get("path") or event.get("route")
    words = (event["status"], event["method"], shown, event["slug"], f"{event['duration_ms']:.1f} ms")
    yield from (str(word) for word in words if word is not None)
    has_id = event["status"] >= 500 or "path" not in event  # `dev`, whose lines have paths, keeps them short
    yield from _write_fields(event, (*_SHOWN, *(("request_id", "trace_id") if has_id else ())))


def _write_fields(event: "EventDict", names: Sequence[str]) -> Iterator[str]:
    for name in names:
        value = event.get(name)
        if isinstance(value, list | tuple):
            yield "".join(INDENT + _escape(str(item)) for item in value)
        elif value is not None:
            yield f"{name}={_quote(str(value))}"


def _quote(text: str) -> str:
    shown = _escape(text)
    return f"'{shown}'" if " " in text or not text else shown


def _escape(text: str) -> str:
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
