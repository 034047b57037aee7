"""The examples do what their READMEs say: the commands that start them, the requests to try, and what these print."""

import asyncio
import json
import re
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from nats.errors import NoRespondersError

from benchmarks.bridges import build_go
from tests.harness import PATIENCE, connect
from tests.process.programs import PROGRAM, run
from tests.process.test_readme import ADDRESS, Example, find_examples, run_examples

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "examples").glob("*/routes.yaml"))
GATEWAY = "nats-http dev routes.yaml"
SERVICES = {"python service.py": "python", "node service.mjs": "javascript", "go run service.go": "go"}
NODE_MODULES = ROOT / "tests" / "javascript" / "node_modules"

NOBODY = "$(nats-http token --routes routes.yaml --sub '' --scope orders:read)"
STATUS_FOR_NOBODY = f'curl -o /dev/null -w "%{{http_code}}" -H "Authorization: Bearer {NOBODY}" {ADDRESS}/orders'
BEYOND = {"protected": [Example(STATUS_FOR_NOBODY, "403")]}
"""What is worth a test and not worth a line of the README."""


def read_guide(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def find_commands(guide: str) -> list[str]:
    """What the README has its readers start, in this order."""
    blocks = re.findall(r"^```bash\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def find_services() -> Iterator[object]:
    """Each example in each of its languages."""
    for folder in FOLDERS:
        for command in find_commands(read_guide(folder)):
            if language := SERVICES.get(command):
                marks = () if language == "python" else (pytest.mark.soak,)
                yield pytest.param(folder, command, id=f"{folder.name}-{language}", marks=marks)


@pytest.mark.parametrize(("source", "command"), list(find_services()))
def test_an_example_does_what_its_readme_says(source: Path, command: str, tmp_path: Path) -> None:
    folder = tmp_path / source.name
    shutil.copytree(source, folder)
    guide = read_guide(folder)
    examples = [*find_examples(guide), *BEYOND.get(source.name, ())]
    with run_gateway(guide, folder) as (url, nats), run_service(command, folder, nats):
        outputs = run_examples(examples, folder, url)
    for example, output in zip(examples, outputs, strict=True):
        if SERVICES[command] != "python":  # the README has the output of the service in Python
            example, output = Example(example.command, squeeze(example.output)), squeeze(output)
        assert example.matches(output), f"{example.command}\n{output}"


@contextmanager
def run_gateway(guide: str, folder: Path) -> Iterator[tuple[str, str]]:
    """The gateway that the README starts, after what comes before it there: its address and that of its NATS."""
    commands = find_commands(guide)
    before = commands[: commands.index(GATEWAY)]
    run_examples([Example(line, "") for line in before], folder, "")
    dev = [*PROGRAM, "dev", "--port", "0", "--nats-port", "0", str(folder / "routes.yaml")]
    with run(dev, folder / "gateway.log", TMPDIR=str(folder.parent), HOME=str(folder)) as gateway:
        url, nats = gateway.find(r"gateway +(http://\S+)"), gateway.find(r"NATS +(nats://\S+)")
        yield url, nats
        assert gateway.stop() == 0


@contextmanager
def run_service(command: str, folder: Path, nats: str) -> Iterator[None]:
    """The service that this command starts, once it answers."""
    prepare = {"python": prepare_python, "javascript": prepare_javascript, "go": prepare_go}[SERVICES[command]]
    with run(prepare(folder), folder / "service.log", NATS_URL=nats) as service:
        service.find("(answers)")
        if SERVICES[command] != "go":  # which has flushed its subscription
            asyncio.run(wait_for_service(nats))
        yield


def prepare_python(folder: Path) -> list[str]:
    return [sys.executable, str(folder / "service.py")]


def prepare_javascript(folder: Path) -> list[str]:
    (folder / "node_modules").symlink_to(NODE_MODULES)
    return ["node", str(folder / "service.mjs")]


def prepare_go(folder: Path) -> list[str]:
    if missing := build_go(folder / "service", folder):
        pytest.fail(f"{missing}: `make sweep` sees to it", pytrace=False)
    return [str(folder / "service")]


async def wait_for_service(nats: str) -> None:
    """Until a service answers by ADR-32, on whose connection the subscriptions come before the answer."""
    async with connect(nats) as client:
        while True:
            try:
                await client.request("$SRV.PING", timeout=PATIENCE)
            except NoRespondersError:
                await asyncio.sleep(0.02)
            else:
                return


def squeeze(text: str) -> str:
    """The text, with each line that is JSON in its shortest form: every language has blanks in other places."""
    return "\n".join(map(_squeeze_line, text.splitlines()))


def _squeeze_line(line: str) -> str:
    try:
        return json.dumps(json.loads(line), separators=(",", ":"))
    except ValueError:
        return line


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_an_example_has_what_a_reader_needs(folder: Path) -> None:
    guide = read_guide(folder)
    assert sum(example.command.startswith("curl ") for example in find_examples(guide)) >= 3
    assert "\n## Look at\n" in guide
    services = {command.split()[-1] for command in find_commands(guide) if command in SERVICES}
    assert services == {path.name for path in folder.glob("service.*")}


def test_a_service_needs_nothing_of_this_repository() -> None:
    for path in (ROOT / "examples").glob("*/service.py"):
        imports: Sequence[str] = re.findall(r"^(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(imports).isdisjoint({"app", "responders", "tests"}), path


def test_the_list_of_examples_has_all_of_them() -> None:
    text = (ROOT / "examples" / "README.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| \[(\w+)\]\(\1/README\.md\)", text, re.MULTILINE)) == [path.name for path in FOLDERS]
    assert len(FOLDERS) == 6
