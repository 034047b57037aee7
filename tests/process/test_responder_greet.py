"""`python -m responders.greet` and the life cycle under it, as real processes on a real nats-server."""

import asyncio
import json
import os
import signal
import socket
import sys
import sysconfig
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from urllib.parse import urlsplit

import nats
import pytest
from nats.aio.client import Client
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

from tests.harness import PATIENCE, reserve_port
from tests.process import programs

GREET = ("-m", "responders.greet")
SHORT = 8.0  # seconds of a stop; one that waits for what can't come takes 10 or more
RUN = """
import asyncio
from responders import _lifecycle
from responders._lifecycle import Endpoint, run
{body}
run(name="sample", version="0.1.0", description="A test.", endpoints=[Endpoint("sample", "sample.*", answer)])
"""


class Process:
    """A process whose output is in a file, so that it can be read at any time."""

    def __init__(self, command: list[str], log: Path, **variables: str) -> None:
        environment = {k: v for k, v in os.environ.items() if k not in ("NATS_URL", "GREET_DELAY")}
        with log.open("wb") as output:
            self.popen = programs.start(command, environment | variables, output.fileno(), output.fileno())
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def logs(self, text: str) -> None:
        await until(lambda: text in self.log, lambda: self.log)

    async def ends(self) -> int:
        await until(lambda: self.popen.poll() is not None, lambda: self.log)
        return self.popen.wait()

    def logged_at(self, text: str) -> datetime:
        line = next(line for line in self.log.splitlines() if text in line)
        return datetime.fromisoformat(line[:23].replace(",", "."))

    @property
    def stop_took(self) -> float:
        """Seconds from the signal until it was done, by its own log."""
        return (self.logged_at("stopped") - self.logged_at("stopping")).total_seconds()

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait()


class NatsServer(Process):
    """A nats-server on 127.0.0.1; with `port` on that one, else on a free one."""

    def __init__(self, folder: Path, *options: str, port: int = -1) -> None:
        folder.mkdir(exist_ok=True)
        binary = str(Path(sysconfig.get_path("scripts"), "nats-server"))
        command = [binary, "-a", "127.0.0.1", "-p", str(port), "--ports_file_dir", str(folder), *options]
        super().__init__(command, folder / "log")
        self._ports = folder / f"nats-server_{self.popen.pid}.ports"

    async def url(self, credentials: str = "") -> str:
        await until(lambda: self._ports.exists() and self._ports.stat().st_size > 0, lambda: self.log)
        address = urlsplit(json.loads(self._ports.read_text())["nats"][0])
        return f"nats://{credentials}127.0.0.1:{address.port}"


