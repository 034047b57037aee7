"""Routes of services that describe themselves: they come and go with the services, in the real program."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from nats.aio.msg import Msg
from nats.micro import add_service
from nats.micro.request import Request
from nats.micro.service import EndpointConfig, Service, ServiceConfig

from app.commands.discoverer import NICENESS
from app.commands.discovery import BURST, EVERY
from app.commands.remarks import LINES, WINDOW
from tests.harness import NO_TLS, PATIENCE, NatsServer, connect, eventually, replying, responder
from tests.process.programs import PROGRAM, Process, find_children, is_alive, run, wait_until_ready
from tests.process.test_reload import ADDRESS, get_statuses, hang_up, read_events, wait_for_status


async def answer(request: Request) -> None:
    await request.respond(json.dumps({"subject": request.subject}).encode())


@contextlib.asynccontextmanager
async def serving(
    url: str, name: str = "orders", version: str = "1.0.0", path: str = "/orders/{id}", **metadata: str
) -> AsyncIterator[Service]:
    """A service with one endpoint, `GET /orders/{id}`."""
    async with connect(url) as client:
        service = await add_service(client, ServiceConfig(name=name, version=version, description="Takes orders."))
        about = {"http.method": "GET", "http.path": path, **metadata}
        await service.add_endpoint(EndpointConfig(name="get", handler=answer, subject=f"{name}.*.get", metadata=about))
        try:
            yield service
        finally:
            await service.stop()


def write_routes(path: Path, discover: str = "{services: [orders], forget_after: 2s}", more: str = "") -> Path:
    mine = "  - {name: mine, method: GET, path: '/mine/{id}', subject: 'mine.{id}'}\n"
    path.write_text(f"version: 1\ndiscover: {discover}\nroutes:\n{mine}{more}")
    return path


def serve(nats: NatsServer, tmp_path: Path, *options: str, **more: str) -> tuple[list[str], Path, dict[str, str]]:
    command = [*PROGRAM, "serve", "--port", "0", *options]
    return command, tmp_path / "log", {"NATS_URL": nats.url, **more}


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.soak), "2"])
async def test_routes_come_and_go_with_their_service(workers: str, own_nats: NatsServer, tmp_path: Path) -> None:
    routes = write_routes(tmp_path / "routes.yaml")
    command, log, environment = serve(own_nats, tmp_path, "--workers", workers, GATEWAY_ROUTES=str(routes))
    with run(command, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        assert await get_statuses(url, "/orders/7") == [404]
        async with serving(own_nats.url):
            await wait_for_all(url, "/orders/7", 200)
            async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS) as client:
                response = await client.get("/orders/7")
                assert response.json() == {"subject": "orders.7.get"}
                assert response.headers["content-type"] == "application/json"
                document = (await client.get("/openapi.json")).json()
                alone = (await client.get("/openapi.json?service=orders")).json()
                assert (await client.get("/openapi.json?service=pets")).status_code == 404
            assert (list(alone["paths"]), list(document["paths"])) == (["/orders/{id}"], ["/mine/{id}", "/orders/{id}"])
            assert document["paths"]["/orders/{id}"]["get"]["tags"] == ["orders"]
            assert document["tags"] == [{"name": "orders", "description": "Takes orders. (version 1.0.0)"}]
            hang_up(gateway)
            await eventually(lambda: len(read_events(gateway, "routes-loaded")) >= 2)
            assert await get_statuses(url, "/orders/7") == [200]
        assert await get_statuses(url, "/orders/7") == [503]
        await wait_for_all(url, "/orders/7", 404)
        assert gateway.stop() == 0
    assert "Traceback" not in gateway.log


async def wait_for_all(url: str, path: str, status: int) -> None:
    """Until this is the status in every worker: on many connections."""
    await wait_for_status(url, path, status)
    async with asyncio.timeout(PATIENCE):
        while {code for _ in range(20) for code in await get_statuses(url, path)} != {status}:
            await asyncio.sleep(0.05)


async def test_without_a_route_file_the_environment_names_the_services(own_nats: NatsServer, tmp_path: Path) -> None:
    command, log, environment = serve(own_nats, tmp_path, GATEWAY_DISCOVER="orders, pets")
    async with serving(own_nats.url, "pets", path="/pets/{id}"):
        with run(command, log, **environment) as gateway:
            url = gateway.find(ADDRESS)
            wait_until_ready(url)
            await wait_for_status(url, "/pets/7", 200)
            assert gateway.stop() == 0


async def test_a_name_that_no_service_has_is_said(own_nats: NatsServer, tmp_path: Path) -> None:
    command, log, environment = serve(own_nats, tmp_path, GATEWAY_DISCOVER="ordres, pets, zebras")
    async with serving(own_nats.url), serving(own_nats.url, "pets", path="/pets/{id}"):
        with run(command, log, **environment) as gateway:
            wait_until_ready(await asyncio.to_thread(gateway.find, ADDRESS))
            await eventually(lambda: len(read_events(gateway, "service-missing")) == 2)
            assert {event["service"]: event["reason"] for event in read_events(gateway, "service-missing")} == {
                "ordres": "no service named ordres answers, did you mean `orders`?",
                "zebras": "no service named zebras answers; others do: orders, pets",
            }
            assert gateway.stop() == 0


async def test_a_service_that_runs_has_its_routes_from_the_start(own_nats: NatsServer, tmp_path: Path) -> None:
    """The start waits three seconds for it. On a busy machine that can be too short, but not each time."""
    command, log, environment = serve(own_nats, tmp_path, GATEWAY_DISCOVER="orders")
    found: list[object] = []
    end = time.monotonic() + 2 * PATIENCE
    async with serving(own_nats.url):
        while 1 not in found:
            assert time.monotonic() < end, found
            log.unlink(missing_ok=True)
            with run(command, log, **environment) as gateway:
                await asyncio.to_thread(gateway.find, ADDRESS)  # meanwhile the service answers
                found.append(read_events(gateway, "listening")[0]["routes"])
                assert gateway.stop() == 0


async def test_a_catalogue_lists_services_and_their_routes(own_nats: NatsServer, tmp_path: Path) -> None:
    command, log, environment = serve(own_nats, tmp_path, GATEWAY_DISCOVER="orders", GATEWAY_SERVICES="on")
    async with serving(own_nats.url), serving(own_nats.url), serving(own_nats.url, "pets"):
        with run(command, log, **environment) as gateway:
            url = await asyncio.to_thread(gateway.find, ADDRESS)
            await wait_for_status(url, "/orders/7", 200)
            async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS) as client:
                found = (await client.get("/services")).json()
            assert (found["note"], found["cut"]) == (None, False)
            orders, pets = found["services"]
            assert (orders["name"], orders["instances"], orders["routes"]) == ("orders", 2, ["orders-get"])
            assert (pets["name"], pets["instances"], pets["routes"]) == ("pets", 1, [])
            (endpoint,) = orders["endpoints"]
            assert (endpoint["name"], endpoint["subject"]) == ("get", "orders.*.get")
            assert endpoint["requests"] == orders["requests"] >= 1
            assert endpoint["average"] > 0
            assert gateway.stop() == 0


def test_the_catalogue_and_a_route_can_not_have_one_path(own_nats: NatsServer, tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text("version: 1\nroutes: [{name: a, method: GET, path: '/services/{x}', subject: 'a.{x}'}]\n")
    command, log, environment = serve(own_nats, tmp_path, str(routes), GATEWAY_SERVICES="on")
    process = Process(command, log, **environment)
    assert process.process.wait(PATIENCE) == 1
    assert "route 'a': /services/{x} is taken by the page that GATEWAY_SERVICES asks for" in process.log


def test_a_route_file_says_itself_which_services(own_nats: NatsServer, tmp_path: Path) -> None:
    routes = write_routes(tmp_path / "routes.yaml")
    command, log, environment = serve(own_nats, tmp_path, str(routes), GATEWAY_DISCOVER="orders")
    process = Process(command, log, **environment)
    assert process.process.wait(PATIENCE) == 1
    assert "GATEWAY_DISCOVER is for a gateway without a route file" in process.log


async def test_routes_stay_while_nats_is_away(own_nats: NatsServer, tmp_path: Path) -> None:
    routes = write_routes(tmp_path / "routes.yaml")
    command, log, environment = serve(own_nats, tmp_path, GATEWAY_ROUTES=str(routes))
    with run(command, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        async with serving(own_nats.url):
            await wait_for_status(url, "/orders/7", 200)
            own_nats.kill()
            await wait_for_status(url, "/orders/7", 503)
            await asyncio.sleep(3)  # longer than a silent service is kept
            assert await get_statuses(url, "/orders/7") == [503]
            await asyncio.to_thread(own_nats.start)
            await wait_for_status(url, "/orders/7", 200)
        assert gateway.stop() == 0


@pytest.mark.soak
async def test_most_instances_count_and_the_others_are_told(own_nats: NatsServer, tmp_path: Path) -> None:
    command, log, environment = serve(own_nats, tmp_path, GATEWAY_DISCOVER="orders")
    url = own_nats.url
    async with serving(url, path="/old/{id}"), serving(url, path="/old/{id}"):
        with run(command, log, **environment) as gateway:
            address = gateway.find(ADDRESS)
            await wait_for_status(address, "/old/7", 200)
            async with serving(url, version="2.0.0", path="/new/{id}"):
                await eventually(lambda: bool(read_events(gateway, "service-refused")))
                assert await get_statuses(address, "/old/7", "/new/7") == [200, 404]
                async with serving(url, version="2.0.0", path="/new/{id}"):
                    await wait_for_status(address, "/new/7", 200)
            reasons = [str(event["reason"]) for event in read_events(gateway, "service-refused")]
            assert any("say something else than 2 of version 1.0.0" in reason for reason in reasons)
            assert gateway.stop() == 0


async def test_wrong_metadata_are_in_the_log_once(own_nats: NatsServer, tmp_path: Path) -> None:
    command, log, environment = serve(own_nats, tmp_path, GATEWAY_DISCOVER="orders,pets")
    async with serving(own_nats.url, path="/orders/{id}/{more}"):
        with run(command, log, **environment) as gateway:
            address = gateway.find(ADDRESS)
            async with serving(own_nats.url, "pets", path="/pets/{id}"):
                await wait_for_status(address, "/pets/7", 200)
            (event,) = read_events(gateway, "service-refused")
            assert (event["service"], event["endpoint"]) == ("orders", "get")
            assert "has 2 parameters" in str(event["reason"])
            assert gateway.stop() == 0


def say(kind: str, **changes: object) -> bytes:
    about = {"type": f"io.nats.micro.v1.{kind}_response", "name": "orders", "id": "LIAR", "version": "9.0.0"}
    return json.dumps({**about, **changes}).encode()


LIE = [{"name": "get", "subject": "orders.*.get", "metadata": {"http.path": "/orders/{id}", "http.method": "GET"}}]
ATTACKS: dict[str, Callable[[str], list[bytes]]] = {
    "10 MB": lambda _: [b'{"type":"' + b"x" * 900_000] * 11,
    "another name": lambda kind: [say(kind, name="pets", endpoints=LIE)] * 3,
    "no JSON": lambda _: [b"\xff" * 1000, b"[" * 100_000, b"null", b"{}", b""],
    "many instances": lambda kind: [say(kind, id=f"L{number}", endpoints=LIE) for number in range(100_000)],
    "ids that are no tokens": lambda kind: [say(kind, id=text) for text in ("a.b", "*", ">", "a b", "x" * 1000)],
    "wrong types": lambda kind: [say(kind, endpoints={"a": 1}), say(kind, version=7), say(kind, metadata=[1])],
    "answers that are padded": lambda kind: [
        say(kind, id=f"P{number}", metadata={"x": str(number) * 100_000}) for number in range(30)
    ],
    "many endpoints": lambda kind: [say(kind, endpoints=LIE * 5000)],
    "subjects of NATS": lambda kind: [say(kind, endpoints=[{"name": "x", "subject": "$SYS.REQ.SERVER.PING"}])],
}


@pytest.mark.parametrize(
    "name", [name if name == "many instances" else pytest.param(name, marks=pytest.mark.soak) for name in ATTACKS]
)
async def test_what_a_stranger_says_harms_nobody(name: str, own_nats: NatsServer, tmp_path: Path) -> None:
    routes = write_routes(tmp_path / "routes.yaml", "[orders]")
    command, log, environment = serve(own_nats, tmp_path, GATEWAY_ROUTES=str(routes))

    lies = {kind: ATTACKS[name](kind) for kind in ("ping", "info")}

    async def lie(message: Msg) -> None:
        for number, payload in enumerate(lies["ping" if ".PING" in message.subject else "info"]):
            await message.respond(payload)
            if number % 50 == 0:
                await asyncio.sleep(0)  # the other services of this test share its event loop

    async with (
        serving(own_nats.url, path="/true/{id}"),
        serving(own_nats.url, path="/true/{id}"),
        responder(own_nats.url, "mine.*", replying(b"mine")),
        responder(own_nats.url, "$SRV.>", lie),
    ):
        with run(command, log, **environment) as gateway:
            url = gateway.find(ADDRESS)
            wait_until_ready(url)
            await wait_for_status(url, "/true/7", 200)
            for _ in range(5):
                await asyncio.sleep(0.5)
                assert await get_statuses(url, "/mine/7", "/true/7", "/livez") == [200, 200, 200]
            assert gateway.stop() == 0
    assert "Traceback" not in gateway.log


def double(steps: int) -> dict[str, object]:
    """A schema that looks at a value 2 ** steps times."""
    twice = {f"d{step}": {"allOf": [{"$ref": f"#/$defs/d{step + 1}"}] * 2} for step in range(steps)}
    return {"$ref": "#/$defs/d0", "$defs": {**twice, f"d{steps}": {}}}


BOMBS: dict[str, str] = {
    "doubling": json.dumps(double(40)),
    "remote": '{"$ref": "http://127.0.0.1:%d/schema.json"}',
    "deep": '{"not":' * 900 + "{}" + "}" * 900,
    "wide": json.dumps({"properties": {f"p{number}": {} for number in range(9000)}}),
    "patterns": json.dumps({"properties": {f"p{n}": {"pattern": f"(a?){{1900}}a{{1900}}{n}"} for n in range(90)}}),
    "half": '{"title": "\\ud800"}',
    "twice": '{"type": "string", "type": "object"}',
}


async def test_a_schema_that_is_a_bomb_has_no_route_and_stops_nobody(own_nats: NatsServer, tmp_path: Path) -> None:
    """The other endpoints have theirs, and the log and the status page name each bomb."""
    fetched: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: fetched.append(writer), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    command, log, environment = serve(own_nats, tmp_path, GATEWAY_DISCOVER="orders,pets,half", GATEWAY_STATUS="on")
    lie = say("info", name="half", description="\ud800", endpoints=[{"name": "x", "subject": "x"}])
    known = say("ping", name="half")

    async def tell(message: Msg) -> None:
        await message.respond(known if ".PING" in message.subject else lie)

    async with (
        connect(own_nats.url) as client,
        responder(own_nats.url, "$SRV.*.half.>", tell),
        responder(own_nats.url, "$SRV.PING.half", tell),
    ):
        service = await add_service(client, ServiceConfig(name="orders", version="1.0.0"))
        for name, schema in BOMBS.items():
            metadata = {"request_schema": schema.replace("%d", str(port))}
            await service.add_endpoint(EndpointConfig(name=name, handler=answer, metadata=metadata))
        async with serving(own_nats.url, "pets", path="/pets/{id}"):
            with run(command, log, **environment) as gateway:
                url = gateway.find(ADDRESS)
                await wait_for_status(url, "/pets/7", 200)
                async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS) as http:
                    for name in BOMBS:
                        assert (await http.post(f"/orders/{name}", json={})).status_code == 404
                    page = (await http.get("/status/data")).text
                events = read_events(gateway, "service-refused")
                assert sorted(str(event["endpoint"]) for event in events) == sorted(BOMBS)
                assert all(f"orders.{name}: " in page for name in BOMBS)
                assert gateway.stop() == 0
    server.close()
    assert fetched == []
    assert "Traceback" not in gateway.log


def read_computing(process: int) -> float:
    """The seconds that a process has computed, without its children."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_memory(process: int) -> int:
    """What a process has in memory, in KiB."""
    (line,) = (line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1])


