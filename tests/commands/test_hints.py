"""What `nats-http dev` says of a request that nobody answers, or that no route takes."""

import asyncio
import json
import subprocess
import time
from collections.abc import Sequence

import pytest

from app.commands.hints import MAX_HINTS, Hints, choose_reply, find_nearest, write_service
from app.observe.record import Record
from app.routing.routes import ReplyRules, Route
from app.routing.table import RouteTable
from tests.harness import PATIENCE, NatsServer, run_gateway
from tests.observe.test_console import RECORD

ROUTES = [
    Route(name="greet", methods=("GET",), path="/greet/{name}", subject="greet.{name}"),
    Route(name="orders", methods=("GET", "POST"), path="/orders", subject="orders.all"),
    Route(name="items", methods=("GET",), path="/orders/{id}/items/{n}", subject="orders.{id}.items.{n}", timeout=5.0),
    Route(name="files", methods=("GET",), path="/files/{path...}", subject="files.{path...}"),
]
NOBODY = RECORD._replace(status=503, slug="no-responders")
NOT_FOUND = RECORD._replace(status=404, slug="not-found", route=None)


def tell(records: Sequence[Record], capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, object]], str]:
    """The events of these records, and what else is printed."""
    hints = Hints(lambda: RouteTable(ROUTES), lambda: "127.0.0.1:4222")
    for record in records:
        hints(record)
    printed = capsys.readouterr()
    return [json.loads(line) for line in printed.out.splitlines()], printed.err


def test_a_route_that_nobody_answers_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    events, command = tell([NOBODY] * 3 + [NOBODY._replace(route="items")], capsys)
    assert [event["subject"] for event in events] == ["greet.*", "orders.*.items.*"]
    assert command.count("nats://127.0.0.1:4222") == 2


def test_other_failures_are_told_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    others = [
        RECORD,
        RECORD._replace(status=504, slug="timeout"),
        NOBODY._replace(route="gone"),
        NOT_FOUND._replace(path=None),
        NOT_FOUND._replace(route="greet"),
    ]
    assert tell(others, capsys) == ([], "")


def test_a_path_that_no_route_has_is_told_the_nearest_ones_once(capsys: pytest.CaptureFixture[str]) -> None:
    near = NOT_FOUND._replace(path=b"/gret/sue")
    events, _ = tell([near, near, NOT_FOUND._replace(path=b"/favicon.ico")], capsys)
    assert [event["routes"] for event in events] == [["GET /greet/{name}"]]


def test_a_method_that_a_path_does_not_take_is_told_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    events, _ = tell([RECORD._replace(status=405, slug="method-not-allowed", route=None, path=b"/orders")], capsys)
    assert events[0]["routes"] == ["GET,POST /orders"]


def test_callers_can_t_fill_the_log_with_hints(capsys: pytest.CaptureFixture[str]) -> None:
    events, _ = tell([NOT_FOUND._replace(path=b"/greet/sue/%d" % number) for number in range(2 * MAX_HINTS)], capsys)
    assert len(events) == MAX_HINTS


@pytest.mark.parametrize(
    ("path", "names"),
    [
        (b"/greet", ["greet"]),
        (b"/greet/", ["greet"]),
        (b"/Greet/sue", ["greet"]),
        (b"/order", ["orders"]),
        (b"/orders/7/item/3", ["items"]),
        (b"/%67ret/sue", ["greet"]),
        (b"/file/a/b/c", ["files"]),
        (b"/items/3", ["items", "files"]),
        (b"/7/items/3", ["items"]),
        (b"/" + b"x" * 70_000, []),
        (b"//", []),
        (b"*", []),
    ],
)
def test_near_is_what_differs_by_little(path: bytes, names: list[str]) -> None:
    assert [route.name for route in find_nearest(path, ROUTES)] == names


@pytest.mark.parametrize(
    ("rules", "reply"),
    [
        (ReplyRules(), "hello"),
        (ReplyRules(wrap="message", example="hello, sue"), "hello, sue"),
        (ReplyRules(content_type="application/json"), '{"hello": "world"}'),
        (ReplyRules(content_type="application/json", example={"id": "it's"}), '{"id": "it\'s"}'),
        (ReplyRules(content_type="application/json", example=["x"] * 200), '{"hello": "world"}'),
    ],
)
def test_the_reply_is_the_example_of_the_route(rules: ReplyRules, reply: str) -> None:
    assert choose_reply(Route(name="a", methods=("GET",), path="/a", subject="a", reply=rules)) == reply


async def test_the_command_starts_a_service_that_answers(shared_nats: NatsServer) -> None:
    route = Route(
        name="hint", methods=("GET",), path="/hint/{id}", subject="hint.{id}", reply=ReplyRules(example="it's I")
    )
    command = write_service("hint.*", choose_reply(route), shared_nats.url.removeprefix("nats://"))
    async with run_gateway(shared_nats.url, routes=[route]) as gateway:
        assert (await gateway.get("/hint/1")).status_code == 503
        service = subprocess.Popen(["bash", "-c", f"exec {command}"], stdin=subprocess.DEVNULL)
        try:
            end = time.monotonic() + PATIENCE
            while (answer := await gateway.get("/hint/1")).status_code == 503:
                assert time.monotonic() < end
                await asyncio.sleep(0.05)
            assert answer.text == "it's I"
        finally:
            service.kill()
            service.wait()
