"""The container stack under its own project name, image and port, so that several can run side by side."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.harness import reserve_port

ROOT = Path(__file__).parents[2]
COMPOSE_FILE = ROOT / "docker-compose.yml"
UP_SECONDS = 180.0  # until all is healthy
BUILD_SECONDS = 900.0
CLUSTER = "cluster"  # the profile
GREET_DELAY = 0.2  # seconds a reply takes: so at any time most requests of a load are in flight

# Prints how many requests each instance of the service has taken, by its id, as JSON.
_COUNT_REQUESTS = """
import asyncio, json, nats, sys
async def main():
    client = await nats.connect("nats://nats:4222")
    counts = {}
    async def count(msg):
        stats = json.loads(msg.data)
        counts[stats["id"]] = stats["endpoints"][0]["num_requests"]
    inbox = client.new_inbox()
    await client.subscribe(inbox, cb=count)
    await client.publish("$SRV.STATS.greet", reply=inbox)
    for _ in range(100):
        await asyncio.sleep(0.1)
        if len(counts) >= int(sys.argv[1]):
            break
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
    """docker-compose.yml with the defaults that a user gets, but for ports, image and the delay of a greeting."""

    def __init__(self, *profiles: str, image: str = "") -> None:
        self.project = f"nats-http-test-{secrets.token_hex(4)}"
        self.image = image or f"{self.project}:test"
        self._profiles = [option for profile in profiles for option in ("--profile", profile)]
        with reserve_port() as port, reserve_port() as port_2:
            pass
        self.url = f"http://127.0.0.1:{port}"
        self.url_2 = f"http://127.0.0.1:{port_2}"
        ours = ("COMPOSE_", "GATEWAY_", "PUBLISH_", "NATS_", "ROUTES_")
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        self._env |= {"PORT": str(port), "PORT_2": str(port_2), "IMAGE": self.image}
        self._env |= {"GREET_DELAY": str(GREET_DELAY)}

    def compose(self, *arguments: str, timeout: float = 60.0, **variables: str) -> str:
        command = ["docker", "compose", "--file", str(COMPOSE_FILE), "--project-name", self.project]
        options = ["--env-file", os.devnull, *self._profiles]
        return run(*command, *options, *arguments, timeout=timeout, env=self._env | variables)

    def docker(self, *arguments: str) -> str:
        return run("docker", *arguments, timeout=60).strip()

    def docker_log(self, container: str) -> str:
        """All that it has written."""
        done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True, timeout=60)
        return done.stdout + done.stderr

    def up(self, *options: str, timeout: float = UP_SECONDS, **variables: str) -> None:
        """Returns when all containers are healthy. One that a busy machine has made unhealthy has time to recover."""
        until = time.monotonic() + timeout
        while True:
            try:
                self.compose("up", "--wait", *options, timeout=until - time.monotonic(), **variables)
            except AssertionError as error:
                if "unhealthy" not in str(error) or time.monotonic() > until - 10:
                    raise
                time.sleep(5)
            else:
                return

    def remove(self) -> None:
        self.compose("down", "--volumes", "--remove-orphans", timeout=120)

    @contextlib.contextmanager
    def without_profiles(self) -> Iterator[None]:
        """As if there were none, for a while."""
        profiles, self._profiles = self._profiles, []
        try:
            yield
        finally:
            self._profiles = profiles

    def find_containers(self, *services: str) -> list[str]:
        """The ids of those that run."""
        return self.compose("ps", "--quiet", *services).split()

    def inspect(self, container: str, template: str) -> str:
        """A Go template filled in with what `docker inspect` knows."""
        return self.docker("inspect", "--format", template, container)

    def execute(self, container: str, *command: str) -> str:
        return self.docker("exec", container, *command)

    def find_peer(self, container: str, port: int) -> str:
        """The container to whose `port` this one has its only open connection there."""
        table = self.execute(container, "cat", "/proc/net/tcp")
        (address,) = re.findall(rf" ([0-9A-F]{{8}}):{port:04X} 01 ", table)
        wanted = ".".join(str(number) for number in reversed(bytes.fromhex(address)))
        template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
        return next(peer for peer in self.find_containers() if self.inspect(peer, template) == wanted)

    def is_healthy_now(self, container: str) -> bool:
        """The container's own health check, run at once."""
        kind, *command = json.loads(self.inspect(container, "{{json .Config.Healthcheck.Test}}"))
        assert kind == "CMD"
        try:
            self.execute(container, *command)
        except AssertionError:
            return False
        return True

    def count_requests(self, responders: int) -> dict[str, int]:
        """How many requests each of so many running responders has taken, by its own account; the keys are their
        ids."""
        command = ("python", "-c", _COUNT_REQUESTS, str(responders))
        counts: dict[str, int] = json.loads(self.compose("exec", "-T", "responder", *command))
        assert len(counts) == responders
        return counts

    def check_privileges(self, container: str, *, writable: str = "") -> None:
        """Asserts that it has none, and can write nowhere but in `writable`."""
        assert self.execute(container, "id", "-u") not in ("", "0")
        status = self.execute(container, "cat", "/proc/1/status")
        assert set(re.findall(r"^Cap\w+:\s*(\w+)$", status, re.MULTILINE)) == {"0" * 16}
        assert re.search(r"^NoNewPrivs:\s*1$", status, re.MULTILINE)
        for folder in {"/", "/tmp", "/etc", "/opt"} - {writable}:  # noqa: S108 - not to be written
            with pytest.raises(AssertionError, match=r"Read-only file system|No such file"):
                self.execute(container, "touch", f"{folder}/x")
        assert self.inspect(container, "{{.HostConfig.RestartPolicy.Name}}") == "unless-stopped"

    def list_published(self) -> set[str]:
        """host:port of all that is published."""
        return {
            f"{binding['HostIp']}:{binding['HostPort']}"
            for container in self.find_containers()
            for published in json.loads(self.inspect(container, "{{json .HostConfig.PortBindings}}")).values()
            for binding in published
        }

    def list_leftovers(self) -> list[str]:
        """Containers, networks and volumes of the project."""
        ours = ("--quiet", "--filter", f"label=com.docker.compose.project={self.project}")
        kinds = (("ps", "--all"), ("network", "ls"), ("volume", "ls"))
        return [name for kind in kinds for name in self.docker(*kind, *ours).split()]


@contextlib.contextmanager
def run_cluster(image: str) -> Iterator[Stack]:
    """The profile `cluster`, up and healthy, of an image that is there; whatever happens, nothing of it stays."""
    stack = Stack(CLUSTER, image=image)
    try:
        stack.up()
        yield stack
    finally:
        stack.remove()


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


@dataclass(frozen=True, slots=True)
class Answer:
    """`began` and `ended` are instants of `time.monotonic`; `slug` and `delivered` are those of a problem."""

    began: float
    ended: float
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
    return Answer(began, time.monotonic(), response.status_code, slug, content.get("delivered", ""), closes)


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
async def run_load(*urls: str, callers: int) -> AsyncIterator[Load]:
    """So many callers at each of the URLs. All are at work when it is entered, and all have ended when it is left."""
    load = Load()
    async with asyncio.TaskGroup() as tasks:
        for url in urls * callers:
            tasks.create_task(load.call(url))
        while len(load.answers) < 2 * callers * len(urls):
            await asyncio.sleep(0.01)
        yield load
        load.stopping = True
