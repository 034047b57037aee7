"""The real stack in real containers: docker-compose.yml as it stands, the image built from this tree.

`make compose-test` runs it. The first test waits for the build.
"""

import asyncio
import json
import time
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from app.routefile.load import EXAMPLES
from app.settings import Settings
from tests.compose.stack import CLUSTER, Stack, ask, run_load
from tests.harness import eventually

pytestmark = pytest.mark.timeout(1200)

SERVICES = ("nats", "storage", "responder", "notes", "clock", "gateway")
CALLERS = 50
STARTED = "{{.State.StartedAt}} {{.RestartCount}}"


def get(stack: Stack, path: str) -> httpx.Response:
    return httpx.get(stack.url + path, timeout=10, trust_env=False)


def test_without_the_profile_there_is_one_node_and_one_gateway(stack: Stack) -> None:
    counts = {service: len(stack.find_containers(service)) for service in SERVICES}
    assert counts == {"nats": 1, "storage": 1, "responder": 2, "notes": 2, "clock": 1, "gateway": 1}
    assert len(stack.find_containers()) == sum(counts.values())


def test_a_greeting_comes_through(stack: Stack) -> None:
    response = get(stack, "/greet/sue")
    assert (response.status_code, response.json()) == (200, {"message": "hello, sue"})


def test_the_clock_is_read_and_watched(stack: Stack) -> None:
    assert get(stack, "/clock").json().keys() == {"time"}
    with httpx.stream("GET", f"{stack.url}/clock/ticks", timeout=10, trust_env=False) as response:
        assert response.status_code == 200
        assert any(line.startswith("data: ") for line in response.iter_lines())


def test_health_and_docs_are_served(stack: Stack) -> None:
    assert get(stack, "/livez").status_code == 200
    assert get(stack, "/readyz").status_code == 200
    assert get(stack, "/healthz").json() == {"status": "ready"}
    assert "swagger-ui" in get(stack, "/docs").text
    assert get(stack, "/docs/assets/swagger-ui-bundle.js").status_code == 200


async def test_two_responders_share_the_requests(stack: Stack) -> None:
    assert len(stack.find_containers("responder")) == 2
    async with run_load(stack.url, callers=CALLERS):
        pass
    counts = await asyncio.to_thread(stack.count_requests, 2)
    assert min(counts.values()) > CALLERS / 2


def test_one_image_holds_both_programs_and_no_tools(stack: Stack) -> None:
    images = {stack.inspect(container, "{{.Image}}") for container in stack.find_containers("gateway", "responder")}
    assert len(images) == 1
    gateway = stack.find_containers("gateway")[0]
    tools = "cc gcc g++ c++ clang ld make nats-server hatchling pytest"
    assert stack.execute(gateway, "sh", "-c", f"for tool in {tools}; do command -v $tool; done; true") == ""
    assert stack.inspect(gateway, '{{index .Config.Labels "org.opencontainers.image.licenses"}}') == "Apache-2.0"


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_privileges_and_cannot_write(stack: Stack, service: str) -> None:
    for container in stack.find_containers(service):
        stack.check_privileges(container, writable="/tmp" if service == "storage" else "")  # noqa: S108 - its volume


def test_only_the_gateway_is_published_and_only_on_loopback(stack: Stack) -> None:
    assert stack.list_published() == {stack.url.removeprefix("http://")}
    assert "host_ip: 0.0.0.0" in stack.compose("config", PUBLISH_ADDRESS="0.0.0.0")  # noqa: S104 - shown, not bound


def test_every_setting_can_be_given_to_both_gateways_from_outside(stack: Stack) -> None:
    names = {str(field.validation_alias) for field in Settings.model_fields.values()}
    expected = {name for name in names if name.startswith("GATEWAY_")} - {"GATEWAY_HOST"}
    services = json.loads(stack.compose("--profile", CLUSTER, "config", "--format", "json"))["services"]
    for gateway in ("gateway", "gateway-2"):
        assert {name for name in services[gateway]["environment"] if name.startswith("GATEWAY_")} == expected
    assert services["gateway"]["environment"] == services["gateway-2"]["environment"]


async def test_notes_outlive_the_restart_of_every_container(own_stack: Stack) -> None:
    stack = own_stack
    written = httpx.post(f"{stack.url}/notes", json={"title": "kept"}, timeout=10, trust_env=False)
    assert written.status_code == 201
    for services in (["notes", "gateway"], ["nats"], ["storage"]):
        stack.compose("restart", *services)
        stack.up()
        await eventually(lambda: get(stack, written.headers["location"]).status_code == 200)
        assert get(stack, written.headers["location"]).json() == written.json()
    stack.compose("down")
    stack.up()
    await eventually(lambda: get(stack, written.headers["location"]).status_code == 200)


