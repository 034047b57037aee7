"""One immutable record of each response. Each module that uses records is a file beside this one."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import MAX_FACT, Delivered, Facts
from .storm import Storm


class Record(NamedTuple):  # a frozen dataclass takes four times as long to make
    """The outcome of one request. Times are seconds. Sizes are bytes of the bodies."""

    route: str | None
    """The name of the route. None if no route matched, or if it is not known."""
    method: str | None
    """None if the bytes were not HTTP. The same for `version`."""
    version: str | None
    status: int
    """499 if the caller left before the answer."""
    slug: str | None
    """The name of the failure. None if nothing failed."""
    delivered: Delivered
    duration: float
    """The time from the complete request head to the end of the response."""
    reply_time: float | None
    """The time from the request to NATS to its reply. None if there was no reply."""
    bytes_in: int
    bytes_out: int
    is_written: bool
    """Whether the whole response was handed to the connection. Nobody can know how much of it arrived."""
    request_id: str | None
    lane: str
    """`fast` or `asgi`."""
    peer: str | None
    """The IP address of the caller."""
    facts: Facts = ()
    """More about a failure: the `service_error_code` and `service_error` of a service, the `subject` that nobody
    answers, or the reason why the caller was refused (`detail`). Each is printable, of at most MAX_FACT characters.
    Callers may not see all of them."""
    trace_id: str | None = None
    """The id of the trace, if traces are on."""
    path: bytes | None = None
    """The raw path of the request without its query: any bytes of any length. None if the bytes were not HTTP."""
    scheme: str | None = None
    """The name of the scheme in `auth` of the route file that knows the caller. None if none was asked, or if no scheme
    knows the caller."""
    caller: str | None = None
    """The subject of the caller's token, or the name of its key. It is printable, of at most MAX_FACT characters."""


def clean_text(text: str) -> str:
    """The printable characters of somebody else's text, at most MAX_FACT of them."""
    return (text if text.isprintable() else "".join(filter(str.isprintable, text)))[:MAX_FACT]


Observer = Callable[[Record], None]


@dataclass(frozen=True, slots=True)
class Observers:
    """The functions that get records: `failure` of 5xx, and `other` of all other responses. If there is no function, no
    record is made. With a `storm`, only the failures that it admits get a record."""

    failure: tuple[Observer, ...] = ()
    other: tuple[Observer, ...] = ()
    storm: Storm | None = None
