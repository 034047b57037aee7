"""`nats-http` whose stdin, stdout or stderr nobody reads, or that are closed at the start."""

import asyncio
import fcntl
import json
import os
import re
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import httpx
import pytest
from nats.aio.msg import Msg

from tests.harness import NO_TLS, PATIENCE, NatsServer, clean_environment, eventually, responder
from tests.process import programs
from tests.process.programs import PROGRAM, find_children, wait_until_ready

PIPE_SIZE = 4096  # bytes that the kernel keeps of a pipe, once it is made that small
BATCH = 50  # requests at a time
REQUEST_ID = "r" * 128  # long lines fill the queue sooner


@contextmanager
def start(command: list[str], **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program whose stdout and stderr are one small pipe, as with `2>&1 | sleep 1000`."""
    process = subprocess.Popen(
        command,
        env=clean_environment(**environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    try:
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


async def ask(port: int, count: int, start: str = "OPTIONS /greet/sue", status: int = 204) -> int:
    """How many of so many requests are answered. Each is a line of the log; of others, which fail, few are."""
    request = f"{start} HTTP/1.1\r\nHost: t\r\nX-Request-Id: {REQUEST_ID}\r\n\r\n".encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answered = 0
    try:
        for _ in range(count // BATCH):
            writer.write(request * BATCH)
            for _ in range(BATCH):
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE)
                match = re.search(rb"content-length: (\d+)", head)
                await reader.readexactly(int(match[1]) if match else 0)
                answered += head.startswith(b"HTTP/1.1 %d " % status)
    finally:
        writer.close()
    return answered


def read_events(stream: IO[bytes], events: list[dict[str, Any]]) -> None:
    events += (json.loads(line) for line in stream)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.soak)])
async def test_a_log_that_hangs_holds_up_no_request_and_no_stop(own_nats: NatsServer, port: int, workers: int) -> None:
    command = [*PROGRAM, "serve", "--workers", str(workers)]
    with start(command, NATS_URL=own_nats.url, GATEWAY_ACCESS_LOG="on", PORT=str(port)) as gateway:
        await eventually(lambda: workers == 1 or find_children(gateway.pid, "app.commands.worker"))
        wait_until_ready(f"http://127.0.0.1:{port}")
        assert await ask(port, 500) == 500  # more than the pipe takes
        assert await ask(port, 500, "GET /greet/sue", 503) == 500  # a storm
        assert (
            httpx.get(f"http://127.0.0.1:{port}/livez", trust_env=False, verify=NO_TLS, timeout=PATIENCE).status_code
            == 200
        )
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(PATIENCE) == 0


@pytest.mark.soak
async def test_a_log_that_goes_on_says_how_many_lines_are_missing(own_nats: NatsServer, port: int) -> None:
    total = 5000
    with start([*PROGRAM, "serve"], NATS_URL=own_nats.url, GATEWAY_ACCESS_LOG="on", PORT=str(port)) as gateway:
        wait_until_ready(f"http://127.0.0.1:{port}")
        assert await ask(port, total) == total
        events: list[dict[str, Any]] = []
        assert gateway.stdout is not None
        reading = threading.Thread(target=read_events, args=[gateway.stdout, events])
        reading.start()
        await eventually(lambda: any(event["event"] == "log-lines-dropped" for event in events))
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(PATIENCE) == 0
        reading.join()
    names = Counter(event["event"] for event in events if event.get("request_id", REQUEST_ID) == REQUEST_ID)
    [dropped] = [event for event in events if event["event"] == "log-lines-dropped"]
    assert dropped["level"] == "warning"
    assert 0 < dropped["count"] < total
    assert names["exchange"] + dropped["count"] == total
    assert (events[0]["event"], events[-1]["event"]) == ("listening", "stopped")


async def greet(msg: Msg) -> None:
    await msg.respond(b"hello, " + msg.subject[6:].encode())


@pytest.mark.parametrize(
    ("redirections", "arguments"),
    [
        ("2>&-", []),
        pytest.param("1>&-", [], marks=pytest.mark.soak),
        pytest.param("0<&-", [], marks=pytest.mark.soak),
        pytest.param("0<&- 1>&- 2>&-", ["--workers", "2"], marks=pytest.mark.soak),
    ],
    ids=["stderr", "stdout", "stdin", "all, with workers"],
)
async def test_serve_works_with_streams_that_are_closed_at_the_start(
    tmp_path: Path, own_nats: NatsServer, port: int, redirections: str, arguments: list[str]
) -> None:
    """And nothing else gets their numbers."""
    command = ["bash", "-c", f'exec "$@" {redirections}', "bash", *PROGRAM, "serve", *arguments]
    environment = clean_environment(NATS_URL=own_nats.url, PORT=str(port))
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{port}"
    try:
        await eventually(lambda: not arguments or find_children(process.pid, "app.commands.worker"))
        wait_until_ready(url)
        for pid in (process.pid, *find_children(process.pid, "app.commands.worker")):
            for number in re.findall(r"\d(?=[<>]&-)", redirections):
                target = str(Path(f"/proc/{pid}/fd/{number}").readlink())
                assert target == "/dev/null" or (pid != process.pid and number == "0")  # a worker's is its parent's
        async with (
            responder(own_nats.url, "greet.*", greet),
            httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client,
        ):
            while (answer := await client.get("/greet/sue")).status_code == 503:  # a worker that is not ready yet
                await asyncio.sleep(0.05)
            assert answer.json() == {"message": "hello, sue"}
        process.terminate()
        assert process.wait(PATIENCE) == 0
    finally:
        process.kill()
        process.wait()
    assert ('"event":"stopped"' in (tmp_path / "log").read_text()) == ("2>&-" not in redirections)


def test_a_wrong_setting_is_exit_code_1_though_stderr_is_closed() -> None:
    command = ["bash", "-c", 'exec "$@" 2>&-', "bash", *PROGRAM, "serve"]
    done = subprocess.run(command, env=clean_environment(GATEWAY_TIMEOUT="soon"), timeout=PATIENCE, check=False)
    assert done.returncode == 1


async def test_a_banner_that_nobody_reads_does_not_hold_up_dev(own_nats: NatsServer, port: int) -> None:
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    os.write(writer, b"x" * PIPE_SIZE)  # there is no room for the banner
    url = f"http://127.0.0.1:{port}"
    environment = clean_environment(NATS_URL=own_nats.url, PORT=str(port))
    with Path(os.devnull).open("wb") as nothing:
        dev = programs.start([*PROGRAM, "dev", "--examples"], environment, writer, nothing.fileno())
    os.close(writer)
    try:
        wait_until_ready(url)
        async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client:
            for path in ("/greet/sue", "/notes"):
                while (await client.get(path)).status_code != 200:
                    await asyncio.sleep(0.05)
            for _ in range(20):  # the banner comes as soon as both answer
                assert (await client.get("/greet/sue")).status_code == 200
                await asyncio.sleep(0.05)
        assert os.read(reader, PIPE_SIZE) == b"x" * PIPE_SIZE
        assert b"try: curl" in os.read(reader, PIPE_SIZE)
        dev.terminate()
        assert dev.wait(PATIENCE) == 0
    finally:
        dev.kill()
        dev.wait()
        os.close(reader)
