"""`nats-http top`, as it is typed, beside a real gateway."""

import asyncio
import contextlib
import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.routefile.load import load_route_file
from tests.certificates import Authority
from tests.harness import (
    Gateway,
    NatsServer,
    clean_environment,
    eventually,
    replying,
    reserve_port,
    responder,
    run_gateway,
)
from tests.process.programs import PROGRAM, finish, run, wait_until_ready

ROUTES = """\
version: 1
auth: {partners: {type: api-key, header: X-API-Key, file: keys.yaml}}
defaults: {auth: none}
routes:
  - {name: good, method: GET, path: /good, subject: top.good}
  - {name: nobody, method: GET, path: /nobody, subject: top.nobody}
"""
KEYS = """\
version: 1
keys:
  - {name: me, sha256: 2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b}
"""  # of the key "secret"
ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
HOME = b"\x1b[H"
ANSI = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]")


@contextlib.asynccontextmanager
async def serve(nats: NatsServer, folder: Path, **settings: Any) -> AsyncIterator[Gateway]:
    path = folder / "routes.yaml"
    path.write_text(ROUTES)
    (folder / "keys.yaml").write_text(KEYS)
    async with (
        responder(nats.url, "top.good", replying(b"x")),
        run_gateway(nats.url, routes=load_route_file(path), **settings) as gateway,
    ):
        yield gateway


@contextlib.asynccontextmanager
async def loading(gateway: Gateway) -> AsyncIterator[None]:
    """Requests all the time: two of three find somebody."""

    async def ask() -> None:
        while True:
            for path in ("/good", "/good", "/nobody"):
                await gateway.get(path)
            await asyncio.sleep(0.02)  # this process has more to do

    task = asyncio.create_task(ask())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(finish, [*PROGRAM, "top", *arguments], **environment)


async def test_once_prints_a_plain_table_with_the_worst_route_first(shared_nats: NatsServer, tmp_path: Path) -> None:
    async with serve(shared_nats, tmp_path) as gateway, loading(gateway):
        done = await call("--once", "--interval", "0.5", PORT=str(gateway.port))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("NATS up   round trip ")
    rows = [line.split() for line in lines if line.startswith(("nobody", "good"))]
    assert [row[0] for row in rows] == ["nobody", "good"]
    assert (rows[0][2], rows[0][-1], rows[1][2]) == ("100.0%", "no-responders", "0.0%")
    assert float(rows[1][1]) > float(rows[0][1]) > 0
    assert "\x1b" not in done.stdout


async def test_json_has_the_same(shared_nats: NatsServer, tmp_path: Path) -> None:
    async with serve(shared_nats, tmp_path) as gateway, loading(gateway):
        done = await call("--once", "--json", "--interval", "0.5", gateway.url)
    view = json.loads(done.stdout)
    assert [row["route"] for row in view["routes"] if row["route"]] == ["nobody", "good"]
    assert view["nats_connected"] is True
    assert view["in_flight_limit"] == 4096
    assert view["memory"] > 0


async def test_it_reads_metrics_that_have_an_address_of_their_own(own_nats: NatsServer, tmp_path: Path) -> None:
    with reserve_port() as port:
        place = {"GATEWAY_METRICS_ADDRESS": f"127.0.0.1:{port}"}
        with run([*PROGRAM, "serve", "--port", "0"], tmp_path / "log", NATS_URL=own_nats.url, **place) as gateway:
            main = gateway.find(r'"address":"(http://[^"]+)"')
            wait_until_ready(main)
            done = await call("--once", "--interval", "0.5", **place)
            assert (done.returncode, done.stderr) == (0, "")
            refused = await call("--once", main)
            assert refused.returncode == 1
            assert f"{main}/metrics: 404: there are no metrics: GATEWAY_METRICS_ADDRESS may" in refused.stderr


