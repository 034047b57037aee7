"""HTTPS: handshakes, renewed certificates, callers with certificates of their own, and those who would hurt others."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, closing, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
import trustme
import uvloop
from nats.aio.msg import Msg

import app.http.handshakes
import tests.harness
from app.certificates import CertificateFiles
from app.edge.policy import AsyncCheck
from app.edge.request import PeerCertificate, Request
from app.errors import Forbidden
from app.main import build_gateway
from app.routing.routes import Route
from app.settings import Settings
from tests.certificates import BEFORE, FUTURE, LATER, PAST, Authority
from tests.harness import PATIENCE, Gateway, NatsServer, eventually, replying, responder, serve

GET = b"GET /livez HTTP/1.1\r\nHost: t\r\n\r\n"


class Noting:
    """A policy that notes the certificates of callers."""

    fields: frozenset[bytes] = frozenset()
    errors = (Forbidden,)

    def __init__(self) -> None:
        self.seen: list[PeerCertificate | None] = []

    def check(self, request: Request) -> AsyncCheck | None:
        self.seen.append(request.caller.certificate)
        return None


def make_routes(*policies: Noting) -> list[Route]:
    return [
        Route(name="get", methods=("GET",), path="/get/{id}", subject="t.{id}", policies=policies),
        Route(name="put", methods=("PUT",), path="/put", subject="t.put", policies=policies),
    ]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def run(
    nats: NatsServer,
    authority: Authority,
    *policies: Noting,
    tls: ssl.SSLContext | None = None,
    client_ca: Authority | None = None,
    **settings: object,
) -> AsyncIterator[Gateway]:
    """A gateway that speaks HTTPS, with a client that trusts it. `client_ca` signs the certificates of callers."""
    own = authority.write() | (client_ca.write_client_ca() if client_ca else {})
    values = {"nats_url": (nats.url,), **own, **settings}
    parts = build_gateway(Settings.model_validate(values), routes=make_routes(*policies))
    async with serve(parts, lane=tests.harness.LANE, tls=tls or authority.trust()) as gateway:
        await gateway.wait_until_ready()
        yield gateway


@contextmanager
def open_socket(gateway: Gateway) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE)) as connection:
        yield connection


async def shake_hands(gateway: Gateway, context: ssl.SSLContext) -> bytes:
    """The first line of the answer to a request. Raises OSError if the gateway closes without an answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=context)
    try:
        writer.write(GET)
        async with asyncio.timeout(PATIENCE):
            if answer := await reader.readline():
                return answer
        raise ConnectionResetError
    finally:
        writer.transport.abort()


async def see_certificate(gateway: Gateway, context: ssl.SSLContext) -> bytes | None:
    """Which one the gateway shows, in DER form."""
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=context)
    try:
        shown: bytes | None = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        return shown
    finally:
        writer.transport.abort()


# Requests


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_requests_of_any_size_are_answered_over_tls_1_2_and_1_3(
    shared_nats: NatsServer, authority: Authority, version: ssl.TLSVersion
) -> None:
    context = authority.trust()
    context.minimum_version = context.maximum_version = version
    body = os.urandom(450_000).hex().encode()

    async def echo(msg: Msg) -> None:
        await msg.respond(msg.data)

    async with (
        responder(shared_nats.url, "t.*", echo),
        run(shared_nats, authority, tls=context) as gateway,
    ):
        headers = {"content-type": "text/plain"}
        for content in (b"x", body, b"", body[:16_384], body):
            response = await gateway.client.put("/put", content=content, headers=headers)
            assert (response.status_code, response.content) == (200, content)
        assert (await gateway.get("/docs/assets/swagger-ui-bundle.js")).status_code == 200
        assert (await gateway.get("/nowhere")).status_code == 404
        assert len(gateway.server.server_state.connections) == 1


