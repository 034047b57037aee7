"""Traces of a real gateway process, as a collector gets them."""

import asyncio
import contextlib
import json
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from nats.aio.msg import Msg

from app import __version__
from app.edge.policy import AsyncCheck
from app.observe.otel import MAX_ANSWER, _make_session
from app.routefile.load import load_route_file
from app.routing.routes import Route
from tests.harness import NO_TLS, PATIENCE, NatsServer, clean_environment, eventually, responder, run_gateway
from tests.observe.collector import CLIENT, CONSUMER, ERROR, SERVER, UNSET, Collector, run_collector
from tests.process.programs import PROGRAM, Process, call, finish, run, wait_until_ready

ROUTES = Path(__file__).with_name("routes.yaml")
SERVE = [*PROGRAM, "serve", "--port", "0"]
ADDRESS = r'"address":"(http://[^"]+)"'
TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-(0[0-3])")
CALLER = "b7ad6b7169203331"


def traced(url: str, **more: str) -> dict[str, str]:
    """Variables with which spans soon come to this collector."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_BSP_SCHEDULE_DELAY": "20", **more}


@dataclass(frozen=True, slots=True)
class Stage:
    """A gateway with traces, the example responder greet with them as well, and their collector."""

    url: str
    nats: str
    collector: Collector

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.request("GET", path, None, **headers)

    async def request(self, method: str, path: str, content: bytes | None = None, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client:
            return await client.request(method, path, content=content, headers=headers)


@pytest.fixture(scope="module", params=["fast", "asgi"])
def stage(
    request: pytest.FixtureRequest, shared_nats: NatsServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    folder = tmp_path_factory.mktemp("traces")
    with run_collector() as collector:
        variables = {**traced(collector.url), "NATS_URL": shared_nats.url, "GATEWAY_ROUTES": str(ROUTES)}
        greeter = [sys.executable, "-m", "responders.greet"]
        with (
            run(greeter, folder / "greet.log", **variables) as greet,
            run([*SERVE, "--lane", request.param], folder / "gateway.log", **variables) as gateway,
        ):
            url = gateway.find(ADDRESS)
            wait_until_ready(url)
            greet.find("(connected)")
            yield Stage(url, shared_nats.url, collector)


def make_parent(flags: str = "01") -> tuple[str, str]:
    """The id of a new trace, and the traceparent of its caller."""
    trace_id = secrets.token_hex(16)
    return trace_id, f"00-{trace_id}-{CALLER}-{flags}"


@asynccontextmanager
async def listening(url: str, subject: str, reply: bytes = b"{}") -> AsyncIterator[list[dict[str, str]]]:
    """The headers of what comes to a subject, where all of it is answered."""
    seen: list[dict[str, str]] = []

    async def answer(msg: Msg) -> None:
        seen.append(dict(msg.headers or {}))
        await msg.respond(reply)

    async with responder(url, subject, answer):
        yield seen


# One request


async def test_a_request_is_one_trace_from_its_caller_to_the_service(stage: Stage) -> None:
    trace_id, parent = make_parent()
    before = time.time_ns()
    response = await stage.get(
        "/greet/sue?token=s3cret", traceparent=parent, tracestate="a=1,b=2", authorization="Bearer s3cret"
    )
    assert response.json() == {"message": "hello, sue"}
    server, client, service = await stage.collector.wait(trace_id, 3)
    after = time.time_ns()  # a caller can have its answer before the gateway looks at the clock
    assert [span.kind for span in (server, client, service)] == [SERVER, CLIENT, CONSUMER]
    assert [span.parent_id for span in (server, client, service)] == [CALLER, server.span_id, client.span_id]
    assert [span.state for span in (server, client, service)] == ["a=1,b=2"] * 3
    names = [server.name, client.name, service.name]
    assert names == ["GET /greet/{name}", "request greet.{name}", "process greet.*"]
    assert before <= server.start <= client.start <= service.start <= service.end <= client.end <= server.end <= after
    assert [span.status for span in (server, client, service)] == [UNSET] * 3
    assert not [span for span in (server, client, service) if "s3cret" in str(span)]


async def test_spans_have_the_attributes_of_the_semantic_conventions(stage: Stage) -> None:
    trace_id, parent = make_parent()
    await stage.get("/greet/sue?q=1", traceparent=parent, **{"x-request-id": "r-1"})
    server, client, service = await stage.collector.wait(trace_id, 3)
    assert server.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "http.route": "/greet/{name}",
        "url.scheme": "http",
        "url.path": "/greet/sue",
        "network.protocol.version": "1.1",
        "client.address": "127.0.0.1",
        "nats_http.request_id": "r-1",
    }
    assert client.attributes == {
        "messaging.system": "nats",
        "messaging.operation.name": "request",
        "messaging.operation.type": "send",
        "messaging.destination.name": "greet.sue",
        "messaging.destination.template": "greet.{name}",
        "server.address": "127.0.0.1",
        "server.port": int(stage.nats.rpartition(":")[2]),
    }
    assert service.attributes == {
        "messaging.system": "nats",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "greet.sue",
        "messaging.destination.template": "greet.*",
        "messaging.consumer.group.name": "greet",
    }
    assert [span.resource["service.name"] for span in (server, service)] == ["nats-http-gateway", "greet"]
    assert server.resource["service.version"] == __version__


async def test_a_trace_begins_here_where_the_caller_has_none(stage: Stage) -> None:
    async with listening(stage.nats, "bare.sue") as seen:
        await stage.get("/bare/sue", tracestate="a=1")
    assert list(seen[0]) == ["traceparent"]
    found = TRACEPARENT.fullmatch(seen[0]["traceparent"])
    assert found
    server, client = await stage.collector.wait(found[1], 2)
    assert (server.parent_id, client.span_id, found[3]) == ("", found[2], "01")


async def test_the_service_gets_the_context_of_the_client_span_in_the_place_of_the_callers(stage: Stage) -> None:
    for path, names in (("/bare/a", ["traceparent", "tracestate"]), ("/renamed", ["Traceparent", "State"])):
        trace_id, parent = make_parent()
        async with listening(stage.nats, path[1:].replace("/", ".")) as seen:
            await stage.get(path, traceparent=parent, tracestate="a=1")
        _, client = await stage.collector.wait(trace_id, 2)
        assert seen == [dict(zip(names, [f"00-{trace_id}-{client.span_id}-01", "a=1"], strict=True))]


async def test_a_trace_that_is_not_sampled_is_passed_on_and_has_no_spans(stage: Stage) -> None:
    trace_id, parent = make_parent("00")
    async with listening(stage.nats, "bare.sue") as seen:
        await stage.get("/bare/sue", traceparent=parent, tracestate="a=1")
    assert seen == [{"traceparent": f"00-{trace_id}-{CALLER}-00", "tracestate": "a=1"}]
    await stage.get("/greet/sue", traceparent=parent)
    later, parent = make_parent()
    await stage.get("/greet/sue", traceparent=parent)
    await stage.collector.wait(later, 3)  # spans come in their order
    assert stage.collector.find(trace_id) == []


async def test_a_body_is_no_part_of_the_time_at_nats(stage: Stage) -> None:
    trace_id, parent = make_parent()

    async def body() -> AsyncIterator[bytes]:
        yield b"12"
        await asyncio.sleep(0.1)
        yield b"34"

    async with (
        listening(stage.nats, "upload"),
        httpx.AsyncClient(base_url=stage.url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client,
    ):
        headers = {"traceparent": parent, "content-type": "application/octet-stream"}
        assert (await client.post("/upload", content=body(), headers=headers)).status_code == 200
    server, sent = await stage.collector.wait(trace_id, 2)
    assert sent.start - server.start > 50e6


async def test_a_request_whose_policy_waits_is_one_trace_as_well(
    shared_nats: NatsServer, gateway_variables: Callable[..., None]
) -> None:
    """It goes from the fast lane to the other."""

    class Waiting:
        fields: frozenset[bytes] = frozenset()
        errors = ()

        def check(self, *_: object) -> AsyncCheck:
            return lambda: asyncio.sleep(0)

    route = Route(name="held", methods=("GET",), path="/held", subject="held", policies=(Waiting(),))
    with run_collector() as collector:
        gateway_variables(collector.url)
        async with (
            listening(shared_nats.url, "held") as seen,
            run_gateway(shared_nats.url, routes=[route]) as gateway,
        ):
            assert (await gateway.get("/held")).status_code == 200
    server, client = sorted(collector.spans, key=lambda span: span.kind)
    assert client.parent_id == server.span_id
    assert seen == [
        {"traceparent": f"00-{server.trace_id}-{client.span_id}-01", "x-request-id": seen[0]["x-request-id"]}
    ]


async def test_attributes_are_as_long_and_as_many_as_the_environment_allows(
    shared_nats: NatsServer, gateway_variables: Callable[..., None]
) -> None:
    route = Route(name="held", methods=("GET",), path="/held", subject="held")
    with run_collector() as collector:
        gateway_variables(
            collector.url, OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT="2", OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT="3"
        )
        async with listening(shared_nats.url, "held"), run_gateway(shared_nats.url, routes=[route]) as gateway:
            assert (await gateway.get("/held")).status_code == 200
    for span in collector.spans:
        assert len(span.attributes) == 3
        assert {len(value) for value in span.attributes.values() if isinstance(value, str)} == {2}
    assert len(collector.spans) == 2


# Failures


@dataclass(frozen=True, slots=True)
class Failure:
    method: str
    path: str
    status: int
    slug: str | None
    name: str
    """Of the server span."""
    is_sent: bool = False
    content: bytes | None = None


FAILURES = (
    Failure("GET", "/nobody", 503, "no-responders", "GET /nobody", is_sent=True),
    Failure("GET", "/slow", 504, "timeout", "GET /slow", is_sent=True),
    Failure("GET", "/broken", 500, "service-error", "GET /broken", is_sent=True),
    Failure("GET", "/inside", 403, "forbidden", "GET /inside"),
    Failure("POST", "/upload", 413, "payload-too-large", "POST /upload", content=b"x" * 11),
    Failure("GET", "/nowhere", 404, "not-found", "GET"),
    Failure("PURGE", "/nowhere", 404, "not-found", "HTTP"),
    Failure("DELETE", "/nobody", 405, "method-not-allowed", "DELETE"),
    Failure("GET", "/livez", 200, None, "GET"),
)


@pytest.mark.parametrize("failure", FAILURES, ids=lambda failure: f"{failure.method} {failure.path}")
async def test_a_span_says_how_its_request_failed(stage: Stage, failure: Failure) -> None:
    trace_id, parent = make_parent()

    async def answer(msg: Msg) -> None:
        if msg.subject == "broken":
            headers = {"Nats-Service-Error": "s3cret", "Nats-Service-Error-Code": "500"}
            await msg._client.publish(msg.reply, headers=headers)

    async with responder(stage.nats, "slow", answer), responder(stage.nats, "broken", answer):
        headers = {"traceparent": parent, "content-type": "application/octet-stream"}
        response = await stage.request(failure.method, failure.path, failure.content, **headers)
    assert response.status_code == failure.status
    server, *sent = await stage.collector.wait(trace_id, 1 + failure.is_sent)
    assert server.name == failure.name
    assert server.attributes["http.response.status_code"] == failure.status
    assert server.status == (ERROR if failure.status >= 500 else UNSET)
    assert server.attributes.get("error.type") == failure.slug
    assert [(span.status, span.attributes["error.type"]) for span in sent] == [(ERROR, failure.slug)] * len(sent)
    assert "s3cret" not in str((server, sent))


async def test_a_method_that_anybody_made_up_is_no_name(stage: Stage) -> None:
    trace_id, parent = make_parent()
    await stage.request("PURGE", "/nowhere", traceparent=parent)
    (server,) = await stage.collector.wait(trace_id, 1)
    attributes = server.attributes
    assert (attributes["http.request.method"], attributes["http.request.method_original"]) == ("_OTHER", "PURGE")


async def test_a_caller_who_leaves_ends_its_spans(stage: Stage) -> None:
    trace_id, parent = make_parent()
    came = asyncio.Event()

    async def keep(_: Msg) -> None:
        came.set()

    async with responder(stage.nats, "bare.sue", keep):
        _, writer = await asyncio.open_connection("127.0.0.1", int(stage.url.rpartition(":")[2]))
        writer.write(f"GET /bare/sue HTTP/1.1\r\nHost: t\r\nTraceparent: {parent}\r\n\r\n".encode())
        await came.wait()
        writer.close()
        server, client = await stage.collector.wait(trace_id, 2)
    assert server.attributes["http.response.status_code"] == 499
    assert server.attributes["error.type"] == client.attributes["error.type"] == "caller-gone"
    assert (server.status, client.status) == (UNSET, UNSET)


# Sampling


@pytest.fixture
def gateway_variables(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets variables for a gateway in this process."""

    def set_all(url: str, **more: str) -> None:
        for name, value in traced(url, **more).items():
            monkeypatch.setenv(name, value)

    return set_all


