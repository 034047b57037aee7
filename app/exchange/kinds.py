"""The parts that differ between kinds of routes: the sender of requests, the headers that the gateway writes, and the
reader of outcomes. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from ..edge.request import Request
from ..formats.fields import Pair
from ..routing.identity import list_identity
from ..routing.kinds import Gather, Publish, RequestReply, Store, Subscribe
from ..routing.routes import AUTO, Route
from .publishing import PublishReader, StoreReader, list_read_fields, write_expectations, write_expected_stream
from .replies import GuessingReader, Reader, ReplyReader


def name_publisher(nats: str) -> str:
    """The name of the sender of messages that nobody replies to, for a NATS cluster. The link to the cluster, which
    sends requests, has the name of the cluster itself."""
    return f"{nats}/publisher"


WriteOwn = Callable[[Request, str], Sequence[Pair]]
"""Returns the headers that the gateway itself writes for a request and its subject. Raises a GatewayError."""


@dataclass(frozen=True, slots=True)
class Special:
    """The parts of a route that depend on its kind.

    - `fields`: the names of the request headers that its kind reads.
    - `constant`: the headers of `write_own` for a request without such headers.
    - `differs`: the headers of `write_own` differ even between such requests, so `constant` is not used.
    """

    link: str
    replies: Reader
    write_own: WriteOwn | None
    differs: bool
    fields: frozenset[bytes] = frozenset()
    constant: Sequence[Pair] = ()


def choose_special(route: Route) -> Special:
    """The special parts of a route, according to its kind."""
    identity = partial(_write_identity, route) if route.identity else None
    match route.kind:
        case RequestReply() | Gather() | Subscribe():
            replies = GuessingReader(route) if route.reply.content_type == AUTO else ReplyReader(route)
            return Special(route.nats, replies, identity, identity is not None)
        case Publish():
            return Special(name_publisher(route.nats), PublishReader(), identity, identity is not None)
        case Store() as kind:
            write_own = partial(_write_for_stream, kind, identity)
            differs = identity is not None or kind.idempotency_key == "required"
            fields, constant = list_read_fields(kind), write_expected_stream(kind)
            return Special(route.nats, StoreReader(kind), write_own, differs, fields, constant)


def _write_identity(route: Route, request: Request, _subject: str) -> Sequence[Pair]:
    return list_identity(route.identity, request)


def _write_for_stream(kind: Store, identity: WriteOwn | None, request: Request, subject: str) -> Sequence[Pair]:
    others = identity(request, subject) if identity else ()
    return (*others, *write_expectations(kind, request, subject))