async def test_a_caller_whose_body_is_wrong_gets_all_of_its_answer_though_it_goes_on_to_send(
    shared_nats: NatsServer, authority: Authority
) -> None:
    head = b"PUT /put HTTP/1.1\r\nHost: t\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with run(shared_nats, authority) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=authority.trust())
        writer.write(head + b"1\r\nx\r\nno size\r\n")
        answer = reader.readline()
        for _ in range(20):
            writer.write(b"x" * 20_000)
            await asyncio.sleep(0)
        assert (await answer).startswith(b"HTTP/1.1 400 ")
        assert (await reader.read()).endswith(b"}")
        writer.close()


async def test_a_caller_who_closes_its_sending_half_gets_its_answer(
    shared_nats: NatsServer, authority: Authority
) -> None:
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def answer(msg: Msg) -> None:
        is_asked.set()
        await may_answer.wait()
        await msg.respond(b"late")

    def half_close(connection: ssl.SSLSocket) -> None:
        connection.sendall(b"GET /get/1 HTTP/1.1\r\nHost: t\r\n\r\n")
        with socket.socket(fileno=os.dup(connection.fileno())) as twin:
            twin.shutdown(socket.SHUT_WR)

    def read_all(connection: ssl.SSLSocket) -> bytes:
        with connection:
            return b"".join(iter(lambda: connection.recv(9999), b""))

    async with responder(shared_nats.url, "t.*", answer), run(shared_nats, authority) as gateway:
        with open_socket(gateway) as plain:
            secured = await asyncio.to_thread(authority.trust().wrap_socket, plain, server_hostname="localhost")
            await asyncio.to_thread(half_close, secured)
            await is_asked.wait()
            may_answer.set()
            assert (await asyncio.to_thread(read_all, secured)).endswith(b"late")


async def test_hsts_is_on_every_response_over_https_and_on_no_other(
    shared_nats: NatsServer, authority: Authority
) -> None:
    async with (
        responder(shared_nats.url, "t.*", replying(b"hi")),
        run(shared_nats, authority, hsts=31_536_000) as gateway,
    ):
        for path in ("/get/1", "/livez", "/docs", "/nowhere", "/get/a.b"):
            response = await gateway.get(path)
            assert response.headers.get_list("strict-transport-security") == ["max-age=31536000"]
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=authority.trust())
        writer.write(b"no HTTP\r\n\r\n")
        refused = await reader.read()
        writer.close()
        assert refused.startswith(b"HTTP/1.1 400 ")
        assert b"\r\nstrict-transport-security: max-age=31536000\r\n" in refused
        assert b"strict" not in await gateway.send_raw(GET)
    async with run(shared_nats, authority) as gateway:
        assert "strict-transport-security" not in (await gateway.get("/livez")).headers


# Renewal


async def test_a_renewed_certificate_is_shown_to_new_callers_and_open_connections_go_on(
    shared_nats: NatsServer, authority: Authority
) -> None:
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def answer(msg: Msg) -> None:
        is_asked.set()
        await may_answer.wait()
        await msg.respond(b"hi")

    async with responder(shared_nats.url, "t.*", answer), run(shared_nats, authority) as gateway:
        before = await see_certificate(gateway, authority.trust())
        asking = asyncio.create_task(gateway.get("/get/1"))
        await is_asked.wait()
        files = authority.write()
        gateway.parts.renew_certificate(CertificateFiles(files["tls_cert"], files["tls_key"]).read())
        after = await see_certificate(gateway, authority.trust())
        assert after != before
        assert after == ssl.PEM_cert_to_DER_cert(files["tls_cert"].read_text())
        may_answer.set()
        assert (await asking).status_code == 200
        assert (await gateway.get("/get/1")).status_code == 200
        connection = next(iter(gateway.client._transport._pool.connections))  # type: ignore[attr-defined]
        assert "Request Count: 2" in connection.info()