SAMPLED_BY = [
    ("parentbased_traceidratio", "0", None, "00"),
    ("parentbased_traceidratio", "0", "01", "01"),
    ("parentbased_traceidratio", "1", "00", "00"),
    ("parentbased_always_off", "", None, "00"),
    ("traceidratio", "0", "01", "00"),
    ("traceidratio", "1", "00", "01"),
    ("always_off", "", "01", "00"),
    ("always_on", "", "00", "01"),
    ("parentbased_always_on", "", "02", "02"),
    ("parentbased_always_on", "", "03", "03"),
]


@pytest.mark.parametrize(("sampler", "ratio", "asked", "told"), SAMPLED_BY)
async def test_the_sampler_decides(
    shared_nats: NatsServer,
    gateway_variables: Callable[..., None],
    sampler: str,
    ratio: str,
    asked: str | None,
    told: str,
) -> None:
    with run_collector() as collector:
        gateway_variables(collector.url, OTEL_TRACES_SAMPLER=sampler, OTEL_TRACES_SAMPLER_ARG=ratio)
        async with (
            listening(shared_nats.url, "bare.sue") as seen,
            run_gateway(shared_nats.url, routes=load_route_file(ROUTES)) as gateway,
        ):
            await gateway.get("/bare/sue", **({"traceparent": make_parent(asked)[1]} if asked else {}))
    found = TRACEPARENT.fullmatch(seen[0]["traceparent"])
    assert found
    assert found[3] == told
    assert len(collector.spans) == (2 if int(told) & 1 else 0)  # the end of the gateway has sent them all


