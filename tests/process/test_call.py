"""`nats-http call`, as it is typed."""

import asyncio
import json
import os
import pty
import re
import signal
import subprocess
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from nats.aio.msg import Msg

from app.errors import NoResponders, NotConnected, Timeout
from app.routing.bodies import AT_ONCE
from tests.harness import (
    PATIENCE,
    NatsServer,
    RawPeer,
    clean_environment,
    connect,
    eventually,
    replying,
    responder,
    run_nats,
)
from tests.process.programs import PROGRAM, finish, run

ROUTES = """\
version: 1
auth: {partners: {type: api-key, header: X-API-Key, file: keys.yaml}}
defaults: {auth: partners, timeout: 10s}
routes:
  - name: get
    method: GET
    path: /orders/{id}
    subject: call.get.{id}
    params: {id: {type: integer, min: 1}}
    headers: [X-Tenant]
    reply: {content_type: application/json}
  - name: slow
    method: GET
    path: /slow
    subject: call.slow
    timeout: 200ms
  - name: make
    method: POST
    path: /orders
    subject: call.make
    body_schema: {type: object, required: [item]}
    reply: {status: 201, errors: {1001: 409}}
  - name: all
    method: GET
    path: /all
    subject: call.all
    replies: {max: 2, within: 5s, stall: 5s}
  - name: tell
    method: POST
    path: /tell
    publish: call.told
  - name: store
    method: POST
    path: /store
    publish: call.stored
    stream: CALLS
  - name: watch
    method: GET
    path: /watch
    subscribe: call.watched
"""
JSON = ("-H", "Content-Type: application/json")


@pytest.fixture
def routes(tmp_path: Path) -> str:
    (tmp_path / "keys.yaml").write_text("version: 1\nkeys: []\n")
    (tmp_path / "routes.yaml").write_text(ROUTES)
    return str(tmp_path / "routes.yaml")


async def ask(nats: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return await asyncio.to_thread(finish, [*PROGRAM, "call", *arguments], NATS_URL=nats, **environment)


def read_rows(output: str) -> dict[str, str]:
    """The rows before the body, by their names."""
    lines = output.partition("\n{")[0].splitlines()
    return {line[:9].strip(): line[9:] for line in lines if not line.startswith(" ")}


async def test_it_sends_what_explain_shows_and_shows_what_came_back(shared_nats: NatsServer, routes: str) -> None:
    got: list[Msg] = []

    async def answer(msg: Msg) -> None:
        got.append(msg)
        await replying(b'{"id":7,"item":"t\xc3\xa9"}')(msg)

    async with responder(shared_nats.url, "call.get.*", answer):
        done = await ask(shared_nats.url, "GET", "/orders/7", "-H", "X-Tenant: acme", "--routes", routes)
    rows = read_rows(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (rows["route"], rows["subject"], rows["payload"]) == ("get", "call.get.7", "(empty)")
    assert (rows["headers"], rows["status"]) == ("X-Tenant: acme", "200")
    assert re.fullmatch(r"\d+\.\d ms", rows["time"])
    assert "\n         content-type: application/json\n" in done.stdout
    assert done.stdout.endswith('{\n  "id": 7,\n  "item": "té"\n}\n')
    assert [(msg.subject, msg.headers) for msg in got] == [("call.get.7", {"X-Tenant": "acme"})]


async def test_json_is_one_object(shared_nats: NatsServer, routes: str) -> None:
    async with responder(shared_nats.url, "call.make", replying(b"\xff", {"Http-Status": "202"})):
        done = await ask(
            shared_nats.url, "POST", "/orders", *JSON, "-d", '{"item":"tea"}', "--json", GATEWAY_ROUTES=routes
        )
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr, found["route"], found["status"]) == (0, "", "make", 202)
    assert (found["sent"]["subject"], found["sent"]["payload"]) == ("call.make", {"item": "tea"})
    assert 0 < found["seconds"] < 10
    assert found["not_connected"] is None
    assert found["headers"]["content-length"] == "1"
    assert (found["body_base64"], "body" in found) == ("/w==", False)


async def test_the_rules_of_the_route_refuse_a_request_before_it_is_sent(
    shared_nats: NatsServer, routes: str, tmp_path: Path
) -> None:
    (tmp_path / "body.json").write_text('{"thing":1}')
    for arguments, status, slug in (
        (("GET", "/orders/0"), 422, "invalid-parameter"),
        (("POST", "/orders", *JSON, "-d", f"@{tmp_path / 'body.json'}"), 422, "invalid-body"),
        (("POST", "/orders", "-d", "{}"), 415, "unsupported-media-type"),
        (("PATCH", "/orders"), 405, "method-not-allowed"),
        (("GET", "/nothing"), 404, "not-found"),
    ):
        done = await ask(shared_nats.url, *arguments, "--json", GATEWAY_ROUTES=routes)
        found = json.loads(done.stdout)
        assert (done.returncode, found["status"], found["body"]["type"]) == (1, status, f"/problems/{slug}")
        assert found["seconds"] is None


async def test_similar_routes_are_named_if_no_route_has_the_path(shared_nats: NatsServer, routes: str) -> None:
    for target, near in (("/order/7", ["/orders/{id}", "/orders"]), ("/stor", ["/store"]), ("/x", [])):
        done = await ask(shared_nats.url, "GET", target, "--json", GATEWAY_ROUTES=routes)
        assert (done.returncode, json.loads(done.stdout)["near"]) == (1, near)
        shown = await ask(shared_nats.url, "GET", target, GATEWAY_ROUTES=routes)
        explained = await asyncio.to_thread(finish, [*PROGRAM, "explain", "GET", target], GATEWAY_ROUTES=routes)
        for output in (shown.stdout, explained.stdout):
            assert re.findall("^near     (.*)", output, re.MULTILINE) == near


async def test_without_the_named_service_the_problem_is_said(own_nats: NatsServer) -> None:
    done = await ask(own_nats.url, "POST", "/orders/get/7", GATEWAY_DISCOVER="orders")
    assert done.returncode == 1
    assert "no service named orders answers" in done.stderr
    assert "excepthook" not in done.stderr


async def test_an_error_of_a_service_is_mapped_by_its_route(shared_nats: NatsServer, routes: str) -> None:
    headers = {"Nats-Service-Error": "it is there", "Nats-Service-Error-Code": "1001"}
    async with responder(shared_nats.url, "call.make", replying(b"", headers)):
        done = await ask(shared_nats.url, "post", "/orders", *JSON, "-d", '{"item":1}', GATEWAY_ROUTES=routes)
        assert (done.returncode, read_rows(done.stdout)["status"]) == (1, "409")
        assert '"detail": "it is there"' in done.stdout
        done = await ask(shared_nats.url, "call.make")
    assert (done.returncode, "status" in read_rows(done.stdout)) == (1, False)
    assert "nats-service-error-code: 1001" in done.stdout


async def test_nobody_too_late_and_no_connection_are_problems(shared_nats: NatsServer, routes: str, port: int) -> None:
    async def say_nothing(_: Msg) -> None: ...

    nowhere = f"nats://127.0.0.1:{port}"
    async with responder(shared_nats.url, "call.slow", say_nothing):
        for nats, words, error in (
            (shared_nats.url, ("GET", "/orders/7"), NoResponders),
            (shared_nats.url, ("call.nobody",), NoResponders),
            (shared_nats.url, ("GET", "/slow"), Timeout),
            (shared_nats.url, ("call.slow",), Timeout),
            (nowhere, ("GET", "/slow"), NotConnected),
            (nowhere, ("call.slow",), NotConnected),
        ):
            done = await ask(nats, *words, GATEWAY_ROUTES=routes, GATEWAY_TIMEOUT="1s")
            assert (done.returncode, done.stderr) == (1, "")
            assert read_rows(done.stdout)["status"] == str(error.status)
            assert f'"type": "/problems/{error.slug}"' in done.stdout
            assert ("Nobody is subscribed to this subject," in done.stdout) == (words == ("call.nobody",))
            assert ("NATS     not connected: 127.0.0.1:" in done.stdout) == (nats == nowhere)


async def test_a_subject_needs_no_route_and_takes_tokens_headers_and_any_payload(shared_nats: NatsServer) -> None:
    got: list[Msg] = []

    async def answer(msg: Msg) -> None:
        got.append(msg)
        await replying(b"\x1b[31mtea", {"X-Stock": "3"})(msg)

    async with responder(shared_nats.url, "call.get.*.now", answer):
        done = await ask(shared_nats.url, "call.get", "7", "now", "-d", "plain", "-H", "X-Tenant: acme")
    assert [(msg.subject, msg.data, msg.headers) for msg in got] == [("call.get.7.now", b"plain", {"X-Tenant": "acme"})]
    rows = read_rows(done.stdout)
    assert (done.returncode, done.stderr) == (0, "")
    assert (rows["subject"], rows["payload"], rows["headers"]) == ("call.get.7.now", "plain", "X-Tenant: acme")
    assert done.stdout.splitlines()[-2:] == ["answer   x-stock: 3", "\\x1b[31mtea"]


async def test_a_reply_that_breaks_the_protocol_is_a_problem(shared_nats: NatsServer, routes: str) -> None:
    async with RawPeer.connect(shared_nats.url, "call.get.7") as service:
        for words in (("call.get", "7"), ("GET", "/orders/7")):
            asked = asyncio.create_task(ask(shared_nats.url, *words, GATEWAY_ROUTES=routes))
            service.publish((await service.next()).reply, b"NATS/1.0\r\na b: c\r\n\r\n", b"tea")
            done = await asked
            assert (done.returncode, done.stderr, read_rows(done.stdout)["status"]) == (1, "", "502")
            assert "it has a header whose name is not a token" in done.stdout


async def test_a_large_body_is_checked_too(shared_nats: NatsServer, routes: str, tmp_path: Path) -> None:
    (tmp_path / "body.json").write_text(json.dumps({"item": ["tea"] * AT_ONCE}))
    async with responder(shared_nats.url, "call.make", replying(b"")):
        words = "POST", "/orders", *JSON, "-d", f"@{tmp_path / 'body.json'}", "--json"
        done = await ask(shared_nats.url, *words, GATEWAY_ROUTES=routes)
    found = json.loads(done.stdout)
    assert (done.returncode, done.stderr, found["status"]) == (0, "", 201)
    assert len(found["sent"]["payload"]["item"]) == AT_ONCE


async def test_many_replies_are_all_shown(shared_nats: NatsServer, routes: str) -> None:
    async with AsyncExitStack() as stack:
        for number in (1, 2):
            await stack.enter_async_context(responder(shared_nats.url, "call.all", replying(b"%d" % number)))
        done = await ask(shared_nats.url, "GET", "/all", "--json", GATEWAY_ROUTES=routes)
        lines = await ask(shared_nats.url, "GET", "/all", "-H", "Accept: application/x-ndjson", GATEWAY_ROUTES=routes)
    found = json.loads(done.stdout)
    assert (sorted(found["body"]), found["headers"]["x-replies-ended"]) == ([1, 2], "max")
    assert sorted(lines.stdout.splitlines()[-3:]) == ["1", "2", '{"X-Replies-Ended":"max"}']
    assert (done.returncode, lines.returncode) == (0, 0)


async def test_a_message_is_published_and_a_stored_one_is_acknowledged(own_nats: NatsServer, routes: str) -> None:
    async with connect(own_nats.url) as client:
        await client.jetstream().add_stream(name="CALLS", subjects=["call.stored"])
        told = await client.subscribe("call.told")
        await client.flush()
        done = await ask(own_nats.url, "POST", "/tell", "-d", "hello", GATEWAY_ROUTES=routes)
        assert (done.returncode, read_rows(done.stdout)["status"]) == (0, "202")
        assert (await told.next_msg(timeout=PATIENCE)).data == b"hello"
        done = await ask(own_nats.url, "POST", "/store", "-d", "hello", "--json", GATEWAY_ROUTES=routes)
    found = json.loads(done.stdout)
    assert (done.returncode, found["status"]) == (0, 201)
    assert found["body"] == {"stream": "CALLS", "seq": 1, "duplicate": False}


def test_a_stream_is_refused_with_a_hint(routes: str) -> None:
    done = finish([*PROGRAM, "call", "GET", "/watch"], GATEWAY_ROUTES=routes)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "nats-http: route 'watch' streams messages, and `call` waits for one answer: start the gateway, and run "
        "curl -N http://127.0.0.1:8000/watch\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (("GET",), 2, "after GET there is one word, the target"),
        (("GET", "/a", "/b"), 2, "after GET there is one word, the target"),
        (("a.b", "--routes", "x.yaml"), 2, "--routes is for a request with a method"),
        ((), 2, "Missing argument"),
        (("a..b",), 1, "nats-http: 'a..b' is neither a method nor a subject: A token of it is empty."),
        (("a.*",), 1, "U+002A, which can't be part of a NATS subject token"),
        (("a", "b c"), 1, "U+0020, which can't be part of a NATS subject token"),
        (("a", "-H", "x"), 1, "nats-http: -H 'x': a header is 'name: value'"),
        (("a", "-H", "x: 1\r\ny: 2"), 1, "nats-http: -H 'x': its value has a control character"),
        (("a", "-d", "@nothing"), 1, "nats-http: nothing: no such file or directory"),
    ],
)
def test_what_can_t_be_sent_is_refused(arguments: tuple[str, ...], code: int, why: str) -> None:
    done = finish([*PROGRAM, "call", *arguments], COLUMNS="200")
    assert (done.returncode, done.stdout) == (code, "")
    assert why in done.stderr


