"""The pages about discovery do what they say: their services run, and have the routes that they want."""

import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from app.discovery.declarations import FREE
from app.discovery.declarations import KNOWN as METADATA
from app.routefile.discover import DiscoverModel
from tests.harness import PATIENCE, NatsServer
from tests.process.programs import PROGRAM, Process, run, wait_until_ready
from tests.process.test_examples import NODE_MODULES
from tests.process.test_readme import Example, find_examples, run_examples
from tests.process.test_reload import ADDRESS

DOCS = Path(__file__).parents[2] / "docs"
DISCOVERY, AUTHORS = (DOCS / name for name in ("discovery.md", "service-authors.md"))


def read_service() -> str:
    """The service in Python, with the endpoints that the page adds to it."""
    whole, functions, endpoints = find_blocks(AUTHORS, "python")
    before, main, after = whole.partition("async def main():")
    end = "    await asyncio.Event()"
    return f"{before}{functions}\n\n{main}{after.replace(end, endpoints + end)}"


def find_blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def find_block(page: Path, language: str) -> str:
    """The first block in this language."""
    return find_blocks(page, language)[0]


def build_command(language: str, source: str, folder: Path) -> list[str]:
    if language == "python":
        (folder / "service.py").write_text(source)
        return [sys.executable, str(folder / "service.py")]
    (folder / "service.mjs").write_text(source)
    shutil.copytree(NODE_MODULES, folder / "node_modules", symlinks=True)
    return ["node", "service.mjs"]


def wait_for(url: str, **more: str) -> httpx.Response:
    with httpx.Client(trust_env=False, timeout=PATIENCE) as client:
        for _ in range(int(PATIENCE / 0.1)):
            response = client.post(url, content=more["body"]) if more else client.get(url)
            if response.status_code == 200:
                return response
            time.sleep(0.1)
    raise AssertionError(response.text)


@pytest.mark.parametrize(
    "language",
    ["python", pytest.param("javascript", marks=pytest.mark.soak)],
)
def test_a_service_has_the_api_that_it_wants(language: str, own_nats: NatsServer, tmp_path: Path) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    command = build_command(language, find_block(AUTHORS, language), folder)
    serve = [*PROGRAM, "serve", "--port", "0"]
    with run(serve, tmp_path / "log", NATS_URL=own_nats.url, GATEWAY_DISCOVER="orders") as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        service = subprocess.Popen(command, cwd=folder, env={"NATS_URL": own_nats.url, "PATH": "/usr/bin:/bin"})
        try:
            assert wait_for(f"{url}/orders/7").json() == {"order": "7"}
            document = httpx.get(f"{url}/openapi.json", trust_env=False, timeout=PATIENCE).json()
        finally:
            service.kill()
            service.wait()
        operation = document["paths"]["/orders/{id}"]["get"]
        assert (operation["description"], operation["tags"]) == ("One order.", ["orders"])
        assert document["components"]["schemas"]["orders.get.response"] == {"type": "object", "required": ["order"]}
        assert gateway.stop() == 0


def test_what_the_page_for_authors_prints_is_what_comes(own_nats: NatsServer, tmp_path: Path) -> None:
    command = build_command("python", read_service(), tmp_path)
    examples = list(find_examples(AUTHORS.read_text(encoding="utf-8")))[1:]
    serve = [*PROGRAM, "serve", "--port", "0"]
    with (
        run(serve, tmp_path / "log", NATS_URL=own_nats.url, GATEWAY_DISCOVER="orders") as gateway,
        run(command, tmp_path / "service.log", NATS_URL=own_nats.url),
    ):
        url = gateway.find(ADDRESS)
        wait_for(f"{url}/orders/7")
        typed = [Example(example.command.replace("localhost:8000", url), example.output) for example in examples]
        for example, output in zip(typed, run_examples(typed, tmp_path, url), strict=True):
            assert example.matches(output), f"{example.command}\n{output}"
        assert gateway.stop() == 0
    assert len(examples) == 4


def test_the_shortest_thing_works(own_nats: NatsServer, tmp_path: Path) -> None:
    source = find_block(DISCOVERY, "python").replace("nats://localhost:4222", own_nats.url)
    (tmp_path / "service.py").write_text(source)
    page = DISCOVERY.read_text(encoding="utf-8")
    service = subprocess.Popen([sys.executable, "service.py"], cwd=tmp_path)
    try:
        discover = [*PROGRAM, "discover"]
        for _ in range(int(PATIENCE)):
            shown = Process(discover, tmp_path / "table", NATS_URL=own_nats.url)
            if shown.process.wait(PATIENCE) == 0:
                break
        assert shown.log in page
        serve = [*PROGRAM, "serve", "--port", "0"]
        with run(serve, tmp_path / "log", NATS_URL=own_nats.url, GATEWAY_DISCOVER="math") as gateway:
            url = gateway.find(ADDRESS)
            assert wait_for(f"{url}/math/square", body="7").text == "49"
            assert gateway.stop() == 0
    finally:
        service.kill()
        service.wait()


def list_first_cells(page: Path, title: str) -> list[str]:
    text = page.read_text(encoding="utf-8").partition(f"| {title} |")[2].partition("\n\n")[0]
    cells = [line.split("|")[1] for line in text.splitlines()[2:]]
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


def test_the_tables_have_every_key_and_no_other() -> None:
    assert list_first_cells(DISCOVERY, "key of `discover`") == list(DiscoverModel.model_fields)
    named = list_first_cells(AUTHORS, "metadata of an endpoint")
    assert sorted(name for name in named if name.startswith("http.")) == sorted(f"http.{key}" for key in METADATA)
    sentence = AUTHORS.read_text(encoding="utf-8").partition("`http.route` can have these keys: ")[2].partition(".")[0]
    assert re.findall(r"`([^`]+)`", sentence) == list(FREE)
