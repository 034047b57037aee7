"""Both lanes answer alike: whatever comes, in whatever pieces, they write the same bytes, but for date and made id. So
does an ASGI lane that gives every head to the parser, and whose responses uvicorn writes."""

import asyncio
import fcntl
import itertools
import re
import termios
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st
from nats.aio.msg import Msg

from app.edge.cors import Cors, CorsRules
from app.exchange.request_ids import RequestIds
from app.exchange.responses import Response
from app.http.asgi_exchange import AsgiExchange
from app.http.fast import FastProtocol
from app.http.protocol import GatewayProtocol
from app.nats.outgoing import BIG
from app.routefile.load import RESERVED, Info, RouteFile
from app.routing.parameters import Parameter
from app.routing.routes import ReplyRules, Route
from app.routing.table import RouteTable
from tests.harness import PATIENCE, Gateway, NatsServer, eventually, responder, run_gateway

EXAMPLES = 600
ROUTES = (
    Route(
        name="greet",
        methods=("GET",),
        path="/greet/{name}",
        subject="lane.greet.{name}",
        reply=ReplyRules(wrap="message"),
    ),
    Route(
        name="echo",
        methods=("POST", "PUT"),
        path="/echo",
        subject="lane.echo",
        payload="body",
        max_body=100,
        policies=(Cors(CorsRules(allow_origins=frozenset(("https://a.example",)))),),
    ),
    Route(
        name="order",
        methods=("GET", "DELETE", "PATCH"),
        path="/orders/{id}",
        subject="lane.orders.{id}",
        payload="params",
        parameters=(Parameter(name="id", type="integer"), Parameter(name="q", location="query", many=True)),
        reply=ReplyRules(status=201, content_type="application/json"),
    ),
    Route(
        name="item",
        methods=("POST",),
        path="/items",
        subject="lane.items",
        payload="body",
        body_schema={"type": "object", "required": ["item"]},
    ),
    Route(name="failing", methods=("GET",), path="/failing/{way}", subject="lane.failing.{way}"),
    Route(name="nobody", methods=("GET",), path="/nobody", subject="nobody"),
)
FILE = RouteFile(RouteTable(ROUTES, reserved=RESERVED), Info(), (), cors={"allow_origins": "*"})
LAST = b"GET /greet/last HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"


@pytest.fixture(autouse=True)
def lane() -> None:
    """Not one after the other here: each test has both."""


# What callers send

