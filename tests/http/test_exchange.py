"""What travels between HTTP and NATS for routes of all kinds."""

import asyncio
import dataclasses
import json
import socket
from urllib.parse import quote

import httpx
import pytest
from nats.aio.msg import Msg

from app import __version__
from app.main import build_gateway
from app.routing.routes import ReplyRules, Route
from app.settings import Settings
from tests.harness import Gateway, NatsServer, RawPeer, eventually, replying, responder, run_gateway

ECHO = Route(name="echo", methods=("POST",), path="/echo", subject="echo", payload="body", headers=())
ORDER = Route(
    name="order",
    methods=("GET", "PUT"),
    path="/orders/{id}/items/{item}",
    subject="orders.items.{item}.of.{id}",
    payload="body",
    headers=("Authorization", "X-Tenant"),
    reply=ReplyRules(content_type="application/json", headers=("location", "set-cookie", "etag")),
)
QUICK = dataclasses.replace(ORDER, timeout=0.2, max_timeout=0.4)


@pytest.mark.parametrize("size", [0, 1, 1000, 65_536, 900_000, 1024 * 1024])
async def test_bodies_are_bytes_in_and_bytes_out(shared_nats: NatsServer, size: int) -> None:
    async def echo(msg: Msg) -> None:
        await msg.respond(msg.data)

    body = bytes(range(256)) * (size // 256) + bytes(size % 256)
    async with run_gateway(shared_nats.url, routes=[ECHO]) as gateway, responder(shared_nats.url, "echo", echo):
        response = await gateway.client.post("/echo", content=body)
    assert (response.status_code, response.content) == (200, body)
    assert response.headers["content-type"] == "application/octet-stream"


async def test_the_service_sets_status_and_headers_by_the_allow_list(shared_nats: NatsServer) -> None:
    block = (
        b"NATS/1.0\r\nHttp-Status: 201\r\nLocation: /orders/7\r\nSet-Cookie: a=1\r\nSET-COOKIE: b=2\r\nX-Secret: no\r\n"
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    async with (
        run_gateway(shared_nats.url, routes=[ORDER]) as gateway,
        RawPeer.connect(shared_nats.url, "orders.>") as peer,
    ):
        waiting = asyncio.create_task(
            gateway.client.put(
                "/orders/7/items/9",
                content=b"{}",
                headers={"authorization": "Bearer t", "x-tenant": "acme", "x-request-id": "r-1", "cookie": "c=1"},
            )
        )
        message = await peer.next()
        peer.publish(message.reply, block, b"{}")
        response = await waiting
    assert message.subject == "orders.items.9.of.7"
    assert message.payload == b"{}"
    assert message.headers == b"NATS/1.0\r\nAuthorization: Bearer t\r\nX-Tenant: acme\r\n\r\n"
    assert response.status_code == 201
    assert response.headers["location"] == "/orders/7"
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert response.headers["content-type"] == "application/json"
    assert response.headers["content-length"] == "2"
    assert "x-secret" not in response.headers
    assert "transfer-encoding" not in response.headers
    assert "connection" not in response.headers


@pytest.mark.parametrize("status", [204, 304])
async def test_statuses_without_content_have_none(shared_nats: NatsServer, status: int) -> None:
    async with (
        run_gateway(shared_nats.url, routes=[ORDER]) as gateway,
        responder(shared_nats.url, "orders.>", replying(b"ignored", {"Http-Status": str(status), "ETag": '"1"'})),
    ):
        for _ in range(2):  # the second shows that the connection is still in step
            response = await gateway.get("/orders/7/items/9")
            assert (response.status_code, response.content, response.headers["etag"]) == (status, b"", '"1"')


async def test_a_reset_content_has_none_and_says_so(shared_nats: NatsServer) -> None:
    async with (
        run_gateway(shared_nats.url, routes=[ORDER]) as gateway,
        responder(shared_nats.url, "orders.>", replying(b"ignored", {"Http-Status": "205"})),
    ):
        response = await gateway.get("/orders/7/items/9")
        assert (response.status_code, response.content, response.headers["content-length"]) == (205, b"", "0")


async def test_a_header_that_connection_nominates_stays_here(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url, routes=[ORDER]) as gateway, RawPeer.connect(shared_nats.url, ">") as peer:
        waiting = asyncio.create_task(
            gateway.get("/orders/7/items/9", connection="keep-alive, X-Tenant", x_tenant="acme")
        )
        message = await peer.next()
        peer.write(b"PUB %b 0\r\n\r\n" % message.reply)
        await waiting
    assert message.headers == b""


@pytest.mark.parametrize(("asked", "timeout"), [(None, 200), ("50ms", 50), ("9s", 400)], ids=str)
async def test_the_route_s_timeouts_hold(shared_nats: NatsServer, asked: str | None, timeout: int) -> None:
    async def stay_silent(msg: Msg) -> None:
        pass

    headers = {"x_request_timeout": asked} if asked else {}
    async with (
        run_gateway(shared_nats.url, routes=[QUICK]) as gateway,
        responder(shared_nats.url, "orders.>", stay_silent),
    ):
        response = await gateway.get("/orders/7/items/9", **headers)
    assert response.status_code == 504
    assert response.json()["detail"] == f"The service did not reply within {timeout}ms."
    assert timeout / 1000 <= response.elapsed.total_seconds() < 1.5  # the default is 2 s


async def test_a_late_and_a_second_reply_reach_nobody(gateway: Gateway, shared_nats: NatsServer) -> None:
    async with RawPeer.connect(shared_nats.url, "greet.*") as peer:
        late = asyncio.create_task(gateway.get("/greet/late", x_request_timeout="50ms"))
        first = await peer.next()
        assert (await late).status_code == 504
        waiting = asyncio.create_task(gateway.get("/greet/sue"))
        second = await peer.next()
        for reply, payload in ((first.reply, b"late!"), (second.reply, b"right"), (second.reply, b"twice")):
            peer.write(b"PUB %b %d\r\n%b\r\n" % (reply, len(payload), payload))
        assert (await waiting).json() == {"message": "right"}
    assert gateway.link.in_flight == 0


async def test_a_caller_that_goes_away_leaves_no_entry(gateway: Gateway, shared_nats: NatsServer) -> None:
    async with RawPeer.connect(shared_nats.url, "greet.*") as peer:
        for abort in (False, True):
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nX-Request-Timeout: 30s\r\n\r\n")
            await peer.next()
            assert gateway.link.in_flight == 1
            if abort:
                raw = writer.get_extra_info("socket")
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # RST
            writer.close()
            await eventually(lambda: gateway.link.in_flight == 0, 2)


async def test_the_server_says_at_once_that_a_caller_has_left(
    gateway: Gateway, shared_nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.http.caller_watch.WATCH_AFTER", 3600)
    async with RawPeer.connect(shared_nats.url, "greet.*") as peer:
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        request = b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nX-Request-Timeout: 30s\r\n\r\n"
        writer.write(request)
        peer.write(b"PUB %b 2\r\nhi\r\n" % (await peer.next()).reply)
        assert (await reader.readuntil(b'"hi"}')).startswith(b"HTTP/1.1 200 ")
        (connection,) = gateway.server.server_state.connections
        assert connection.side is None or connection.side.give_up is None  # type: ignore[union-attr] # keeps no reply
        writer.write(request)
        await peer.next()
        writer.close()
        await eventually(lambda: gateway.link.in_flight == 0, 2)


@pytest.mark.parametrize("hard", [True, False])
async def test_a_caller_that_goes_away_behind_a_second_request_leaves_no_entry(
    gateway: Gateway, shared_nats: NatsServer, hard: bool
) -> None:
    """Nothing is read then until the first one is answered, and that takes 30 s."""
    request = b"GET /greet/%d HTTP/1.1\r\nHost: t\r\nX-Request-Timeout: 30s\r\n\r\n"
    async with RawPeer.connect(shared_nats.url, "greet.*") as peer:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(request % 1 + request % 2)
        await peer.next()
        if hard:
            writer.transport.abort()
        else:
            writer.close()
        await eventually(lambda: gateway.link.in_flight == 0, 4)
        with pytest.raises(TimeoutError):
            await peer.next(0.2)


async def test_a_caller_that_breaks_off_its_body_sends_nothing(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url, routes=[ECHO]) as gateway, RawPeer.connect(shared_nats.url, ">") as peer:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 10\r\n\r\n12345")
        await asyncio.sleep(0.1)
        writer.close()
        with pytest.raises(TimeoutError):
            await peer.next(0.3)


async def test_expect_100_continue_and_http_1_0_work(shared_nats: NatsServer) -> None:
    async def echo(msg: Msg) -> None:
        await msg.respond(msg.data)

    async with run_gateway(shared_nats.url, routes=[ECHO]) as gateway, responder(shared_nats.url, "echo", echo):
        answer = await gateway.send_raw(
            b"POST /echo HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
            b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
        )
        assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
        assert (await gateway.send_raw(b"POST /echo HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi")).endswith(b"\r\n\r\nhi")


async def test_no_part_of_a_response_waits_for_an_acknowledgement(gateway: Gateway) -> None:
    assert (await gateway.get("/livez")).status_code == 200
    (connection,) = gateway.server.server_state.connections
    accepted = connection.transport.get_extra_info("socket")
    assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_pipelined_requests_are_answered_in_order(gateway: Gateway, shared_nats: NatsServer) -> None:
    async with RawPeer.connect(shared_nats.url, "greet.*") as peer:
        requests = (
            b"GET /greet/a HTTP/1.1\r\nHost: t\r\n\r\nGET /greet/b HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"
        )
        waiting = asyncio.create_task(gateway.send_raw(requests))
        for _ in range(2):
            message = await peer.next()
            peer.write(b"PUB %b 1\r\n%b\r\n" % (message.reply, message.subject[-1:].encode()))
        answer = await waiting
    assert answer.index(b'{"message":"a"}') < answer.index(b'{"message":"b"}')


async def test_health_tells_live_from_ready_and_nothing_else(
    own_nats: NatsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    own_nats.stop()
    async with run_gateway(own_nats.url, wait=False) as gateway:
        for _ in range(2):  # before the first attempt to connect, and after it
            assert (await gateway.get("/livez")).json() == {"status": "live"}
            for path in ("/readyz", "/healthz"):
                response = await gateway.get(path)
                assert response.status_code == 503
                assert response.json() == {"status": "not ready", "reason": "not connected to NATS"}
            await eventually(lambda: gateway.link.reason != "connecting to NATS")
        own_nats.start()
        await gateway.wait_until_ready()
        for path in ("/readyz", "/healthz"):
            assert (await gateway.get(path)).json() == {"status": "ready"}
        await gateway.link.close()
        for path in ("/readyz", "/healthz"):
            assert (await gateway.get(path)).json() == {"status": "not ready", "reason": "shutting down"}
    log = "".join(capfd.readouterr())
    address = own_nats.url.removeprefix("nats://")
    assert f"{address}: connection refused" in log


async def test_health_tells_details_where_the_setting_says_so(own_nats: NatsServer) -> None:
    own_nats.stop()
    async with run_gateway(own_nats.url, wait=False, health_details=True) as gateway:
        await eventually(lambda: gateway.link.reason != "connecting to NATS")
        assert (await gateway.get("/livez")).json() == {"status": "live"}
        for path in ("/readyz", "/healthz"):
            response = await gateway.get(path)
            assert response.status_code == 503
            assert response.json()["status"] == "not ready"
            assert response.json()["reason"].endswith(": connection refused")
        own_nats.start()
        await gateway.wait_until_ready()
        assert (await gateway.get("/readyz")).json() == {"status": "ready"}
        healthz = (await gateway.get("/healthz")).json()
        assert (healthz["status"], healthz["in_flight"], healthz["routes"]) == ("ready", 0, 1)
        assert healthz["version"] == __version__
        assert healthz["nats_server"] == own_nats.url.removeprefix("nats://")


async def test_failures_are_logged_and_successes_only_where_asked_for(
    shared_nats: NatsServer, capfd: pytest.CaptureFixture[str]
) -> None:
    async with responder(shared_nats.url, "greet.sue", replying(b"hi")):
        for access_log in (False, True):
            async with run_gateway(shared_nats.url, access_log=access_log) as gateway:
                await gateway.get("/greet/sue", x_request_id=f"good-{access_log}")
                await gateway.get("/greet/nobody", x_request_id=f"bad-{access_log}")
    out, err = capfd.readouterr()
    assert "bad-False" in out + err
    assert "good-False" not in out + err
    assert "good-True" in out + err
    assert "no-responders" in out + err


async def test_openapi_is_served_as_the_application_tells_it(gateway: Gateway) -> None:
    served = (await gateway.get("/openapi.json")).json()
    assert served == json.loads(json.dumps(gateway.app.openapi()))
    assert served["openapi"] == "3.1.0"
    assert list(served["paths"]) == ["/greet/{name}"]


async def test_the_application_works_in_process_with_its_lifespan_entered(shared_nats: NatsServer) -> None:
    parts = build_gateway(Settings(nats_url=(shared_nats.url,)))
    app = parts.app
    transport = httpx.ASGITransport(app)
    async with (
        responder(shared_nats.url, "greet.*", replying(b"hello, you")),
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        await eventually(lambda: parts.link.reason is None)
        assert (await client.get("/greet/José")).json() == {"message": "hello, you"}
        assert (await client.get("/greet/a.b")).status_code == 422
        assert "/greet/{name}" in app.openapi()["paths"]
    assert parts.link.in_flight == 0


@pytest.mark.parametrize("root", ["/api", "/größe 1"])
async def test_a_root_path_in_front_is_taken_off(shared_nats: NatsServer, root: str) -> None:
    parts = build_gateway(Settings(nats_url=(shared_nats.url,)))
    app = parts.app
    transport = httpx.ASGITransport(app, root_path=root)
    async with (
        responder(shared_nats.url, "greet.*", replying(b"hi")),
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://gateway") as client,
    ):
        await eventually(lambda: parts.link.reason is None)
        assert (await client.get(f"{root}/greet/sue")).json() == {"message": "hi"}
        assert (await client.get(f"{root}/")).headers["location"] == f"{quote(root)}/status"
        assert f"{quote(root)}/openapi.json" in (await client.get(f"{root}/docs")).text
        assert (await client.get(f"{root}/nothing")).status_code == 404


async def test_the_lifespan_can_be_entered_again(own_nats: NatsServer) -> None:
    parts = build_gateway(Settings(nats_url=(own_nats.url,)))
    app = parts.app
    for _ in range(2):
        async with app.router.lifespan_context(app):
            await eventually(lambda: parts.link.reason is None)
        assert parts.link.reason == "shutting down"


async def test_options_of_the_server_as_a_whole_tells_every_method(gateway: Gateway) -> None:
    request = b"%b * HTTP/1.1\r\nHost: t\r\nX-Request-Id: mine\r\nConnection: close\r\n\r\n"
    head, _, body = (await gateway.send_raw(request % b"OPTIONS")).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 204 ")
    assert b"\r\nallow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\nx-request-id: mine\r\n" in head
    assert body == b""
    for other in (b"GET", b"POST"):  # RFC 9112 §3.2.4: only of OPTIONS
        assert (await gateway.send_raw(request % other)).startswith(b"HTTP/1.1 404 ")


async def test_a_route_to_an_asterisk_is_a_path_and_not_the_server(shared_nats: NatsServer) -> None:
    route = Route(name="star", methods=("POST",), path="/a*", subject="star")
    async with run_gateway(shared_nats.url, routes=[route]) as gateway:
        answer = await gateway.client.options("/a*")
        assert (answer.status_code, answer.headers["allow"]) == (204, "POST, OPTIONS")
        assert (await gateway.client.options("/*")).status_code == 404
        assert (await gateway.client.options("/")).status_code == 405
