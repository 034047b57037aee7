"""Which modules `serve` loads. Each that it does not need costs memory in every worker, and time at every start."""

import re
from pathlib import Path

import httpx
import pytest

from tests.harness import PATIENCE, NatsServer, responder
from tests.process.programs import PROGRAM, run, wait_until_ready
from tests.process.test_serve import ADDRESS, greet

SHOWN = re.compile(r"^import time: .*\| +([\w.]+)$", re.MULTILINE)
# `env`, so that it is no fork of a process that has loaded them.
COUNTED = ["env", "PYTHONPROFILEIMPORTTIME=1", *PROGRAM, "serve", "--port", "0"]
UNUSED = {
    "attr",  # for rich
    "cryptography",  # for tokens and client certificates
    "httpx",  # for the keys of tokens
    "jsonschema_rs",  # for routes with schemas
    "jwt",  # for tokens
    "limits",  # for rate limits that gateways share
    "nacl",  # for NATS with credentials
    "opentelemetry.sdk",  # for traces
    "pygments",  # for rich
    "redis",  # for rate limits that gateways share
    "rich.console",  # for `nats-http top` and help texts; structlog asks whether there is a `rich`
    "watchfiles.main",  # for `nats-http dev` and GATEWAY_WATCH; uvicorn asks whether there is a `watchfiles`
}


@pytest.mark.parametrize("workers", [1, 2])
async def test_serve_loads_nothing_that_its_routes_and_settings_do_not_need(
    workers: int, tmp_path: Path, shared_nats: NatsServer
) -> None:
    command = [*COUNTED, "--workers", str(workers)]
    async with responder(shared_nats.url, "greet.*", greet):
        with run(command, tmp_path / "log", NATS_URL=shared_nats.url) as gateway:
            url = gateway.find(ADDRESS)
            wait_until_ready(url)
            async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as client:
                for path in ("/greet/sue", "/livez", "/docs", "/metrics", "/openapi.json"):
                    assert (await client.get(path)).status_code == 200
            assert gateway.stop() == 0
    loaded = loaded_in(gateway.log)
    assert {"fastapi.applications", "nats.aio.client", "structlog.dev", "uvicorn.server", "yaml"} <= loaded
    assert loaded & UNUSED == set()
    once = [SHOWN.findall(gateway.log).count(name) for name in ("typer", "yaml")]
    assert once == [1, 1]  # in the process of the command, which reads the route file


def test_serve_loads_what_checks_bodies_for_a_route_with_a_schema(tmp_path: Path, shared_nats: NatsServer) -> None:
    (tmp_path / "routes.yaml").write_text(
        "version: 1\nroutes:\n  - {name: n, method: POST, path: /n, subject: n, body_schema: {type: array}}\n"
    )
    command = [*COUNTED, str(tmp_path / "routes.yaml")]
    with run(command, tmp_path / "log", NATS_URL=shared_nats.url) as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        assert httpx.post(f"{url}/n", json={}, trust_env=False, timeout=PATIENCE).status_code == 422
        assert gateway.stop() == 0
    assert loaded_in(gateway.log) & UNUSED == {"jsonschema_rs"}


def loaded_in(log: str) -> set[str]:
    """The names of all modules that the processes of this log have loaded."""
    return set(SHOWN.findall(log))