async def until(holds: Callable[[], bool], explain: Callable[[], str] = str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, explain()
        await asyncio.sleep(0.01)


Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts python with arguments; what still runs at the end is killed."""
    processes: list[Process] = []

    def start(url: str, *arguments: str, **variables: str) -> Process:
        log = tmp_path / f"python-{len(processes)}.log"
        processes.append(Process([sys.executable, *arguments], log, NATS_URL=url, **variables))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with reserve_port() as port:
        server = NatsServer(tmp_path / "nats", port=port)
        yield server
        server.kill()


@pytest.fixture
async def nc(server: NatsServer) -> AsyncIterator[Client]:
    nc = await nats.connect(await server.url(), reconnect_time_wait=0, max_reconnect_attempts=-1)
    yield nc
    await nc.close()


async def ask(nc: Client, subject: str = "greet.sue", timeout: float = PATIENCE) -> bytes:
    return (await nc.request(subject, timeout=timeout)).data


async def ask_until_answered(nc: Client, name: bytes = b"sue") -> None:
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                assert await ask(nc, f"greet.{name.decode()}", timeout=0.2) == b"hello, " + name
                return
            except (NoRespondersError, NatsTimeoutError):
                await asyncio.sleep(0.02)


async def hand_over(nc: Client, subject: str, count: int = 1) -> None:
    """Publishes requests, and returns when the responder runs so many."""
    for _ in range(count):
        await nc.publish(subject, reply="nowhere")
    await runs(nc, subject.partition(".")[0], count)


async def runs(nc: Client, name: str, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while json.loads(await ask(nc, f"$SRV.STATS.{name}"))["endpoints"][0]["num_requests"] < count:
            await asyncio.sleep(0.01)


async def started(server: NatsServer, start: Start, *arguments: str) -> Process:
    responder = start(await server.url(), *(arguments or GREET))
    await responder.logs("connected")
    return responder


def script(body: str) -> tuple[str, str]:
    return "-c", RUN.format(body=body)


@pytest.fixture
def other_port() -> Iterator[int]:
    with reserve_port() as port:
        yield port


async def test_request_is_answered_with_hello_as_plain_text(server: NatsServer, nc: Client, start: Start) -> None:
    await started(server, start)
    for name in ("sue", "José", "王"):
        reply = await nc.request(f"greet.{name}", b"ignored", timeout=PATIENCE)
        assert (reply.data.decode(), reply.headers) == (f"hello, {name}", None)
    with pytest.raises(NoRespondersError):
        await nc.request("greet.sue.ann", timeout=PATIENCE)


async def test_service_tells_ping_info_and_true_stats(server: NatsServer, nc: Client, start: Start) -> None:
    await started(server, start, *GREET, "--delay", "0.1")
    await ask(nc)
    ping, info, stats = [json.loads(await ask(nc, f"$SRV.{verb}.greet")) for verb in ("PING", "INFO", "STATS")]
    assert json.loads(await ask(nc, f"$SRV.PING.greet.{ping['id']}")) == ping
    assert (ping["type"], ping["name"], ping["version"]) == ("io.nats.micro.v1.ping_response", "greet", "1.0.0")
    assert info["description"]
    endpoint = {"name": "greet", "subject": "greet.*", "queue_group": "greet"}
    assert [e | endpoint for e in info["endpoints"]] == info["endpoints"]
    counted = stats["endpoints"][0]
    assert (counted["num_requests"], counted["num_errors"], counted["processing_time"] >= 1e8) == (1, 0, True)


@pytest.mark.parametrize(
    ("arguments", "variables"), [(("--delay", "0.3"), {"GREET_DELAY": "60"}), ((), {"GREET_DELAY": "0.3"})]
)
async def test_delay_is_kept_and_requests_run_at_the_same_time(
    server: NatsServer, nc: Client, start: Start, arguments: tuple[str, ...], variables: dict[str, str]
) -> None:
    responder = start(await server.url(), *GREET, *arguments, **variables)
    await responder.logs("connected")
    begun = time.monotonic()
    await asyncio.gather(*(ask(nc) for _ in range(40)))
    assert 0.3 <= time.monotonic() - begun < 3


async def test_further_requests_wait_until_one_of_those_that_may_run_ends(
    server: NatsServer, nc: Client, start: Start
) -> None:
    body = """
_lifecycle.MAX_RUNNING = 3
running = []
async def answer(request):
    running.append(request)
    seen = len(running)
    await asyncio.sleep(0.02)
    running.pop()
    return str(seen).encode()
"""
    await started(server, start, *script(body))
    seen = await asyncio.gather(*(ask(nc, "sample.a") for _ in range(20)))
    assert max(seen) == b"3"


async def test_a_request_whose_caller_waits_no_more_is_dropped_when_its_turn_comes(
    server: NatsServer, nc: Client, start: Start
) -> None:
    body = """
_lifecycle.MAX_RUNNING = 1
seen = []
async def answer(request):
    seen.append(request.data.decode())
    await asyncio.sleep(0.1)
    return " ".join(seen).encode()
"""
    responder = await started(server, start, *script(body))
    late, patient, odd = ({"X-Request-Timeout": value} for value in ("1", "60000", "1s"))
    for headers, payload in ((patient, b"first"), (late, b"late"), (patient, b"patient"), (odd, b"odd")):
        await nc.publish("sample.a", payload, reply=nc.new_inbox(), headers=headers)
    last = await nc.request("sample.a", b"last", timeout=PATIENCE)
    assert last.data == b"first patient odd last"
    await responder.logs("request dropped reason=its caller waits no more")


@pytest.mark.parametrize(
    ("arguments", "variables", "named"),
    [
        *((("--delay", value), {}, "--delay") for value in ("soon", "-1", "nan", "inf", "")),
        ((), {"GREET_DELAY": "soon"}, "GREET_DELAY"),
        (("--colour", "red"), {}, "--colour"),
        *(((), {"NATS_URL": value}, "NATS_URL") for value in ("http://h:1", ",", "nats://", "nats://u:sec/ret@h")),
        *(((), {name: "/sec/ret"}, name) for name in ("NATS_CREDS", "NATS_NKEY_SEED", "NATS_TLS_CA")),
    ],
)
async def test_bad_value_is_one_line_that_names_it_and_exit_2(
    start: Start, arguments: tuple[str, ...], variables: dict[str, str], named: str
) -> None:
    responder = start(variables.pop("NATS_URL", "nats://127.0.0.1:1"), *GREET, *arguments, **variables)
    assert await responder.ends() == 2
    assert responder.log.startswith("responders.greet: error: ")
    assert responder.log.count("\n") == 1
    assert named in responder.log
    assert "ret" not in responder.log.replace("responders.greet", "")


async def test_message_without_reply_subject_is_ignored(server: NatsServer, nc: Client, start: Start) -> None:
    responder = await started(server, start)
    await nc.publish("greet.sue", b"")
    assert await ask(nc) == b"hello, sue"
    stats = json.loads(await ask(nc, "$SRV.STATS.greet"))["endpoints"][0]
    assert (stats["num_requests"], stats["num_errors"]) == (1, 0)
    assert responder.log.count("\n") == 1


@pytest.mark.parametrize("failure", ["raise KeyError('s3cret')", "return b'x' * (2 << 20)", "return 's3cret'"])
async def test_failing_handler_is_answered_500_with_a_fixed_text_and_logged(
    server: NatsServer, nc: Client, start: Start, failure: str
) -> None:
    body = f"async def answer(request):\n    if request.subject == 'sample.bad':\n        {failure}\n    return b'fine'"
    responder = await started(server, start, *script(body))
    reply = await nc.request("sample.bad", timeout=PATIENCE)
    assert reply.data == b""
    assert reply.headers == {"Nats-Service-Error": "internal error", "Nats-Service-Error-Code": "500"}
    assert await ask(nc, "sample.good") == b"fine"
    assert "handler failed subject='sample.bad'" in responder.log
    stats = await ask(nc, "$SRV.STATS.sample")
    assert b"s3cret" not in stats
    assert json.loads(stats)["endpoints"][0]["num_errors"] == 1


async def test_service_error_of_a_handler_goes_to_the_caller_as_it_stands(
    server: NatsServer, nc: Client, start: Start
) -> None:
    body = "async def answer(request): raise _lifecycle.ServiceError('404', 'no such sample')"
    await started(server, start, *script(body))
    reply = await nc.request("sample.a", timeout=PATIENCE)
    assert reply.headers == {"Nats-Service-Error": "no such sample", "Nats-Service-Error-Code": "404"}


async def test_responder_waits_for_nats_at_start_and_says_so_seldom(
    tmp_path: Path, start: Start, port: int, other_port: int
) -> None:
    responder = start(f"nats://127.0.0.1:{other_port}, nats://sue:s3cret@127.0.0.1:{port}", *GREET)
    await responder.logs("connection trouble")
    await asyncio.sleep(2.5)
    assert 2 <= responder.log.count("\n") <= 4, responder.log
    server = NatsServer(tmp_path / "late", port=port)
    try:
        await responder.logs(f"connected server=127.0.0.1:{port}\n")
        async with await nats.connect(await server.url()) as nc:
            assert await ask(nc) == b"hello, sue"
    finally:
        server.kill()
    assert "s3cret" not in responder.log


async def test_attempts_to_connect_are_a_second_apart_at_most_and_spread(start: Start) -> None:
    attempts: list[float] = []

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(time.monotonic())
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as listener:
        start(f"nats://127.0.0.1:{listener.sockets[0].getsockname()[1]}", *GREET)
        await until(lambda: len(attempts) >= 6)
    gaps = sorted(after - before for before, after in pairwise(attempts[:6]))
    assert gaps[1] > 0.4  # one that is noted late makes the next gap short
    assert gaps[2] < 1.2
    assert gaps[-1] - gaps[0] > 0.01


async def test_responder_reconnects_when_the_server_comes_back(tmp_path: Path, start: Start, port: int) -> None:
    first = NatsServer(tmp_path / "first", port=port)
    responder = await started(first, start)
    first.kill()
    await responder.logs("disconnected")
    await asyncio.sleep(1.5)
    second = NatsServer(tmp_path / "second", port=port)
    try:
        await responder.logs(f"reconnected server=127.0.0.1:{port}")
        async with await nats.connect(await second.url()) as nc:
            assert await ask(nc) == b"hello, sue"
    finally:
        second.kill()
    assert "Traceback" not in responder.log
    assert responder.log.count("\n") <= 6, responder.log


async def test_client_that_closed_for_good_is_replaced(tmp_path: Path, start: Start) -> None:
    config = tmp_path / "nats.conf"
    config.write_text("max_payload: 100")
    server = NatsServer(tmp_path / "nats", "-c", str(config))
    try:
        responder = await started(server, start)
        config.write_text("max_payload: 10")
        server.popen.send_signal(signal.SIGHUP)
        await until(lambda: "Reloaded server configuration" in server.log)
        async with await nats.connect(await server.url()) as nc:
            await nc.publish("greet.elisabeth", reply="nowhere")
            await responder.logs("connection given up reason=nats: maximum payload violation")
            await ask_until_answered(nc, b"ann")
    finally:
        server.kill()
    assert "Traceback" not in responder.log


POISON = {
    "subject": b"PUB greet.\xff\xfe nowhere 0\r\n\r\n",
    "reply": b"PUB greet.sue \xff\xfe 0\r\n\r\n",
    "header-block": b"HPUB greet.sue nowhere 8 8\r\nNATS/1.0\r\n",
    "header-status": b"HPUB greet.sue nowhere 16 16\r\nNATS/1.0 \xff\xff\xff\r\n\r\n\r\n",
    "form-feed": b"PUB greet.a\x0cb 0\r\n\r\n",
}


@pytest.mark.parametrize("poison", POISON)
async def test_bytes_that_nats_py_cannot_read_stop_nothing(
    server: NatsServer, nc: Client, start: Start, poison: str
) -> None:
    responder = await started(server, start)
    address = urlsplit(await server.url())
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as raw:
        raw.sendall(b'CONNECT {"verbose":false,"headers":true}\r\n' + POISON[poison] * 3 + b"PING\r\n")
        received = b""
        while b"PONG\r\n" not in received:
            received += raw.recv(65536)
        assert b"-ERR" not in received
    # A form feed splits the subject for nats-py's parser: it leaves the connection, and comes back.
    leaves = poison == "form-feed"
    await responder.logs("reconnected" if leaves else "connection trouble")
    await ask_until_answered(nc)
    assert ("reconnected" in responder.log) == leaves, responder.log
    if leaves:
        assert responder.logged_at("reconnected") - responder.logged_at("disconnected") < timedelta(seconds=1.9)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stop_answers_all_that_was_taken(
    server: NatsServer, nc: Client, start: Start, number: signal.Signals
) -> None:
    responder = await started(server, start, *GREET, "--delay", "0.5")
    # More than may run at once: some run, the others are in the queue.
    asked = [asyncio.create_task(ask(nc)) for _ in range(600)]
    await asyncio.sleep(0)
    await runs(nc, "greet", 256)
    responder.popen.send_signal(number)
    assert await asyncio.gather(*asked) == [b"hello, sue"] * 600
    assert await responder.ends() == 0
    assert [line.split("greet: ")[1].split("=")[0] for line in responder.log.splitlines()] == [
        "connected server",
        "stopping",
        "stopped unanswered",
    ]
    assert "unanswered=0" in responder.log
    with pytest.raises(NoRespondersError):
        await ask(nc)


@asynccontextmanager
async def slow_unsubscribing(server: NatsServer, seconds: float) -> AsyncIterator[str]:
    """The address of a way to the server on which an UNSUB, and what follows it, needs so much longer."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            before, unsubscribe, after = data.partition(b"UNSUB")
            writer.write(before)
            if unsubscribe:
                await asyncio.sleep(seconds)
                writer.write(unsubscribe + after)
        writer.close()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address = urlsplit(await server.url())
        server_reader, server_writer = await asyncio.open_connection(address.hostname, address.port)
        await asyncio.gather(forward(reader, server_writer), forward(server_reader, writer))

    async with await asyncio.start_server(connect, "127.0.0.1", 0) as listener:
        yield f"nats://127.0.0.1:{listener.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("seconds", [0, 0.3])
async def test_requests_go_to_the_others_while_one_stops(
    server: NatsServer, nc: Client, start: Start, seconds: float
) -> None:
    answered: list[bytes] = []
    enough = asyncio.Event()

    async def keep_asking() -> None:
        while not enough.is_set():
            answered.append(await ask(nc, timeout=PATIENCE))

    async with slow_unsubscribing(server, seconds) as url:
        leaving = start(url, *GREET, "--delay", "0.05")
        await leaving.logs("connected")
        await started(server, start, *GREET, "--delay", "0.05")
        async with asyncio.TaskGroup() as requesters:
            for _ in range(50):
                requesters.create_task(keep_asking())
            await asyncio.sleep(0.3)
            leaving.popen.terminate()
            assert await leaving.ends() == 0
            before = len(answered)
            await until(lambda: len(answered) > before + 50)
            enough.set()
    assert set(answered) == {b"hello, sue"}


@pytest.mark.parametrize("away", ["never-there", "killed", "frozen"])
async def test_stop_without_server_is_short_and_exits_0(server: NatsServer, start: Start, away: str, port: int) -> None:
    responder = start(f"nats://127.0.0.1:{port}" if away == "never-there" else await server.url(), *GREET)
    await responder.logs("connection trouble" if away == "never-there" else "connected")
    server.popen.send_signal(signal.SIGSTOP if away == "frozen" else signal.SIGKILL)
    await asyncio.sleep(0.1)
    responder.popen.terminate()
    assert await responder.ends() == 0
    assert "stopped unanswered=0" in responder.log
    assert responder.stop_took < SHORT
    assert "Traceback" not in responder.log


async def test_stop_gives_up_on_handlers_that_do_not_end(server: NatsServer, nc: Client, start: Start) -> None:
    body = "_lifecycle.STOP_SECONDS = 0.5\nasync def answer(request): await asyncio.sleep(60)"
    responder = await started(server, start, *script(body))
    await hand_over(nc, "sample.a")
    responder.popen.terminate()
    assert await responder.ends() == 0
    assert "stopped unanswered=1" in responder.log
    assert responder.stop_took < SHORT
    assert "Traceback" not in responder.log


BIG = """
from responders import _client
_lifecycle.STOP_SECONDS = _client.PATIENCE_SECONDS = 0.5
_client.MAX_UNANSWERED_PINGS = 1
async def answer(request):
    await asyncio.sleep(0.3)
    return bytes(1 << 20)
"""


async def freeze_with_unsent_replies(server: NatsServer) -> None:
    async with await nats.connect(await server.url()) as nc:
        await hand_over(nc, "sample.a", 40)
        server.popen.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.3)


