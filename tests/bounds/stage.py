"""The gateway that is attacked: a real process before a real nats-server, with services behind it."""

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

from app.http.lane import LaneName
from tests.bounds.attacks import ROUTES, Attack
from tests.bounds.bystander import Question, get
from tests.bounds.credentials import write_files
from tests.bounds.memory import MIB, find_family, measure
from tests.bounds.processes import make_event, start
from tests.bounds.services import lie, tell_keys_once
from tests.certificates import Authority
from tests.harness import PATIENCE, reserve_port
from tests.pace import SLOWNESS
from tests.process.programs import PROGRAM, Process, run

LISTENS, NOBODY_S = "0A", "0"  # a state, and an inode
SOON = 10.0 * SLOWNESS  # seconds in which a gateway is well again after an attack
SPARE = 16 * MIB  # bytes that a gateway may have grown by and be attacked again


@dataclass(frozen=True, slots=True)
class Gateway:
    """`size` is that of its memory before any attack; `go` begins one."""

    process: Process
    port: int
    routes: Path
    go: Event
    size: int
    speaks_tls: bool

    @property
    def pid(self) -> int:
        return self.process.process.pid

    @property
    def is_alive(self) -> bool:
        return self.process.process.poll() is None

    def find_troubles(self, attack: Attack) -> list[str]:
        """What is not well with it soon after an attack."""
        end = time.monotonic() + SOON
        while (troubles := self._look(attack)) and self.is_alive and time.monotonic() < end:
            time.sleep(0.05)
        return troubles or self._stop(attack)

    def _stop(self, attack: Attack) -> list[str]:
        """Where its signals or its log were part of the attack: whether it stops as it should."""
        if not (attack.acts or attack.fills_pipe):
            return []
        try:
            code = self.process.stop()
        except subprocess.TimeoutExpired:
            return ["it does not stop"]
        return [f"it stops with {code}"] if code else []

    def _look(self, attack: Attack) -> list[str]:
        if not self.is_alive:
            return [f"the gateway has ended with {self.process.process.returncode}"]
        connections = count_connections(self.port)  # first, since what is asked now takes some as well
        try:
            healthy, (_, details), answer = self._ask("/livez"), self._get("/healthz"), self._ask("/greet/sue")
        except (OSError, ValueError) as error:
            return [f"afterwards: {type(error).__name__}"]
        in_flight = json.loads(details)["in_flight"]
        troubles = {
            f"afterwards /livez is {healthy}": healthy != 200,
            f"afterwards a route is {answer}": answer not in ((503, 504) if attack.lies else (200,)),
            f"afterwards {in_flight} requests are in flight": in_flight,
            f"afterwards {connections} connections are open": connections,
        }
        return [text for text, is_so in troubles.items() if is_so]

    def _ask(self, path: str) -> int:
        return self._get(path)[0]

    def _get(self, path: str) -> tuple[int, bytes]:
        return get(self.port, Question(path), speaks_tls=self.speaks_tls)

    def is_as_new(self) -> bool:
        """Whether it can be attacked again, and what is seen then is of the new attack."""
        return self.is_alive and measure(find_family(self.pid)) < self.size + SPARE


@contextlib.contextmanager
def run_gateway(directory: Path, nats: str, lane: LaneName, attack: Attack) -> Iterator[Gateway]:
    """A gateway with default settings, or with those of the attack; its log is in `directory`, or in a pipe that
    nobody reads."""
    directory.mkdir()
    routes = Path(shutil.copy(ROUTES, directory))
    write_files(directory)
    with contextlib.ExitStack() as stack:
        port, log = stack.enter_context(reserve_port()), directory / "log"
        if attack.fills_pipe:
            os.mkfifo(log)
            stack.callback(os.close, os.open(log, os.O_RDONLY | os.O_NONBLOCK))
        go = make_event()
        if attack.lies:
            liar = stack.enter_context(reserve_port())
            stack.enter_context(start(lie, liar, attack.lies, attack.seconds, go))
            nats = f"nats://127.0.0.1:{liar}"
        if attack.has_slow_issuer:
            issuer = stack.enter_context(reserve_port())
            stack.enter_context(start(tell_keys_once, issuer))
            text = routes.read_text().replace("jwks_file: keys.json", f"jwks_url: 'http://127.0.0.1:{issuer}/keys'")
            routes.write_text(text)
        settings = {"NATS_URL": nats, "GATEWAY_ROUTES": str(routes), "GATEWAY_HEALTH_DETAILS": "on", **attack.settings}
        if attack.speaks_tls:
            authority = Authority(directory)
            files = authority.write()
            settings |= {"GATEWAY_TLS_CERT": str(files["tls_cert"]), "GATEWAY_TLS_KEY": str(files["tls_key"])}
        if attack.asks_certificates:
            settings["GATEWAY_TLS_CLIENT_CA"] = str(authority.write_client_ca()["tls_client_ca"])
        command = [*PROGRAM, "serve", "--port", str(port), "--lane", lane]
        process = stack.enter_context(run(command, log, **settings))
        yield _wait_for(process, port, routes, go, attack)


def _wait_for(process: Process, port: int, routes: Path, go: Event, attack: Attack) -> Gateway:
    """Until it is ready, and has answered a route and told of itself: what that takes is not of an attack."""
    end, speaks_tls = time.monotonic() + PATIENCE, attack.speaks_tls
    while True:
        with contextlib.suppress(OSError):
            if get(port, Question("/readyz"), speaks_tls=speaks_tls)[0] == 200:
                for question in (Question("/greet/sue"), attack.question, Question("/livez"), Question("/healthz")):
                    get(port, question, speaks_tls=speaks_tls)
                break
        assert time.monotonic() < end
        assert process.process.poll() is None
        time.sleep(0.02)
    time.sleep(0.05)  # until those connections are gone
    pid = process.process.pid
    return Gateway(process, port, routes, go, measure(find_family(pid)), speaks_tls)


def count_connections(port: int) -> int:
    """Connections to this port that its process has not closed: proc(5), net/tcp."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = f":{port:04X}"
    return sum(line[1].endswith(ours) and line[3] != LISTENS and line[9] != NOBODY_S for line in lines)


class Stage:
    """Gives a gateway for each attack: that of the attack before, as long as nothing of it is to be seen."""

    def __init__(self, directory: Path, nats: str) -> None:
        self._directory = directory
        self._nats = nats
        self._kept = contextlib.ExitStack()
        self._gateway: Gateway | None = None
        self._lane = ""
        self._count = 0

    def set(self, attack: Attack, lane: LaneName) -> Gateway:
        """A gateway for this attack."""
        gateway = self._gateway
        if gateway is None or attack.spoils or lane != self._lane or not gateway.is_as_new():
            self.clear()
            self._count += 1
            self._lane = lane
            directory = self._directory / str(self._count)
            gateway = self._kept.enter_context(run_gateway(directory, self._nats, lane, attack))
        self._gateway = None if attack.spoils else gateway
        return gateway

    def clear(self) -> None:
        """End the gateway that is there."""
        self._gateway = None
        self._kept.close()
