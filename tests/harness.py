"""What the tests run against: real nats-servers, a real gateway on a real socket, NATS peers that say anything."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from fastapi import FastAPI
from nats import connect as connect_nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error
from pydantic import BaseModel

from app.commands.embedded import build_command, wait_for_url
from app.gateway import Gateway as Parts
from app.http.bounds import Bounds
from app.http.lane import LaneName
from app.http.server import GatewayServer
from app.http.sockets import bind, describe_address
from app.main import build_gateway
from app.nats.link import Link
from app.observe.record import Observers
from app.routefile.load import GREET, RouteFile, load_route_file
from app.routing.routes import Route
from app.settings import Settings

GREET_ROUTES = load_route_file(GREET).table.routes

LANE: LaneName = "fast"
"""The lane of the gateways that a test runs; tests/http/ runs each test over both."""

PATIENCE = 60.0  # seconds until something that must happen is taken to have failed, also on a slow, busy machine

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For clients of plain HTTP: httpx takes 20 ms to make a context of its own."""

if find_spec("sniffio") is None:
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # httpcore looks for it at each request, in vain

Handler = Callable[[Msg], Awaitable[None]]


@contextlib.contextmanager
def reserve_port() -> Iterator[int]:
    """A port of loopback that the kernel gives to nobody who asks for any; a server that is told to take it can."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


class NatsServer:
    """A nats-server on loopback that can be stopped, killed, frozen and started again on the same port."""

    def __init__(self, directory: Path, port: int, config: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._config = directory / "nats.conf"
        self._config.write_text(config)
        self._log = directory / "nats.log"
        self._port = port
        self.process: subprocess.Popen[bytes]
        self.url = ""

    def start(self) -> Self:
        command = build_command(self._directory, "-c", str(self._config), "-l", str(self._log), port=self._port)
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.url = wait_for_url(self._directory, self.process)
        return self

    def reload(self, config: str) -> None:
        """Returns when the server goes by it."""
        before = self._count_reloads()
        self._config.write_text(config)
        self.process.send_signal(signal.SIGHUP)
        end = time.monotonic() + PATIENCE
        while self._count_reloads() == before:
            assert time.monotonic() < end, self._log.read_text()
            time.sleep(0.005)

    def _count_reloads(self) -> int:
        return self._log.read_text().count("Reloaded server configuration")

    def lame_duck(self) -> None:
        self.process.send_signal(signal.SIGUSR2)

    def freeze(self) -> None:
        """Stop all threads of the server, and return once they have stopped: until then it still answers."""
        self.process.send_signal(signal.SIGSTOP)
        while any(_read_state(thread) != "T" for thread in Path(f"/proc/{self.process.pid}/task").iterdir()):
            time.sleep(0.001)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.thaw()
            self.process.terminate()
            self.process.wait()


def _read_state(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


@contextlib.contextmanager
def run_nats(directory: Path, config: str = "") -> Iterator[NatsServer]:
    with reserve_port() as port:
        server = NatsServer(directory, port, config).start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def run_nats_cluster(directory: Path, size: int, config: str = "") -> Iterator[list[NatsServer]]:
    """Servers that get to know of each other; this configuration is that of each."""
    with contextlib.ExitStack() as stack:
        ports = [stack.enter_context(reserve_port()) for _ in range(size)]
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
        servers = []
        for number, port in enumerate(ports):
            cluster = f'cluster {{ name: c, listen: "127.0.0.1:{port}", routes: [{routes}] }}'
            whole = f"server_name: node{number}\n{cluster}\n{config}"
            servers.append(stack.enter_context(run_nats(directory / f"node{number}", whole)))
        yield servers


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway on a real socket in this event loop. `port` is for raw bytes."""

    url: str
    port: int
    parts: Parts
    client: httpx.AsyncClient
    server: GatewayServer

    @property
    def app(self) -> FastAPI:
        return self.parts.app

    @property
    def link(self) -> Link:
        return self.parts.link

    @property
    def bounds(self) -> Bounds:
        return self.parts.bounds

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})

    async def wait_until_ready(self) -> None:
        await eventually(lambda: self.link.reason is None)

    async def send_raw(self, data: bytes) -> bytes:
        """All bytes that come back until the gateway closes the connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            return await asyncio.wait_for(reader.read(), PATIENCE)
        finally:
            writer.close()

    async def get_raw(self, target: bytes) -> bytes:
        """The answer to a GET whose target no client library would send."""
        return await self.send_raw(b"GET %b HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n" % target)


class _Given(Settings):
    """Settings that come from nowhere else: to look for variables takes longer than to check the values."""

    def __init__(self, **values: object) -> None:
        BaseModel.__init__(self, **values)


@contextlib.asynccontextmanager
async def run_gateway(
    nats: str,
    /,
    *,
    routes: RouteFile | Iterable[Route] = GREET_ROUTES,
    wait: bool = True,
    observers: Observers | None = None,
    **settings: object,
) -> AsyncIterator[Gateway]:
    """A gateway with these routes and settings; ready, unless told not to wait."""
    values = {"nats_url": (nats,), "drain_timeout": 5.0, "timeout": 20.0, **settings}
    parts = build_gateway(_Given.model_validate(values), routes=routes, observers=observers)
    async with serve(parts, lane=LANE) as gateway:
        if wait:
            await gateway.wait_until_ready()
        yield gateway


@contextlib.asynccontextmanager
async def serve(parts: Parts, *, lane: LaneName | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[Gateway]:
    """These parts of a gateway on a real socket. `tls` is the side of its client, where they speak HTTPS."""
    listener = bind("127.0.0.1", 0)
    url = describe_address(listener, scheme="https" if tls else "http")
    port = listener.getsockname()[1]
    server = parts.make_server(lane=lane, drain_timeout=5.0)
    running = asyncio.create_task(server._serve([listener]))
    try:
        await eventually(lambda: server.started)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        async with httpx.AsyncClient(
            base_url=url, timeout=PATIENCE, trust_env=False, verify=tls or NO_TLS, limits=limits
        ) as client:
            yield Gateway(url, port, parts, client, server)
    finally:
        server.should_exit = server.force_exit = True
        await running


@contextlib.asynccontextmanager
async def connect(url: str, tls: ssl.SSLContext | None = None) -> AsyncIterator[Client]:
    """An ordinary NATS client, as any service or tool would use it."""
    client = await connect_nats(url, tls=tls, max_reconnect_attempts=-1, reconnect_time_wait=0)
    try:
        yield client
    finally:
        try:
            await client.close()
        except asyncio.CancelledError:  # nats-py hands on that of its own reconnection, where the server has gone
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise


@contextlib.asynccontextmanager
async def responder(url: str, subject: str, handler: Handler, queue: str = "") -> AsyncIterator[Client]:
    """A client that answers requests to a subject; when it is left, the server knows that nobody does any more."""
    async with connect(url) as client:
        sub = await client.subscribe(subject, queue=queue, cb=handler)
        await _settle(client)
        yield client
        if client.is_connected:
            with contextlib.suppress(TimeoutError, Error):  # a server that was stopped or frozen
                await sub.unsubscribe()
                await _settle(client)


async def _settle(client: Client) -> None:
    """Until the server has read all. nats-py writes a PING past what still waits for its flusher: so twice."""
    for _ in range(2):
        await client.flush(timeout=int(PATIENCE))


def replying(payload: bytes, headers: dict[str, str] | None = None) -> Handler:
    """A handler that always gives this reply."""

    async def handle(msg: Msg) -> None:
        assert msg._client is not None
        await msg._client.publish(msg.reply, payload, headers=headers)

    return handle


@dataclass(frozen=True, slots=True)
class RawMessage:
    subject: str
    reply: bytes
    headers: bytes
    payload: bytes


class RawPeer:
    """A NATS client that writes any bytes and reads what the server really delivers."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def connect(cls, url: str, *subjects: str) -> AsyncIterator[Self]:
        """Subscribed to these subjects when it is yielded. `url` may have a user and password."""
        parts = urlsplit(url)
        options = {"headers": True, "verbose": False, "user": parts.username, "pass": parts.password}
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"CONNECT {json.dumps(options)}\r\n".encode())
        for sid, subject in enumerate(subjects):
            writer.write(f"SUB {subject} {sid}\r\n".encode())
        peer = cls(reader, writer)
        writer.write(b"PING\r\n")
        while not (line := await reader.readline()).startswith(b"PONG"):
            if not line:
                raise ConnectionError("the server closed the connection")
        try:
            yield peer
        finally:
            writer.close()

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def publish(self, subject: bytes, block: bytes, payload: bytes = b"") -> None:
        """With this header block, byte for byte."""
        size = len(block)
        self.write(b"HPUB %b %d %d\r\n%b%b\r\n" % (subject, size, size + len(payload), block, payload))

    async def next(self, timeout: float = PATIENCE) -> RawMessage:
        """The next message but for heartbeats of a gateway."""
        while True:
            async with asyncio.timeout(timeout):  # wait_for of Python 3.11 can swallow a cancellation
                message = await self._read()
            if not message.subject.startswith("_INBOX."):
                return message

    async def _read(self) -> RawMessage:
        while True:
            line = (await self._reader.readline()).split()
            if not line:
                raise ConnectionError("the server closed the connection")
            if line[0] == b"PING":
                self.write(b"PONG\r\n")
            if line[0] in (b"MSG", b"HMSG"):
                return await self._read_body(line)

    async def _read_body(self, line: list[bytes]) -> RawMessage:
        size = int(line[-1])
        head = int(line[-2]) if line[0] == b"HMSG" else 0
        arguments = line[3 : -2 if head else -1]
        body = (await self._reader.readexactly(size + 2))[:-2]
        return RawMessage(line[1].decode(), arguments[0] if arguments else b"", body[:head], body[head:])


