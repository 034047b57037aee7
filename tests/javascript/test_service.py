"""A service in another language, with its official client, works behind routes as it is: status, headers, errors."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.routefile.load import load_route_file
from tests.harness import PATIENCE, Gateway, NatsServer, connect, eventually, run_gateway

FOLDER = Path(__file__).parent
ROUTES = load_route_file(FOLDER / "routes.yaml")
LOGS = ("one", "two")


@contextmanager
def run_instances(nats: str, folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two of the service, in its queue group. They write to this folder."""
    node = shutil.which("node")
    if node is None or not (FOLDER / "node_modules").is_dir():
        pytest.fail(
            "this test needs Node 18 or newer with npm, and `npm ci --ignore-scripts` in tests/javascript: "
            "`make test` sees to both",
            pytrace=False,
        )
    environment = {**os.environ, "NATS_URL": nats}
    processes = []
    for name in LOGS:
        with (folder / name).open("wb") as output:
            command = [node, str(FOLDER / "service.js")]
            processes.append(subprocess.Popen(command, env=environment, stdout=output, stderr=output))
    yield processes
    for process in processes:
        process.kill()
        process.wait()


@asynccontextmanager
async def run_stock(nats: str, instances: list[subprocess.Popen[bytes]], folder: Path) -> AsyncIterator[Gateway]:
    """A gateway before the service, whose two instances answer."""
    async with connect(nats) as client, run_gateway(nats, routes=ROUTES) as gateway:
        found: set[str] = set()
        inbox = client.new_inbox()
        sub = await client.subscribe(inbox)
        end = time.monotonic() + PATIENCE
        while len(found) < 2:
            assert all(process.poll() is None for process in instances), read_logs(folder)
            assert time.monotonic() < end, f"the service did not answer in time: {read_logs(folder)}"
            await client.publish("$SRV.PING.stock", reply=inbox)
            await asyncio.sleep(0.05)
            while sub.pending_msgs:
                pong = await sub.next_msg()
                found |= {json.loads(pong.data)["id"]} if pong.data else set()  # else: no responders yet
        yield gateway


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the instances write."""
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def instances(shared_nats: NatsServer, folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    with run_instances(shared_nats.url, folder) as processes:
        yield processes


@pytest.fixture
async def stock(
    shared_nats: NatsServer, instances: list[subprocess.Popen[bytes]], folder: Path
) -> AsyncIterator[Gateway]:
    async with run_stock(shared_nats.url, instances, folder) as gateway:
        yield gateway


def read_logs(directory: Path) -> str:
    """What the instances have written: why one of them ended."""
    return "".join((directory / name).read_text() for name in LOGS)


async def ask_each(url: str, subject: str) -> list[dict[str, Any]]:
    """What each of the two instances answers to a question of ADR-32 that goes to all."""
    async with connect(url) as client:
        inbox = client.new_inbox()
        sub = await client.subscribe(inbox)
        await client.publish(subject, reply=inbox)
        return [json.loads((await sub.next_msg(timeout=PATIENCE)).data) for _ in range(2)]


def check_problem(response: httpx.Response, status: int, slug: str, detail: str, delivered: str = "yes") -> None:
    problem = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, problem["status"], problem["type"]) == (status, status, f"/problems/{slug}")
    assert (problem["detail"], problem["delivered"]) == (detail, delivered)


async def test_a_service_of_the_official_client_works_as_it_is(stock: Gateway) -> None:
    found = await stock.get("/items/7")
    assert (found.status_code, found.json()) == (200, {"id": 7, "name": "hammer", "count": 3})
    assert found.headers["content-type"] == "application/json"
    check_problem(await stock.get("/items/8"), 404, "service-error", "no such item")

    made = await stock.client.post("/items", json={"name": "名前"})
    assert (made.status_code, made.json()["name"]) == (201, "名前")
    assert made.headers["location"] == f"/items/{made.json()['id']}"
    assert made.headers["etag"] == f'"{made.json()["id"]}"'
    assert made.headers.get_list("set-cookie") == ["a=1; Path=/", "b=2"]
    assert "x-internal" not in made.headers
    assert (await stock.client.post("/items", json={})).status_code == 422


async def test_its_cookies_reach_nobody_unless_the_route_lists_them(stock: Gateway) -> None:
    made = await stock.client.post("/plain-items", json={"name": "saw"})
    assert (made.status_code, made.json()["name"]) == (201, "saw")
    assert made.headers["location"] == f"/items/{made.json()['id']}"
    assert made.headers["etag"] == f'"{made.json()["id"]}"'
    assert "set-cookie" not in made.headers


async def test_it_is_a_plain_adr_32_service(stock: Gateway, shared_nats: NatsServer) -> None:
    for info in await ask_each(shared_nats.url, "$SRV.INFO.stock"):
        assert (info["type"], info["version"]) == ("io.nats.micro.v1.info_response", "1.0.0")
        subjects = {endpoint["subject"]: endpoint["queue_group"] for endpoint in info["endpoints"]}
        assert subjects["stock.items.*.get"] == "stock"


async def count_requests(url: str) -> list[int]:
    """How many requests for an item each of the two has had, in the order of their ids."""
    stats = sorted(await ask_each(url, "$SRV.STATS.stock"), key=lambda one: str(one["id"]))
    return [endpoint["num_requests"] for one in stats for endpoint in one["endpoints"] if endpoint["name"] == "get"]


async def test_one_instance_of_its_queue_group_answers_each_request(stock: Gateway, shared_nats: NatsServer) -> None:
    before = await count_requests(shared_nats.url)
    answers = await asyncio.gather(*[stock.get("/items/7") for _ in range(40)])
    assert {answer.status_code for answer in answers} == {200}
    counts = [now - then for now, then in zip(await count_requests(shared_nats.url), before, strict=True)]
    assert sum(counts) == 40
    assert all(counts), "one instance got everything"


async def test_it_gets_typed_parameters_and_bodies_byte_for_byte(stock: Gateway) -> None:
    query = "/items?q=a+b%2Bc&price=1.5&sold=true&tag=x&tag=&other=1"
    asked = await stock.get(query, x_tenant="t1")
    assert asked.json() == {
        "asked": {"q": "a b+c", "limit": 10, "price": 1.5, "sold": True, "tag": ["x", ""], "x-tenant": "t1"},
        "kinds": {
            "q": "string",
            "limit": "number",
            "price": "number",
            "sold": "boolean",
            "tag": "object",
            "x-tenant": "string",
        },
    }
    assert (await stock.get("/items")).json()["asked"] == {"limit": 10}
    every_byte = bytes(range(256)) * 100
    assert (await stock.client.put("/echo", content=every_byte)).content == every_byte


async def test_it_gets_the_headers_of_the_allow_list_and_no_others(stock: Gateway) -> None:
    seen = await stock.get("/seen", authorization="Bearer x", cookie="secret=1", x_request_id="id-1", x_other="1")
    assert seen.json() == {"authorization": ["Bearer x"], "x-request-id": ["id-1"]}


async def test_its_errors_are_problems_with_the_mapped_status(stock: Gateway) -> None:
    async def reserve(item: str) -> httpx.Response:
        return await stock.client.post(f"/items/{item}/reserve")

    assert (await reserve("7")).text == "reserved"
    check_problem(await reserve("gone"), 404, "service-error", "品切れ: gone")
    check_problem(await reserve("sold"), 410, "service-error", "it is sold out")
    check_problem(await reserve("refused"), 403, "service-error", "not yours")
    check_problem(await reserve("odd"), 502, "service-error", "The service answered with an error.")
    broken = await reserve("broken")
    check_problem(broken, 500, "service-error", "The service answered with an error.")
    assert "hunter2" not in broken.text
    many = await reserve("many")
    assert (many.status_code, json.loads(many.text)) == (409, {"left": 3})
    check_problem(await reserve("silent"), 504, "timeout", "The service did not reply within 1s.", "unknown")


async def test_when_it_stops_nobody_responds(own_nats: NatsServer, tmp_path: Path) -> None:
    with run_instances(own_nats.url, tmp_path) as processes:
        async with run_stock(own_nats.url, processes, tmp_path) as stock:
            for process in processes:
                process.send_signal(signal.SIGTERM)
            await eventually(lambda: all(process.poll() == 0 for process in processes))
            gone = await stock.get("/items/7")
            problem = (gone.status_code, gone.json()["type"], gone.json()["delivered"])
            assert problem == (503, "/problems/no-responders", "no")
