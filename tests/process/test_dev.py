"""`nats-http dev`, the one command: what it starts, what it prints, and that it leaves nothing behind."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme
from nats.aio.client import Client

from tests.credentials import Key, Operator, make_tls_config, write_certificate
from tests.harness import PATIENCE, NatsServer, clean_environment, connect, eventually, run_nats
from tests.process.programs import PROGRAM, Process, find_children, is_alive, run

DEV = [*PROGRAM, "dev", "--port", "0"]
GATEWAY = r"gateway +(http://\S+)"


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Process]:
    with run(DEV, tmp_path / "log", TMPDIR=str(tmp_path)) as process:
        yield process


def descendants(pid: int) -> list[int]:
    """Every process below this one."""
    children = find_children(pid, ".")
    return [*children, *(found for child in children for found in descendants(child))]


async def all_gone(pids: list[int]) -> None:
    await eventually(lambda: not [pid for pid in pids if is_alive(pid)])


async def test_the_banner_s_curl_line_greets_at_once(dev: Process) -> None:
    command = dev.find(r"try: (curl http\S+)")
    done = subprocess.run(command.split(), capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == '{"message":"hello, sue"}'
    assert "\x1b" not in dev.log  # plain where there is no terminal
    url = dev.find(GATEWAY)
    assert httpx.get(dev.find(r"API docs +(\S+)"), trust_env=False).status_code == 200
    assert httpx.get(dev.find(r"health +(\S+)"), trust_env=False).json() == {"status": "ready"}
    async with connect(dev.find(r"NATS +(\S+)")) as client:  # any NATS client meets our responders
        assert (await client.request("greet.bob", timeout=PATIENCE)).data == b"hello, bob"
        services = await collect_services(client)
    assert services == ["greet", "greet", "notes", "notes"]
    assert httpx.get(f"{url}/greet/José", trust_env=False).json() == {"message": "hello, José"}
    assert '"event": "exchange"' in dev.log  # the access log is on in dev


async def collect_services(client: Client) -> list[str]:
    """The names of the services that answer a PING, once four do."""
    end = time.monotonic() + PATIENCE
    names: list[str] = []
    while len(names) < 4 and time.monotonic() < end:
        names.clear()
        inbox = client.new_inbox()
        sub = await client.subscribe(inbox)
        await client.publish("$SRV.PING", reply=inbox)
        with contextlib.suppress(TimeoutError):
            while True:
                names.append(json.loads((await sub.next_msg(timeout=0.3)).data)["name"])
    return sorted(names)


async def test_notes_outlive_their_responders(dev: Process) -> None:
    url = dev.find(GATEWAY)
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=PATIENCE) as client:
        made = await client.post("/notes", json={"title": "kept", "text": "名前"})
        assert (made.status_code, made.headers["etag"]) == (201, f'"{made.json()["revision"]}"')
        assert made.headers["location"] == f"/notes/{made.json()['id']}"
        read = await client.get(made.headers["location"])
        assert (read.status_code, read.json(), read.headers["etag"]) == (200, made.json(), made.headers["etag"])
        assert (await client.post("/notes", json={"title": ""})).json()["errors"][0]["pointer"] == "#/title"


async def test_a_route_file_of_the_user_s_takes_the_place_of_the_examples(tmp_path: Path) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text("version: 1\nroutes:\n  - {name: hi, method: GET, path: '/hi/{who}', subject: 'greet.{who}'}\n")
    with run(DEV, tmp_path / "log", GATEWAY_ROUTES=str(routes)) as dev:
        url = dev.find(GATEWAY)
        assert dev.find(r"try: curl (\S+)") == f"{url}/hi/who"
        assert httpx.get(f"{url}/hi/sue", trust_env=False).content == b"hello, sue"
        assert httpx.get(f"{url}/notes", trust_env=False).status_code == 404
        routes.write_text(routes.read_text().replace("/hi/", "/hello/"))
        dev.process.send_signal(signal.SIGHUP)
        dev.find("(routes-loaded)")
        await eventually(lambda: httpx.get(f"{url}/hello/sue", trust_env=False).status_code == 200)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
async def test_a_signal_stops_all_of_it_with_0(dev: Process, tmp_path: Path, number: int) -> None:
    dev.find(GATEWAY)
    below = descendants(dev.process.pid)
    assert len(below) == 6  # the guard, nats-server, two of each responder
    assert dev.stop(number) == 0
    assert not [pid for pid in below if is_alive(pid)]
    assert not list(tmp_path.glob("nats-http-*"))
    assert "Traceback" not in dev.log


async def test_a_signal_during_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    for delay in (0.05, 0.2, 0.35, 0.5, 0.65, 0.8, 1.0):
        with run(DEV, tmp_path / f"log{delay}", TMPDIR=str(tmp_path)) as process:
            time.sleep(delay)
            below = descendants(process.process.pid)
            assert process.stop() in (0, -signal.SIGTERM)  # the latter while Python still imports our code
            await all_gone(below)
            assert "Traceback" not in process.log
    assert not list(tmp_path.glob("nats-http-*"))


async def test_when_dev_is_killed_its_children_go_too(dev: Process, tmp_path: Path) -> None:
    dev.find(GATEWAY)
    below = descendants(dev.process.pid)
    dev.process.kill()
    await all_gone(below)
    await eventually(lambda: not list(tmp_path.glob("nats-http-*")))


@pytest.mark.parametrize("part", ["nats-server", "responders.greet"])
async def test_a_part_that_dies_by_itself_ends_dev_with_1_and_a_clear_line(
    dev: Process, tmp_path: Path, part: str
) -> None:
    dev.find(GATEWAY)
    below = descendants(dev.process.pid)
    os.kill(find_children(dev.process.pid, part)[0], signal.SIGKILL)
    assert dev.process.wait(PATIENCE * 2) == 1
    last = dev.log.splitlines()[-1]
    assert re.fullmatch(rf"nats-http: {part}( 1)? ended with exit code -9; .*", last)
    assert not [pid for pid in below if is_alive(pid)]
    assert not list(tmp_path.glob("nats-http-*"))


async def test_with_nats_url_that_server_is_used_and_none_is_started(tmp_path: Path, own_nats: NatsServer) -> None:
    with run(DEV, tmp_path / "log", NATS_URL=own_nats.url) as dev:
        assert dev.find(r"NATS +(\S+)") == own_nats.url
        assert not find_children(dev.process.pid, "nats-server")
        assert httpx.get(f"{dev.find(GATEWAY)}/greet/sue", trust_env=False).json() == {"message": "hello, sue"}
        assert dev.stop() == 0


SECRET = "s3cret"  # noqa: S105 - for tests


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


def guard(kind: str, directory: Path, ca: trustme.CA) -> tuple[str, dict[str, str]]:
    """The configuration of a server that asks for this kind of credentials, and the settings that it takes."""
    if kind == "user":
        return f"authorization {{user: u, password: {SECRET}}}", {"NATS_USER": "u", "NATS_PASSWORD": SECRET}
    if kind == "token":
        return f"authorization {{token: {SECRET}}}", {"NATS_TOKEN": SECRET}
    if kind == "nkey":
        key, file = Key(), directory / "user.nk"
        file.write_text(f"{key.seed}\n")
        return f"authorization {{users: [{{nkey: {key.public}}}]}}", {"NATS_NKEY_SEED": str(file)}
    if kind == "creds":
        operator, file = Operator(), directory / "user.creds"
        file.write_text(operator.make_creds())
        return operator.make_config(), {"NATS_CREDS": str(file)}
    files = write_certificate(directory / "tls", ca, ca.issue_cert("localhost"))
    client = write_certificate(directory / "client", ca, ca.issue_cert("client.test"))
    variables = {"NATS_TLS_CA": files.ca, "NATS_TLS_CERT": client.cert, "NATS_TLS_KEY": client.key}
    return make_tls_config(files, verify=True), {name: str(path) for name, path in variables.items()}


@pytest.mark.parametrize("kind", ["user", "token", "nkey", "creds", "tls"])
async def test_gateway_and_responders_show_what_the_server_asks_for(
    tmp_path: Path, authority: trustme.CA, kind: str
) -> None:
    config, variables = guard(kind, tmp_path, authority)
    with run_nats(tmp_path / "nats", config) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        with run(DEV, tmp_path / "log", NATS_URL=url, **variables) as dev:
            address = dev.find(GATEWAY)
            assert httpx.get(f"{address}/greet/sue", trust_env=False).json() == {"message": "hello, sue"}
            assert httpx.get(f"{address}/notes", trust_env=False, timeout=PATIENCE).status_code == 200
            body = {"title": "long", "text": "x" * 9000}
            assert httpx.post(f"{address}/notes", json=body, trust_env=False, timeout=PATIENCE).status_code == 201
            assert dev.stop() == 0
        assert SECRET not in dev.log
        assert "Traceback" not in dev.log


async def test_the_embedded_server_is_shown_nothing(tmp_path: Path, authority: trustme.CA) -> None:
    _, tls = guard("tls", tmp_path, authority)
    with run(DEV, tmp_path / "log", TMPDIR=str(tmp_path), NATS_USER="u", NATS_PASSWORD=SECRET, **tls) as dev:
        assert httpx.get(f"{dev.find(GATEWAY)}/greet/sue", trust_env=False).json() == {"message": "hello, sue"}


async def test_port_comes_from_the_environment_too(tmp_path: Path, own_nats: NatsServer) -> None:
    with run([*PROGRAM, "dev"], tmp_path / "log", NATS_URL=own_nats.url, PORT="0") as dev:
        assert httpx.get(f"{dev.find(GATEWAY)}/livez", trust_env=False).status_code == 200


@pytest.mark.parametrize(("settings", "is_told"), [({}, True), ({"GATEWAY_HEALTH_DETAILS": "off"}, False)])
async def test_dev_tells_details_of_its_health_unless_told_not_to(
    tmp_path: Path, own_nats: NatsServer, settings: dict[str, str], is_told: bool
) -> None:
    with run([*PROGRAM, "dev"], tmp_path / "log", NATS_URL=own_nats.url, PORT="0", **settings) as dev:
        health = httpx.get(f"{dev.find(GATEWAY)}/healthz", trust_env=False).json()
        assert ("nats_server" in health) is is_told


def test_a_missing_nats_server_is_one_clear_line(tmp_path: Path) -> None:
    """A virtual environment without the extra `embedded`, and a PATH without a nats-server."""
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=60)
    python = environment / "bin" / "python"
    packages = [find_packages(sys.executable), find_packages(python), str(Path.cwd())]
    (Path(packages[1]) / "other.pth").write_text("\n".join(packages))
    done = subprocess.run(
        [python, "-m", "app", "dev", "--port", "0"],
        env=clean_environment(PATH="/usr/bin:/bin"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert done.stderr == (
        "nats-http: no nats-server found: pip install 'nats-http-gateway[embedded]', or set NATS_URL\n"
    )


def find_packages(python: str | Path) -> str:
    """The folder where an interpreter keeps its packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
