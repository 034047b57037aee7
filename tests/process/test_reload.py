"""SIGHUP, as it comes to the real programs: routes change between two requests, and never to something that fails."""

import asyncio
import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest
from nats.aio.msg import Msg

from app.commands.reload import Reading
from app.prepared import pack_faults
from tests.harness import NO_TLS, PATIENCE, NatsServer, clean_environment, eventually, replying, responder
from tests.process.programs import PROGRAM, Process, call, find_children, is_alive, run, wait_until_ready

ADDRESS = r'"address":"(http://[^"]+)"'


def write_routes(path: Path, *names: str, status: int = 200, extra: str = "") -> None:
    """One route a name: GET /<name> asks `test.<name>`."""
    route = "  - {{name: {0}, method: GET, path: /{0}, subject: test.{0}, reply: {{status: {1}}}}}"
    head = ["version: 1", f"info: {{title: has {' '.join(names)}}}", "routes:"]
    lines = [*head, *(route.format(name, status) for name in names)]
    fresh = path.with_suffix(".new")
    fresh.write_text("\n".join([*lines, extra]))
    fresh.replace(path)


@pytest.fixture
def routes(tmp_path: Path) -> Path:
    path = tmp_path / "routes.yaml"
    write_routes(path, "one")
    return path


def serve(nats: NatsServer, routes: Path, *options: str) -> tuple[list[str], Path, dict[str, str]]:
    command = [*PROGRAM, "serve", "--port", "0", *options]
    return command, routes.with_name("log"), {"NATS_URL": nats.url, "GATEWAY_ROUTES": str(routes)}


def hang_up(gateway: Process) -> None:
    gateway.process.send_signal(signal.SIGHUP)


async def get_statuses(url: str, *paths: str) -> list[int]:
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client:
        return [(await client.get(path)).status_code for path in paths]


async def wait_for_status(url: str, path: str, status: int) -> None:
    end = time.monotonic() + PATIENCE
    while await get_statuses(url, path) != [status]:
        assert time.monotonic() < end
        await asyncio.sleep(0.02)


def read_events(gateway: Process, event: str) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in gateway.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


async def wait_for_outcomes(gateway: Process, count: int) -> None:
    """Until so many reloads are over, in the process that the signal goes to."""
    events = ("routes-loaded", "routes-refused")
    await eventually(lambda: sum(len(read_events(gateway, event)) for event in events) >= count, timeout=3 * PATIENCE)


async def test_new_routes_are_taken_and_old_ones_go(own_nats: NatsServer, routes: Path) -> None:
    command, log, environment = serve(own_nats, routes)
    with run(command, log, **environment, GATEWAY_HEALTH_DETAILS="on") as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        async with responder(own_nats.url, "test.*", replying(b"hello")):
            assert await get_statuses(url, "/one", "/two") == [200, 404]
            write_routes(routes, "two", "three")
            hang_up(gateway)
            await wait_for_status(url, "/two", 200)
            assert await get_statuses(url, "/one", "/three") == [404, 200]
        assert (
            httpx.get(f"{url}/openapi.json", trust_env=False, verify=NO_TLS, timeout=PATIENCE).json()["info"]["title"]
            == "has two three"
        )
        assert "has two three" in httpx.get(f"{url}/docs", trust_env=False, verify=NO_TLS, timeout=PATIENCE).text
        assert httpx.get(f"{url}/healthz", trust_env=False, verify=NO_TLS, timeout=PATIENCE).json()["routes"] == 2
        assert read_events(gateway, "routes-loaded")[0]["routes"] == 2
        assert gateway.stop() == 0