async def test_a_ratio_is_of_the_traces_that_begin_here(
    shared_nats: NatsServer, gateway_variables: Callable[..., None]
) -> None:
    with run_collector() as collector:
        gateway_variables(collector.url, OTEL_TRACES_SAMPLER="parentbased_traceidratio", OTEL_TRACES_SAMPLER_ARG="0.5")
        async with (
            listening(shared_nats.url, "bare.sue") as seen,
            run_gateway(shared_nats.url, routes=load_route_file(ROUTES)) as gateway,
        ):
            for _ in range(40):
                await gateway.get("/bare/sue")
    sampled = {headers["traceparent"][3:35] for headers in seen if headers["traceparent"].endswith("-01")}
    assert 2 <= len(sampled) <= 38
    assert {span.trace_id for span in collector.spans} == sampled
    assert len(collector.spans) == 2 * len(sampled)


async def test_a_span_has_the_server_of_the_cluster_that_its_route_uses(
    shared_nats: NatsServer, own_nats: NatsServer, gateway_variables: Callable[..., None], tmp_path: Path
) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(ROUTES.read_text().replace('subject: "bare.{name}"', 'subject: "bare.{name}", nats: factory'))
    routes, clusters = load_route_file(path, clusters=["factory"]), {"factory": {"nats_url": (own_nats.url,)}}
    with run_collector() as collector:
        gateway_variables(collector.url)
        async with (
            listening(own_nats.url, "bare.sue"),
            run_gateway(shared_nats.url, routes=routes, clusters=clusters) as gateway,
        ):
            await eventually(lambda: gateway.parts.clusters["factory"].link.reason is None)
            assert (await gateway.get("/bare/sue")).status_code == 200
    (client,) = (span for span in collector.spans if span.kind == CLIENT)
    assert client.attributes["server.port"] == int(own_nats.url.rpartition(":")[2])