async def test_a_terminal_gets_colours_unless_it_wants_none(shared_nats: NatsServer) -> None:
    async def show(**environment: str) -> bytes:
        ours, theirs = pty.openpty()
        values = clean_environment(NATS_URL=shared_nats.url, TERM="xterm", **environment)
        process = await asyncio.create_subprocess_exec(*PROGRAM, "call", "call.nobody", env=values, stdout=theirs)
        assert await process.wait() == 1
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as reader:
            return reader.read(4096) or b""

    assert b"\x1b[31m\x1b[1m503\x1b[0m" in await show(NO_COLOR="")
    assert b"\x1b" not in await show(NO_COLOR="1")


async def test_it_connects_with_the_credentials_of_the_settings(tmp_path: Path) -> None:
    with run_nats(tmp_path / "nats", "authorization { user: sue, password: s3cret }") as nats:
        done = await ask(nats.url, "call.nobody", NATS_USER="sue", NATS_PASSWORD="s3cret")  # noqa: S106 - for tests
        assert '"type": "/problems/no-responders"' in done.stdout
        done = await ask(nats.url, "call.nobody", GATEWAY_TIMEOUT="500ms")
    assert (done.returncode, '"type": "/problems/not-connected"' in done.stdout) == (1, True)
    assert "NATS     not connected: " in done.stdout
    assert "uthorization" in read_rows(done.stdout)["NATS"]