targets = st.sampled_from(
    [b"/greet/sue", b"/greet/sue?x=1", b"/greet/Jos%C3%A9", b"/greet/a.b", b"/greet/%2", b"/greet/", b"/greet/sue#f",
     b"/greet/sue?#f", b"//greet/sue", b"/%67reet/sue", b"/greet/sue/", b"http://t/greet/sue", b"http://t", b"*",
     b"t:80", b"/greet/" + b"x" * 129, b"/greet/\xc3\xa9", b"/echo", b"/echo", b"/echo", b"/orders/7?q=a&q=b",
     b"/orders/x", b"/orders/7?q=%zz", b"/items", b"/failing/denied", b"/failing/bad", b"/failing/created", b"/nobody",
     b"/nowhere", b"/livez", b"/problems/timeout", b"", b"?", b"/?", b"greet/sue"]
)  # fmt: skip
methods = st.sampled_from(
    [b"GET", b"GET", b"GET", b"POST", b"POST", b"PUT", b"HEAD", b"DELETE", b"PATCH", b"OPTIONS", b"TRACE", b"CONNECT",
     b"get", b"G\x00T", b"PROPFIND", b"PRI", b""]
)  # fmt: skip
versions = st.sampled_from(
    [
        b"HTTP/1.1",
        b"HTTP/1.1",
        b"HTTP/1.1",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/0.9",
        b"HTTP/2.0",
        b"http/1.1",
        b"HTTP/1.10",
    ]
)
known_fields = st.sampled_from(
    [b"Connection: close", b"Connection: keep-alive", b"Proxy-Connection: keep-alive", b"Connection: Upgrade",
     b"Upgrade: websocket", b"Upgrade: h2c", b"Expect: 100-continue", b"Expect: nothing", b"Content-Length: 0",
     b"Content-Length: 5", b"Content-Length: 05", b"Content-Length: +5", b"Content-Length: -1", b"Content-Length: 5, 5",
     b"Content-Length: 5 5", b"Content-Length: ", b"Content-Length: 0x5", b"Content-Length: 99999999999999999999999",
     b"Content-Length: 101", b"Content-Length : 5", b"Content-Length:5", b"Transfer-Encoding: chunked",
     b"Transfer-Encoding: Chunked", b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding: chunked, gzip",
     b"Transfer-Encoding: chunked, chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: xchunked",
     b"Transfer-Encoding : chunked", b"Transfer-Encoding:\x0bchunked", b"Content-Type: application/json",
     b"Content-Type: text/plain", b"Content-Encoding: gzip", b"Accept: text/plain", b"Accept: */*",
     b"X-Request-Id: mine", b"X-Request-Id: not clean", b"X-Request-Timeout: 9s", b"X-Request-Timeout: junk",
     b"traceparent: 00-1-2-01", b"tracestate: a\x01b", b"Host: other", b" folded: yes", b"\tfolded", b"No-Colon",
     b"Origin: https://a.example", b"Origin: null", b"Access-Control-Request-Method: PUT", b"Vary: x",
     b": empty", b"A: b\nInjected: yes", b"A: b\rInjected: yes", b"A: \x00", b"Trailer: X", b"Keep-Alive: timeout=5"]
)  # fmt: skip
odd_fields = st.tuples(st.binary(max_size=6), st.binary(max_size=10)).map(lambda pair: b"%b: %b" % pair)
ends = st.sampled_from([b"\r\n"] * 12 + [b"\n", b"\r", b"\r\r\n"])
bodies = st.sampled_from(
    [b"", b"", b"hello", b"hello", b'{"item":1}', b"x" * 101, b"5\r\nhello\r\n0\r\n\r\n",
     b"5;a=b\r\nhello\r\n0\r\n\r\n",
     b"5\r\nhello\r\n0\r\nX: y\r\n\r\n", b"0\r\n\r\n", b"5\nhello\n0\n\n", b"zz\r\nhello",
     b"fffffffffffffffff\r\nhello",
     b"-1\r\n", b"5\r\nhello0\r\n\r\n", b"3\r\nhello\r\n0\r\n\r\n", b"5 \r\nhello\r\n0\r\n\r\n", b"65\r\n" + b"x" * 101,
     b"GET /greet/smuggled HTTP/1.1\r\nHost: t\r\n\r\n"]
) | st.binary(max_size=12)  # fmt: skip


sound_heads = st.sampled_from(
    [b"GET /greet/sue", b"GET /greet/Jos%C3%A9?x=1", b"GET /greet/sue#f", b"GET /greet/sue?a#f", b"GET //greet/sue",
     b"GET http://t/greet/sue", b"HEAD /greet/sue", b"GET /greet/a.b", b"POST /echo", b"POST /echo", b"PUT /echo",
     b"POST /items", b"GET /orders/7?q=a&q=b", b"PATCH /orders/7", b"DELETE /orders/x", b"GET /failing/denied",
     b"GET /failing/bad", b"GET /failing/large", b"GET /failing/created", b"HEAD /failing/created", b"GET /nobody",
     b"OPTIONS /echo", b"GET /nowhere", b"GET /livez", b"HEAD /problems/timeout", b"POST /greet/sue"]
)  # fmt: skip
sound_fields = st.sampled_from(
    [b"Connection: keep-alive", b"Connection: Keep-Alive, X-Request-Id", b"Connection: close", b"Connection: Upgrade",
     b"Upgrade: websocket", b"Expect: 100-continue", b"Accept: text/plain", b"Accept: */*",
     b"Content-Type: application/json", b"Content-Type: text/plain", b"X-Request-Id: mine", b"X-Request-Timeout: 9s",
     b"traceparent: 00-1-2-01", b"Keep-Alive: timeout=5", b"Cookie: a=b", b"Origin: https://a.example",
     b"Origin: https://b.example", b"Access-Control-Request-Method: PUT"]
)  # fmt: skip
sound_bodies = st.sampled_from([b"", b"hello", b"x" * 99, b"x" * 100, b"x" * 101, b'{"item":1}', b"{}"])


