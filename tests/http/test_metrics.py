"""`/metrics` of a real gateway, over both lanes."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.exchange.responses import Fields, Response
from app.http.server import serving_beside
from app.http.sockets import bind
from app.prepared import prepare
from app.routefile.load import Info, RouteFile
from app.routing.routes import Route
from app.routing.table import RouteTable
from tests.harness import (
    NO_TLS,
    PATIENCE,
    Gateway,
    NatsServer,
    eventually,
    replying,
    reserve_port,
    responder,
    run_gateway,
)

ROUTES = [
    Route(name="read", methods=("GET",), path="/read/{id}", subject="met.read.{id}"),
    Route(name="nobody", methods=("GET",), path="/nobody", subject="met.nobody"),
]


def parse(text: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name.removeprefix("nats_http_"), *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def read(gateway: Gateway) -> dict[tuple[str, ...], float]:
    return parse((await gateway.get("/metrics")).text)


@pytest.fixture
async def gateway(shared_nats: NatsServer) -> AsyncIterator[Gateway]:
    async with (
        responder(shared_nats.url, "met.read.*", replying(b"12345")),
        run_gateway(shared_nats.url, routes=ROUTES) as gateway,
    ):
        yield gateway


async def test_each_response_is_counted_by_route_method_and_status(gateway: Gateway) -> None:
    for path in ("/read/secret-1?token=secret-2", "/read/2", "/read/a.b", "/nobody", "/secret-3"):
        await gateway.get(path, cookie="secret=secret-4")
    await gateway.client.head("/read/1")
    await gateway.client.request("SECRET-METHOD", "/read/1")
    await gateway.send_raw(b"no HTTP\r\n\r\n")
    text = (await gateway.get("/metrics")).text
    found = parse(text)
    assert {key[1:]: value for key, value in found.items() if key[0] == "requests_total"} == {
        ("200", "GET", "read"): 2,
        ("422", "GET", "read"): 1,
        ("200", "HEAD", "read"): 1,
        ("503", "GET", "nobody"): 1,
        ("404", "GET", ""): 1,
        ("400", "_OTHER", ""): 2,
    }
    assert {key[1:]: value for key, value in found.items() if key[0] == "problems_total"} == {
        ("no", "", "bad-request"): 2,
        ("no", "", "not-found"): 1,
        ("no", "nobody", "no-responders"): 1,
        ("no", "read", "invalid-parameter"): 1,
    }
    assert found["response_size_bytes_sum", "read"] > 10
    assert "secret" not in text.lower()


async def test_it_tells_of_nats_and_of_the_process(gateway: Gateway) -> None:
    await eventually(lambda: gateway.link.round_trip is not None)
    found = await read(gateway)
    assert found["nats_connected",] == 1
    assert 0 < found["nats_round_trip_seconds",] < 10
    assert found["nats_reconnects_total",] == 0
    assert found["routes",] == 2
    assert found["requests_in_flight_limit",] == 4096
    assert found["config_last_reload_successful",] == 1
    assert found["process_cpu_seconds_total",] > 0
    assert found["process_resident_memory_bytes",] > 1_000_000
    assert found["workers",] == 1
    assert [key for key in found if key[0] == "build_info"]


async def test_a_lost_server_and_its_return_are_counted(own_nats: NatsServer) -> None:
    async with run_gateway(own_nats.url, routes=ROUTES) as gateway:
        own_nats.kill()
        await eventually(lambda: gateway.link.server is None)
        found = await read(gateway)
        assert (found["nats_connected",], ("nats_round_trip_seconds",) in found) == (0, False)
        own_nats.start()
        await gateway.wait_until_ready()
        found = await read(gateway)
        assert (found["nats_connected",], found["nats_reconnects_total",]) == (1, 1)


async def test_the_caller_who_leaves_is_counted_as_499(shared_nats: NatsServer) -> None:
    slow = Route(name="slow", methods=("GET",), path="/slow", subject="met.slow")

    async def never(_: object) -> None:
        pass

    async with responder(shared_nats.url, "met.slow", never), run_gateway(shared_nats.url, routes=[slow]) as gateway:
        _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(b"GET /slow HTTP/1.1\r\nHost: t\r\n\r\n")
        await eventually(lambda: gateway.link.in_flight == 1)
        assert (await read(gateway))["requests_in_flight",] == 1
        writer.close()
        await eventually(lambda: gateway.link.in_flight == 0)
        found = await read(gateway)
        assert found["requests_total", "499", "GET", "slow"] == 1
        assert found["problems_total", "unknown", "slow", "caller-gone"] == 1


async def test_a_reload_takes_no_counter_back(gateway: Gateway) -> None:
    await gateway.get("/read/1")
    await gateway.parts.serving.swap(prepare(RouteFile(RouteTable(ROUTES[1:]), Info(), ())))
    found = await read(gateway)
    assert (found["requests_total", "200", "GET", "read"], found["routes",]) == (1, 1)


@pytest.mark.parametrize("setting", ["metrics_address", "status"])
async def test_at_an_address_of_their_own_metrics_are_only_there(shared_nats: NatsServer, setting: str) -> None:
    with reserve_port() as port:
        address = ("127.0.0.1", port)
        settings: dict[str, Any] = {setting: address}
        async with run_gateway(shared_nats.url, routes=ROUTES, **settings) as gateway:
            beside = [(gateway.parts.make_server_beside(address), bind(*address))]
            async with (
                serving_beside(beside),
                httpx.AsyncClient(
                    base_url=f"http://127.0.0.1:{port}", trust_env=False, verify=NO_TLS, timeout=PATIENCE
                ) as other,
            ):
                await eventually(lambda: beside[0][0].started)
                assert (await gateway.get("/metrics")).status_code == 404
                assert (await other.get("/metrics")).status_code == 200
                assert (await other.get("/nobody")).status_code == 404, "routes are not there"


async def test_off_takes_metrics_away(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url, routes=ROUTES, metrics_address=False, status=False) as gateway:
        assert (await gateway.get("/metrics")).status_code == 404
        assert not gateway.parts.relay.way_out.sees_all


@pytest.mark.parametrize(
    "accept",
    [
        "text/plain;version=x",
        "application/openmetrics-text;version=abc",
        "text/plain;version=1.0.0=3",
        "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5",
        ", ;;,",
    ],
)
async def test_whatever_a_caller_accepts_it_gets_all_metrics(gateway: Gateway, accept: str) -> None:
    response = await gateway.get("/metrics", accept=accept)
    assert response.status_code == 200
    assert "nats_http_build_info" in response.text
    assert response.text.endswith("# EOF\n") == ("openmetrics" in accept)


async def test_a_text_that_is_larger_than_all_buffers_arrives_whole(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url, routes=ROUTES, max_buffered=1024 * 1024) as gateway:
        counts = gateway.parts.monitor.counts
        assert counts is not None
        for number in range(1500):
            counts.add(Response(200, Fields(()), b"", route=f"route-{number}"), "GET", 0.001, 0, 0)
        response = await gateway.get("/metrics")
        assert len(response.content) > 2 * 1024 * 1024
        assert "route-1499" in response.text
        assert "process_cpu_seconds_total" in response.text


async def test_a_report_that_breaks_is_logged_and_goes_on(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.pages.monitor.BROKEN_PAUSE", 0.01)
    gauges, reports = gateway.parts.monitor.gauges, [0.0]

    def break_at_first() -> float:
        reports[0] += 1
        if reports[0] == 1:
            raise RuntimeError("a bug")
        return reports[0]

    gauges["routes"] = break_at_first
    await eventually(lambda: reports[0] > 2)
    assert "monitor-broken" in capsys.readouterr().out
    assert (await read(gateway))["routes",] > 2
