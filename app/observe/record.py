"""One immutable record for each response. Each consumer of records is one file beside this."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import MAX_FACT, Delivered, Facts
from .storm import Storm


class Record(NamedTuple):  # a frozen dataclass takes four times as long to make
    """What became of one request. Times are seconds, sizes are bytes of the body."""

    route: str | None
    """The name of the route, None where none matched, or where that is not known."""
    method: str | None
    """None, like `version`, where what arrived was no HTTP."""
    version: str | None
    status: int
    """499 where the caller left before the answer."""
    slug: str | None
    """The name of the failure, None where nothing failed."""
    delivered: Delivered
    duration: float
    """From the moment at which the request head was complete to that at which the response was written."""
    reply_time: float | None
    """From the moment at which the request was sent to NATS to that of the reply, None where there was no reply."""
    bytes_in: int
    bytes_out: int
    is_written: bool
    """Whether all of the response was handed to the connection. Nobody can know what arrived."""
    request_id: str | None
    lane: str
    """`fast` or `asgi`."""
    peer: str | None
    """The IP address of the caller."""
    facts: Facts = ()
    """What else is known of a failure: the `service_error_code` and `service_error` of a service, the `subject` that
    nobody answers, or why the caller was refused (`detail`). Clean, and of at most MAX_FACT characters each. Callers
    may not see all of it."""
    trace_id: str | None = None
    """That of its trace, where traces are on."""
    path: bytes | None = None
    """The path of the request as it came, without the query: any bytes of any length. None where it was no HTTP."""
    scheme: str | None = None
    """The name, under `auth` of the route file, of what has found out who calls; None where nobody asked, or nobody
    knows."""
    caller: str | None = None
    """Who that is: the subject of a token, the name of a key. Clean, and of at most MAX_FACT characters."""


def clean_text(text: str) -> str:
    """The printable characters of a text that comes from others, at most MAX_FACT."""
    return (text if text.isprintable() else "".join(filter(str.isprintable, text)))[:MAX_FACT]


Observer = Callable[[Record], None]


@dataclass(frozen=True, slots=True)
class Observers:
    """Who gets which records: `failure` those of 5xx, `other` the rest. A record that nobody gets is never made. With
    a `storm` those of failures are made only as far as it admits them."""

    failure: tuple[Observer, ...] = ()
    other: tuple[Observer, ...] = ()
    storm: Storm | None = None
