"""The kinds of routes: what a request becomes on NATS. Pure.

Each kind is a class. Its `key` is the key of the route file that has the subject, and `word` its name in tables.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from ..formats.fields import can_travel
from .faults import Fault

if TYPE_CHECKING:
    from .routes import Route

MAX_STREAM_NAME = 255  # characters, as in nats-server

IdempotencyKey = Literal["optional", "required"]
IDEMPOTENCY_KEY = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class RequestReply:
    """One request, one reply: the reply is the response."""

    key: ClassVar = "subject"
    word: ClassVar = "request"


@dataclass(frozen=True, slots=True)
class Publish:
    """A message that nobody replies to. The response is 202 once the NATS server has taken the message."""

    key: ClassVar = "publish"
    word: ClassVar = "publish"


@dataclass(frozen=True, slots=True)
class Store:
    """A message that a JetStream stream stores. The response is 201 once the stream has acknowledged it.

    - `stream`: the name of the stream. A message that another stream would store is not stored.
    - `idempotency_key`: whether a request must have a key. With the same key the stream stores a message only once,
      within its duplicate window.
    - `idempotency_header`: the header that has the key."""

    stream: str
    idempotency_key: IdempotencyKey = "optional"
    idempotency_header: str = IDEMPOTENCY_KEY

    key: ClassVar = "publish"
    word: ClassVar = "store"


Kind = RequestReply | Publish | Store


def check_stream_name(name: str) -> str:
    """The name; ValueError if no stream can have it (ADR-6 of NATS)."""
    is_clean = name.isprintable() and name.isascii() and not set(name) & set(" .*>/\\")
    if not (is_clean and 1 <= len(name) <= MAX_STREAM_NAME):
        raise ValueError(
            f"the name of a stream is 1 to {MAX_STREAM_NAME} ASCII characters without white space, `.`, `*`, `>`, `/` "
            "and `\\`"
        )
    return name


def find_kind_faults(route: "Route") -> Iterator[Fault]:
    """Keys that make no sense for this kind of route."""
    if isinstance(route.kind, RequestReply):
        return
    if isinstance(route.kind, Store) and not can_travel(route.kind.idempotency_header):
        yield Fault(("idempotency_header",), "no request has a header of this name")
    if route.reply != type(route.reply)():
        yield Fault(("reply",), "nobody replies to a message that is published: leave it out")
