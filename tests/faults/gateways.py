"""A gateway as a process of its own, as users run it, with the routes that the suite asks."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx

from app.http.lane import LaneName
from tests.faults.truth import Load
from tests.harness import PATIENCE
from tests.process.programs import PROGRAM, Process, run

ROUTES = """
version: 1
defaults: {reply: {content_type: text/plain}}
routes:
  - {name: jobs, method: GET, path: "/jobs/{id}", subject: "jobs.{id}", max_in_flight: 4096}
  - {name: load, method: POST, path: "/load/{id}", subject: "load.{id}"}
  - {name: odd, method: GET, path: "/odd/{kind}/{id}", subject: "odd.{kind}.{id}", reply: {max_bytes: 1000}}
  - {name: silent, method: GET, path: "/silent/{id}", subject: "silent.{id}"}
  - {name: greet, method: GET, path: "/greet/{name}", subject: "greet.{name}"}
  - {name: big, method: GET, path: "/big/{size}", subject: "blob.{size}", reply: {max_bytes: 1000}}
  - {name: orders, method: POST, path: "/orders/{id}", publish: "orders.{id}", stream: ORDERS}
  - {name: events, method: GET, path: "/events/{id}", subscribe: "events.{id}"}
  - {name: stored, method: GET, path: "/stored/{id}", subscribe: "stored.{id}", stream: STORED, start: all}
  - {name: nobody, method: GET, path: "/nobody/{id}", subject: "nobody.{id}"}
"""


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    url: str
    process: Process

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def pid(self) -> int:
        return self.process.process.pid

    def load(self, **options: object) -> Load:
        return Load(self.url, **options)  # type: ignore[arg-type] # those of Load

    async def get(self, path: str) -> httpx.Response:
        async with httpx.AsyncClient(base_url=self.url, timeout=PATIENCE, trust_env=False, verify=False) as client:  # noqa: S501
            return await client.get(path)

    async def find_reason(self) -> str:
        """Why the gateway is not ready; an empty text where it is."""
        return str((await self.get("/readyz")).json().get("reason", ""))

    async def wait_until_ready(self) -> None:
        end = time.monotonic() + PATIENCE
        while reason := await self.find_reason():
            assert time.monotonic() < end, reason
            await asyncio.sleep(0.02)

    async def wait_for_reason(self, words: str) -> str:
        """Until it is not ready, for a reason that has these words."""
        end = time.monotonic() + PATIENCE
        while words not in (reason := await self.find_reason()) or not reason:
            assert time.monotonic() < end, reason
            await asyncio.sleep(0.05)
        return reason

    async def count_in_flight(self) -> int:
        return int((await self.get("/healthz")).json()["in_flight"])


@contextlib.asynccontextmanager
async def run_gateway_process(
    folder: Path,
    *nats: str,
    lane: LaneName = "fast",
    wait: bool = True,
    settings: Mapping[str, str] = MappingProxyType({}),
    options: Sequence[str] = (),
) -> AsyncIterator[GatewayProcess]:
    """Connected to one of the NATS servers, unless told not to wait for that. With these options of `serve` as well."""
    routes = folder / "routes.yaml"
    routes.write_text(ROUTES)
    values = {
        "NATS_URL": ",".join(nats),
        "GATEWAY_ROUTES": str(routes),
        "GATEWAY_HEALTH_DETAILS": "on",  # the suite reads them
        **settings,
    }
    command = [*PROGRAM, "serve", "--port", "0", "--lane", lane, *options]
    with run(command, folder / "gateway.log", **values) as process:
        gateway = GatewayProcess(await asyncio.to_thread(process.find, r'"address":"(http://[^"]+)"'), process)
        if wait:
            await gateway.wait_until_ready()
        yield gateway