SIGNED = """\
version: 1
routes:
  - {name: hook, method: POST, path: /hook, subject: call.hook, signature: {header: X-Sig, secret_file: secret}}
"""


async def test_policies_are_not_applied_not_even_to_the_body(shared_nats: NatsServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("0123456789abcdef0123456789abcdef\n")
    (tmp_path / "routes.yaml").write_text(SIGNED)
    async with responder(shared_nats.url, "call.hook", replying(b"seen")):
        words = "POST", "/hook", "-d", "x", "--routes", str(tmp_path / "routes.yaml")
        done = await ask(shared_nats.url, *words)
    assert (done.returncode, done.stderr, read_rows(done.stdout)["status"]) == (0, "", "200")
    assert done.stdout.endswith("\nseen\n")


async def test_ctrl_c_is_quiet(shared_nats: NatsServer, tmp_path: Path) -> None:
    got: list[Msg] = []

    async def say_nothing(msg: Msg) -> None:
        got.append(msg)

    async with responder(shared_nats.url, "call.slow", say_nothing):
        with run([*PROGRAM, "call", "call.slow"], tmp_path / "log", NATS_URL=shared_nats.url) as caller:
            await eventually(lambda: got)
            assert await asyncio.to_thread(caller.stop, signal.SIGINT) == 130
            assert caller.log == ""