def ask(gateway: Gateway, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession, bool]:
    """The session of a connection that got an answer, and whether it went on with the one given. Raises OSError."""
    with open_socket(gateway) as plain:
        secured = context.wrap_socket(plain, server_hostname="localhost", session=session)
        with secured:
            secured.sendall(GET)
            if not secured.recv(9999):
                raise ConnectionResetError
            assert secured.session is not None
            return secured.session, bool(secured.session_reused)


async def test_an_authority_that_is_gone_after_a_renewal_counts_no_more_for_a_session_that_goes_on(
    shared_nats: NatsServer, authority: Authority, tmp_path: Path
) -> None:
    other = Authority(tmp_path)
    caller = authority.trust(other.ca.issue_cert("caller@example.org"))
    async with run(shared_nats, authority, client_ca=other) as gateway:
        session, _ = await asyncio.to_thread(ask, gateway, caller, None)
        session, is_reused = await asyncio.to_thread(ask, gateway, caller, session)
        assert is_reused
        files = authority.write() | authority.write_client_ca()
        fresh = CertificateFiles(files["tls_cert"], files["tls_key"], files["tls_client_ca"]).read()
        gateway.parts.renew_certificate(fresh)
        with pytest.raises(OSError):  # noqa: PT011 - of several kinds
            await asyncio.to_thread(ask, gateway, caller, session)


# Certificates of callers


async def test_a_policy_knows_the_certificate_of_a_caller_and_that_others_have_none(
    shared_nats: NatsServer, authority: Authority
) -> None:
    noting = Noting()
    leaf = authority.ca.issue_cert("sue@example.org", "host.example.org", common_name="sue")
    async with (
        responder(shared_nats.url, "t.*", replying(b"hi")),
        run(shared_nats, authority, noting, client_ca=authority) as gateway,
    ):
        assert (await gateway.get("/get/1")).status_code == 200
        async with httpx.AsyncClient(verify=authority.trust(leaf), trust_env=False, timeout=PATIENCE) as client:
            for _ in range(2):
                assert (await client.get(f"{gateway.url}/get/1")).status_code == 200
    nobody, sue, again = noting.seen
    assert nobody is None
    assert sue is not None
    assert sue is again
    assert ("commonName", "sue") in sue.subject
    assert sue.alternatives == (("email", "sue@example.org"), ("DNS", "host.example.org"))
    assert len(sue.fingerprint) == 64
    assert int(sue.serial, 16)


async def test_a_gateway_without_authorities_of_callers_asks_for_no_certificate(
    shared_nats: NatsServer, authority: Authority
) -> None:
    noting = Noting()
    leaf = authority.ca.issue_cert("sue@example.org")
    async with (
        responder(shared_nats.url, "t.*", replying(b"hi")),
        run(shared_nats, authority, noting) as gateway,
        httpx.AsyncClient(verify=authority.trust(leaf), trust_env=False, timeout=PATIENCE) as client,
    ):
        assert (await client.get(f"{gateway.url}/get/1")).status_code == 200
    assert noting.seen == [None]


STRANGER = trustme.CA()

HOSTILE: dict[str, Callable[[trustme.CA], trustme.LeafCert]] = {
    "of another authority": lambda _: STRANGER.issue_cert("sue@example.org"),
    "of an authority below another one": lambda _: STRANGER.create_child_ca().issue_cert("sue@example.org"),
    "signed by itself": lambda _: trustme.LeafCert(STRANGER.private_key_pem.bytes(), STRANGER.cert_pem.bytes(), []),
    "expired": lambda ca: ca.issue_cert("sue@example.org", not_before=PAST, not_after=BEFORE),
    "not yet valid": lambda ca: ca.issue_cert("sue@example.org", not_before=LATER, not_after=FUTURE),
}


