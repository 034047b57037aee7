"""The OpenAPI documents of the repository, and the tools that read them: linters and generators of clients."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.prepared import prepare
from app.routefile.load import EXAMPLES, GREET, load_route_file
from tests.harness import Gateway, NatsServer, eventually, run_gateway

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[1]
PYTHON = ROOT / ".venv" / "clients" / "bin"
NODE = FOLDER / "node_modules" / ".bin"

MANY = 1000  # routes
LIMIT = 250  # seconds that a tool may take on a slow, busy machine

ABOUT = """\
version: 1
info:
  description: Many routes.
  contact: {name: The makers of nats-http-gateway}
  license: {name: Apache-2.0, identifier: Apache-2.0}
tags:
  - {name: orders, description: What has been ordered.}
schemas:
  Order:
    type: object
    required: [id]
    properties:
      id: {type: integer}
      lines: {type: array, items: {$ref: "#/schemas/Line"}}
      replaces: {$ref: "#/schemas/Order"}
  Line: {type: object, properties: {item: {type: string}, size: {$ref: "#/$defs/size"}}, $defs: {size: {type: integer}}}
defaults: {description: One of many., tags: [orders], reply: {content_type: application/json, errors: {1: 409}}}
routes:
"""
ROUTES = """\
  - name: read-{0}
    method: GET
    path: /orders-{0}/{{id}}
    subject: orders.{0}.read.{{id}}
    reply: {{schema: {{$ref: "#/schemas/Order"}}}}
  - name: write-{0}
    method: PUT
    path: /orders-{0}
    subject: orders.{0}.write
    body_schema: {{$ref: "#/schemas/Order"}}
    reply: {{schema: {{type: array, items: {{$ref: "#/schemas/Order"}}}}}}
"""


def call_tool(*command: str | Path, folder: Path, **environment: str) -> str:
    """What a tool prints. It must be content."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=folder,
        env={**os.environ, "REDOCLY_TELEMETRY": "off", **environment},
        capture_output=True,
        text=True,
        timeout=LIMIT,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session", autouse=True)
def _tools() -> None:
    if not (NODE.is_dir() and PYTHON.is_dir()):
        pytest.fail("these tests need the tools that `make api-test` installs", pytrace=False)


@pytest.fixture(scope="session")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the documents of all route files here, and of one with many routes."""
    folder = tmp_path_factory.mktemp("documents")
    many = folder / "many.yaml"
    many.write_text(ABOUT + "".join(ROUTES.format(number) for number in range(MANY // 2)))
    for path in (GREET, EXAMPLES, ROOT / "tests/javascript/routes.yaml", many):
        (folder / f"{path.stem}.json").write_bytes(prepare(load_route_file(path)).openapi)
    return folder


@pytest.fixture(scope="session")
def notes(shared_nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example service of that name; the path is that of its log."""
    log = tmp_path_factory.mktemp("notes") / "log"
    with log.open("wb") as output:
        command = [sys.executable, "-m", "responders.notes"]
        environment = {**os.environ, "NATS_URL": shared_nats.url}
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    yield log
    process.kill()
    process.wait()


@pytest.fixture
async def gateway(shared_nats: NatsServer, notes: Path) -> AsyncIterator[Gateway]:
    """A gateway with the routes of `nats-http dev`, before notes."""
    async with run_gateway(shared_nats.url, routes=load_route_file(EXAMPLES)) as gateway:
        await eventually(lambda: "connected" in notes.read_text())
        yield gateway


async def call_client(gateway: Gateway, *command: str | Path, folder: Path) -> dict[str, Any]:
    """What a client of the notes has seen: a `note` that it made, the `same` read again, and the `status` and the
    `problem` of one that is missing."""
    told = await asyncio.to_thread(call_tool, *command, folder=folder, GATEWAY=gateway.url)
    seen = json.loads(told)
    assert isinstance(seen, dict)
    return seen