@st.composite
def sound_requests(draw: st.DrawFn) -> bytes:
    """A request that holds to RFC 9112, its body in one of the two framings."""
    head = draw(sound_heads)
    fields = [b"Host: t", *draw(st.lists(sound_fields, max_size=3, unique=True))]
    version = draw(st.sampled_from([b"HTTP/1.1"] * 5 + [b"HTTP/1.0"]))
    body = draw(sound_bodies) if head[:1] == b"P" or draw(st.integers(0, 5)) == 0 else b""
    if body and version == b"HTTP/1.1" and draw(st.booleans()):
        fields.append(b"Transfer-Encoding: chunked")
        at = draw(st.integers(0, len(body)))
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:at], body[at:]) if part) + b"0\r\n\r\n"
    elif body:
        fields.append(b"Content-Length: %d" % len(body))
    return head + b" " + version + b"\r\n" + b"\r\n".join(fields) + b"\r\n\r\n" + body


@st.composite
def odd_requests(draw: st.DrawFn) -> bytes:
    """A request that need not hold to anything."""
    if draw(st.integers(0, 25)) == 0:
        return draw(st.binary(max_size=30))
    method = draw(methods) if draw(st.booleans()) else b"GET"
    version = draw(versions) if draw(st.integers(0, 3)) == 0 else b"HTTP/1.1"
    end = draw(ends)
    fields = [b"Host: t", *draw(st.lists(known_fields, max_size=3))]
    if draw(st.integers(0, 5)) == 0:
        fields.append(draw(odd_fields))
    body = draw(bodies) if method not in (b"GET", b"HEAD") or draw(st.integers(0, 3)) == 0 else b""
    if body and draw(st.booleans()):
        fields.append(b"Content-Length: %d" % len(body))
    return b" ".join((method, draw(targets), version)) + end + end.join(fields) + end + end + body


requests = st.one_of(sound_requests(), sound_requests(), odd_requests())


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """What one connection sends, in pieces."""
    data = b"".join(draw(st.lists(requests, min_size=1, max_size=3))) + LAST
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    return [data[start:end] for start, end in itertools.pairwise([0, *cuts, len(data)]) if start < end]


repeated_fields = st.sampled_from(
    [b"Host: t", b"Host: t\r\nAccept: */*", b"Host: t\r\nConnection: keep-alive\r\nAccept: text/plain",
     b"Host: t\r\nX-Request-Id: mine", b"Host: t\r\nCookie: a=b\r\nOrigin: https://a.example", b"Host: t\r\nHost: t",
     b"Host: t\r\nContent-Length: 0", b"Host: t\r\nTransfer-Encoding: chunked", b"Host: t\r\nExpect: 100-continue",
     b"Host: t\r\nX-Request-Id: VALUE\r\nAccept: */*", b"Host: t\r\nX-Request-Timeout: VALUE\r\nCookie: VALUE",
     b"Host: t\r\nConnection: VALUE", b"Host: VALUE", b"Host: t\r\nExpect: VALUE", b"Host: t\r\nX-Request-Id:VALUE",
     b"Host: t\r\nConnection: upgrade\r\nUpgrade: x", b"Host: t\r\nAccept: */*\r\nAccept: text/plain"]
)  # fmt: skip


changing_values = st.sampled_from(
    [b"mine", b"mine", b"yours", b"t", b"close", b"keep-alive", b"100-continue", b"1s", b"", b" ", b"a b", b"a ",
     b"\tb", b"caf\xc3\xa9", b"\x00", b"a\x01b", b"a: b", b": b", b"a\r\n b", b"a\nB: c", b"a\r\nX: y"]
)  # fmt: skip
changing_lengths = st.sampled_from([b"0", b"2", b"2", b"02", b"3", b"-1", b"+2", b"2 ", b"2, 2", b"x", b"", b"9" * 20])


@st.composite
def repeating_streams(draw: st.DrawFn) -> list[bytes]:
    """What one connection sends whose requests have the same fields again and again."""
    fields = draw(repeated_fields)
    heads = st.tuples(st.sampled_from([b"GET", b"GET", b"GET", b"HEAD", b"DELETE", b"POST"]), targets)
    usual = draw(st.lists(st.just((b"GET", b"/greet/sue")), min_size=2, max_size=3))
    lines = [*usual, *draw(st.lists(heads, min_size=1, max_size=3))]
    pieces = [write_head(method, target, fields.replace(b"VALUE", draw(changing_values))) for method, target in lines]
    between = draw(st.lists(sound_requests(), max_size=1))  # perhaps with a body
    return [*pieces[:2], *between, *pieces[2:], LAST]


