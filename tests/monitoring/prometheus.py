"""A real Prometheus on loopback that scrapes one gateway every second."""

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NewType

import httpx
import yaml

from tests.harness import PATIENCE, reserve_port
from tests.process.programs import run

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/alerts.yaml"
JOB = "nats-http"
INTERVAL = "1s"
WINDOW = "10s"  # what Grafana would fill in as $__rate_interval, with room for scrapes that a busy machine delays

Labels = NewType("Labels", frozenset[tuple[str, str]])
Vector = dict[Labels, float]


def make_labels(**labels: str) -> Labels:
    return Labels(frozenset(labels.items()))


class Prometheus:
    """What its HTTP API answers."""

    def __init__(self, url: str) -> None:
        self._client = httpx.AsyncClient(base_url=url, timeout=PATIENCE, trust_env=False)

    async def query(self, expression: str) -> Vector:
        """The vector of an expression now. Raises AssertionError with the words of Prometheus where it is wrong."""
        response = await self._client.get("/api/v1/query", params={"query": expression})
        content = response.json()
        assert content["status"] == "success", f"{expression}: {content}"
        found = content["data"]["result"]
        assert content["data"]["resultType"] == "vector", expression
        return {make_labels(**entry["metric"]): float(entry["value"][1]) for entry in found}

    async def wait_for(self, expression: str, expected: Vector) -> None:
        """Until a scrape has brought it about."""
        seen: list[Vector] = []
        try:
            async with asyncio.timeout(PATIENCE):
                while not seen or seen[-1] != expected:
                    seen.append(await self.query(expression))
                    await asyncio.sleep(0.1)
        except TimeoutError:
            raise AssertionError(f"{expression}: {seen[-1]}, and not {expected}") from None

    async def is_ready(self) -> bool:
        try:
            return (await self._client.get("/-/ready")).status_code == 200
        except httpx.TransportError:
            return False

    async def close(self) -> None:
        await self._client.aclose()


@contextlib.asynccontextmanager
async def run_prometheus(folder: Path, *targets: str) -> AsyncIterator[Prometheus]:
    """With the alerts of deploy/; it has scraped each target, `host:port`, when it is entered."""
    folder.mkdir()
    scrape = {"job_name": JOB, "static_configs": [{"targets": list(targets)}]}
    intervals = {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL, "evaluation_interval": INTERVAL}
    config = {"global": intervals, "rule_files": [str(RULES)], "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with reserve_port() as port:
        options = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
        command = ["prometheus", *options, f"--web.listen-address=127.0.0.1:{port}"]
        with run(command, folder / "log"):
            prometheus = Prometheus(f"http://127.0.0.1:{port}")
            try:
                await wait_until_ready(prometheus)
                await prometheus.wait_for(f'count(up{{job="{JOB}"}} == 1)', {make_labels(): float(len(targets))})
                yield prometheus
            finally:
                await prometheus.close()


async def wait_until_ready(prometheus: Prometheus) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await prometheus.is_ready():
            await asyncio.sleep(0.05)


def promtool(*arguments: str, text: str = "") -> str:
    """All that it says; raises AssertionError where it finds fault."""
    done = subprocess.run(
        ["promtool", *arguments], input=text, capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr
