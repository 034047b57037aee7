"""The law of routes: what a caller sends either reaches exactly the declared subject, or gets a 4xx and nobody hears.

The rules are written down here a second time, in other words than the gateway's.
"""

import asyncio
import re
import socket
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from nats.aio.msg import Msg

from app.routefile.load import load_route_file
from tests.harness import Gateway, NatsServer, responder, run_gateway

# Path, methods, subject, and what its parameters outside of the path are called.
TABLE = [
    ("/a/{x}", ("GET", "PUT"), "law.a.{x}"),
    ("/a/me", ("GET",), "law.me"),
    ("/a/{x}/b/{y}", ("GET",), "law.{y}.of.{x}"),
    ("/a/{x}/b/c", ("GET",), "law.c.{x}"),
    ("/b", ("POST",), "law.b"),
    ("/q", ("GET",), "law.q.{q}"),
    ("/h", ("GET",), "law.h.{x-h}"),
    ("/free/{text}", ("GET",), "law.free"),
    ("/deep/{a}/{b}/{c}/{d}", ("DELETE",), "law.{d}.{c}.{b}.{a}"),
]
ROUTES = "version: 1\nroutes:\n" + "".join(
    f"  - name: r{number}\n    method: [{', '.join(methods)}]\n    path: '{path}'\n    subject: '{subject}'\n"
    + ("    params: {q: {in: query, required: true}}\n" if "{q}" in subject else "")
    + ("    params: {x-h: {in: header, default: none}}\n" if "{x-h}" in subject else "")
    + ("    payload: params\n" if path == "/free/{text}" else "")
    for number, (path, methods, subject) in enumerate(TABLE)
)
FEW, MANY = 150, 500  # examples
ALLOWED = {"traceparent", "tracestate", "x-request-id"}
INVISIBLE = "\u115f\u1160\u3164\uffa0\u2800\u034f\u17b4\u17b5"  # letters and marks, by their category


@dataclass(frozen=True, slots=True)
class Call:
    method: str
    path: bytes
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def encode(self) -> bytes:
        target = self.path + (b"?" + self.query if self.query else b"")
        lines = [b"%b %b HTTP/1.1" % (self.method.encode(), target), b"Host: t"]
        lines += [b"%b: %b" % pair for pair in self.headers]
        lines += [b"Content-Length: %d" % len(self.body), b"", self.body]
        return b"\r\n".join(lines)


def is_token(raw: bytes) -> bool:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return 1 <= len(text) <= 128 and not any(
        c in ".*>/" or c in INVISIBLE or c.isspace() or unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp"}
        for c in text
    )


def is_text(raw: bytes) -> bool:
    return raw != b"" and raw == raw.decode("utf-8", "ignore").encode()


def find_route(call: Call) -> tuple[str, dict[str, bytes]] | None:
    """Subject template and path values of the most literal route that matches."""
    found = []
    given_segments = call.path.split(b"/")
    for path, methods, subject in TABLE:
        segments = path.split("/")
        method = "GET" if call.method == "HEAD" else call.method
        if method not in methods or len(segments) != len(given_segments):
            continue
        values = {}
        for segment, raw in zip(segments, given_segments, strict=True):
            if segment.startswith("{"):
                values[segment[1:-1]] = raw
            elif unquote_to_bytes(raw) != segment.encode():
                break
        else:
            found.append((len(values), subject, values))
    return min(found)[1:] if found else None


def expect_subject(call: Call) -> bytes | None:
    """The one subject that the call may reach; None if it may reach none."""
    match = find_route(call)
    if match is None:
        return None
    subject, values = match
    decoded = {name: unquote_to_bytes(raw) for name, raw in values.items()}
    if any(re.search(rb"%(?![0-9a-fA-F]{2})", raw) for raw in values.values()):
        return None
    if "{q}" in subject:
        pairs = [part.partition(b"=") for part in call.query.replace(b"+", b" ").split(b"&") if part]
        given_values = [value for name, _, value in pairs if unquote_to_bytes(name) == b"q"]
        if len(given_values) != 1 or re.search(rb"%(?![0-9a-fA-F]{2})", given_values[0]):
            return None
        decoded["q"] = unquote_to_bytes(given_values[0])
    if "{x-h}" in subject:
        sent = [value.strip(b" \t") for name, value in call.headers if name.lower() == b"x-h"]
        if len(sent) > 1:
            return None
        decoded["x-h"] = sent[0] if sent else b"none"
    if not all(is_text(raw) for raw in decoded.values()):
        return None
    tokens = [decoded[token[1:-1]] if token.startswith("{") else token.encode() for token in subject.split(".")]
    return b".".join(tokens) if all(map(is_token, tokens)) else None


def percent_encode(raw: bytes) -> bytes:
    return b"".join(b"%%%02x" % byte for byte in raw)


plain = st.text("ab7_-", min_size=1, max_size=3).map(str.encode)
encoded = st.binary(min_size=1, max_size=4).map(percent_encode)
letters = st.text(min_size=1, max_size=3).map(lambda text: percent_encode(text.encode("utf-8", "surrogatepass")))
hostile = st.sampled_from(
    [b"", b".", b"..", b"a.b", b"*", b">", b"%2E", b"%2a", b"%3E", b"%2F", b"a%2Fb", b"%00", b"%0d%0aPUB%20x%201",
     b"%", b"%zz", b"%u0041", b"%e2%80%8b", b"$SYS", b"_INBOX", b"x" * 128, b"x" * 129, b"%C0%AE", b"{x}", b"a%20b",
     b";", b"~"]
)  # fmt: skip
literal = st.sampled_from([b"me", b"b", b"c", b"%6de"])
segment = st.one_of(plain, plain, encoded, letters, hostile, literal)
template = st.sampled_from([path for path, _, _ in TABLE])


@st.composite
def paths(draw: st.DrawFn) -> bytes:
    """Mostly those of routes, with anything in the place of a parameter, and sometimes anything else."""
    segments = [
        draw(segment) if part.startswith("{") or draw(st.integers(0, 19)) == 0 else part.encode()
        for part in draw(template).split("/")[1:]
    ]
    if draw(st.integers(0, 9)) == 0:
        segments.insert(draw(st.integers(0, len(segments))), draw(segment))
    return b"/" + b"/".join(segments)


pairs = st.tuples(st.sampled_from([b"q", b"q", b"%71", b"x", b"q[]"]), segment).map(b"=".join)
queries = st.lists(pairs | st.sampled_from([b"q=a", b"q", b"&", b"=", b"q=a+b"]), max_size=3).map(b"&".join)
values = st.binary(max_size=8).map(lambda raw: re.sub(rb"[\x00-\x08\x0a-\x1f\x7f]", b"", raw))
names = st.sampled_from(
    [b"X-H", b"x-h", b"X-Request-Id", b"traceparent", b"Nats-Msg-Id", b"Authorization", b"Cookie", b"Accept",
     b"Nats-Service-Error", b"Http-Status", b"X-Other"]
)  # fmt: skip
odd_values = st.sampled_from([b"a.b", b"*", b">", b"NATS/1.0 503", "名".encode()])
orders = st.sampled_from(
    [(b"X-Request-Timeout", b"9s"), (b"X-Request-Timeout", b"junk"), (b"Connection", b"traceparent")]
)
headers = st.lists(st.tuples(names, values | plain | odd_values) | orders, max_size=3).map(tuple)
calls = st.builds(
    Call,
    st.sampled_from(["GET", "GET", "GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"]),
    paths(),
    queries,
    headers,
    st.binary(max_size=20),
)


@dataclass(slots=True)
class Caller:
    """Sends bytes as they are, on one connection for as long as the gateway keeps it."""

    port: int
    heard: list[tuple[bytes, frozenset[str]]] = field(default_factory=list)
    """The subject and the header names of each message that somebody heard."""
    _socket: socket.socket | None = None

    def send(self, call: Call) -> int:
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self._socket.sendall(call.encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self._receive()
        head, _, rest = data.partition(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: (\d+)", head)
        size = int(length[1]) if length and call.method != "HEAD" else 0
        while len(rest) < size:
            rest += self._receive()
        assert len(rest) == size
        if b"connection: close" in head.lower():
            self.close()
        return int(head[9:12])

    def _receive(self) -> bytes:
        assert self._socket
        chunk = self._socket.recv(65536)
        assert chunk, "the gateway closed a connection without an answer"
        return chunk

    def close(self) -> None:
        if self._socket:
            self._socket.close()
            self._socket = None


def check_law(caller: Caller, call: Call) -> None:
    before = len(caller.heard)
    status = caller.send(call)
    heard = caller.heard[before:]
    expected = expect_subject(call)
    event(f"status {status}")
    if heard:
        assert status == 200
        assert [subject for subject, _ in heard] == [expected]
        assert all(names <= ALLOWED for _, names in heard)
    else:
        to_the_docs = status == 307 and call.path == b"/"
        assert 400 <= status < 500 or (status == 204 and call.method == "OPTIONS") or to_the_docs
        assert expected is None or any(name == b"X-Request-Timeout" for name, _ in call.headers) or has_odd_header(call)


def has_odd_header(call: Call) -> bool:
    return any(name.lower() == b"traceparent" and not value.isascii() for name, value in call.headers)


@pytest.mark.parametrize("examples", [FEW, pytest.param(MANY, marks=pytest.mark.soak)])
async def test_any_request_reaches_exactly_the_declared_subject_or_gets_a_4xx(
    shared_nats: NatsServer, tmp_path: Path, examples: int
) -> None:
    (tmp_path / "routes.yaml").write_text(ROUTES)
    routes = load_route_file(tmp_path / "routes.yaml")
    async with run_gateway(shared_nats.url, routes=routes) as gateway:
        caller = Caller(gateway.port)

        async def hear(msg: Msg) -> None:
            if not msg.subject.startswith("_INBOX."):
                caller.heard.append((msg.subject.encode(), frozenset(msg.headers or ())))
                await msg.respond(b"heard")

        async with responder(shared_nats.url, ">", hear):
            await asyncio.to_thread(run_law, caller, examples)
            await check_still_well(gateway, caller)
        caller.close()


def run_law(caller: Caller, examples: int) -> None:
    @given(calls)
    @settings(max_examples=examples)
    def law(call: Call) -> None:
        check_law(caller, call)

    law()


async def check_still_well(gateway: Gateway, caller: Caller) -> None:
    """A last plain request: nothing was heard late, and the gateway is still on its first connection."""
    before = len(caller.heard)
    assert (await gateway.get("/a/me")).status_code == 200
    assert caller.heard[before:] == [(b"law.me", frozenset(["x-request-id"]))]
    assert gateway.link.in_flight == 0