async def test_the_gateway_goes_by_a_route_file_of_the_users_and_reads_it_again_when_told(
    own_stack: Stack, tmp_path: Path
) -> None:
    stack = own_stack
    (tmp_path / "mine.yaml").write_bytes(EXAMPLES.read_bytes())
    for readable in (tmp_path, *tmp_path.parents[:2]):
        readable.chmod(0o755)
    stack.up(ROUTES_FOLDER=str(tmp_path), ROUTES_FILE="mine.yaml")
    assert get(stack, "/openapi.json").json()["info"]["title"] == "Examples of nats-http-gateway"
    text = EXAMPLES.read_text().replace("title: Examples of nats-http-gateway", "title: Mine")
    (tmp_path / "mine.yaml").write_text(text)
    stack.compose("kill", "--signal", "HUP", "gateway")
    await eventually(lambda: get(stack, "/openapi.json").json()["info"]["title"] == "Mine")


async def test_a_killed_responder_costs_only_its_own_requests(own_stack: Stack) -> None:
    stack = own_stack
    gateway = stack.find_containers("gateway")[0]
    started = stack.inspect(gateway, STARTED)
    stack.up("--scale", "responder=3")
    responders = stack.find_containers("responder")
    assert len(responders) == 3
    async with run_load(stack.url, callers=CALLERS) as load:
        await asyncio.to_thread(stack.docker, "kill", responders[0])
        killed = time.monotonic()
        await asyncio.sleep(4)  # the requests that it had taken time out in the meantime
    failures = [answer for answer in load.answers if answer.status != 200]
    assert {(answer.slug, answer.delivered) for answer in failures} <= {
        ("timeout", "unknown"),
        ("connection-lost", "unknown"),
    }
    assert all(answer.began < killed for answer in failures)
    assert 0 < len(failures) < CALLERS
    assert len(load.answers) > 5 * CALLERS
    assert stack.inspect(gateway, STARTED) == started


async def test_a_responder_that_ends_is_started_again(own_stack: Stack) -> None:
    stack = own_stack
    responder = stack.find_containers("responder")[0]
    async with run_load(stack.url, callers=CALLERS) as load:
        stack.execute(responder, "sh", "-c", "kill 1")  # after a `docker kill` it would stay down
        await eventually(lambda: stack.inspect(responder, "{{.RestartCount}} {{.State.Running}}") == "1 true", 30)
    assert {answer.status for answer in load.answers} == {200}


async def test_the_gateway_outlives_an_outage_of_nats(own_stack: Stack) -> None:
    stack = own_stack
    watched = stack.find_containers("gateway", "responder")
    started = [stack.inspect(container, STARTED) for container in watched]
    assert all(stack.is_healthy_now(container) for container in watched)

    stack.compose("stop", "nats")
    async with httpx.AsyncClient(base_url=stack.url, timeout=10, trust_env=False) as client:
        answer = await ask(client)
        assert (answer.status, answer.slug, answer.delivered) == (503, "not-connected", "no")
        assert (await client.get("/livez")).status_code == 200
        assert (await client.get("/readyz")).status_code == 503
        assert not any(stack.is_healthy_now(container) for container in watched)

        stack.compose("start", "nats")
        end = time.monotonic() + 20
        while (answer := await ask(client)).status != 200:
            assert (answer.status, answer.delivered) == (503, "no")
            assert time.monotonic() < end
            await asyncio.sleep(0.05)

    assert [stack.inspect(container, STARTED) for container in watched] == started


async def test_a_stopping_gateway_answers_all_that_it_took(own_stack: Stack) -> None:
    stack = own_stack
    gateway = stack.find_containers("gateway")[0]
    async with run_load(stack.url, callers=CALLERS) as load:
        began = time.monotonic()
        await asyncio.to_thread(stack.compose, "stop", "gateway")
        assert time.monotonic() - began < 30
    assert {answer.status for answer in load.answers} == {200}
    assert sum(answer.closes for answer in load.answers) == CALLERS
    assert stack.inspect(gateway, "{{.State.ExitCode}}") == "0"
    with pytest.raises(httpx.TransportError):
        get(stack, "/livez")


def test_all_stop_in_order_and_without_a_kill(own_stack: Stack) -> None:
    stack = own_stack
    containers = {service: stack.find_containers(service) for service in SERVICES}
    began = time.monotonic()
    stack.compose("stop")
    assert time.monotonic() - began < 30
    ends: dict[str, list[datetime]] = {}
    for service, ids in containers.items():
        assert [stack.inspect(container, "{{.State.ExitCode}}") for container in ids] == ["0"] * len(ids)
        ends[service] = [datetime.fromisoformat(stack.inspect(container, "{{.State.FinishedAt}}")) for container in ids]
    assert max(ends["gateway"]) <= min(ends["responder"])
    assert max(ends["notes"] + ends["clock"]) <= min(ends["storage"])
    assert max(ends["responder"] + ends["storage"]) <= min(ends["nats"])


def test_down_leaves_nothing(own_stack: Stack) -> None:
    assert own_stack.list_leftovers()
    own_stack.remove()
    assert own_stack.list_leftovers() == []