@st.composite
def repeating_bodies(draw: st.DrawFn) -> list[bytes]:
    """What one connection sends whose requests have bodies, of the length that they say or of another one."""
    path = draw(st.sampled_from([b"/echo", b"/items", b"/livez", b"/nowhere"]))
    pieces: list[bytes] = []
    for body in (b"hi", *draw(st.lists(st.sampled_from([b"", b"hi", b"{}", b"abc", b"\r\n\r\n"]), max_size=3))):
        is_honest = not pieces or draw(st.booleans())
        length = b"%d" % len(body) if is_honest else draw(changing_lengths)
        head = write_head(b"POST", path, b"Host: t\r\nContent-Length: %b" % length)
        pieces += [head + body] if draw(st.integers(0, 3)) else [head, body]
    return [*(piece for piece in pieces if piece), LAST]


def write_head(method: bytes, target: bytes, fields: bytes, version: bytes = b"HTTP/1.1") -> bytes:
    return b"%b %b %b\r\n%b\r\n\r\n" % (method, target, version, fields)


# What they get


class Caller(asyncio.Protocol):
    """Keeps what came, also when the connection was reset."""

    def __init__(self) -> None:
        self.answer = b""
        self.closed = False
        self.address: object = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.address = transport.get_extra_info("sockname")

    def data_received(self, data: bytes) -> None:
        self.answer += data

    def connection_lost(self, _exc: Exception | None) -> None:
        self.closed = True


def is_settled(gateway: Gateway, caller: Caller) -> bool:
    """Whether the gateway has read all that was sent, and has answered what can be answered."""
    for connection in gateway.server.server_state.connections:
        if connection.transport.get_extra_info("peername") == caller.address:
            unread = bytearray(4)
            fcntl.ioctl(connection.transport.get_extra_info("socket").fileno(), termios.FIONREAD, unread)
            cycle = connection.cycle  # type: ignore[union-attr]
            answered = cycle is None or cycle.response_complete or cycle.more_body
            return not any(unread) and answered and not connection.has_rest  # type: ignore[union-attr]
    return caller.closed


async def let_settle(gateway: Gateway, caller: Caller) -> None:
    for _ in range(2):
        end = time.monotonic() + PATIENCE
        while gateway.link.in_flight or not is_settled(gateway, caller):
            assert time.monotonic() < end
            await asyncio.sleep(0)
        for _ in range(10):
            await asyncio.sleep(0)


async def converse(gateway: Gateway, pieces: Sequence[bytes]) -> tuple[bytes, bool]:
    """All that comes back, and whether the gateway closed the connection."""
    transport, caller = await asyncio.get_running_loop().create_connection(Caller, "127.0.0.1", gateway.port)
    for piece in pieces:
        if not caller.closed:
            transport.write(piece)
        await let_settle(gateway, caller)
    if LAST_ANSWER.search(caller.answer):
        await eventually(lambda: caller.closed)
    transport.abort()
    return mask(caller.answer), caller.closed


STATUS = re.compile(rb"HTTP/1.1 ([0-9]{3}) ")
LAST_ANSWER = re.compile(rb"connection: close\r\n", re.IGNORECASE)
MADE_ID = re.compile(rb"\b(?:[0-9a-f]{12}-1[0-9]{9}|[0-9a-f]{16})\b")
DATE = re.compile(rb"(?<=\r\ndate: )[^\r]*")


def mask(answer: bytes) -> bytes:
    return MADE_ID.sub(b"made-id", DATE.sub(b"now", answer))


async def serve(msg: Msg) -> None:
    """Tells all that it got, and fails where it is asked to."""
    assert msg._client is not None
    way = msg.subject.removeprefix("lane.failing.")
    headers = {
        "denied": {"Nats-Service-Error-Code": "403", "Nats-Service-Error": "No"},
        "bad": {"Http-Status": "9"},
        "created": {"Http-Status": "201", "Location": "/x", "ETag": '"1"'},
    }.get(way)
    known = {name: value for name, value in (msg.headers or {}).items() if name != "x-request-id" or value == "mine"}
    text = f"{msg.subject} {sorted(known.items())} ".encode() + msg.data + b"x" * (2 * BIG if way == "large" else 0)
    await msg._client.publish(msg.reply, b"" if way == "denied" else text, headers=headers)