# Collectors that don't collect


@pytest.mark.parametrize("trouble", ["nobody listens", "it hangs"])
@pytest.mark.soak
async def test_a_collector_that_does_not_answer_disturbs_nobody(
    tmp_path: Path, shared_nats: NatsServer, trouble: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        if trouble == "nobody listens":
            listener.close()
        few = {"OTEL_BSP_MAX_QUEUE_SIZE": "4", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "2"}
        variables = {**traced(url, **few), "NATS_URL": shared_nats.url, "GATEWAY_ROUTES": str(ROUTES)}
        with run(SERVE, tmp_path / "log", **variables) as gateway:
            address = gateway.find(ADDRESS)
            wait_until_ready(address)
            async with (
                listening(shared_nats.url, "bare.sue"),
                httpx.AsyncClient(base_url=address, verify=NO_TLS, timeout=PATIENCE) as client,
            ):
                slowest = 0.0
                for _ in range(100):
                    begun = time.monotonic()
                    assert (await client.get("/bare/sue")).status_code == 200
                    slowest = max(slowest, time.monotonic() - begun)
            assert slowest < 1, "a request has waited for the collector"
            await eventually(lambda: '"event":"traces"' in gateway.log)
            begun = time.monotonic()
            assert gateway.stop() == 0
            assert time.monotonic() - begun < 8  # by itself the SDK waits for 10 s, or for 30
        assert sorted(read_events(gateway)) == ["connected", "listening", "stopped", "traces"]


def read_events(process: Process) -> list[str]:
    return [json.loads(line)["event"] for line in process.log.splitlines()]


# Off


def test_without_traces_nothing_of_the_sdk_is_imported(shared_nats: NatsServer) -> None:
    script = """
import asyncio, os, sys
from tests.harness import run_gateway
async def main():
    async with run_gateway(sys.argv[1]) as gateway:
        for path in ("/greet/sue", "/livez"):
            await gateway.get(path)
        print(*(await gateway.get("/docs")).history)
asyncio.run(main())
os.environ.update(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318", OTEL_TRACES_EXPORTER="none")
asyncio.run(main())
print([name for name in sys.modules if name.startswith("opentelemetry.sdk") or name == "app.observe.otel"])
"""
    command = [sys.executable, "-c", script, shared_nats.url]
    done = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["[]"], done.stderr


# What can't be


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_without_the_extra_the_start_says_how_to_install_it(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk", None)
    done = call(command, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:4318")
    line = "traces need libraries that are not installed: pip install 'nats-http-gateway[otel]'"
    assert (done.returncode, done.stderr) == (1, f"nats-http: OTEL_EXPORTER_OTLP_ENDPOINT: {line}\n")


def test_the_start_names_every_variable_that_is_wrong() -> None:
    done = call("serve", OTEL_TRACES_EXPORTER="otlp", OTEL_EXPORTER_OTLP_PROTOCOL="grpc", OTEL_TRACES_SAMPLER="some")
    assert done.returncode == 1
    assert [line.split()[1] for line in done.stderr.splitlines()] == [
        "OTEL_TRACES_SAMPLER",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
    ]


def test_what_only_the_sdk_refuses_is_a_line_as_well(shared_nats: NatsServer) -> None:
    variables = {"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"}
    done = finish(SERVE, NATS_URL=shared_nats.url, **variables)
    assert done.returncode == 1
    assert "nats-http: OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    """It would take all memory. The collector writes until the gateway hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        written = [0]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(ConnectionError):
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                while written[0] < 100 * MAX_ANSWER:
                    connection.sendall(b"x" * MAX_ANSWER)
                    written[0] += MAX_ANSWER

        thread = threading.Thread(target=answer)
        thread.start()
        response = _make_session().post(f"http://127.0.0.1:{listener.getsockname()[1]}/v1/traces", data=b"spans")
        thread.join(20)
    assert (response.status_code, len(response.content)) == (200, MAX_ANSWER)
    assert written[0] < 100 * MAX_ANSWER
