"""The examples that README.md and pages of docs/ print, as they are printed there, before what those pages start."""

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import PATIENCE, clean_environment
from tests.process.programs import PROGRAM, run, wait_until_ready

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"
SERVER = "nats://localhost:4222"
STARTED = ("nats-http dev", "python service.py")  # what the fixtures run
ELSEWHERE = ("make ", "docker ", *STARTED)  # what other tests run
END = "--- end of the output ---"


@dataclass(frozen=True, slots=True)
class Example:
    command: str
    output: str

    def matches(self, output: str) -> bool:
        """`…` stands for anything within a line."""
        pattern = re.escape(self.output).replace("…", "[^\n]*")
        return re.fullmatch(pattern, output) is not None


def find_examples(text: str) -> Iterator[Example]:
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for lines in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = lines.partition("\n")
            yield Example(command, output.rstrip("\n"))


BEGINNING, _, OWN = README.partition("## Your own service")
TEXTS = {
    "README.md": BEGINNING,
    **{
        name: (ROOT / name).read_text(encoding="utf-8")
        for name in ("docs/commands.md", "docs/notes.md", "docs/containers.md")
    },
}
OWN_SERVICE = "README.md, your own service"


def find_file(text: str, language: str) -> str | None:
    """The first file of this language that the text shows."""
    found = re.search(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return found and found[1]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """By page, what each command really prints: those of a page in one shell, one after the other."""
    folder = tmp_path_factory.mktemp("readme")
    found = {OWN_SERVICE: run_own_service(tmp_path_factory.mktemp("own"))}
    with run([*PROGRAM, "dev", "--port", "0", "--nats-port", "0"], folder / "log", TMPDIR=str(folder)) as dev:
        url = dev.find(r"gateway +(http://\S+)")
        dev.find("(try: curl)")
        for name, text in TEXTS.items():
            (folder / "routes.yaml").write_text(find_file(text, "yaml") or "", encoding="utf-8")
            found[name] = run_examples(EXAMPLES[name], folder, url)
        assert dev.stop() == 0
    return found


def run_own_service(folder: Path) -> list[str]:
    """What the commands print before the route file and the service that the README shows."""
    routes, service = find_file(OWN, "yaml"), find_file(OWN, "python")
    assert routes
    assert service
    assert SERVER in service
    (folder / "routes.yaml").write_text(routes, encoding="utf-8")
    command = [*PROGRAM, "dev", "--port", "0", "--nats-port", "0", str(folder / "routes.yaml")]
    with run(command, folder / "log", TMPDIR=str(folder)) as dev:
        url, server = dev.find(r"gateway +(http://\S+)"), dev.find(r"NATS +(nats://\S+)")
        (folder / "service.py").write_text(service.replace(SERVER, server), encoding="utf-8")
        with run([sys.executable, str(folder / "service.py")], folder / "service"):
            wait_until_ready(url, path="/orders/1")
            found = run_examples(EXAMPLES[OWN_SERVICE], folder, url)
        assert dev.stop() == 0
    return found


def run_examples(examples: Sequence[Example], folder: Path, url: str) -> list[str]:
    """What they print, in one shell in this folder, where the gateway is at this address."""
    commands = [example.command.replace(ADDRESS, url) for example in examples]
    script = "".join(f"{{ {command}\n}} 2>&1\necho; echo '{END}'\n" for command in commands)
    (folder / ".curlrc").write_text("no-progress-meter\n")  # which it draws where its output is no terminal
    path = f"{sysconfig.get_path('scripts')}:/usr/local/bin:/usr/bin:/bin"
    environment = clean_environment(PATH=path, HOME=str(folder), LC_ALL="C.UTF-8", no_proxy="*")
    done = subprocess.run(
        ["bash", "-s"],
        input=script,
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=3 * PATIENCE,
    )
    return [output.replace("\r", "").strip("\n") for output in done.stdout.split(END)][:-1]


EXAMPLES = {
    name: [example for example in find_examples(text) if not example.command.startswith(ELSEWHERE)]
    for name, text in (TEXTS | {OWN_SERVICE: OWN}).items()
}
CASES = [(name, number) for name, examples in EXAMPLES.items() for number in range(len(examples))]


def test_every_page_has_examples() -> None:
    assert all(EXAMPLES.values())
    assert len(CASES) > 18


def test_the_commands_that_start_something_are_those_that_the_tests_start() -> None:
    started = [example.command for example in find_examples(OWN) if example.command.startswith(ELSEWHERE)]
    assert started == ["nats-http dev routes.yaml", "python service.py"]


@pytest.mark.parametrize(
    ("name", "number"), CASES, ids=[f"{name}: {EXAMPLES[name][number].command[:60]}" for name, number in CASES]
)
def test_an_example_prints_what_its_page_says(outputs: dict[str, list[str]], name: str, number: int) -> None:
    assert EXAMPLES[name][number].matches(outputs[name][number]), outputs[name][number]
