"""The examples that README.md prints, as they stand there, before what `make run` starts."""

import re
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.harness import PATIENCE, clean_environment
from tests.process.programs import PROGRAM, run

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
ADDRESS = "http://127.0.0.1:8000"
ELSEWHERE = ("make ", "docker ")  # what other tests run
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


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What each command really prints, in one shell, one after the other."""
    folder = tmp_path_factory.mktemp("readme")
    (file,) = re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (folder / "routes.yaml").write_text(file, encoding="utf-8")
    with run([*PROGRAM, "dev", "--port", "0", "--nats-port", "0"], folder / "log", TMPDIR=str(folder)) as dev:
        url = dev.find(r"gateway +(http://\S+)")
        dev.find("(try: curl)")
        found = run_examples(EXAMPLES, folder, url)
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


EXAMPLES = [example for example in find_examples(README) if not example.command.startswith(ELSEWHERE)]


def test_the_readme_has_examples() -> None:
    assert len(EXAMPLES) > 12


@pytest.mark.parametrize("number", range(len(EXAMPLES)), ids=lambda number: EXAMPLES[number].command[:60])
def test_an_example_of_the_readme_prints_what_stands_there(outputs: list[str], number: int) -> None:
    assert EXAMPLES[number].matches(outputs[number]), outputs[number]
