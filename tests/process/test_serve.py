"""`nats-http serve` and `uvicorn app.main:app` as real processes: signals, exit codes, bad configuration."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest
from nats.aio.msg import Msg

from app import __version__
from app.http.server import ACCEPT_REST, LINGER
from app.http.sockets import bind
from tests.harness import NO_TLS, PATIENCE, NatsServer, clean_environment, eventually, responder
from tests.process.programs import PROGRAM, call, find_children, finish, is_alive, run, wait_until_ready


def serve(*arguments: str) -> list[str]:
    return [*PROGRAM, "serve", "--port", "0", *arguments]


ADDRESS = r'"address":"(http://[^"]+)"'


_answers: set[asyncio.Task[None]] = set()


async def greet(msg: Msg) -> None:
    """Each request in a task of its own, and a little slow."""

    async def answer() -> None:
        await asyncio.sleep(0.02)
        await msg.respond(b"hello, " + msg.subject[6:].encode())

    task = asyncio.create_task(answer())
    _answers.add(task)
    task.add_done_callback(_answers.discard)


async def wait_until_not_ready(client: httpx.AsyncClient) -> httpx.Response:
    """The first answer of /readyz that is no success."""
    async with asyncio.timeout(PATIENCE):
        while (ready := await client.get("/readyz")).status_code == 200:
            await asyncio.sleep(0.01)
    return ready


async def test_it_listens_while_nats_is_away_and_stops_with_0(tmp_path: Path, own_nats: NatsServer) -> None:
    own_nats.stop()
    with run(serve(), tmp_path / "log", NATS_URL=own_nats.url) as gateway:
        url = gateway.find(ADDRESS)
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client:
            assert (await client.get("/livez")).status_code == 200
            assert (await client.get("/readyz")).status_code == 503
            assert (await client.get("/greet/sue")).json()["type"] == "/problems/not-connected"
            own_nats.start()
            wait_until_ready(url)
            assert (await client.get("/greet/sue")).json()["type"] == "/problems/no-responders"
        assert gateway.stop() == 0
    lines = [json.loads(line) for line in gateway.log.splitlines()]
    events = {line["event"]: line for line in lines}
    assert {"listening", "connected", "stopped"} <= set(events)
    # What `/healthz` does not tell.
    assert (events["listening"]["version"], events["listening"]["routes"]) == (__version__, 1)
    assert events["connected"]["server"] == own_nats.url.removeprefix("nats://")
    assert [line["slug"] for line in lines if line["event"] == "exchange"] == ["not-connected", "no-responders"]


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
async def test_sigterm_under_load_answers_every_request_that_was_accepted(
    tmp_path: Path, own_nats: NatsServer, workers: int
) -> None:
    """300 keep-alive clients: after SIGTERM each gets its answers until one says `Connection: close`, and what comes
    on a new connection is refused."""
    with run(serve("--workers", str(workers)), tmp_path / "log", NATS_URL=own_nats.url) as gateway:
        url = gateway.find(ADDRESS)
        port = int(url.rpartition(":")[2])
        gateway.wait_for_connections(workers)
        results: Counter[str] = Counter()
        closing = float("inf")  # the instant from which on the gateway closes what has long been idle

        async def client(number: int) -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            request = b"GET /greet/n%d HTTP/1.1\r\nHost: t\r\n\r\n" % number
            while True:
                sent = time.monotonic()
                writer.write(request)
                try:
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(re.search(rb"content-length: (\d+)", head)[1])  # type: ignore[index]
                    body = await reader.readexactly(length)
                except (asyncio.IncompleteReadError, ConnectionError):
                    results["lost" if sent < closing else "closed"] += 1
                    break
                good = head.startswith(b"HTTP/1.1 200") and body == b'{"message":"hello, n%d"}' % number
                results["good" if good else body.decode()] += 1
                if b"connection: close" in head:
                    results["closed"] += 1
                    break
            writer.close()

        async with responder(own_nats.url, "greet.*", greet):
            clients = [asyncio.create_task(client(number)) for number in range(300)]
            while results["good"] < 1000:
                await asyncio.sleep(0.01)
            gateway.process.send_signal(signal.SIGTERM)
            closing = time.monotonic() + ACCEPT_REST + LINGER
            await asyncio.wait_for(asyncio.gather(*clients), 20)
        assert gateway.process.wait(PATIENCE) == 0
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
    assert results["closed"] == 300
    assert set(results) == {"good", "closed"}


async def test_sigterm_answers_callers_that_open_a_connection_for_each_request(
    tmp_path: Path, own_nats: NatsServer
) -> None:
    """Once the connection is made its request is answered, though the gateway may not yet have accepted it: but for
    the one that the kernel may still make between the last of those and the end of the listening socket."""
    with run(serve(), tmp_path / "log", NATS_URL=own_nats.url) as gateway:
        port = int(gateway.find(ADDRESS).rpartition(":")[2])
        wait_until_ready(f"http://127.0.0.1:{port}")
        results: Counter[str] = Counter()

        async def caller() -> None:
            while True:
                try:
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionError:
                    break
                try:
                    writer.write(b"GET /greet/sue HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n")
                    answer = await reader.read()
                    results["good" if answer.endswith(b'{"message":"hello, sue"}') else answer.decode()] += 1
                except ConnectionError:
                    results["lost"] += 1
                finally:
                    writer.close()

        async with responder(own_nats.url, "greet.*", greet):
            callers = [asyncio.create_task(caller()) for _ in range(50)]
            while results["good"] < 200:
                await asyncio.sleep(0.01)
            gateway.process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(asyncio.gather(*callers), PATIENCE)
        assert gateway.process.wait(PATIENCE) == 0
    assert results.pop("lost", 0) <= 1
    assert set(results) == {"good"}


async def test_readyz_says_503_while_a_slow_request_is_finished(tmp_path: Path, own_nats: NatsServer) -> None:
    arrived, release = asyncio.Event(), asyncio.Event()

    async def answer_late(msg: Msg) -> None:
        arrived.set()
        await release.wait()
        await msg.respond(b"done")

    with run(serve(), tmp_path / "log", NATS_URL=own_nats.url) as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        async with (
            httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client,
            httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as other,
            responder(own_nats.url, "greet.*", answer_late),
        ):
            assert (await client.get("/livez")).status_code == 200  # opens a connection that stays
            slow = asyncio.create_task(other.get("/greet/sue", headers={"x-request-timeout": "20s"}))
            await arrived.wait()
            gateway.process.send_signal(signal.SIGTERM)
            ready = await wait_until_not_ready(client)
            assert (ready.status_code, ready.json()["reason"]) == (503, "shutting down")
            assert ready.headers["connection"] == "close"
            release.set()
            answer = await slow
            assert (answer.status_code, answer.json()) == (200, {"message": "done"})
        assert gateway.process.wait(PATIENCE) == 0


async def test_the_drain_timeout_bounds_the_stop_and_what_is_cut_gets_a_truthful_answer(
    tmp_path: Path, own_nats: NatsServer
) -> None:
    arrived = asyncio.Event()

    async def stay_silent(msg: Msg) -> None:
        arrived.set()

    environment = {"NATS_URL": own_nats.url, "GATEWAY_DRAIN_TIMEOUT": "1s"}
    with run(serve(), tmp_path / "log", **environment) as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        async with (
            httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client,
            responder(own_nats.url, "greet.*", stay_silent),
        ):
            waiting = asyncio.create_task(client.get("/greet/sue", headers={"x-request-timeout": "20s"}))
            await arrived.wait()
            started = time.monotonic()
            gateway.process.send_signal(signal.SIGTERM)
            answer = await waiting
            assert (answer.status_code, answer.json()["delivered"]) == (502, "unknown")
        assert gateway.process.wait(PATIENCE) == 0
        assert time.monotonic() - started < 8


async def test_a_second_signal_stops_at_once(tmp_path: Path, own_nats: NatsServer) -> None:
    arrived = asyncio.Event()

    async def stay_silent(msg: Msg) -> None:
        arrived.set()

    with run(serve(), tmp_path / "log", NATS_URL=own_nats.url) as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        async with (
            httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client,
            httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as other,
            responder(own_nats.url, "greet.*", stay_silent),
        ):
            waiting = asyncio.create_task(client.get("/greet/sue", headers={"x-request-timeout": "30s"}))
            await arrived.wait()
            assert (await other.get("/readyz")).status_code == 200
            gateway.process.send_signal(signal.SIGINT)
            await wait_until_not_ready(other)
            assert gateway.process.poll() is None
            started = time.monotonic()
            gateway.process.send_signal(signal.SIGINT)
            assert gateway.process.wait(PATIENCE) == 0
            assert time.monotonic() - started < 4  # the drain timeout is 10 s
            with contextlib.suppress(httpx.TransportError):  # it may still be told
                await waiting


async def test_a_worker_that_is_killed_is_replaced_and_all_go_with_a_killed_parent(
    tmp_path: Path, own_nats: NatsServer
) -> None:
    with run(serve("--workers", "2"), tmp_path / "log", NATS_URL=own_nats.url) as gateway:
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(2)
        before = find_children(gateway.process.pid, "worker")
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        gateway.find(r'"event":"(worker-ended)"')
        await eventually(lambda: len(find_children(gateway.process.pid, "worker")) == 2)
        wait_until_ready(url)
        children = find_children(gateway.process.pid, "worker")
        assert before[0] not in children
        gateway.process.kill()
        await eventually(lambda: not any(is_alive(pid) for pid in children))


async def test_a_worker_that_can_t_start_ends_the_gateway_with_1(tmp_path: Path, own_nats: NatsServer) -> None:
    with run(serve("--workers", "2"), tmp_path / "log", NATS_URL=own_nats.url) as gateway:

        def kill_newborn() -> bool:
            for pid in find_children(gateway.process.pid, "worker"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return gateway.process.poll() is not None

        await eventually(kill_newborn)
        assert gateway.process.wait() == 1
    assert gateway.log.splitlines()[-1].startswith("nats-http: a worker ended right after its start")


async def test_plain_uvicorn_serves_the_same_application(tmp_path: Path, own_nats: NatsServer) -> None:
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", "0"]
    with run(command, tmp_path / "log", NATS_URL=own_nats.url) as gateway:
        url = gateway.find(r"running on (http://[^ ]+)")
        wait_until_ready(url)
        async with (
            responder(own_nats.url, "greet.*", greet),
            httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client,
        ):
            assert (await client.get("/greet/sue")).json() == {"message": "hello, sue"}
            assert (await client.get("/greet/a.b")).status_code == 422
        assert gateway.stop() in (0, -signal.SIGTERM)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"GATEWAY_TIMEOUT": "soon"}, ["nats-http: GATEWAY_TIMEOUT 'soon': a duration is"]),
        ({"PORT": "http"}, ["nats-http: PORT 'http': "]),
        ({"NATS_URL": "http://user:s3cret@x"}, ["nats-http: NATS_URL: a NATS server is"]),
        ({"GATEWAY_TIMOUT": "2s"}, ["nats-http: GATEWAY_TIMOUT: unknown setting, did you mean GATEWAY_TIMEOUT?"]),
        (
            {"GATEWAY_MAX_BODY": "1MB", "GATEWAY_ACCESS_LOG": "perhaps"},
            ["nats-http: GATEWAY_MAX_BODY '1MB': a size is", "nats-http: GATEWAY_ACCESS_LOG 'perhaps': "],
        ),
    ],
    ids=str,
)
def test_a_wrong_setting_is_one_clear_line_each_and_exit_code_1(
    environment: dict[str, str], expected: list[str]
) -> None:
    for command in ("serve", "dev"):
        done = call(command, **environment)
        lines = done.stderr.splitlines()
        assert (done.returncode, len(lines)) == (1, len(expected))
        assert all(line.startswith(start) for line, start in zip(lines, expected, strict=True))
        assert "s3cret" not in done.stderr


@pytest.mark.parametrize("command", ["serve", "dev"])
@pytest.mark.parametrize(
    ("host", "reason"),
    [("127.0.0.1", "address already in use; choose another with"), ("192.0.2.1", "this machine does not have that")],
)
def test_an_address_that_can_t_be_had_is_one_clear_line_and_exit_code_1(command: str, host: str, reason: str) -> None:
    with bind("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        done = call(command, "--host", host, "--port", port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"nats-http: can't listen on {host} port {port}: {reason}")
    assert ("--port" in done.stderr) is (host == "127.0.0.1")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 64])
@pytest.mark.parametrize(("command", "source"), [("serve", "--host"), ("dev", "GATEWAY_HOST")])
def test_a_host_that_does_not_exist_is_told_by_where_it_was_given(command: str, source: str, host: str) -> None:
    options, environment = ([source, host], {}) if source.startswith("-") else ([], {source: host})
    done = call(command, *options, **environment)
    assert done.returncode == 1
    usual = "127.0.0.1 is for callers on this machine, 0.0.0.0 for all"
    assert done.stderr == f"nats-http: {source} '{host}': there is no such host; {usual}\n"


def is_refused(url: str) -> bool:
    try:
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=0.1).close()
    except OSError:
        return True
    return False


@pytest.mark.soak
async def test_a_second_signal_stops_workers_at_once(tmp_path: Path, own_nats: NatsServer) -> None:
    arrived = asyncio.Event()

    async def stay_silent(msg: Msg) -> None:
        arrived.set()

    with run(serve("--workers", "2"), tmp_path / "log", NATS_URL=own_nats.url) as gateway:
        url = gateway.find(ADDRESS)
        gateway.wait_for_connections(2)
        async with (
            httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client,
            responder(own_nats.url, "greet.*", stay_silent),
        ):
            waiting = asyncio.create_task(client.get("/greet/sue", headers={"x-request-timeout": "30s"}))
            await arrived.wait()
            gateway.process.send_signal(signal.SIGTERM)
            await eventually(lambda: is_refused(url))
            gateway.process.send_signal(signal.SIGTERM)
            assert gateway.process.wait(5) == 0
            with pytest.raises(httpx.TransportError):
                await waiting


async def test_a_log_that_nobody_reads_costs_no_request_and_no_reconnect(own_nats: NatsServer, port: int) -> None:
    """`nats-http serve 2>&1 | head`: stderr is a pipe whose reader has gone."""
    environment = clean_environment(NATS_URL=own_nats.url, GATEWAY_ACCESS_LOG="on", PORT=str(port))
    process = subprocess.Popen([*PROGRAM, "serve"], env=environment, stderr=subprocess.PIPE)
    assert process.stderr is not None
    process.stderr.close()
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(url)
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client:
            async with responder(own_nats.url, "greet.*", greet):
                assert (await client.get("/greet/sue")).json() == {"message": "hello, sue"}
            assert (await client.get("/greet/sue")).json()["type"] == "/problems/no-responders"
            own_nats.kill()
            await wait_until_not_ready(client)
            assert (await client.get("/greet/sue")).json()["type"] == "/problems/not-connected"
            own_nats.start()
            wait_until_ready(url)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()


async def test_readyz_says_why_a_server_refuses_us_and_not_the_password(tmp_path: Path, own_nats: NatsServer) -> None:
    own_nats.reload("authorization {user: someone, password: other}")
    variables = {"NATS_USER": "someone", "NATS_PASSWORD": "s3cret", "GATEWAY_HEALTH_DETAILS": "on"}
    with run(serve(), tmp_path / "log", NATS_URL=own_nats.url, **variables) as gateway:
        url = gateway.find(ADDRESS)
        while (
            "authorization violation"
            not in (answer := httpx.get(f"{url}/readyz", trust_env=False, verify=NO_TLS, timeout=PATIENCE)).text
        ):
            await asyncio.sleep(0.01)
        assert answer.status_code == 503
        assert "s3cret" not in answer.text
        refused = httpx.get(f"{url}/greet/sue", trust_env=False, verify=NO_TLS, timeout=PATIENCE)
        assert "s3cret" not in f"{refused.text} {refused.headers}"
        own_nats.reload("authorization {user: someone, password: s3cret}")
        wait_until_ready(url)
        assert gateway.stop() == 0
    assert "s3cret" not in gateway.log


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_two_route_files_are_one_clear_line(tmp_path: Path, command: str) -> None:
    done = call(command, "--port", "0", "a.yaml", GATEWAY_ROUTES="b.yaml")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "nats-http: a.yaml: GATEWAY_ROUTES names another route file, b.yaml: give one of the two\n"


@pytest.mark.parametrize("command", ["serve", "dev"])
def test_the_file_of_the_settings_may_be_named_again(tmp_path: Path, command: str) -> None:
    file = tmp_path / "routes.yaml"
    (tmp_path / "there").mkdir()
    file.write_text("version: 2\n")
    again = str(tmp_path / "there" / ".." / "routes.yaml")
    done = finish([*PROGRAM, command, "--port", "0", again], GATEWAY_ROUTES=str(file))
    assert (done.returncode, "routes.yaml:1:10: version:" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("workers", ["1", "2"])
def test_pages_that_ask_by_a_scheme_which_the_route_file_lacks_are_one_clear_line(workers: str) -> None:
    done = finish(serve("--workers", workers), GATEWAY_PAGES_AUTH="users")
    words = "GATEWAY_PAGES_AUTH 'users': no scheme of this name is under `auth` of the route file; it has no schemes"
    assert (done.returncode, done.stderr) == (1, f"nats-http: {words}\n")


@pytest.mark.parametrize("more", [(), pytest.param(("--workers", "2"), marks=pytest.mark.soak)])
def test_a_scheme_of_certificates_that_nobody_can_show_is_told_once_at_the_start(
    tmp_path: Path, own_nats: NatsServer, more: tuple[str, ...]
) -> None:
    routes = tmp_path / "routes.yaml"
    auth = "auth: {machines: {type: client-certificate}}\ndefaults: {auth: machines}"
    routes.write_text(f"version: 1\n{auth}\nroutes: [{{name: a, method: GET, path: /a, subject: a}}]\n")
    with run(serve(str(routes), *more), tmp_path / "log", NATS_URL=own_nats.url) as gateway:
        gateway.wait_for_connections(len(more) or 1)
        (line,) = [line for line in gateway.log.splitlines() if "no-client-certificates" in line]
        assert gateway.stop() == 0
    told = json.loads(line)
    assert (told["level"], told["schemes"]) == ("warning", ["machines"])
    assert told["reason"] == "neither GATEWAY_TLS_CLIENT_CA nor GATEWAY_TRUSTED_PROXIES is set"


def test_credentials_that_can_t_be_right_are_a_line_each_and_no_start(tmp_path: Path) -> None:
    (tmp_path / "user.nk").write_text("SUs3cret")
    variables = {"NATS_NKEY_SEED": str(tmp_path / "user.nk"), "NATS_TLS_CA": "/nowhere"}
    for command in ("serve", "dev"):
        done = call(command, **variables)
        assert done.returncode == 1
        lines = done.stderr.splitlines()
        assert [line.removeprefix("nats-http: ").partition(":")[0] for line in lines] == [
            "NATS_NKEY_SEED",
            "NATS_TLS_CA",
        ]
        assert "s3cret" not in done.stderr