async def test_a_hostile_certificate_of_a_caller_ends_its_handshake_and_harms_nobody_else(
    shared_nats: NatsServer, authority: Authority
) -> None:
    noting = Noting()
    async with (
        responder(shared_nats.url, "t.*", replying(b"hi")),
        run(shared_nats, authority, noting, client_ca=authority) as gateway,
    ):
        for kind, issue in HOSTILE.items():
            with pytest.raises(OSError):  # noqa: PT011 - of several kinds
                pytest.fail(f"{kind}: {await shake_hands(gateway, authority.trust(issue(authority.ca)))!r}")
            assert (await gateway.get("/get/1")).status_code == 200
        await eventually(lambda: not len(gateway.bounds.handshakes))
    assert noting.seen == [None] * len(HOSTILE)


# Handshakes that are none


def make_old() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_tls_1_1_is_refused(shared_nats: NatsServer, authority: Authority) -> None:
    async with run(shared_nats, authority) as gateway:
        with pytest.raises(ssl.SSLError, match=r"(?i)protocol"):
            await shake_hands(gateway, make_old())
        assert (await gateway.get("/livez")).status_code == 200


RECORD = b"\x16\x03\x01"

NO_HANDSHAKES = {
    "plain HTTP": (GET, b"HTTP/1.1 400 "),
    "one byte of plain HTTP": (b"G", b"HTTP/1.1 400 "),
    "zeros": (b"\0" * 100, b""),
    "random bytes behind a right head": (RECORD + b"\x00\x40\x01\x00\x00\x3c" + b"\xaa" * 60, b"\x15"),
    "a ClientHello that says it is 100 KiB long": (RECORD + b"\x40\x00\x01\x01\x90\x00" + b"\0" * 9000, b""),
    "another message than a ClientHello": (RECORD + b"\x00\x40\x02\x00\x00\x3c" + b"\xaa" * 60, b""),
    "an alert": (b"\x15\x03\x01\x00\x02\x02\x28", b""),
    "application data": (b"\x17\x03\x03\x00\x20" + b"\xaa" * 32, b""),
    "SSL 2": (b"\x80\x2e\x01\x00\x02" + b"\0" * 43, b""),
    "a PROXY line": (b"PROXY TCP4 1.1.1.1 2.2.2.2 1 2\r\n", b"HTTP/1.1 400 "),
}


async def test_who_begins_no_handshake_is_closed_at_once(shared_nats: NatsServer, authority: Authority) -> None:
    async with run(shared_nats, authority) as gateway:
        for kind, (sent, beginning) in NO_HANDSHAKES.items():
            try:
                answer = await gateway.send_raw(sent)
            except ConnectionResetError:
                answer = b""
            assert answer.startswith(beginning), kind
        assert (await gateway.get("/livez")).status_code == 200
        await eventually(lambda: not len(gateway.bounds.handshakes))


def make_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


async def read_to_the_end(reader: asyncio.StreamReader) -> None:
    with suppress(ConnectionResetError):
        async with asyncio.timeout(PATIENCE):
            await reader.read()


async def test_half_a_handshake_is_ended_after_a_while(
    shared_nats: NatsServer, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app.http.handshakes, "HANDSHAKE_TIMEOUT", 0.3)
    async with run(shared_nats, authority) as gateway:
        ends = []
        for size in (0, 1, 8, 100, None):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(make_hello()[:size])
            ends.append((reader, writer))
        for reader, writer in ends:
            await read_to_the_end(reader)
            writer.close()
        await eventually(lambda: not len(gateway.bounds.handshakes))


async def test_a_handshake_may_come_byte_by_byte(shared_nats: NatsServer, authority: Authority) -> None:
    async with run(shared_nats, authority) as gateway:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        for byte in make_hello():
            writer.write(bytes((byte,)))
            await writer.drain()
        assert (await reader.readexactly(3))[:1] == b"\x16"
        writer.close()