@pytest.mark.parametrize("more", [(), pytest.param(("--workers", "2"), marks=pytest.mark.soak)])
async def test_a_limit_that_is_lowered_is_told_at_the_start_and_at_a_reload(
    own_nats: NatsServer, routes: Path, more: tuple[str, ...]
) -> None:
    write_routes(routes, "one", extra="defaults: {max_timeout: 2m}")
    command, log, environment = serve(own_nats, routes)
    with run([*command, *more], log, **environment) as gateway:
        wait_until_ready(gateway.find(ADDRESS))
        lowered = ["route 'one': max_timeout 120s is over GATEWAY_MAX_TIMEOUT, so 30s applies"]
        assert [event["limits"] for event in read_events(gateway, "limits-lowered")] == [lowered]
        write_routes(routes, "two", extra="defaults: {max_timeout: 3m}")
        hang_up(gateway)
        await wait_for_outcomes(gateway, 1)
        (_, second) = read_events(gateway, "limits-lowered")
        assert second["limits"] == ["route 'two': max_timeout 180s is over GATEWAY_MAX_TIMEOUT, so 30s applies"]
        assert gateway.stop() == 0


def project(folder: Path, number: int, **files: str) -> None:
    """Put files into the folder as Kubernetes does for a ConfigMap or a Secret: it swaps a link to all of them."""
    version = folder / f"..{number}"
    version.mkdir(parents=True)
    for name, text in files.items():
        (version / f"{name}.yaml").write_text(text)
        if not (folder / f"{name}.yaml").is_symlink():
            (folder / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")
    (folder / "..new").symlink_to(version.name)
    (folder / "..new").replace(folder / "..data")


KEYS = """
version: 1
keys: [{name: sue, sha256: 2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683}]
"""
GUARDED = """
version: 1
auth: {partners: {type: api-key, header: X-API-Key, file: keys.yaml}}
routes: [{name: one, method: GET, path: /one, subject: test.one, auth: partners}]
"""


@pytest.mark.parametrize("more", [(), ("--workers", "2")])
async def test_a_watching_gateway_loads_files_of_kubernetes_when_their_link_is_swapped(
    own_nats: NatsServer, tmp_path: Path, more: tuple[str, ...]
) -> None:
    folder = tmp_path / "mounted"
    project(folder, 1, routes=GUARDED, keys=KEYS)
    command, log, environment = serve(own_nats, folder / "routes.yaml", *more)
    environment["GATEWAY_WATCH"] = "on"
    with run(command, log, **environment) as gateway:
        wait_until_ready(gateway.find(ADDRESS))
        project(folder, 2, routes=GUARDED.replace("/one", "/two"), keys=KEYS)
        await wait_for_outcomes(gateway, 1)
        await wait_for_status(gateway.find(ADDRESS), "/two", 401)
        project(folder, 3, routes=GUARDED, keys="version: 2")
        await eventually(lambda: read_events(gateway, "routes-refused"))
        await wait_for_status(gateway.find(ADDRESS), "/two", 401)
        assert gateway.stop() == 0


async def test_without_the_setting_a_new_file_waits_for_a_hangup(own_nats: NatsServer, tmp_path: Path) -> None:
    folder = tmp_path / "mounted"
    project(folder, 1, routes=GUARDED, keys=KEYS)
    command, log, environment = serve(own_nats, folder / "routes.yaml")
    with run(command, log, **environment) as gateway:
        wait_until_ready(gateway.find(ADDRESS))
        project(folder, 2, routes=GUARDED, keys="version: 2")
        hang_up(gateway)
        await wait_for_outcomes(gateway, 1)
        assert len(read_events(gateway, "routes-refused")) == 1
        assert gateway.stop() == 0


async def test_the_file_of_the_command_line_is_read_again_too(own_nats: NatsServer, routes: Path) -> None:
    command, log, environment = serve(own_nats, routes)
    del environment["GATEWAY_ROUTES"]
    with run([*command, str(routes)], log, **environment) as gateway:
        wait_until_ready(gateway.find(ADDRESS))
        assert read_events(gateway, "listening")[0]["routes"] == 1
        write_routes(routes, "two", "three")
        hang_up(gateway)
        await wait_for_outcomes(gateway, 1)
        assert read_events(gateway, "routes-loaded")[0]["routes"] == 2
        assert gateway.stop() == 0


async def test_a_file_that_does_not_hold_changes_nothing_and_is_told_as_at_the_start(
    own_nats: NatsServer, routes: Path
) -> None:
    command, log, environment = serve(own_nats, routes)
    with run(command, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        async with responder(own_nats.url, "test.*", replying(b"hello")):
            write_routes(routes, "two", extra="timeuot: 3")
            hang_up(gateway)
            gateway.find("(routes-refused)")
            assert await get_statuses(url, "/one", "/two", "/readyz") == [200, 404, 200]
        told = read_events(gateway, "routes-refused")[0]["faults"]
        assert gateway.stop() == 0
    again = Process(command, log, **environment)
    assert again.process.wait(20) == 1
    assert told == [line.removeprefix("nats-http: ") for line in again.log.splitlines()]
    assert told == [
        (
            f"{routes}:5:1: timeuot: unknown key; known are version, info, servers, tags, schemas, auth, "
            "rate_limits, cors, defaults, discover, prefix, include, routes"
        )
    ]


async def test_a_file_that_has_gone_changes_nothing(own_nats: NatsServer, routes: Path) -> None:
    command, log, environment = serve(own_nats, routes)
    with run(command, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        routes.unlink()
        hang_up(gateway)
        gateway.find("(routes-refused)")
        assert await get_statuses(url, "/one", "/readyz") == [503, 200]
        write_routes(routes, "two")
        hang_up(gateway)
        await wait_for_status(url, "/two", 503)


async def test_what_has_begun_finishes_by_the_routes_that_it_began_with(own_nats: NatsServer, routes: Path) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def answer_late(msg: Msg) -> None:
        arrived.set()
        await release.wait()
        await msg.respond(b"late")

    command, log, environment = serve(own_nats, routes)
    with run(command, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        async with (
            responder(own_nats.url, "test.one", answer_late),
            httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=20) as client,
        ):
            waiting = asyncio.create_task(client.get("/one", headers={"x-request-timeout": "20s"}))
            await arrived.wait()
            write_routes(routes, "two", status=203)
            hang_up(gateway)
            gateway.find("(routes-loaded)")
            await asyncio.sleep(0.3)
            release.set()
            answer = await waiting
            assert (answer.status_code, answer.content) == (200, b"late")


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("workers", [1, 2])
async def test_nothing_is_lost_while_routes_change_under_load(own_nats: NatsServer, routes: Path, workers: int) -> None:
    command, log, environment = serve(own_nats, routes, "--workers", str(workers))
    with run(command, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(workers)
        seen: Counter[int] = Counter()
        done = asyncio.Event()

        async def ask(client: httpx.AsyncClient) -> None:
            while not done.is_set():
                answer = await client.get("/one")
                seen[answer.status_code] += 1

        async with (
            responder(own_nats.url, "test.*", replying(b"hello")),
            httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=20) as client,
        ):
            asking = [asyncio.create_task(ask(client)) for _ in range(20)]
            for turn in range(8):
                write_routes(routes, "one", status=201 if turn % 2 else 200, extra="oops" if turn == 5 else "")
                hang_up(gateway)
                await wait_for_outcomes(gateway, turn + 1)
                await asyncio.sleep(0.1)
            done.set()
            await asyncio.gather(*asking)
        assert set(seen) == {200, 201}
        assert min(seen.values()) > 20
        assert gateway.stop() == 0


@pytest.mark.soak
async def test_a_worker_that_is_replaced_goes_by_the_last_routes_that_held(own_nats: NatsServer, routes: Path) -> None:
    command, log, environment = serve(own_nats, routes, "--workers", "2")
    with run(command, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(2)
        write_routes(routes, "two")
        hang_up(gateway)
        gateway.find("(routes-loaded)")
        write_routes(routes, "three", extra="oops: 1")
        hang_up(gateway)
        gateway.find("(routes-refused)")
        for pid in find_children(gateway.process.pid, "worker"):
            os.kill(pid, signal.SIGKILL)
        gateway.wait_for_connections(4)
        statuses = [await get_statuses(url, "/two", "/three") for _ in range(20)]  # of both workers
        assert statuses == [[503, 404]] * 20
        assert gateway.stop() == 0


# Large files, and files that can't be read


@contextmanager
def bystander(url: str) -> Iterator[Callable[[], float]]:
    """A caller in a process of its own. The function ends it, and gives its longest wait in seconds."""
    address = urlsplit(url)
    command = [sys.executable, "-m", "tests.process.bystander", str(address.hostname), str(address.port)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield lambda: float(process.communicate()[0])
    finally:
        process.kill()
        process.communicate()


@pytest.mark.soak
@pytest.mark.timeout(240)
@pytest.mark.parametrize("workers", [1, 2])
async def test_nobody_waits_for_a_reload_however_large_the_file_is(
    own_nats: NatsServer, routes: Path, workers: int
) -> None:
    """5,000 routes come, come again, and go. When the process that serves did it all, callers waited for 600 ms."""
    command, log, environment = serve(own_nats, routes, "--workers", str(workers))
    with run(command, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(workers)
        with bystander(url) as end:
            await asyncio.sleep(2)
            at_rest = end()
        with bystander(url) as end:
            for number, count in enumerate((5_000, 5_000, 1), 1):
                write_routes(routes, *(f"r{index}" for index in range(count)))
                hang_up(gateway)
                await wait_for_outcomes(gateway, number)
            await wait_for_status(url, "/r0", 503)
            await wait_for_status(url, "/r1", 404)
            assert end() < 0.25 + 5 * at_rest
        assert gateway.stop() == 0


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
async def test_a_reload_that_hangs_does_not_hold_up_the_stop(own_nats: NatsServer, routes: Path, workers: int) -> None:
    """A named pipe that nobody writes to is like a network file system that has gone."""
    command, log, environment = serve(own_nats, routes, "--workers", str(workers))
    with run(command, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(workers)
        os.mkfifo(routes.with_name("schema.json"))
        routes.write_text(
            "version: 1\nroutes: [{name: a, method: POST, path: /a, subject: a, body_schema: schema.json}]"
        )
        hang_up(gateway)
        await eventually(lambda: bool(find_children(gateway.process.pid, "app.commands.loader")))
        (loader,) = find_children(gateway.process.pid, "app.commands.loader")
        assert await get_statuses(url, "/livez", "/one") == [200, 503]
        assert gateway.stop() == 0
        await eventually(lambda: not is_alive(loader))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
async def test_a_named_pipe_in_place_of_the_file_is_refused_and_the_next_reload_works(
    own_nats: NatsServer, routes: Path, workers: int
) -> None:
    command, log, environment = serve(own_nats, routes, "--workers", str(workers))
    with run(command, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(workers)
        routes.unlink()
        os.mkfifo(routes)
        hang_up(gateway)
        gateway.find("(routes-refused)")
        assert read_events(gateway, "routes-refused")[0]["faults"] == [f"{routes}: not a regular file"]
        write_routes(routes, "two")
        hang_up(gateway)
        await wait_for_status(url, "/two", 503)


async def test_reading_a_file_has_a_limit_and_an_end(routes: Path) -> None:
    late, ended = Reading(routes, limit=0.5), Reading(routes)
    late._process.send_signal(signal.SIGSTOP)
    assert ended.package is None
    ended.close()
    await eventually(lambda: late.package is not None and ended.package is not None)
    assert late.package == pack_faults([f"{routes}: it was not read and checked within 0.5 seconds"])
    assert ended.package == pack_faults([f"{routes}: the process that reads it ended with exit code -9"])


@pytest.mark.parametrize("command", [["dev"], ["serve"], ["serve", "--workers", "2"]], ids=" ".join)
async def test_a_file_that_does_not_hold_at_the_start_is_a_line_for_each_error_and_exit_code_1(
    tmp_path: Path, command: list[str]
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text("version: 1\nroutes:\n  - {name: a, method: GET, path: /a, subject: $SYS.a}\n  - {nam: b}\n")
    process = Process([*PROGRAM, *command, "--port", "0"], tmp_path / "log", GATEWAY_ROUTES=str(routes))
    assert process.process.wait(20) == 1
    lines = process.log.splitlines()
    assert [line.split(": ")[:3] for line in lines[:2]] == [
        ["nats-http", f"{routes}:3:47", "routes[0].subject"],
        ["nats-http", f"{routes}:4:5", "routes[1].method"],
    ]
    assert any(line.endswith("routes[1].nam: unknown key, did you mean `name`?") for line in lines)
    assert find_children(process.process.pid, "") == []


def takes_hangups(pid: int) -> bool:
    caught = re.search(r"^SigCgt:\s*(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (signal.SIGHUP - 1) & 1)


async def test_a_hangup_while_it_starts_ends_nothing(own_nats: NatsServer, routes: Path) -> None:
    command, log, environment = serve(own_nats, routes)
    with run(command, log, **environment) as gateway:
        await eventually(lambda: takes_hangups(gateway.process.pid))  # long before it has loaded anything else
        hang_up(gateway)
        gateway.find("(listening)")
        for _ in range(20):
            hang_up(gateway)
            await asyncio.sleep(0.02)
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        assert gateway.stop() == 0


@pytest.mark.parametrize("ignored", [False, pytest.param(True, marks=pytest.mark.soak)], ids=["terminal", "nohup"])
async def test_a_terminal_that_is_closed_stops_the_gateway_unless_it_was_told_not_to_care(
    own_nats: NatsServer, routes: Path, ignored: bool
) -> None:
    command, log, environment = serve(own_nats, routes)
    ours, theirs = os.openpty()

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)

    with log.open("wb") as output, os.fdopen(ours, "wb", buffering=0) as terminal:
        process = subprocess.Popen(
            command,
            env=clean_environment(**environment),
            stdin=theirs,
            stdout=output,
            stderr=output,
            preexec_fn=take_terminal,
        )
        os.close(theirs)
        try:
            await eventually(lambda: '"event":"connected"' in log.read_text())
            terminal.close()
            if ignored:
                await eventually(lambda: "routes-loaded" in log.read_text())
                assert process.poll() is None
            else:
                await eventually(lambda: process.poll() == 0)
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize("more", [(), pytest.param(("--workers", "2"), marks=pytest.mark.soak)])
async def test_a_key_that_is_revoked_is_refused_after_the_reload_and_a_wrong_file_of_keys_changes_nothing(
    own_nats: NatsServer, routes: Path, more: tuple[str, ...]
) -> None:
    keys = routes.with_name("keys.yaml")
    command, log, environment = serve(own_nats, routes, *more)
    key = call("keys", "add", "sue", "--file", str(keys)).stdout.strip()
    write_routes(routes, "one", extra="auth: {p: {type: api-key, query: k, file: keys.yaml}}\ndefaults: {auth: p}\n")
    with run(command, log, **environment) as gateway:
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(len(more) or 1)
        async with responder(own_nats.url, "test.*", replying(b"hello")):
            assert await get_statuses(url, f"/one?k={key}", "/one?k=bad") == [200, 401]
            written = keys.read_text()
            keys.write_text(written.replace("sha256", "sha265"))
            hang_up(gateway)
            await wait_for_outcomes(gateway, 1)
            (refused,) = read_events(gateway, "routes-refused")
            assert "keys.yaml:5:5: keys[0].sha265: unknown key" in str(refused["faults"])
            assert await get_statuses(url, f"/one?k={key}") == [200]
            keys.write_text(written)
            assert call("keys", "revoke", "sue", "--file", str(keys)).returncode == 0
            hang_up(gateway)
            await wait_for_outcomes(gateway, 2)
            for _ in range(8):  # of each worker
                await wait_for_status(url, f"/one?k={key}", 401)
        assert gateway.stop() == 0
        assert key not in gateway.log
