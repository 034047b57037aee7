"""The kinds of routes: what a request becomes on NATS. Pure.

Each kind is a class. Its `key` is the key of the route file for the subject. Its `word` is its name in tables.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Literal

from ..formats.fields import can_travel, is_token
from .faults import Fault

if TYPE_CHECKING:
    from .routes import ReplyRules, Route

MAX_STREAM_NAME = 255  # characters, as in nats-server

IdempotencyKey = Literal["optional", "required"]
IDEMPOTENCY_KEY = "Idempotency-Key"
LAST_EVENT_ID = "last_event_id"
"""The parameter of the query for what an `EventSource` sends as `Last-Event-ID` when it comes again."""


@dataclass(frozen=True, slots=True)
class Since:
    """The messages of the last `seconds`."""

    seconds: float


Start = Literal["new", "all", "last", "last_per_subject"] | Since


@dataclass(frozen=True, slots=True)
class RequestReply:
    """One request, one reply: the reply is the response."""

    key: ClassVar = "subject"
    word: ClassVar = "request"


@dataclass(frozen=True, slots=True)
class Gather:
    """One request, many replies (ADR-47 of NATS): the response has all that come before the end. The deadline of the
    request is an end too.

    - `most`: the number of replies that is the end.
    - `stall`: the seconds after the last reply.
    - `max_bytes`: the size of all replies together.
    - `ends_empty`: an empty reply is the end, and not a reply.
    - `errors`: `include` makes the error of a service an element, and `fail` the answer."""

    most: int = 100
    stall: float = 0.3
    max_bytes: int = 1024 * 1024
    ends_empty: bool = True
    errors: Literal["include", "fail"] = "include"

    key: ClassVar = "subject"
    word: ClassVar = "gather"


@dataclass(frozen=True, slots=True)
class Publish:
    """A message that nobody replies to. The response is 202 once the NATS server has taken the message."""

    key: ClassVar = "publish"
    word: ClassVar = "publish"


@dataclass(frozen=True, slots=True)
class Store:
    """A message that a JetStream stream stores. The response is 201 once the stream has acknowledged it.

    - `stream`: the name of the stream. If another stream would store the message, it is not stored.
    - `idempotency_key`: whether a request must have a key. Messages with the same key are stored only once, within the
      duplicate window of the stream.
    - `idempotency_header`: the header with the key.
    """

    stream: str
    idempotency_key: IdempotencyKey = "optional"
    idempotency_header: str = IDEMPOTENCY_KEY

    key: ClassVar = "publish"
    word: ClassVar = "store"


@dataclass(frozen=True, slots=True)
class Subscribe:
    """A subscription for as long as the caller stays: the response is a stream of messages.

    - `event_header`: the header of a message whose value is the type of its event.
    - `encoding`: `base64` writes each payload in Base64. `text` can't write what is not UTF-8.
    - `max_duration`: the seconds after which the stream ends, so that the caller comes again.
    - `max_streams`: the most open streams of one caller; None means no such limit.
    - `stream`: the JetStream stream that has the messages; a caller can go on where it was. None means core NATS.
    - `start`: where a caller begins that does not say where it was."""

    event_header: str | None = None
    encoding: Literal["text", "base64"] = "text"
    max_duration: float = 600.0
    max_streams: int | None = None
    stream: str | None = None
    start: Start = "new"

    key: ClassVar = "subscribe"
    word: ClassVar = "subscribe"


Kind = RequestReply | Gather | Publish | Store | Subscribe

MAX_REPLIES = 10_000
MAX_REPLY_BYTES = 16 * 1024 * 1024


def check_stream_name(name: str) -> str:
    """The name. Raises ValueError if no stream can have it (ADR-6 of NATS)."""
    is_clean = name.isprintable() and name.isascii() and not set(name) & set(" .*>/\\")
    if not (is_clean and 1 <= len(name) <= MAX_STREAM_NAME):
        raise ValueError(
            f"the name of a stream is 1 to {MAX_STREAM_NAME} ASCII characters without white space, `.`, `*`, `>`, `/` "
            "and `\\`"
        )
    return name


def find_kind_faults(route: "Route") -> Iterator[Fault]:
    """Faults of keys that do not belong to this kind of route."""
    if isinstance(route.kind, RequestReply):
        return
    if isinstance(route.kind, Gather):
        yield from _find_gather_faults(route.kind, route.reply)
        return
    if isinstance(route.kind, Subscribe):
        yield from _find_subscribe_faults(route)
        return
    if isinstance(route.kind, Store) and not can_travel(route.kind.idempotency_header):
        yield Fault(("idempotency_header",), "no request has a header of this name")
    if route.reply != type(route.reply)():
        yield Fault(("reply",), "nobody replies to a message that is published: leave it out")


def _find_gather_faults(kind: Gather, reply: "ReplyRules") -> Iterator[Fault]:
    if not 1 <= kind.most <= MAX_REPLIES:
        yield Fault(("replies", "max"), f"it is 1 to {MAX_REPLIES}")
    if not 1 <= kind.max_bytes <= MAX_REPLY_BYTES:
        yield Fault(("replies", "max_bytes"), "it is 1 to 16MiB")
    for key, value in (("wrap", reply.wrap), ("set_headers", reply.set_headers)):
        if value:
            yield Fault(("reply", key), "many replies are elements of one response: leave it out")
    if reply.status != 200:
        yield Fault(("reply", "status"), "the status of many replies is 200")


def _find_subscribe_faults(route: "Route") -> Iterator[Fault]:
    if route.methods != ("GET",):
        yield Fault(("method",), "a subscription is a GET")
    if route.payload not in (None, "none"):
        yield Fault(("payload",), "a subscription sends nothing")
    for key in ("identity", "send_headers"):
        if getattr(route, key):
            yield Fault((key,), "a subscription sends nothing")
    if route.reply != replace(type(route.reply)(), schema=route.reply.schema):
        yield Fault(("reply",), "only `schema` has a meaning for the messages of a subscription")
    header = route.kind.event_header if isinstance(route.kind, Subscribe) else None
    if header is not None and not is_token(header):
        yield Fault(("event_header",), "must be the name of a header")
