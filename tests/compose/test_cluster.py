"""`docker compose --profile cluster up`: three NATS nodes, two gateways, four greet responders; what a loss costs.

With `-s` the figures of docs/performance.md are printed.
"""

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from tests.compose.stack import Answer, Load, Stack, run_cluster, run_load
from tests.harness import eventually
from tests.pace import SLOWNESS

pytestmark = pytest.mark.timeout(1200)

NODES = ("nats", "nats-2", "nats-3")
GATEWAYS = ("gateway", "gateway-2")
RESPONDERS = ("responder", "more-responders")
CALLERS = 25  # at each gateway
RECOVERY = 5.0 * SLOWNESS  # seconds after a node was killed
PATIENCE = 5.0 + RECOVERY  # after a node hung: three until the others leave it, and what they sent there ends after two
CLIENT_PORT, LEAF_PORT = 4222, 7422
NOT_SENT = {("not-connected", "no"), ("no-responders", "no")}
LOST = {("connection-lost", "unknown"), ("timeout", "unknown")}


@pytest.fixture(scope="module")
def cluster(stack: Stack) -> Iterator[Stack]:
    """The profile, healthy, for tests that only look at it. The stack beside it has built the image."""
    with run_cluster(stack.image) as cluster:
        yield cluster


@pytest.fixture
def own_cluster(cluster: Stack) -> Iterator[Stack]:
    """The profile for a test that hurts it; as it was afterwards."""
    yield cluster
    cluster.up()


def find_routes(cluster: Stack, node: str) -> set[str]:
    """The ids of the nodes that this one is connected to."""
    routes = json.loads(cluster.execute(node, "wget", "-q", "-O", "-", "http://127.0.0.1:8222/routez"))["routes"]
    return {route["remote_id"] for route in routes}


def is_whole(cluster: Stack) -> bool:
    """Whether three nodes run, each with a route to the two others."""
    try:
        return [len(find_routes(cluster, node)) for node in cluster.find_containers(*NODES)] == [2, 2, 2]
    except AssertionError:  # one that has just been started does not answer yet
        return False


def summarize(title: str, answers: list[Answer], since: float = math.inf) -> float:
    """The seconds from `since` or the first failure to the first greeting that was asked for after the last failure;
    printed, too. Endless where there was none."""
    failures = [answer for answer in answers if answer.status != 200]
    seconds = 0.0
    if failures:
        last = max(answer.ended for answer in failures)
        again = min((answer.ended for answer in answers if answer.began >= last), default=math.inf)
        seconds = again - min(since, *(answer.ended for answer in failures))
    kinds = dict(Counter(answer.slug for answer in failures))
    print(f"{title}: {len(failures)} of {len(answers)} failed {kinds}, 200 again after {seconds:.2f} s")
    return seconds


async def wait_for(url: str) -> float:
    """The seconds until a request begins that is answered with 200."""
    began = asked = time.monotonic()

    def is_well() -> bool:
        nonlocal asked
        asked = time.monotonic()
        return get_status(url) == 200

    await eventually(is_well)
    return asked - began


def get_status(url: str) -> int:
    """0 where there is no answer."""
    try:
        return httpx.get(url, timeout=10, trust_env=False).status_code
    except httpx.TransportError:
        return 0


async def test_there_are_three_nodes_two_gateways_and_four_responders(cluster: Stack) -> None:
    counts = [len(cluster.find_containers(*services)) for services in (NODES, GATEWAYS, RESPONDERS)]
    assert counts == [3, 2, 4]
    assert {cluster.inspect(each, "{{.State.Health.Status}}") for each in cluster.find_containers()} == {"healthy"}
    await eventually(lambda: is_whole(cluster))


@pytest.mark.parametrize("service", [*NODES[1:], GATEWAYS[1], RESPONDERS[1]])
def test_a_container_of_the_profile_has_no_privileges_and_cannot_write(cluster: Stack, service: str) -> None:
    for container in cluster.find_containers(service):
        cluster.check_privileges(container)


def test_only_the_gateways_are_published_and_only_on_loopback(cluster: Stack) -> None:
    assert cluster.list_published() == {url.removeprefix("http://") for url in (cluster.url, cluster.url_2)}


async def test_all_four_responders_answer_through_both_gateways(cluster: Stack) -> None:
    before = await asyncio.to_thread(cluster.count_requests, 4)
    for url in (cluster.url, cluster.url_2):
        async with run_load(url, callers=2 * CALLERS) as load:
            pass
        after = await asyncio.to_thread(cluster.count_requests, 4)
        assert min(after[responder] - before[responder] for responder in before) > CALLERS / 5
        assert {answer.status for answer in load.answers} == {200}
        before = after


