"""Clients that are made of the OpenAPI document call a gateway before a real service: a success and a problem each."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.clients.conftest import FOLDER, NODE, PYTHON, call_client, call_tool
from tests.harness import Gateway

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def javascript(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with programs in JavaScript, made of clients in TypeScript whose types are right."""
    folder = tmp_path_factory.mktemp("javascript")
    (folder / "node_modules").symlink_to(FOLDER / "node_modules")
    (folder / "package.json").write_text('{"type": "commonjs"}')
    for name in ("tsconfig.json", "fetch_client.ts", "hey_client.ts"):
        shutil.copy(FOLDER / name, folder)
    call_tool(NODE / "openapi-typescript", documents / "examples.json", "-o", "paths.ts", folder=folder)
    call_tool(NODE / "openapi-ts", "-i", documents / "examples.json", "-o", "hey", folder=folder)
    call_tool(NODE / "tsc", folder=folder)
    return folder / "out"


@pytest.fixture(scope="module")
def python(documents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a program whose types are right, and the client in Python that it uses."""
    folder = tmp_path_factory.mktemp("python")
    for name in ("mypy.ini", "python_client.py"):
        shutil.copy(FOLDER / name, folder)
    arguments = ("--path", documents / "examples.json", "--output-path", "api_client", "--meta", "none")
    path = f"{PYTHON}:{Path(sys.executable).parent}"
    tool = PYTHON / "openapi-python-client"
    call_tool(tool, "generate", *arguments, "--fail-on-warning", folder=folder, PATH=path)
    mypy = (sys.executable, "-m", "mypy", "--cache-dir", folder / "cache")
    call_tool(*mypy, "--python-executable", PYTHON / "python", folder=folder)
    return folder


@pytest.mark.parametrize("program", ["fetch_client.js", "hey_client.js", "python_client.py"])
async def test_a_client_that_is_made_of_the_document_calls_the_gateway(
    gateway: Gateway, javascript: Path, python: Path, program: str
) -> None:
    is_python = program.endswith(".py")
    folder, runner = (python, PYTHON / "python") if is_python else (javascript, "node")
    seen = await call_client(gateway, runner, program, folder=folder)
    assert (seen["note"]["title"], seen["note"]["text"]) == ("Shopping", "")
    assert seen["same"] == seen["note"]
    assert seen["status"] == seen["problem"]["status"] == 404
    assert (seen["problem"]["type"], seen["problem"]["delivered"]) == ("/problems/service-error", "yes")


@pytest.mark.parametrize("name", ["greet", "examples", "routes"])
def test_no_endpoint_is_left_out_of_a_client_in_python(documents: Path, tmp_path: Path, name: str) -> None:
    arguments = ("--path", documents / f"{name}.json", "--output-path", "made", "--meta", "none")
    path = f"{PYTHON}:{Path(sys.executable).parent}"
    told = call_tool(PYTHON / "openapi-python-client", "generate", *arguments, folder=tmp_path, PATH=path)
    assert "will not be generated" not in told
