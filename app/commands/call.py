"""Sends one request as the gateway would, without an HTTP server.

The application of the gateway answers the request, with the relay and the link that the gateway has. The plans of its
routes have no policies.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from starlette.types import Message

from .. import __version__
from ..checks.checker import Checker
from ..edge.request import Request
from ..errors import BadReply, GatewayError, NoResponders, NotFound
from ..exchange.kinds import name_publisher
from ..exchange.outbound import Outbound, is_unsent
from ..exchange.plans import Limits
from ..exchange.problems import build_problem
from ..exchange.relay import Relay
from ..exchange.responses import Response, encode_json
from ..exchange.way_out import WayOut
from ..formats.clusters import MAIN
from ..formats.fields import Pair, is_clean_value
from ..formats.messages import Reply, encode_block, parse_block
from ..formats.subjects import MAX_SUBJECT, check_token
from ..http.app import GatewayApp
from ..http.bounds import Bounds
from ..http.subscriber import Streams
from ..nats.clusters import list_senders
from ..nats.link import Link
from ..observe.record import Observers
from ..routing.kinds import Subscribe
from ..routing.table import RouteTable
from ..settings import Settings
from .endings import CommandError
from .near import list_near

_PEER = "127.0.0.1"
_LOOK_INTERVAL = 0.01  # seconds between two checks of the connection
_NOBODY = "Nobody is subscribed to this subject, so nobody has seen the request."
_SERVICE_ERRORS = frozenset((b"nats-service-error", b"nats-service-error-code"))


@dataclass(slots=True)
class Answer:
    """What was sent, and what came back.

    - `route` is None for a request straight to a subject, and if no route has the path.
    - `subject`, `sent` (a header block) and `payload` are what went to NATS. `subject` is None if nothing did.
    - `seconds` is how long the reply took; None if nothing was sent.
    - `status` is None for the reply to a request straight to a subject.
    - `near` has the paths of similar routes, if no route has the path.
    - `reason` says why there is no connection to NATS, if there is none.
    """

    route: str | None = None
    subject: str | None = None
    sent: bytes = b""
    payload: bytes = b""
    seconds: float | None = None
    status: int | None = None
    headers: Sequence[Pair] = ()
    body: bytes = b""
    near: Sequence[str] = ()
    reason: str | None = None

    @property
    def is_error(self) -> bool:
        """Whether the request has failed, or a service has answered with an error."""
        if self.status is not None:
            return self.status >= 400
        return any(name in _SERVICE_ERRORS for name, _ in self.headers)

    def note_sent(self, outbound: Outbound) -> None:
        """Note what the relay sends."""
        self.subject, self.sent, self.payload = outbound.subject, outbound.headers, outbound.payload

    def note_outcome(self, outcome: Reply | GatewayError) -> None:
        """Note the reply to a request straight to a subject, or its failure."""
        if isinstance(outcome, NoResponders):
            return self._fail(NoResponders(_NOBODY))
        if isinstance(outcome, GatewayError):
            return self._fail(outcome)
        try:
            self.headers = parse_block(outcome.headers).pairs if outcome.headers else ()
        except ValueError as error:
            return self._fail(BadReply(f"The service's reply can't be used: {error}."))
        self.body = outcome.payload
        return None

    def _fail(self, error: GatewayError) -> None:
        problem = build_problem(error, instance=None, request_id="")
        del problem["request_id"]
        self.status, self.body = error.status, encode_json(problem)

    def note_answer(self, response: Response, _request: Request, waited: float | None) -> None:
        """Note the route of a response, and how long its reply took."""
        self.route, self.seconds = response.route, waited


def call_subject(
    settings: Settings, subject: str, *, headers: Sequence[Pair], payload: bytes, nats: str = MAIN
) -> Answer:
    """The first reply to a request straight to a subject of this NATS cluster. Raises CommandError if it can't be sent
    to this subject, or with these headers."""
    _check_subject(subject)
    if nats not in settings.nats:
        raise CommandError(f"--nats {nats}: known are {', '.join(settings.nats)}; GATEWAY_NATS has the names")
    for name, value in headers:
        if not is_clean_value(value):
            raise CommandError(f"-H '{name.decode()}': its value has a control character")
    answer = Answer(subject=subject, sent=encode_block(headers), payload=payload)

    async def ask() -> None:
        async with _make_link(settings, nats) as link:
            answer.reason = await _connect(link, settings.timeout)
            begin = time.monotonic()
            outcome = await link.request(subject, answer.sent, payload, begin + settings.timeout)
            if not (isinstance(outcome, GatewayError) and is_unsent(outcome)):
                answer.seconds = time.monotonic() - begin
            answer.note_outcome(outcome)

    asyncio.run(ask())
    return answer


def _check_subject(subject: str) -> None:
    try:
        for token in subject.split("."):
            check_token(token, label="A token of it")
    except GatewayError as error:
        raise CommandError(f"'{subject}' is neither a method nor a subject: {error.detail}") from None
    if len(subject.encode()) > MAX_SUBJECT:
        raise CommandError(f"the subject has more than {MAX_SUBJECT} bytes")


def call_route(
    settings: Settings,
    table: RouteTable,
    method: str,
    target: str,
    *,
    headers: Sequence[Pair],
    body: bytes | None,
) -> Answer:
    """The response that the gateway would make, if the route had no policies. Raises CommandError for a stream that has
    no end."""
    path, _, query = target.partition("#")[0].partition("?")
    raw = path.encode("utf-8", "surrogateescape")
    match = table.match(method, raw)
    if match and isinstance(match[0].kind, Subscribe):
        raise CommandError(
            f"route '{match[0].name}' streams messages, and `call` waits for one answer: start the gateway, and run "
            f"curl -N http://127.0.0.1:{settings.port}{target}"
        )
    length = [] if body is None else [(b"content-length", b"%d" % len(body))]
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(path),
        "raw_path": raw,
        "query_string": query.encode("utf-8", "surrogateescape"),
        "headers": [*((name.lower(), value) for name, value in headers), *length],
        "client": (_PEER, 0),
        "server": None,
    }
    answer = asyncio.run(_call_route(settings, table, scope, body or b""))
    if answer.route is None and answer.status == NotFound.status:
        answer.near = list_near(table, path)
    return answer


async def _call_route(settings: Settings, table: RouteTable, scope: dict[str, Any], body: bytes) -> Answer:
    answer, checker = Answer(), Checker()
    relay = Relay(
        table,
        Limits.of(settings),
        WayOut(Observers()),
        settings.proxies,
        on_send=(answer.note_sent,),
        on_answer=(answer.note_answer,),
    )
    plans = {route: relay.plan(route, is_alone=False) for route in table.routes}
    relay.use(table, {r: replace(plan, policies=(), cors=None, signature=None) for r, plan in plans.items()})
    match = table.match(scope["method"], scope["raw_path"])
    nats = match[0].nats if match else MAIN
    async with checker, _make_link(settings, nats) as link:
        app = _make_app(settings, relay, {nats: link}, checker)
        if match:
            answer.reason = await _connect(link, settings.timeout)
        answer.status, answer.headers, answer.body = await _ask(app, scope, body)
    return answer


def _make_app(settings: Settings, relay: Relay, links: Mapping[str, Link], checker: Checker) -> GatewayApp:
    drain = asyncio.Event()
    bounds = Bounds(maximum=1, body_timeout=settings.max_timeout, max_buffered=settings.max_buffered)
    app = GatewayApp(
        relay=relay,
        links=list_senders(links, name_publisher),
        checker=checker,
        uploads=bounds.uploads,
        feeds={},  # no route with a stream gets here
        streams=Streams(settings.max_streams),
        drain=drain,
        title="",
        version=__version__,
        lifespan=None,
    )
    app.answer_not_found_early()
    return app


async def _ask(app: GatewayApp, scope: dict[str, Any], body: bytes) -> tuple[int, Sequence[Pair], bytes]:
    """The status, the header fields and the body of the response."""
    pieces = iter((body,))
    messages: list[Message] = []

    async def receive() -> Message:
        for piece in pieces:
            return {"type": "http.request", "body": piece, "more_body": False}
        await asyncio.Event().wait()  # the caller stays
        raise AssertionError

    async def send(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, send)
    head, *parts = messages
    return head["status"], head["headers"], b"".join(part.get("body", b"") for part in parts)


def _make_link(settings: Settings, nats: str) -> Link:
    servers = settings.nats[nats]
    return Link(servers.nats_url, max_in_flight=settings.max_in_flight, credentials=servers.credentials)


async def _connect(link: Link, seconds: float) -> str | None:
    """Wait for the connection, at most so long. Returns why there is none, or None."""
    end = time.monotonic() + seconds
    while link.reason is not None and time.monotonic() < end:
        await asyncio.sleep(_LOOK_INTERVAL)
    return link.reason
