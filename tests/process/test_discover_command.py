"""`nats-http discover`, as a person types it, with real services."""

import asyncio
import contextlib
import json
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from nats.aio.msg import Msg

from app.routefile.load import load_route_file
from tests.harness import PATIENCE, NatsServer, clean_environment, eventually, responder
from tests.process.programs import PROGRAM, run
from tests.process.test_discovery import serving


async def call(nats: NatsServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    process = await asyncio.create_subprocess_exec(
        *PROGRAM,
        "discover",
        *arguments,
        env={**clean_environment(), "NATS_URL": nats.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, error = await process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode or 0, out.decode(), error.decode())


@contextlib.asynccontextmanager
async def three_services(nats: NatsServer) -> AsyncIterator[None]:
    async with (
        serving(nats.url),
        serving(nats.url),
        serving(nats.url, "pets", path="/pets/{id}/{name}"),
    ):
        yield


async def test_a_table_shows_services_and_their_routes(own_nats: NatsServer) -> None:
    async with three_services(own_nats):
        result = await call(own_nats)
    assert result.returncode == 0
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["SERVICE", "VERSION", "INSTANCES", "ENDPOINT", "SUBJECT", "ROUTE"],
        ["orders", "1.0.0", "2", "get", "orders.*.get", "GET", "/orders/{id}"],
        ["pets", "1.0.0", "1", "get", "pets.*.get", "-"],
    ]
    assert result.stderr.startswith("nats-http: warning: pets.get: its path /pets/{id}/{name} has 2 parameters")


async def test_json_has_the_same_for_programs(own_nats: NatsServer) -> None:
    async with three_services(own_nats):
        result = await call(own_nats, "--json", "--service", "orders")
    found = json.loads(result.stdout)
    (service,) = found["services"]
    assert (service["name"], service["instances"], service["description"]) == ("orders", 2, "Takes orders.")
    (endpoint,) = service["endpoints"]
    assert endpoint["routes"][0]["path"] == "/orders/{id}"
    assert found["remarks"] == []


async def test_without_services_or_nats_it_says_so(own_nats: NatsServer) -> None:
    result = await call(own_nats, "--service", "orders")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("nats-http: no service named orders answers on $SRV.INFO")
    own_nats.kill()
    result = await call(own_nats)
    assert result.returncode == 1
    assert "There is no connection to NATS" in result.stderr
    own_nats.start()


async def test_a_new_route_file_is_right(own_nats: NatsServer, tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    async with serving(own_nats.url):
        result = await call(own_nats, "--write", str(path))
    assert result.stdout.endswith(f"{path}: 1 route added\n")
    assert path.read_text() == (
        "version: 1\n"
        "routes:\n"
        "  # orders 1.0.0, endpoint get\n"
        "  - name: orders-get\n"
        "    method: GET\n"
        "    path: /orders/{id}\n"
        "    subject: orders.{id}.get\n"
        "    tags:\n"
        "    - orders\n"
        "    reply:\n"
        "      content_type: auto\n"
    )
    subprocess.run([*PROGRAM, "check", path], check=True, capture_output=True)


BLOCK = (
    "# mine\nversion: 1\nroutes:\n{0}# first\n{0}- name: a\n{0}  method: GET # odd\n{0}  path: /x\n{0}  subject: x\n"
)
OPEN = (
    "version: 1\nauth: {u: {type: client-certificate}}\nroutes:\n"
    "- {name: a, method: GET, path: /x, subject: x, auth: u}"
)
REST = "\n# about defaults\ndefaults: {timeout: 3s}\n"


@pytest.mark.parametrize(
    ("indent", "rest"),
    [
        ("", REST),
        *(pytest.param(*pair, marks=pytest.mark.soak) for pair in (("", ""), ("  ", ""), ("  ", REST), ("    ", REST))),
    ],
)
async def test_what_a_person_wrote_does_not_change(
    indent: str, rest: str, own_nats: NatsServer, tmp_path: Path
) -> None:
    path = tmp_path / "routes.yaml"
    before = BLOCK.format(indent) + rest
    path.write_text(before)
    path.chmod(0o600)
    async with serving(own_nats.url):
        result = await call(own_nats, "--write", str(path))
        assert result.returncode == 0, result.stderr
        after = path.read_text()
        again = await call(own_nats, "--write", str(path))
    assert after != before
    added = [line for line in after.splitlines() if line not in before.splitlines()]
    assert f"{indent}- name: orders-get" in added
    kept = iter(after.splitlines())
    assert all(line in kept for line in before.splitlines())
    assert path.read_text() == after
    assert again.stdout.endswith("0 routes added; 1 was there already\n")
    assert path.stat().st_mode & 0o777 == 0o600
    subprocess.run([*PROGRAM, "check", path], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("before", "text"),
    [
        ("version: 1\nroutes: [{name: a, method: GET, path: /x, subject: x}]\n", "its routes are in one line"),
        ("version: 1\nrouts: []\n", "nothing was written, since it has faults"),
        (
            OPEN,
            "nothing was written, since it would have these faults",
        ),
    ],
)
async def test_a_file_that_can_not_take_them_stays(
    before: str, text: str, own_nats: NatsServer, tmp_path: Path
) -> None:
    path = tmp_path / "routes.yaml"
    path.write_text(before)
    async with serving(own_nats.url):
        result = await call(own_nats, "--write", str(path))
    assert result.returncode == 1
    assert text in result.stderr
    assert path.read_text() == before
    assert sorted(tmp_path.glob(".*")) == []


async def test_no_text_of_a_service_becomes_a_variable_or_another_type(own_nats: NatsServer, tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    texts = {"description": "${PATH} ${HOME:-x} $${PATH}", "request_schema": '{"const": "${PATH}", "title": "yes"}'}
    async with serving(own_nats.url, **{"http.method": "POST", "http.timeout": "1m", **texts}):
        await call(own_nats, "--write", str(path))
    declared: Any = load_route_file(path).declared[0]
    assert declared["description"] == texts["description"]
    assert declared["body_schema"] == {"const": "${PATH}", "title": "yes"}


async def test_names_that_could_change_a_terminal_are_left_out(own_nats: NatsServer) -> None:
    info = {"type": "io.nats.micro.v1.info_response", "name": "evil", "id": "A", "version": "1.0.0"}
    endpoints = [
        {"name": "\x1b[31mred", "subject": "a"},
        {"name": "b", "subject": "b", "metadata": {"description": "\x1b[2J"}},
    ]

    async def lie(message: Msg) -> None:
        await message.respond(json.dumps({**info, "description": "\x1b]0;x\x07", "endpoints": endpoints}).encode())

    async with responder(own_nats.url, "$SRV.INFO", lie):
        result = await call(own_nats, "--json")
        table = await call(own_nats)
    assert "\\u001b" not in result.stdout.partition('"endpoints"')[0]
    assert "\x1b" not in result.stdout + result.stderr + table.stdout + table.stderr
    assert "endpoint 1 has no name or no subject that can be used" in table.stderr


HOSTILE = "\x1b[31m\x07\x9b2J\u202e\u2066\u200b\r\n" + "W" * 5000
WHOLE: dict[str, str] = {"version": f"1.0.0-{HOSTILE}", "description": HOSTILE}


def say_hostile_things(kind: str) -> list[bytes]:
    """Answers that have these characters in all places, one place at a time."""
    about = {"type": f"io.nats.micro.v1.{kind}_response", "name": "evil", "id": "A", "version": "1.0.0"}
    keys = ("path", "method", "subject", "timeout", "status", "auth", "route", "routes", HOSTILE)
    metadata = [
        *({f"http.{key}": HOSTILE} for key in keys),
        *({f"http.{key}": f"/{HOSTILE}/{{a}}"} for key in keys),
        {"http.route": json.dumps({HOSTILE: HOSTILE})},
        {"http.route": json.dumps({"path": HOSTILE, "params": {HOSTILE: {"type": HOSTILE}}})},
        {"http.route": json.dumps({"summary": HOSTILE, "reply": {"statuses": {HOSTILE: {}}}})},
        {"request_schema": HOSTILE, "response_schema": json.dumps({"type": HOSTILE, "pattern": f"({HOSTILE}"})},
        {"request_schema": json.dumps({"$ref": HOSTILE})},
        {"request_schema": json.dumps({"$schema": HOSTILE})},
        {"format": HOSTILE},
        {"description": HOSTILE, HOSTILE: HOSTILE},
    ]
    wrong = [{"name": f"e{number}", "subject": "e", "metadata": each} for number, each in enumerate(metadata)]
    named = [{"name": HOSTILE, "subject": "e"}, {"name": "s", "subject": HOSTILE}, {"name": "t", "subject": "\u202ee"}]
    more = {"description": HOSTILE, "endpoints": [*wrong, *named]}
    whole = {**about, **(more if kind == "info" else {})}
    return [json.dumps(one).encode() for one in (whole, *({**about, "id": f"B{n}", n: v} for n, v in WHOLE.items()))]


def find_strange(text: str) -> set[str]:
    return {character for character in text if not character.isprintable() and character != "\n"}


@pytest.mark.parametrize("form", ["text", pytest.param("json", marks=pytest.mark.soak)])
async def test_nothing_of_a_service_changes_a_terminal_or_a_log(
    form: str, own_nats: NatsServer, tmp_path: Path
) -> None:
    lies = {kind: say_hostile_things(kind) for kind in ("ping", "info")}

    async def lie(message: Msg) -> None:
        for payload in lies[message.subject.split(".")[1].lower()]:
            await message.respond(payload)

    settings = {"NATS_URL": own_nats.url, "GATEWAY_DISCOVER": "evil", "GATEWAY_LOG_FORMAT": form}
    async with responder(own_nats.url, "$SRV.>", lie):
        results = [await call(own_nats, *options) for options in ((), ("--json",), ("--service", "evil"))]
        with run([*PROGRAM, "serve", "--port", "0"], tmp_path / "log", **settings) as gateway:
            await eventually(lambda: gateway.log.count("service-refused") >= 20, timeout=PATIENCE)
            assert gateway.stop() == 0
    texts = [gateway.log, *(text for result in results for text in (result.stdout, result.stderr))]
    assert [find_strange(text) for text in texts] == [set()] * 7
    assert (
        max(len(line) for text in texts for line in text.splitlines() if "warning" in line or "refused" in line) < 900
    )
