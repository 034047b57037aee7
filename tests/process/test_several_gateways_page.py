"""The files of docs/several-gateways.md: two gateways with two workers each behind HAProxy, and an update of both."""

import asyncio
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.harness import NO_TLS, PATIENCE, NatsServer, reserve_port
from tests.process.programs import PROGRAM, Process, run, wait_until_ready
from tests.process.test_authentication_page import DOCS
from tests.process.test_guides import BLOCK
from tests.process.test_proxy_page import find
from tests.process.test_readme import find_examples, run_examples

pytestmark = pytest.mark.soak

BEGINNING = (DOCS / "several-gateways.md").read_text(encoding="utf-8").partition("\n## ")[0]
EXAMPLES = list(find_examples(BEGINNING))
FRONT, ONE, TWO = PORTS = ("8000", "8001", "8002")
CALLERS = 8
ANSWERED = '"route":"(greet)"'
ENOUGH = 50  # answers between two steps of the update


@dataclass(frozen=True)
class Site:
    """The folder of the page's files, and ports instead of those of the page."""

    folder: Path
    ports: dict[str, str]
    nats: str
    programs: ExitStack

    def fill(self, text: str) -> str:
        return re.sub("|".join(PORTS), lambda port: self.ports[port[0]], text)

    def find_url(self, port: str) -> str:
        return f"http://127.0.0.1:{self.ports[port]}"

    def start(self, command: str) -> Process:
        program, *options = shlex.split(self.fill(command))
        found = {"nats-http": PROGRAM, "python": [sys.executable]}.get(program) or [find(program), "-db"]
        log = self.folder / f"{len(list(self.folder.iterdir()))}.log"
        process = run([*found, *options], log, NATS_URL=self.nats, GATEWAY_ACCESS_LOG="on")
        return self.programs.enter_context(process)

    def start_gateway(self, port: str) -> Process:
        (command,) = [example.command for example in EXAMPLES if port in example.command]
        gateway = self.start(command)
        gateway.wait_for_connections(2)
        return gateway


@pytest.fixture
def site(tmp_path: Path, own_nats: NatsServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.chdir(tmp_path)
    with ExitStack() as programs:
        ports = {port: str(programs.enter_context(reserve_port())) for port in PORTS}
        site = Site(tmp_path, ports, own_nats.url, programs)
        for name, text in BLOCK.findall(BEGINNING):
            if name:
                (tmp_path / name).write_text(site.fill(text), encoding="utf-8")
        yield site


async def call(url: str, answers: Counter[str], ended: asyncio.Event) -> None:
    """One caller, which asks for the next greeting as soon as it has one."""
    async with httpx.AsyncClient(base_url=url, trust_env=False, verify=NO_TLS, timeout=PATIENCE) as client:
        while not ended.is_set():
            answer = await client.get("/greet/sue")
            answers[answer.text] += 1


async def wait_for_more(answers: Counter[str]) -> None:
    async with asyncio.timeout(PATIENCE):
        end = answers.total() + ENOUGH
        while answers.total() < end:
            await asyncio.sleep(0.01)


async def test_callers_notice_nothing_while_one_gateway_after_the_other_is_updated(site: Site) -> None:
    _, service, *_, haproxy, _ = [example.command for example in EXAMPLES]
    site.start(service).find("(connected)")
    gateways = {port: site.start_gateway(port) for port in (ONE, TWO)}
    site.start(haproxy)
    wait_until_ready(site.find_url(FRONT), path="/greet/sue")
    (output,) = run_examples([EXAMPLES[-1]], site.folder, site.find_url(FRONT))
    assert EXAMPLES[-1].matches(output)
    answers: Counter[str] = Counter()
    ended = asyncio.Event()
    async with asyncio.TaskGroup() as callers:
        for _ in range(CALLERS):
            callers.create_task(call(site.find_url(FRONT), answers, ended))
        for port, gateway in gateways.items():
            await wait_for_more(answers)
            assert await asyncio.to_thread(gateway.stop) == 0
            await wait_for_more(answers)
            again = await asyncio.to_thread(site.start_gateway, port)
            await asyncio.to_thread(again.find, ANSWERED)
        ended.set()
    assert set(answers) == {"hello, sue"}
