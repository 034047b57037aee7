"""The beginnings of the how-to pages: each has files to save and commands to type, and shows what these print."""

import re
import shlex
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from app.commands.embedded import find_nats_server
from tests.harness import reserve_port
from tests.process.programs import PROGRAM, Process, run
from tests.process.test_readme import Example, find_examples, run_examples

DOCS = Path(__file__).parents[2] / "docs"
PAGES = (
    "authentication.md",
    "cors.md",
    "embedding.md",
    "large-bodies.md",
    "many-replies.md",
    "publishing.md",
    "rate-limits.md",
    "streams.md",
)
BLOCK = re.compile(r'^```(?:console|\w+ title="([\w.]+)")\n(.*?)^```', re.MULTILINE | re.DOTALL)
DEV = "nats-http dev "
SERVICE = "python service.py "
NATS_PORT = "4222"


class Reader:
    """Someone who saves the files of a page, and types its commands: those that go on running in terminals of their
    own."""

    def __init__(self, folder: Path, programs: ExitStack) -> None:
        self.folder = folder
        self.url = ""
        self._programs = programs
        self._count = 0
        self._port = str(programs.enter_context(reserve_port()))

    def save(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text.replace(NATS_PORT, self._port), encoding="utf-8")

    def try_example(self, example: Example) -> str:
        """What its command prints. A program that goes on running prints nothing, but for a service: that has to print
        what the page says."""
        before, dev, options = example.command.partition(DEV)
        if dev:
            self._start_gateway(shlex.split(before), shlex.split(options))
        elif example.command.startswith("nats-server "):
            arguments = shlex.split(example.command)[1:]
            self._run([find_nats_server(), *arguments]).find("(Server is ready)")
        elif example.command.startswith(SERVICE):
            service = self._run([sys.executable, *shlex.split(example.command)[1:]])
            service.find(f"({re.escape(example.output)})")
            return example.output
        else:
            return run_examples([example], self.folder, self.url)[0]
        return ""

    def _start_gateway(self, settings: list[str], options: list[str]) -> None:
        variables = dict(text.replace(NATS_PORT, self._port).split("=", 1) for text in settings)
        ports = ["--port", "0"] if "NATS_URL" in variables else ["--port", "0", "--nats-port", self._port]
        gateway = self._run([*PROGRAM, "dev", *ports, *options], **variables)
        self.url = gateway.find(r"gateway +(http://\S+)")
        gateway.find("(API docs)")

    def _run(self, command: list[str], **variables: str) -> Process:
        self._count += 1
        process = run(command, self.folder / f"{self._count}.log", TMPDIR=str(self.folder), **variables)
        return self._programs.enter_context(process)


@pytest.mark.parametrize("page", PAGES)
def test_the_first_thing_on_a_page_works_as_the_page_shows_it(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    beginning = (DOCS / page).read_text(encoding="utf-8").partition("\n## ")[0]
    seen = 0
    with ExitStack() as programs:
        reader = Reader(tmp_path, programs)
        for name, text in BLOCK.findall(beginning):
            if name:
                reader.save(name, text)
                continue
            for example in find_examples(f"```console\n{text}```"):
                output = reader.try_example(example)
                assert example.matches(output), f"{example.command}\n{output}"
                seen += bool(output)
    assert seen >= 2