@pytest.mark.parametrize("service", ["gateway", "gateway-2", "responder"])
async def test_a_killed_node_costs_only_what_was_on_its_way(own_cluster: Stack, service: str) -> None:
    cluster = own_cluster
    node = cluster.find_peer(cluster.find_containers(service)[0], CLIENT_PORT)
    async with run_load(cluster.url, cluster.url_2, callers=CALLERS) as load:
        await asyncio.to_thread(cluster.docker, "kill", node)
        lost = time.monotonic()
        await asyncio.sleep(RECOVERY + 1)
    assert summarize(f"the node of {service} killed", load.answers) < RECOVERY
    # What was on its way has failed; what came before another node was found was refused; then all is well again.
    failures = [answer for answer in load.answers if answer.status != 200]
    assert {(answer.slug, answer.delivered) for answer in failures} <= LOST | NOT_SENT
    assert all(answer.began < lost for answer in failures if answer.delivered == "unknown")
    assert all(answer.began < lost + RECOVERY for answer in failures)
    assert any(answer.slug == "connection-lost" for answer in failures) or service not in GATEWAYS
    cluster.docker("start", node)
    await eventually(lambda: is_whole(cluster))


async def test_a_node_that_hangs_is_left_within_seconds(own_cluster: Stack) -> None:
    cluster = own_cluster
    node = cluster.find_peer(cluster.find_containers("gateway")[0], CLIENT_PORT)
    async with run_load(cluster.url, cluster.url_2, callers=CALLERS) as load:
        # `docker pause` during a health check would never end: the container's next command waits for that check.
        await asyncio.to_thread(cluster.docker, "kill", "--signal", "STOP", node)
        lost = time.monotonic()
        await asyncio.sleep(PATIENCE + 1)
        cluster.docker("kill", "--signal", "CONT", node)
    failures = [answer for answer in load.answers if answer.status != 200]
    assert {(answer.slug, answer.delivered) for answer in failures} <= LOST | NOT_SENT
    assert summarize("the node of gateway hangs", load.answers, lost) < PATIENCE
    await eventually(lambda: is_whole(cluster))
    cluster.docker("restart", node)  # as long as it was unhealthy, it would be so for the next test


async def test_a_gateway_that_starts_while_a_node_is_down_finds_another(own_cluster: Stack) -> None:
    cluster = own_cluster
    cluster.compose("kill", "nats")
    cluster.compose("restart", *GATEWAYS)
    for url in (cluster.url, cluster.url_2):
        await wait_for(f"{url}/readyz")
        await wait_for(f"{url}/greet/sue")  # a responder may have been at the node that is down


async def test_notes_outlive_the_loss_of_any_node(own_cluster: Stack) -> None:
    cluster = own_cluster
    for _ in range(2):
        written = httpx.post(f"{cluster.url}/notes", json={"title": "kept"}, timeout=10, trust_env=False)
        assert written.status_code == 201
        storage = cluster.find_containers("storage")[0]
        cluster.docker("kill", cluster.find_peer(storage, LEAF_PORT))
        place = written.headers["location"]
        for url in (cluster.url, cluster.url_2):
            seconds = await wait_for(url + place)
            print(f"a note again {seconds:.2f} s after its node was killed")
            assert seconds < RECOVERY


async def test_a_killed_gateway_costs_the_callers_of_the_other_nothing(own_cluster: Stack) -> None:
    cluster = own_cluster
    victims = Load()
    calls = [asyncio.create_task(victims.call(cluster.url_2)) for _ in range(CALLERS)]
    async with run_load(cluster.url, callers=CALLERS) as load:
        await eventually(lambda: len(victims.answers) > CALLERS)
        await asyncio.to_thread(cluster.compose, "kill", "gateway-2")
        killed = time.monotonic()
        await asyncio.sleep(2)
    assert {answer.status for answer in load.answers + victims.answers} == {200}
    assert sum(answer.began > killed for answer in load.answers) > CALLERS
    summarize("gateway-2 killed, callers of the other", load.answers)
    ends = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(end, httpx.TransportError) for end in ends)


async def test_all_stop_in_order_and_answer_what_they_took(own_cluster: Stack) -> None:
    cluster = own_cluster
    containers = cluster.find_containers()
    async with run_load(cluster.url, cluster.url_2, callers=CALLERS) as load:
        await asyncio.to_thread(cluster.compose, "stop")
    assert {answer.status for answer in load.answers} == {200}
    assert {cluster.inspect(container, "{{.State.ExitCode}}") for container in containers} == {"0"}


async def test_down_leaves_only_the_notes_which_the_stack_without_the_profile_has_again(own_cluster: Stack) -> None:
    cluster = own_cluster
    place = httpx.post(f"{cluster.url}/notes", json={"title": "kept"}, timeout=10, trust_env=False).headers["location"]
    cluster.compose("down")
    assert cluster.list_leftovers() == [f"{cluster.project}_jetstream"]
    with cluster.without_profiles():
        cluster.up()
        assert len(cluster.find_containers()) == 8
        await wait_for(cluster.url + place)
    cluster.up()  # adds the rest to what runs
    await wait_for(cluster.url_2 + place)
    cluster.remove()
    assert cluster.list_leftovers() == []