async def test_stop_does_not_hang_on_replies_that_a_frozen_server_does_not_take(
    server: NatsServer, start: Start
) -> None:
    responder = await started(server, start, *script(BIG))
    await freeze_with_unsent_replies(server)
    responder.popen.terminate()
    assert await responder.ends() == 0
    assert responder.stop_took < SHORT
    assert "Traceback" not in responder.log


async def test_server_that_froze_with_unsent_replies_is_left_for_another(
    tmp_path: Path, server: NatsServer, start: Start, port: int
) -> None:
    responder = start(f"{await server.url()},nats://127.0.0.1:{port}", *script(BIG))
    await responder.logs("connected")
    other = NatsServer(tmp_path / "other", port=port)
    try:
        await freeze_with_unsent_replies(server)
        await responder.logs(f"connected server=127.0.0.1:{port}")
        async with await nats.connect(await other.url()) as nc:
            assert len(await ask(nc, "sample.a")) == 1 << 20
    finally:
        other.kill()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
async def test_second_signal_ends_at_once(server: NatsServer, nc: Client, start: Start, second: signal.Signals) -> None:
    responder = await started(server, start, *GREET, "--delay", "60")
    await hand_over(nc, "greet.sue")
    responder.popen.terminate()
    await responder.logs("stopping")
    await asyncio.sleep(0.2)
    assert responder.popen.poll() is None
    responder.popen.send_signal(second)
    assert await responder.ends() == 128 + second