async def eventually(condition: Callable[[], object], timeout: float = PATIENCE) -> None:
    """Wait until the condition holds; fail when it doesn't in time."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def run_slow_proxy(port: int) -> AsyncIterator[int]:
    """The port of a proxy that passes on 0.5 MB/s to another of this host, and takes no more ahead of it."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pause: float) -> None:
        try:
            while data := await reader.read(10_000):
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(pause)
        finally:
            writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(pump(reader, there_writer, 0.02), pump(there_reader, writer, 0))

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 20_000)  # so that what waits, waits at the sender
    proxy = await asyncio.start_server(forward, sock=listener, limit=10_000)
    async with proxy:
        yield proxy.sockets[0].getsockname()[1]


def follow_references(document: dict[str, Any]) -> dict[str, Any]:
    """An OpenAPI document with the shared responses in the places that refer to them."""
    shared = document["components"]

    def find(entry: dict[str, Any]) -> Any:
        _, kind, name = entry.get("$ref", "#/./.").rsplit("/", 2)
        return shared[kind][name] if "$ref" in entry else entry

    for operation in (operation for item in document["paths"].values() for operation in item.values()):
        operation["responses"] = {status: find(entry) for status, entry in operation["responses"].items()}
    return document


def clean_environment(**values: str) -> dict[str, str]:
    """This environment without settings of a gateway, and with these."""
    names = [name for name in os.environ if not name.startswith(("GATEWAY_", "NATS_", "OTEL_")) and name != "PORT"]
    return {**{name: os.environ[name] for name in names}, **values}
