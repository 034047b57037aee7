"""The parts of a soak: a cluster of three NATS nodes, services, and two gateways on a port each."""

import asyncio
import contextlib
import hashlib
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.harness import NatsServer, reserve_port, run_nats_cluster
from tests.process.programs import Process, run, wait_until_ready
from tests.soak.callers import HOST, Address
from tests.soak.load import KEY
from tests.soak.plan import PATIENCE
from tests.soak.streams import fill_past, make_streams, wait_until_whole

NODES, WORKERS = 3, 2
NAMES = ("the one that stays", "the one that is replaced")
ROUTES = """
version: 1
auth: {partners: {type: api-key, header: X-API-Key, file: keys.yaml}}
defaults: {auth: none, reply: {content_type: text/plain}}
routes:
  - {name: work, method: GET, path: "/jobs/{id}", subject: "work.{id}"}
  - {name: known, method: GET, path: "/known/{id}", subject: "work.{id}", auth: partners}
  - {name: upload, method: POST, path: "/upload/{id}", subject: "upload.{id}"}
  - name: checked
    method: POST
    path: "/checked/{id}"
    subject: "upload.{id}"
    body_schema: {type: object, required: [id], properties: {id: {type: integer}}}
  - {name: large, method: GET, path: "/large/{id}", subject: "large.{id}"}
  - {name: failing, method: GET, path: "/failing/{id}", subject: "failing.{id}"}
  - {name: silent, method: GET, path: "/silent/{id}", subject: "silent.{id}"}
  - {name: nobody, method: GET, path: "/nobody/{id}", subject: "nobody.{id}"}
  - {name: orders, method: POST, path: "/orders/{id}", publish: "orders.{id}", stream: ORDERS}
  - {name: events, method: GET, path: "/events/{id}", subscribe: "events.{id}"}
  - {name: stored, method: GET, path: "/stored/{id}", subscribe: "stored.{id}", stream: STORED, start: all}
  - {name: past, method: GET, path: "/past/{id}", subscribe: "past.{id}", stream: PAST, start: all}
"""
LAST = "  - {{name: last, method: GET, path: /{0}, subject: nobody.{0}}}\n"


@dataclass(slots=True)
class RouteFile:
    """The routes of all gateways."""

    path: Path
    _count: int = 0

    def write_keys(self) -> None:
        """The file that it names."""
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        self.path.with_name("keys.yaml").write_text(f"version: 1\nkeys: [{{name: sue, sha256: {digest}}}]\n")

    def renew(self) -> str:
        """Write it with another last route. Returns its path."""
        self._count += 1
        self.restore()
        return f"/last{self._count}"

    def spoil(self) -> None:
        """Write a file that is invalid."""
        self._write(ROUTES.replace("subject:", "subjekt:"))

    def restore(self) -> None:
        """Write the last file that was valid."""
        self._write(ROUTES + LAST.format(f"last{self._count}"))

    def _write(self, text: str) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)


@dataclass(slots=True)
class Gateway:
    """A gateway on a port. Another process can take its place."""

    address: Address
    folder: Path
    routes: Path
    nats: Sequence[str]
    process: Process = field(init=False)
    exit_codes: list[int] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.process.pid

    @property
    def log(self) -> Path:
        """The log of the process that runs now."""
        return self.folder / f"{self.address.port}-{self.address.generation}.log"

    @contextlib.contextmanager
    def running(self) -> Iterator["Gateway"]:
        """It may be replaced meanwhile."""
        self._launch()
        try:
            self._wait()
            yield self
        finally:
            self.process.process.kill()
            self.process.process.wait()

    def start(self) -> None:
        """Returns when all workers are connected."""
        self._launch()
        self._wait()

    def _launch(self) -> None:
        program = str(Path(sys.executable).with_name("nats-http"))
        command = [program, "serve", str(self.routes), "--port", str(self.address.port), "--workers", str(WORKERS)]
        settings = {"NATS_URL": ",".join(self.nats), "GATEWAY_DRAIN_TIMEOUT": "5s", "GATEWAY_HEALTH_DETAILS": "on"}
        self.process = Process(command, self.log, **settings)

    def _wait(self) -> None:
        self.wait_for_event("connected", since=0, count=WORKERS)
        wait_until_ready(f"http://{HOST}:{self.address.port}")
        self.address.is_ready = True

    def stop(self) -> None:
        """In order. The next process has a log of its own."""
        self.address.is_stopping = True
        self.process.process.terminate()
        self.exit_codes.append(self.process.process.wait(PATIENCE))
        self.address.generation += 1
        self.address.is_ready = self.address.is_stopping = False

    def wait_for_event(self, event: str, *, since: int, count: int = 1) -> None:
        """Until it is in the log so many times behind this offset. Raises TimeoutError."""
        end = time.monotonic() + PATIENCE
        while self._read_log(since).count(f'"event":"{event}"') < count:
            if time.monotonic() > end or self.process.process.poll() is not None:
                raise TimeoutError(f"no event {event} in {self.log}")
            time.sleep(0.1)

    def _read_log(self, since: int) -> str:
        with self.log.open("rb") as file:
            file.seek(since)
            return file.read().decode()


@dataclass(frozen=True, slots=True)
class Site:
    """All parts."""

    folder: Path
    nodes: Sequence[NatsServer]
    gateways: Sequence[Gateway]
    routes: RouteFile

    @property
    def urls(self) -> list[str]:
        return [node.url for node in self.nodes]

    @property
    def addresses(self) -> list[Address]:
        return [gateway.address for gateway in self.gateways]

    def read_runs(self) -> Iterator[int]:
        """The numbers of the requests that the services have written down."""
        for path in self.folder.glob("*.runs"):
            with path.open() as file:
                yield from (int(line) for line in file if line.strip().isdigit())

    def find_logs(self) -> list[Path]:
        """Those of all processes."""
        return sorted(self.folder.rglob("*.log"))


@contextlib.asynccontextmanager
async def run_site(folder: Path) -> AsyncIterator[Site]:
    """All parts, ready. A service begins at each node, and goes on at the next when its node dies."""
    routes = RouteFile(folder / "routes.yaml")
    routes.write_keys()
    routes.renew()
    with contextlib.ExitStack() as stack:
        nodes = stack.enter_context(run_nats_cluster(folder, NODES))
        urls = [node.url for node in nodes]
        await make_streams(urls[0], NODES)
        await wait_until_whole(urls[0])
        await fill_past(urls[0])
        for number in range(NODES):
            command = [sys.executable, "-m", "tests.soak.service", str(folder / f"{number}.runs")]
            service = run([*command, *urls[number:], *urls[:number]], folder / f"service{number}.log")
            stack.enter_context(service).find("(answering)")
        gateways = []
        for name in NAMES:
            address = Address(name, stack.enter_context(reserve_port()))
            gateway = Gateway(address, folder, routes.path, urls)
            gateways.append(await asyncio.to_thread(stack.enter_context, gateway.running()))
        yield Site(folder, nodes, gateways, routes)
        for gateway in gateways:
            await asyncio.to_thread(gateway.stop)
