"""The tutorial, from its first file to its last request: each file as it grows, and what each command prints."""

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.process.programs import PROGRAM, Process, run, wait_until_ready
from tests.process.test_readme import SERVER, Example, find_examples, run_examples

PAGE = (Path(__file__).parents[2] / "docs/tutorial.md").read_text(encoding="utf-8")
BLOCK = re.compile(r'^```(?:console|\w+ title="([\w.]+)")\n(.*?)^```', re.MULTILINE | re.DOTALL)
STARTED = ["nats-http dev routes.yaml", "python service.py"]
SET_UP = (["make run"], ["mkdir ~/books"])


class Reader:
    """Someone who types what the page says into a folder, and starts the gateway and the service when it says so."""

    def __init__(self, folder: Path, programs: ExitStack) -> None:
        self.folder = folder
        self.url = ""
        self._programs = programs
        self._gateway: Process | None = None
        self._saved = 0

    def save(self, name: str, text: str) -> None:
        """What is already in the file stays before it. A gateway that runs has then loaded it."""
        file = self.folder / name
        file.write_text((file.read_text(encoding="utf-8") if file.exists() else "") + text, encoding="utf-8")
        if self._gateway:
            self._saved += 1
            self._gateway.find(f"(?s)((?:routes-loaded.*?){{{self._saved}}})")

    def start(self) -> None:
        dev = [*PROGRAM, "dev", "--port", "0", "--nats-port", "0", str(self.folder / "routes.yaml")]
        self._gateway = self._programs.enter_context(run(dev, self.folder / "log", TMPDIR=str(self.folder)))
        self.url, server = self._gateway.find(r"gateway +(http://\S+)"), self._gateway.find(r"NATS +(nats://\S+)")
        service = self.folder / "service.py"
        assert SERVER in service.read_text(encoding="utf-8")
        service.write_text(service.read_text(encoding="utf-8").replace(SERVER, server), encoding="utf-8")
        self._programs.enter_context(run([sys.executable, str(service)], self.folder / "service.log"))
        wait_until_ready(self.url, path="/books/1")

    def try_examples(self, block: str) -> Iterator[tuple[Example, str]]:
        """Each command of the block with what it really prints."""
        examples = list(find_examples(f"```console\n{block}```"))
        commands = [example.command for example in examples]
        if commands == STARTED[:1]:
            self.start()
        elif commands not in (*SET_UP, STARTED[1:]):
            yield from zip(examples, run_examples(examples, self.folder, self.url), strict=True)


def test_a_reader_who_does_what_the_tutorial_says_sees_what_it_says(tmp_path: Path) -> None:
    seen = 0
    with ExitStack() as programs:
        reader = Reader(tmp_path, programs)
        for name, text in BLOCK.findall(PAGE):
            if name:
                reader.save(name, text)
                continue
            for example, output in reader.try_examples(text):
                assert example.matches(output), f"{example.command}\n{output}"
                seen += 1
    assert seen > 10


def test_the_tutorial_starts_both_programs_and_grows_its_route_file_four_times() -> None:
    names = [name for name, _ in BLOCK.findall(PAGE)]
    assert [example.command for example in find_examples(PAGE) if example.command in STARTED] == STARTED
    assert names.count("service.py") == 1
    assert names.count("routes.yaml") == 4