def test_new_callers_wait_in_the_kernel_while_the_gateway_shakes_hands_with_others(
    shared_nats: NatsServer, authority: Authority
) -> None:
    """One at most comes in a turn of the event loop, in which the gateway takes one step of a handshake at least."""
    hello = make_hello()

    async def count_handshakes() -> list[int]:
        async with run(shared_nats, authority) as gateway:
            handshakes, counts = gateway.bounds.handshakes, [0]
            with ExitStack() as stack:
                for _ in range(60):  # nobody else has a turn meanwhile
                    connection = stack.enter_context(socket.create_connection(("127.0.0.1", gateway.port)))
                    connection.send(hello)
                while counts[-1] < 60:
                    await asyncio.sleep(0)
                    counts.append(len(handshakes))
            return counts

    assert max(after - before for before, after in pairwise(uvloop.run(count_handshakes()))) == 1


async def test_callers_who_shake_no_hands_take_no_place_from_others(
    shared_nats: NatsServer, authority: Authority
) -> None:
    """Half of them send nothing, half of them a ClientHello."""
    hello = make_hello()
    async with run(shared_nats, authority, max_connections=100) as gateway:
        hostile = []
        for number in range(300):
            connection = socket.create_connection(("127.0.0.1", gateway.port))
            connection.send(hello if number % 2 else b"")
            hostile.append(connection)
            if number % 50 == 0:
                assert (await gateway.get("/livez")).status_code == 200
        for _ in range(3):
            assert (await shake_hands(gateway, authority.trust())) == b"HTTP/1.1 200 OK\r\n"
        await eventually(lambda: len(gateway.bounds.handshakes) <= 100)
        assert (await gateway.get("/livez")).status_code == 200
        for connection in hostile:
            connection.close()
        await eventually(lambda: not len(gateway.bounds.handshakes))


async def test_a_burst_of_handshakes_holds_up_nobody_who_is_served(
    shared_nats: NatsServer, authority: Authority
) -> None:
    hello = make_hello()
    async with run(shared_nats, authority) as gateway:
        assert (await gateway.get("/livez")).status_code == 200
        burst = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(400)]
        for connection in burst:
            connection.send(hello)
        assert (await gateway.get("/livez")).status_code == 200
        assert gateway.bounds.handshakes.waiting
        for connection in burst:
            connection.close()


async def test_who_is_over_the_cap_is_told_so(shared_nats: NatsServer, authority: Authority) -> None:
    is_asked, may_answer = asyncio.Event(), asyncio.Event()

    async def answer(msg: Msg) -> None:
        is_asked.set()
        await may_answer.wait()
        await msg.respond(b"hi")

    async with (
        responder(shared_nats.url, "t.*", answer),
        run(shared_nats, authority, max_connections=1) as gateway,
    ):
        asking = asyncio.create_task(gateway.get("/get/1"))
        await is_asked.wait()
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=authority.trust())
        writer.write(GET)
        refused = await reader.read()
        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b'"/problems/overloaded"' in refused
        writer.close()
        may_answer.set()
        assert (await asking).status_code == 200


async def test_what_a_caller_leaves_unread_is_counted(shared_nats: NatsServer, authority: Authority) -> None:
    """asyncio's own transport would keep it from its protocol."""
    async with (
        responder(shared_nats.url, "t.*", replying(b"x" * 1_000_000)),
        run(shared_nats, authority, max_buffered=2 * 1024 * 1024) as gateway,
    ):
        readers = []
        for _ in range(40):
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, ssl=authority.trust(), limit=100)
            writer.transport.pause_reading()  # type: ignore[attr-defined] # of asyncio's transport
            writer.write(b"GET /get/1 HTTP/1.1\r\nHost: t\r\n\r\n" * 9)
            readers.append((reader, writer))
        connections = gateway.server.server_state.connections
        await eventually(lambda: len(connections) < 40)
        unread = [one.transport.get_write_buffer_size() for one in connections]
        assert sum(unread) < 6 * 1024 * 1024
        for _, writer in readers:
            writer.transport.abort()