async def test_it_shows_a_key_where_the_gateway_asks_for_one(shared_nats: NatsServer, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret\n")
    async with serve(shared_nats, tmp_path, pages_auth="partners") as gateway:
        refused = await call("--once", gateway.url)
        assert refused.returncode == 1
        assert refused.stderr.startswith(f"nats-http: {gateway.url}/metrics: 401: this gateway asks who may see")
        assert "--key" in refused.stderr
        for shown in (["--key", "secret"], ["--key", f"@{tmp_path / 'key'}"], ["-H", "X-API-Key: secret"]):
            assert (await call("--once", "--interval", "0.5", *shown, gateway.url)).returncode == 0
        wrong = await call("--once", "--key", "hush\nhush", gateway.url)
        assert wrong.returncode == 1
        assert "hush" not in wrong.stderr


async def test_each_way_to_fail_is_one_line_that_says_what_to_do(shared_nats: NatsServer, tmp_path: Path) -> None:
    async with serve(shared_nats, tmp_path) as gateway:
        url = gateway.url
        other = await call("--once", f"{url}/livez")
        assert (
            other.stderr == f"nats-http: {url}/livez: these are not the metrics of a gateway, whose path is /metrics\n"
        )
    nobody = await call("--once", url)
    assert nobody.stderr == f"nats-http: {url}/metrics: no gateway answers there: Connection refused\n"
    off = await call("--once", GATEWAY_METRICS_ADDRESS="off")
    assert off.stderr == "nats-http: GATEWAY_METRICS_ADDRESS=off: a gateway with these settings serves no metrics\n"
    nonsense = await call("--once", "http://[::1")
    assert nonsense.stderr == "nats-http: http://[::1: give the URL of a gateway, such as http://127.0.0.1:8000\n"
    no_http = await call("--once", shared_nats.url.replace("nats:", "http:"))
    assert no_http.stderr.count("\n") == 1
    assert {done.returncode for done in (other, nobody, off, nonsense, no_http)} == {1}


async def test_the_certificate_of_this_machine_may_be_for_another_name(shared_nats: NatsServer, tmp_path: Path) -> None:
    files = Authority(tmp_path).write()
    environment = {f"GATEWAY_{name.upper()}": str(path) for name, path in files.items()}
    with run([*PROGRAM, "serve", "--port", "0"], tmp_path / "log", NATS_URL=shared_nats.url, **environment) as gateway:
        port = gateway.find(r'"address":"https://[^"]+:(\d+)"')
        gateway.find(r'("event":"connected")')
        done = await call("--once", "--interval", "0.5", PORT=port, **environment)
        assert (done.returncode, done.stderr) == (0, "")
        strict = await call("--once", f"https://127.0.0.1:{port}")
        assert (strict.returncode, strict.stderr.count("\n")) == (1, 1)
        assert "certificate" in strict.stderr
        plain = await call("--once", f"http://127.0.0.1:{port}")
        assert "400: it may speak HTTPS" in plain.stderr


class Terminal:
    """`nats-http top` in a terminal of 80 columns and 24 lines."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.modes = termios.tcgetattr(theirs)
        self._theirs = theirs
        self.shown = b""
        values = clean_environment(**{"TERM": "xterm", **environment})
        command = [*PROGRAM, "top", "--interval", "0.5", *arguments]
        self.process = subprocess.Popen(
            [sys.executable, "-c", LOGIN, *command], env=values, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.set_blocking(self.ours, False)

    def read(self) -> bytes:
        """All that it has written so far."""
        with contextlib.suppress(BlockingIOError, OSError):
            while piece := os.read(self.ours, 65536):
                self.shown += piece
        return self.shown

    async def wait_for(self, text: bytes) -> None:
        await eventually(lambda: text in self.read())

    async def wait(self) -> int:
        await eventually(lambda: self.read() is not None and self.process.poll() is not None)
        self.read()
        return self.process.wait()

    @property
    def is_restored(self) -> bool:
        return self.shown.count(ENTER) == self.shown.count(LEAVE) == 1 and termios.tcgetattr(self._theirs) == self.modes

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self._theirs)


# The terminal becomes that of the program, so that Ctrl-C reaches it.
LOGIN = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


@contextlib.contextmanager
def open_terminal(*arguments: str, **environment: str) -> Iterator[Terminal]:
    terminal = Terminal(*arguments, **environment)
    try:
        yield terminal
    finally:
        terminal.close()


@pytest.mark.parametrize(
    "end", ["q", pytest.param("Q", marks=pytest.mark.soak), "Ctrl-C", pytest.param("SIGTERM", marks=pytest.mark.soak)]
)
async def test_in_a_terminal_it_is_live_and_leaves_the_terminal_as_it_was(
    shared_nats: NatsServer, tmp_path: Path, end: str
) -> None:
    async with serve(shared_nats, tmp_path) as gateway, loading(gateway):
        with open_terminal(gateway.url) as terminal:
            await terminal.wait_for(b"Measuring")
            await terminal.wait_for(b"no-responders")
            seen = terminal.shown.count(b"ROUTE")
            await eventually(lambda: terminal.read().count(b"ROUTE") > seen)
            if end == "SIGTERM":
                terminal.process.send_signal(signal.SIGTERM)
            else:
                terminal.type(b"\x03" if end == "Ctrl-C" else end.encode())
            assert await terminal.wait() == 0
            assert terminal.is_restored
            frames = terminal.shown.replace(HOME, b"\n")
            lines = ANSI.sub(b"", frames).decode().splitlines()
            assert max(map(len, lines)) <= 80
            assert b"Traceback" not in terminal.shown


async def test_a_gateway_that_restarts_is_shown_as_away_and_then_again(own_nats: NatsServer, tmp_path: Path) -> None:
    command, log = [*PROGRAM, "serve"], tmp_path / "log"
    with run([*command, "--port", "0"], log, NATS_URL=own_nats.url) as gateway:
        url = gateway.find(r'"address":"(http://[^"]+)"')
        wait_until_ready(url)
        with open_terminal(url) as terminal:
            await terminal.wait_for(b"NATS up")
            assert gateway.stop() == 0
            await terminal.wait_for(b"no gateway answers there")
            before = terminal.read().count(b"NATS up")
            with run([*command, "--port", url.rpartition(":")[2]], log, NATS_URL=own_nats.url):
                await eventually(lambda: terminal.read().count(b"NATS up") > before)
                terminal.type(b"q")
                assert await terminal.wait() == 0


@pytest.mark.parametrize(
    "more", [{"TERM": "dumb"}, pytest.param({"TERM": "xterm", "NO_COLOR": "1"}, marks=pytest.mark.soak)], ids=str
)
async def test_a_terminal_that_can_do_less_gets_less(
    shared_nats: NatsServer, tmp_path: Path, more: dict[str, Any]
) -> None:
    async with serve(shared_nats, tmp_path) as gateway, loading(gateway):
        with open_terminal(gateway.url, **more) as terminal:
            await terminal.wait_for(b"no-responders")
            if more["TERM"] == "dumb":
                assert b"\x1b" not in terminal.shown
            else:
                assert not re.search(rb"\x1b\[[0-9;]*3[0-9]m", terminal.shown)


async def test_without_a_terminal_it_prints_a_table_after_each_interval(
    shared_nats: NatsServer, tmp_path: Path
) -> None:
    async with serve(shared_nats, tmp_path) as gateway, loading(gateway):
        for arguments, mark in (((), "NATS up"), (("--json",), '{"seconds"')):
            command = [*PROGRAM, "top", "--interval", "0.5", *arguments, gateway.url]
            with run(command, tmp_path / f"log{len(arguments)}", PYTHONUNBUFFERED="") as printing:
                await eventually(lambda: printing.log.count(mark) >= 2)  # noqa: B023 - it is over before the next one
                assert "\x1b" not in printing.log
                printing.process.send_signal(signal.SIGINT)
                assert await asyncio.to_thread(printing.process.wait, 20) == 0
