"""The container stack under its own project name, image and port, so that several can run side by side."""

import asyncio
import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
UP_SECONDS = 120.0  # until all is healthy
BUILD_SECONDS = 900.0
GREET_DELAY = 0.2  # seconds a reply takes: so at any time most requests of a load are in flight

# Prints how many requests each instance of the service has taken, as JSON.
_COUNT_REQUESTS = """
import asyncio, json, nats
async def main():
    client = await nats.connect("nats://nats:4222")
    counts = []
    async def count(msg):
        counts.append(json.loads(msg.data)["endpoints"][0]["num_requests"])
    inbox = client.new_inbox()
    await client.subscribe(inbox, cb=count)
    await client.publish("$SRV.STATS.greet", reply=inbox)
    await asyncio.sleep(1)
    print(json.dumps(counts))
    await client.close()
asyncio.run(main())
"""


def run(*command: str, timeout: float, env: Mapping[str, str] | None = None) -> str:
    """Its output; or an AssertionError with all that it said. Ended after `timeout`, with its children."""
    with subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            output, errors = process.communicate(timeout=timeout)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    assert process.returncode == 0, f"{' '.join(command)}: exit code {process.returncode}\n{output}\n{errors}"
    return output


def find_engine_trouble() -> str | None:
    """Why no container can be run here, or None."""
    try:
        run("docker", "compose", "version", timeout=30)
        run("docker", "info", "--format", "{{.ServerVersion}}", timeout=30)
    except (AssertionError, OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None


class Stack:
    """docker-compose.yml with the defaults that a user gets, but for port, image and the delay of a greeting."""

    def __init__(self) -> None:
        self.project = f"nats-http-test-{secrets.token_hex(4)}"
        self.image = f"{self.project}:test"
        port = _find_free_port()
        self.url = f"http://127.0.0.1:{port}"
        ours = ("COMPOSE_", "GATEWAY_", "PUBLISH_", "NATS_", "ROUTES_")
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self._env |= {"PORT": str(port), "IMAGE": self.image, "GREET_DELAY": str(GREET_DELAY)}

    def compose(self, *arguments: str, timeout: float = 60.0, **variables: str) -> str:
        command = ["docker", "compose", "--file", str(COMPOSE_FILE), "--project-name", self.project]
        return run(*command, "--env-file", os.devnull, *arguments, timeout=timeout, env=self._env | variables)

    def docker(self, *arguments: str) -> str:
        return run("docker", *arguments, timeout=60).strip()

    def up(self, *options: str, timeout: float = UP_SECONDS, **variables: str) -> None:
        """Returns when all containers are healthy."""
        self.compose("up", "--wait", *options, timeout=timeout, **variables)

    def remove(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", timeout=120)

    def find_containers(self, *services: str) -> list[str]:
        """The ids of those that run."""
        return self.compose("ps", "--quiet", *services).split()

    def inspect(self, container: str, template: str) -> str:
        """A Go template filled in with what `docker inspect` knows."""
        return self.docker("inspect", "--format", template, container)

    def execute(self, container: str, *command: str) -> str:
        return self.docker("exec", container, *command)

    def is_healthy_now(self, container: str) -> bool:
        """The container's own health check, run at once."""
        kind, *command = json.loads(self.inspect(container, "{{json .Config.Healthcheck.Test}}"))
        assert kind == "CMD"
        try:
            self.execute(container, *command)
        except AssertionError:
            return False
        return True

    def count_requests(self) -> list[int]:
        """How many requests each running responder has taken, by its own account."""
        counts: list[int] = json.loads(self.compose("exec", "-T", "responder", "python", "-c", _COUNT_REQUESTS))
        return counts

    def list_leftovers(self) -> list[str]:
        """Containers, networks and volumes of the project."""
        ours = ("--quiet", "--filter", f"label=com.docker.compose.project={self.project}")
        kinds = (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
        return [name for kind in kinds for name in self.docker(*kind, *ours).split()]


@contextlib.contextmanager
def run_stack() -> Iterator[Stack]:
    """Built, up and healthy; whatever happens, nothing of it stays."""
    stack = Stack()
    try:
        stack.up("--build", timeout=BUILD_SECONDS)
        yield stack
    finally:
        stack.remove()
        stack.docker("image", "rm", "--force", stack.image)


def _find_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@dataclass(frozen=True, slots=True)
class Answer:
    """`began` is an instant of `time.monotonic`; `slug` and `delivered` are those of a problem."""

    began: float
    status: int
    slug: str
    delivered: str
    closes: bool
    """Whether it closes its connection."""


async def ask(client: httpx.AsyncClient) -> Answer:
    """The answer of a greeting; a greeting that isn't right fails."""
    began = time.monotonic()
    response = await client.get("/greet/sue")
    content: dict[str, str] = response.json()
    if response.status_code == 200:
        assert content == {"message": "hello, sue"}
    slug = content.get("type", "").removeprefix("/problems/")
    closes = response.headers.get("connection") == "close"
    return Answer(began, response.status_code, slug, content.get("delivered", ""), closes)


class Load:
    """Callers that ask again and again, each on its own connection, until that is closed or they are told to stop."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.stopping = False

    async def call(self, url: str) -> None:
        """Raises if a request gets no answer."""
        async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, verify=False) as client:  # noqa: S501
            while not self.stopping:
                answer = await ask(client)
                self.answers.append(answer)
                if answer.closes:
                    return


@contextlib.asynccontextmanager
async def run_load(url: str, *, callers: int) -> AsyncIterator[Load]:
    """All are at work when it is entered, and all have ended when it is left."""
    load = Load()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(load.call(url))
        while len(load.answers) < 2 * callers:
            await asyncio.sleep(0.01)
        yield load
        load.stopping = True