@asynccontextmanager
async def run_lanes(url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sequence[Gateway]]:
    """A gateway on the fast lane, one on the ASGI lane, and one on an ASGI lane that leaves more to uvicorn."""
    monkeypatch.setattr("app.http.patience.LAST_WORDS", 0.02)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(responder(url, "lane.>", serve))
        lanes: list[Gateway] = []
        for lane in ("fast", "asgi", "asgi"):
            monkeypatch.setattr("tests.harness.LANE", lane)
            gateway = await stack.enter_async_context(run_gateway(url, routes=FILE))
            ids = RequestIds()
            ids._counter = itertools.count(10**9)  # made ids are of one length
            gateway.parts.relay.choose_request_id = ids.choose
            lanes.append(gateway)
        leave_to_uvicorn(lanes[2], monkeypatch)
        yield lanes
        for gateway in lanes:
            assert (await gateway.get("/greet/sue")).status_code == 200
            await eventually(lambda gateway=gateway: gateway.link.in_flight == 0)  # type: ignore[misc]


def leave_to_uvicorn(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the parser read every head of this gateway, and uvicorn write its responses."""
    respond, take_repeated = AsgiExchange.respond, GatewayProtocol.take_repeated

    def take(self: GatewayProtocol, data: bytes, end: int) -> bool:
        return self.way_out is not gateway.parts.relay.way_out and take_repeated(self, data, end)

    async def choose(self: AsgiExchange, response: Response) -> None:
        if self._relay is gateway.parts.relay:
            await self._send_whole(response)
        else:
            await respond(self, response)

    monkeypatch.setattr(GatewayProtocol, "take_repeated", take)
    monkeypatch.setattr(AsgiExchange, "respond", choose)


async def compare(lanes: Sequence[Gateway], pieces: list[bytes]) -> bytes:
    """What all lanes answer."""
    first, *others = await asyncio.gather(*(converse(gateway, pieces) for gateway in lanes))
    for other in others:
        assert other == first
    return first[0]


@pytest.mark.soak
@pytest.mark.timeout(240)
async def test_both_lanes_write_the_same_bytes(shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    async with run_lanes(shared_nats.url, monkeypatch) as lanes:

        def run(pieces: list[bytes]) -> bytes:
            return asyncio.run_coroutine_threadsafe(compare(lanes, pieces), loop).result()

        await asyncio.to_thread(check_all, run)


USUAL = b"Host: t\r\nConnection: keep-alive\r\nAccept: */*"
LIKE_BEFORE = [
    write_head(b"GET", b"/greet/joe?x=%20", USUAL),
    write_head(b"GET", b"/greet/Jos%C3%A9", USUAL),
    write_head(b"GET", b"/greet/%2", USUAL),
    write_head(b"GET", b"/livez", USUAL),
    write_head(b"GET", b"/nowhere", USUAL),
    write_head(b"GET", b"//", USUAL),
    write_head(b"GET", b"/failing/bad", USUAL),
    write_head(b"GET", b"/failing/large", USUAL),
    write_head(b"GET", b"/greet/sue", USUAL.replace(b"*/*", b"text/plain, */*;q=0.1")),
    write_head(b"GET", b"/greet/sue", USUAL.replace(b"Accept", b"accept").replace(b"*/*", b"text/plain")),
]
UNLIKE_BEFORE = [
    write_head(b"GET", b"/greet/sue#f", USUAL),
    write_head(b"GET", b"http://t/greet/sue", USUAL),
    write_head(b"GET", b"*", USUAL),
    write_head(b"GET", b"", USUAL),
    write_head(b"GET", b"/greet/sue HTTP/1.1\r\nHost: evil\r\n\r\nGET /greet/sue", USUAL),
    write_head(b"GET", b"/greet/ sue", USUAL),
    write_head(b"GET", b"/greet/\xc3\xa9", USUAL),
    write_head(b"GET", b"/greet/\x00", USUAL),
    write_head(b"GET", b"/greet/sue", USUAL, b"HTTP/1.0"),
    write_head(b"GET", b"/greet/sue", USUAL + b"\r\nContent-Length: 5") + b"hello",
    write_head(b"GET", b"/greet/sue", USUAL + b"\r\nX-Request-Id: mine"),
    write_head(b"GET", b"/greet/sue", USUAL.replace(b"Host: t", b"Host: u")),
    write_head(b"GET", b"/greet/sue", USUAL.replace(b"keep-alive", b"Keep-Alive")),
    write_head(b"GET", b"/greet/sue", USUAL.replace(b"*/*", b"caf\xc3\xa9")),
    write_head(b"GET", b"/greet/sue", USUAL.replace(b"*/*", b"")),
    write_head(b"GET", b"/greet/sue", USUAL.replace(b"*/*", b"*/*\r\n , text/plain")),
    write_head(b"GET", b"/greet/sue", USUAL.replace(b"Accept", b"Prefer")),
    write_head(b"HEAD", b"/greet/sue", USUAL),
    write_head(b"DELETE", b"/orders/7", USUAL),
    b"\r\n" + write_head(b"GET", b"/greet/sue", USUAL),
]


def write_post(length: bytes, body: bytes, path: bytes = b"/echo") -> bytes:
    return write_head(b"POST", path, USUAL + b"\r\nContent-Length: " + length) + body


POST_LIKE_BEFORE = [
    write_post(b"2", b"ho"),
    write_post(b"5", b"hello"),
    write_post(b"0", b""),
    write_post(b"002", b"hi"),
    write_post(b"101", b"x" * 101),  # more than the route allows
    write_post(b"2", b"{}", b"/items"),
    write_post(b"2", b"hi", b"/livez"),
    write_post(b"2", b"hi", b"/nowhere"),
]
POST_UNLIKE_BEFORE = [
    write_post(b"4", b"\r\n\r\n"),
    write_post(b"2", b"hi") + b"!",
    write_post(b"1", b"hi"),
    write_post(b"3", b"hi"),
    write_post(b"-2", b"hi"),
    write_post(b"+2", b"hi"),
    write_post(b"2, 2", b"hi"),
    write_post(b"9" * 20, b"hi"),
    write_head(b"POST", b"/echo", USUAL + b"\r\nTransfer-Encoding: chunked") + b"0\r\n\r\n",
]


@pytest.mark.parametrize("is_like", [True, False])
async def test_a_head_like_the_one_before_is_answered_alike(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch, *, is_like: bool
) -> None:
    taken: list[bytes] = []
    take_repeated = FastProtocol.take_repeated

    def take(self: FastProtocol, data: bytes, end: int) -> bool:
        is_taken = take_repeated(self, data, end)
        taken.extend([data] if is_taken else [])
        return is_taken

    monkeypatch.setattr(FastProtocol, "take_repeated", take)
    get, other_get = (write_head(b"GET", b"/greet/sue", USUAL.replace(b"*/*", value)) for value in (b"*/*", b"a/b"))
    post, other_post = write_post(b"2", b"hi"), write_post(b"3", b"hey")
    gets, posts = (LIKE_BEFORE, POST_LIKE_BEFORE) if is_like else (UNLIKE_BEFORE, POST_UNLIKE_BEFORE)
    cases = [
        *itertools.product([[get, get], [get, other_get]], gets, [get]),
        *itertools.product([[post, post], [post, other_post]], posts, [post]),
    ]
    async with run_lanes(shared_nats.url, monkeypatch) as lanes:
        for before, request, after in cases:
            taken.clear()
            await compare(lanes, [*before, request, after, LAST])
            assert (request in taken) == is_like


async def test_a_body_in_between_is_no_reason_for_a_mistake(
    shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = write_head(b"GET", b"/greet/sue", USUAL)
    echo = write_head(b"POST", b"/echo", USUAL + b"\r\nContent-Length: 2")
    async with run_lanes(shared_nats.url, monkeypatch) as lanes:
        for between in ([echo + b"hi"], [echo, b"hi"], [echo + b"hi" + usual], [usual[:20], usual[20:]]):
            answer = await compare(lanes, [usual, usual, *between, usual, LAST])
            assert set(STATUS.findall(answer)) == {b"200"}


def check_all(run: Callable[[list[bytes]], bytes]) -> None:
    @given(streams() | repeating_streams() | repeating_bodies())
    @example([b"GET /greet/sue HTTP/1.1\r\nHost: t\r\n\r\n", LAST])
    @example([b"POST /echo HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\n\r\nhello", LAST])
    @example([b"GET /greet/a HTTP/1.1\r\nHost: t\r\n\r\nGET /livez HTTP/1.1\r\nHost: t\r\n\r\n" + LAST])
    @example([b"POST /echo HTTP/1.1\r\nHost: t\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", LAST])
    @settings(max_examples=EXAMPLES)
    def law(pieces: list[bytes]) -> None:
        event(" ".join(status.decode() for status in sorted(set(STATUS.findall(run(pieces))))))

    law()