@pytest.mark.soak
async def test_services_that_come_and_go_all_the_time_cost_little(own_nats: NatsServer, tmp_path: Path) -> None:
    """Each second some instances come that nobody has heard of, with versions and endpoints of their own."""
    routes = write_routes(tmp_path / "routes.yaml", "{services: [orders, pets], forget_after: 2s}")
    command, log, environment = serve(own_nats, tmp_path, GATEWAY_ROUTES=str(routes))
    fresh = itertools.count(1)

    def make_info(number: int) -> bytes:
        endpoints = [
            {"name": f"e{number}-{at}", "subject": f"o.{number}.{at}", "metadata": {"http.path": f"/o/{number}/{at}"}}
            for at in range(50)
        ]
        wrong = [{"name": f"w{number}-{at}", "subject": "o", "metadata": {"http.path": "x"}} for at in range(30)]
        return say("info", id=f"L{number}", version=f"{number}.0.0", endpoints=[*endpoints, *wrong])

    async def flap(message: Msg) -> None:
        *_, kind, last = message.subject.split(".")
        if kind == "PING" and last == "orders":
            for _ in range(5):
                await message.respond(say("ping", id=f"L{next(fresh)}"))
        elif last.startswith("L"):
            await message.respond(make_info(int(last[1:])))

    began = time.monotonic()
    async with (
        responder(own_nats.url, "mine.*", replying(b"mine")),
        responder(own_nats.url, "$SRV.>", flap),
        serving(own_nats.url, "pets", path="/pets/{id}"),
    ):
        with run(command, log, **environment) as gateway:
            url = gateway.find(ADDRESS)
            await wait_for_status(url, "/pets/7", 200)
            await eventually(lambda: len(read_events(gateway, "routes-loaded")) >= 5, timeout=2 * PATIENCE)
            before, computed = read_memory(gateway.process.pid), read_computing(gateway.process.pid)
            loaded, watched = 0, time.monotonic()
            async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS) as client:
                while loaded < 12:
                    assert (await client.get("/mine/7")).status_code == 200
                    assert (await client.get("/pets/7")).status_code == 200
                    loaded = len(read_events(gateway, "routes-loaded"))
                    await asyncio.sleep(0.1)
                document = (await client.get("/openapi.json")).content
            assert read_computing(gateway.process.pid) - computed < 0.25 * (time.monotonic() - watched)
            assert loaded <= BURST + 1 + (time.monotonic() - began) / EVERY
            assert read_memory(gateway.process.pid) - before < 16 * 1024
            assert len(document) < 1_000_000
            assert len(read_events(gateway, "service-refused")) <= LINES * (2 + (time.monotonic() - began) // WINDOW)
            assert gateway.stop() == 0
    assert "Traceback" not in gateway.log


async def test_the_process_that_watches_is_started_again_and_never_stays(own_nats: NatsServer, tmp_path: Path) -> None:
    command, log, environment = serve(own_nats, tmp_path, GATEWAY_DISCOVER="orders")
    with run(command, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        (first,) = find_children(gateway.process.pid, "discoverer")
        await eventually(lambda: os.getpriority(os.PRIO_PROCESS, first) >= NICENESS)
        os.kill(first, signal.SIGKILL)
        async with serving(own_nats.url):
            await wait_for_status(url, "/orders/7", 200)
        (second,) = find_children(gateway.process.pid, "discoverer")
        gateway.process.kill()
        gateway.process.wait()
        await eventually(lambda: not is_alive(second))
