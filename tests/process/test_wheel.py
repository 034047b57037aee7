"""The package as users install it, in a folder with packages `app` and `responders` of its own that are no Python."""

import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

import httpx
import pytest
from packaging.metadata import Metadata
from packaging.requirements import Requirement

from app import __version__
from app.routing.bodies import AT_ONCE
from release.artifacts import build_packages
from tests.harness import NO_TLS, PATIENCE, NatsServer, clean_environment
from tests.process.programs import Process, find_children, run, wait_until_ready

ROOT = Path(__file__).parents[2]
NAME = "nats_http_gateway"
INFO = f"{NAME}-{__version__}.dist-info"
EXTRA = "embedded"  # what `nats-http dev` needs
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")
SOURCE = "https://github.com/nats-http-gateway/nats-http-gateway"
LINK = re.compile(r"(!?)\[([^\[\]]*)\]\(([^)\s]+)\)")
ALONE = ("--no-deps", "--no-index")
ADDRESS = r'"address":"(http://[^"]+)"'
ROUTES = """
version: 1
routes:
  - {name: greet, method: GET, path: "/greet/{name}", subject: "greet.{name}"}
  - name: create
    method: POST
    path: /orders
    subject: orders.create
    body_schema: {type: array, items: {type: integer}}
"""


@dataclass(frozen=True, slots=True)
class Environment:
    """A virtual environment. `added` are the names that the wheel has put at the top level of its packages."""

    folder: Path
    added: frozenset[str]

    @property
    def python(self) -> str:
        return str(self.folder / "bin" / "python")

    @property
    def command(self) -> list[str]:
        return [str(self.folder / "bin" / "nats-http")]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an sdist and a wheel of this tree."""
    folder = tmp_path_factory.mktemp("dist")
    build_packages(ROOT, folder, clean_environment())
    return folder


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel in an environment that has nothing else but the packages which the wheel asks for."""
    folder, wheel = tmp_path_factory.mktemp("venv"), find_wheel(built)
    packages = make_environment(folder, map(str, read_metadata(wheel).requires_dist or ()))
    before = {path.name for path in packages.iterdir()}
    run_quietly([*PIP, "--python", str(folder), "install", *ALONE, str(wheel)])
    run_quietly([*PIP, "--python", str(folder), "check"])
    return Environment(folder, frozenset({path.name for path in packages.iterdir()} - before))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a project that has those packages."""
    for name in ("app", "responders"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text("this is no Python\n")
    (tmp_path / "routes.yaml").write_text(ROUTES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def shadow(folder: Path) -> None:
    """Give the project files with the names of modules that we import."""
    for name in ("signal.py", "nats.py", "yaml.py"):
        (folder / name).write_text("this is no Python\n")


def run_quietly(command: list[str], cwd: Path = ROOT) -> str:
    done = subprocess.run(
        command, cwd=cwd, env=clean_environment(), capture_output=True, text=True, check=False, timeout=3 * PATIENCE
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def find_wheel(folder: Path) -> Path:
    (wheel,) = folder.glob("*.whl")
    return wheel


def read_metadata(wheel: Path) -> Metadata:
    """Raises where a package index would refuse them."""
    with zipfile.ZipFile(wheel) as archive:
        return Metadata.from_email(archive.read(f"{INFO}/METADATA"))


def make_environment(folder: Path, requirements: Iterable[str]) -> Path:
    """The folder for packages of a new environment, with links to these and all that they need."""
    run_quietly([sys.executable, "-m", "venv", "--without-pip", str(folder)])
    (packages,) = folder.glob("lib/python*/site-packages")
    for needed in find_needed(requirements, (EXTRA,), {}).values():
        for file in needed.files or ():
            link = folder / "bin" / "nats-server" if file.name == "nats-server" else packages / file.parts[0]
            if ".." not in link.parts and not link.exists():
                link.symlink_to(Path(str(needed.locate_file(file if link.name == "nats-server" else file.parts[0]))))
    return packages


def find_needed(
    requirements: Iterable[str], extras: Iterable[str], found: dict[str, Distribution]
) -> dict[str, Distribution]:
    """What is installed here for these requirements, and for theirs, by name."""
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        is_wanted = marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras))
        if is_wanted and requirement.name not in found:
            found[requirement.name] = distribution(requirement.name)
            find_needed(found[requirement.name].requires or (), requirement.extras, found)
    return found


def get(url: str, path: str) -> httpx.Response:
    return httpx.get(f"{url}{path}", trust_env=False, verify=NO_TLS, timeout=PATIENCE)


def post(url: str, path: str, body: bytes) -> httpx.Response:
    headers = {"content-type": "application/json"}
    return httpx.post(f"{url}{path}", content=body, headers=headers, trust_env=False, verify=NO_TLS, timeout=PATIENCE)


def find_url(gateway: Process) -> str:
    url = gateway.find(ADDRESS)
    wait_until_ready(url)
    return url


def test_a_wheel_has_one_package_and_an_sdist_only_its_sources(built: Path) -> None:
    with zipfile.ZipFile(find_wheel(built)) as archive:
        files = archive.namelist()
    assert {file.partition("/")[0] for file in files} == {NAME, INFO}
    assert read_metadata(find_wheel(built)).description_content_type == "text/markdown"
    for file in ("__init__.py", "py.typed", "responders/greet.py", "routefile/examples.yaml", "pages/static/status.js"):
        assert f"{NAME}/{file}" in files
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as packed:
        names = {name.split("/")[1] for name in packed.getnames()}
    texts = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}
    assert names == {"app", "release", "responders", NAME} | texts


def test_a_package_index_shows_the_readme_with_links_to_the_files_of_this_version(built: Path) -> None:
    description = read_metadata(find_wheel(built)).description or ""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    links, shown = LINK.findall(readme), LINK.findall(description)
    assert len(links) > 30
    assert (LINK.split(description)[::4], len(shown)) == (LINK.split(readme)[::4], len(links))
    for (is_image, label, target), found in zip(links, shown, strict=True):
        kind = "raw" if is_image else "blob" if (ROOT / target.partition("#")[0]).is_file() else "tree"
        address = target if target.startswith("https:") else f"{SOURCE}/{kind}/v{__version__}/{target}"
        assert found == (is_image, label, address)


def test_the_repository_has_the_package_under_the_name_that_users_know(folder: Path) -> None:
    code = (
        "import sys, nats_http_gateway\n"
        "from nats_http_gateway import create_app\n"
        "from nats_http_gateway.commands.examples import find_modules\n"
        "print(nats_http_gateway.__version__, create_app.__module__, *find_modules())\n"
        "print({'app', 'responders'} & set(sys.modules))"
    )
    environment = clean_environment(PYTHONPATH=str(ROOT))
    output = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=60
    ).stdout
    examples = " ".join(f"{NAME}.responders.{name}" for name in ("clock", "greet", "notes"))
    assert output.splitlines() == [f"{__version__} {NAME}.main {examples}", "set()"]


@pytest.mark.soak
def test_the_wheel_of_an_sdist_is_that_of_the_repository(built: Path, tmp_path: Path) -> None:
    (sdist,) = built.glob("*.tar.gz")
    run_quietly([*PIP, "wheel", *ALONE, "--no-build-isolation", "--wheel-dir", str(tmp_path), str(sdist)])
    assert find_wheel(tmp_path).read_bytes() == find_wheel(built).read_bytes()


@pytest.mark.soak
def test_an_installed_wheel_adds_one_package_and_its_commands_start(installed: Environment, folder: Path) -> None:
    assert installed.added == {NAME, INFO}
    assert "healthcheck" in run_quietly([*installed.command, "--help"], folder)
    long_name = str(installed.folder / "bin" / "nats-http-gateway")
    for command in (installed.command, [long_name], [installed.python, "-m", NAME]):
        assert run_quietly([*command, "--version"], folder) == f"nats-http-gateway {__version__}\n"
        assert "2 routes" in run_quietly([*command, "check", "routes.yaml"], folder)


@pytest.mark.soak
def test_dev_starts_its_examples_from_an_installed_wheel(installed: Environment, folder: Path) -> None:
    shadow(folder)
    command = [*installed.command, "dev", "--port", "0", "--nats-port", "0"]
    with run(command, folder / "log", TMPDIR=str(folder)) as dev:
        url = dev.find(r"gateway +(http://\S+)")
        dev.find("(try: curl)")
        assert get(url, "/greet/sue").json() == {"message": "hello, sue"}
        assert get(url, "/clock").json().keys() == {"time"}
        assert post(url, "/notes", b'{"title": "Shopping"}').status_code == 201
        assert dev.stop() == 0


@pytest.mark.soak
@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_installed_gateway_checks_large_bodies_in_its_processes(
    installed: Environment, folder: Path, shared_nats: NatsServer, workers: str
) -> None:
    shadow(folder)
    command = [*installed.command, "serve", "routes.yaml", "--port", "0", "--workers", workers]
    with run(command, folder / "log", NATS_URL=shared_nats.url) as gateway:
        url = find_url(gateway)
        gateway.wait_for_connections(int(workers))
        numbers = b"1, " * AT_ONCE
        assert post(url, "/orders", b"[%b1]" % numbers).json()["type"] == "/problems/no-responders"
        assert post(url, "/orders", b'[%b"one"]' % numbers).json()["type"] == "/problems/invalid-body"
        parents = [gateway.process.pid, *find_children(gateway.process.pid, f"{NAME}.commands.worker")]
        assert len(parents) == (1 if workers == "1" else 3)
        assert [pid for parent in parents for pid in find_children(parent, f"{NAME}.checks.process")]
        gateway.process.send_signal(signal.SIGHUP)
        gateway.find('("event":"routes-loaded")')
        assert gateway.stop() == 0


@pytest.mark.soak
def test_a_project_with_an_app_of_its_own_embeds_an_installed_gateway(
    installed: Environment, folder: Path, shared_nats: NatsServer, port: int
) -> None:
    (folder / "app" / "__init__.py").write_text("")
    (folder / "app" / "main.py").write_text("from nats_http_gateway import create_app\n\napp = create_app()\n")
    command = [installed.python, "-m", "uvicorn", "app.main:app", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with run(command, folder / "log", NATS_URL=shared_nats.url, GATEWAY_ROUTES="routes.yaml") as server:
        wait_until_ready(url)
        assert get(url, "/greet/sue").json()["type"] == "/problems/no-responders"
        assert get(url, "/docs/assets/status.js").status_code == 200
        assert post(url, "/orders", b'[%b"one"]' % (b"1, " * AT_ONCE)).json()["type"] == "/problems/invalid-body"
        server.stop()


@pytest.mark.soak
def test_an_editable_install_has_the_command_and_the_names_of_the_repository(folder: Path, tmp_path: Path) -> None:
    environment = tmp_path / "venv"
    packages = make_environment(environment, ["nats-http-gateway", "hatchling", "pip"])
    for left in (*packages.glob(f"{NAME}*"), *packages.glob(f"_*{NAME}.pth")):
        left.unlink()  # the link to the install that runs this test
    python = str(environment / "bin" / "python")
    run_quietly([python, "-m", "pip", "install", *ALONE, "--no-build-isolation", "--editable", "."])
    version = f"nats-http-gateway {__version__}\n"
    assert run_quietly([str(environment / "bin" / "nats-http"), "--version"], folder) == version
    code = "import app, responders, nats_http_gateway; print(app.__file__, nats_http_gateway.__file__)"
    assert run_quietly([python, "-P", "-c", code], folder).split() == [
        str(ROOT / "app" / "__init__.py"),
        str(ROOT / NAME / "__init__.py"),
    ]
