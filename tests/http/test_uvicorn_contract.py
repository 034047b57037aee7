"""What app.http uses of uvicorn and httptools beyond their public API: an upgrade that changes it fails by name."""

import ast
import asyncio
import inspect
import textwrap
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from typing import Any

import httptools
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.edge.proxies import Proxies
from app.exchange.way_out import WayOut
from app.http.asgi_exchange import SERVER
from app.http.bounds import Bounds
from app.http.cycle import Cycle
from app.http.fast_exchange import FastExchange
from app.http.protocol import GatewayProtocol
from app.http.server import build_config
from app.observe.record import Observers


@pytest.fixture
def lane() -> None:
    """No gateway runs here."""


def test_the_version_is_one_that_was_tried() -> None:
    assert version("uvicorn").split(".")[:2] == ["0", "54"]


def find_attributes(function: Any, *path: str) -> set[str]:
    """The names that the source of a function or class has after `path`: `cycle` in `self.cycle.body`."""
    found = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == ".".join(path):
            found.add(node.attr)
    return found


def test_the_protocol_asks_of_a_cycle_what_an_exchange_has() -> None:
    asked = find_attributes(HttpToolsProtocol, "self", "cycle")
    assert asked == {"body", "disconnected", "keep_alive", "message_event", "more_body", "response_complete"}
    assert find_attributes(HttpToolsProtocol, "self", "cycle", "message_event") == {"set"}
    exchange = FastExchange(None, None, True)  # type: ignore[arg-type] # only looked at
    assert all(hasattr(exchange, name) for name in asked | {"response_started"})
    assert callable(exchange.message_event.set)


def test_a_cycle_has_what_the_bounds_look_at() -> None:
    names = find_attributes(RequestResponseCycle, "self")
    assert {"disconnected", "message_event", "response_complete", "response_started"} <= names


def test_a_cycle_does_with_its_transport_what_the_gateway_gives_it() -> None:
    assert find_attributes(RequestResponseCycle, "self", "transport") == {"write", "is_closing", "close"}


def test_a_stop_does_to_a_connection_what_the_gateway_does_too() -> None:
    theirs = find_attributes(HttpToolsProtocol.shutdown, "self")
    ours = find_attributes(GatewayProtocol.shutdown, "self") | find_attributes(GatewayProtocol.end_after_answer, "self")
    assert theirs - ours == {"transport"}


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("__init__", ["self", "config", "server_state", "app_state", "_loop"]),
        ("connection_made", ["self", "transport"]),
        ("connection_lost", ["self", "exc"]),
        ("data_received", ["self", "data"]),
        ("on_message_begin", ["self"]),
        ("on_url", ["self", "url"]),
        ("on_header", ["self", "name", "value"]),
        ("on_headers_complete", ["self"]),
        ("on_body", ["self", "body"]),
        ("on_message_complete", ["self"]),
        ("on_response_complete", ["self"]),
        ("resume_writing", ["self"]),
        ("shutdown", ["self"]),
    ],
)
def test_the_methods_of_the_protocol_take_what_they_took(method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(HttpToolsProtocol, method)).parameters) == parameters


def test_the_protocol_has_no_other_parser_callbacks() -> None:
    callbacks = {name for name in vars(HttpToolsProtocol) if name.startswith("on_")}
    assert callbacks == {
        "on_message_begin",
        "on_url",
        "on_header",
        "on_headers_complete",
        "on_body",
        "on_message_complete",
        "on_response_complete",
    }


def test_a_message_begins_with_what_the_fast_lane_sets_and_a_scope() -> None:
    theirs = find_attributes(HttpToolsProtocol.on_message_begin, "self")
    assert theirs == {
        *("url", "headers", "expect_100_continue", "scope"),
        *("asgi_version", "server", "client", "scheme", "root_path", "app_state"),
    }
    ours = find_attributes(GatewayProtocol.on_message_begin, "self")
    ours |= find_attributes(GatewayProtocol.on_headers_complete, "self")
    assert {"url", "headers", "expect_100_continue"} <= ours


async def test_a_cycle_begins_with_what_uvicorn_sets() -> None:
    given = dict.fromkeys(inspect.signature(RequestResponseCycle).parameters)
    theirs = vars(RequestResponseCycle(**given))  # type: ignore[arg-type] # only looked at
    ours = Cycle(None, None, None, [], False, True, print)  # type: ignore[arg-type]
    assert set(given) - set(theirs) == {"expect_100_continue"}  # it becomes waiting_for_100_continue
    assert all(hasattr(ours, name) for name in theirs)
    fixed = set(theirs) - set(given) - {"waiting_for_100_continue"}
    assert {name: getattr(ours, name) for name in fixed} == {name: theirs[name] for name in fixed}


@pytest.mark.parametrize("target", [b"/livez?a=%20&b", b"/caf%C3%A9/%2F?", b"/", b"http://t/x?y#z", b"/#x", b"*"])
async def test_a_request_has_the_scope_that_uvicorn_would_make(target: bytes) -> None:
    scopes: list[Scope] = []

    async def answer(scope: Scope, _: Receive, send: Send) -> None:
        scopes.append({name: value for name, value in scope.items() if name != SERVER})
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    def make(protocol: Callable[..., asyncio.Protocol], **parts: object) -> asyncio.Protocol:
        return protocol(config, ServerState(), {"app": "state"}, **parts)

    config = build_config(answer, HttpToolsProtocol)
    config.load()
    bounds = Bounds(maximum=1, body_timeout=1, max_buffered=1)
    ours = partial(make, GatewayProtocol, bounds=bounds, way_out=WayOut(Observers()), proxies=Proxies())
    for factory in (partial(make, HttpToolsProtocol), ours):
        async with await asyncio.get_running_loop().create_server(factory, "127.0.0.1") as server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
            writer.write(b"OPTIONS %b HTTP/1.1\r\nHost: t\r\nX-A: b\r\n\r\n" % target)
            assert (await reader.readline()).startswith(b"HTTP/1.1 204 ")
            writer.close()
    for scope in scopes:
        assert (scope.pop("client")[0], scope.pop("server")[0]) == ("127.0.0.1", "127.0.0.1")
    assert scopes[0] == scopes[1]


def test_a_response_ends_with_what_the_gateway_does_too() -> None:
    theirs = find_attributes(HttpToolsProtocol.on_response_complete, "self")
    ours = find_attributes(GatewayProtocol.on_response_complete, "self")
    ours |= find_attributes(GatewayProtocol.go_on_after_answer, "self")
    assert theirs - ours == {
        *("pipeline", "_start_asgi_task"),  # a request at a time: nothing is ever in its pipeline
        *("_unset_keepalive_if_required", "timeout_keep_alive_task"),
        *("timeout_keep_alive", "timeout_keep_alive_handler"),
    }


def test_the_flow_control_pauses_and_resumes_both_ways() -> None:
    assert {"pause_reading", "resume_reading", "pause_writing", "resume_writing"} <= set(vars(FlowControl))
    assert {"read_paused", "write_paused"} <= find_attributes(FlowControl.__init__, "self")


def test_status_lines_are_whole_lines_for_every_status() -> None:
    assert STATUS_LINE[200] == b"HTTP/1.1 200 OK\r\n"
    assert set(range(200, 600)) <= set(STATUS_LINE)


async def test_the_default_headers_are_a_new_list_every_second() -> None:
    config = uvicorn.Config("app.main:GatewayApp", server_header=False)
    config.load()
    server = uvicorn.Server(config)
    await server.on_tick(0)
    first = server.server_state.default_headers
    await server.on_tick(10)
    assert [name for name, _ in first] == [b"date"]
    assert server.server_state.default_headers is not first


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("startup", ["self", "sockets"]),
        ("shutdown", ["self", "sockets"]),
        ("on_tick", ["self", "counter"]),
        ("handle_exit", ["self", "sig", "frame"]),
    ],
)
def test_the_methods_of_the_server_take_what_they_took(method: str, parameters: list[str]) -> None:
    assert list(inspect.signature(getattr(uvicorn.Server, method)).parameters) == parameters


def test_the_server_has_its_lifespan_its_listeners_and_its_state() -> None:
    assert {"lifespan", "servers"} <= find_attributes(uvicorn.Server, "self")
    server = uvicorn.Server(uvicorn.Config("app.main:app"))
    assert (server.should_exit, server.force_exit, server.started) == (False, False, False)
    assert {"connections", "tasks", "default_headers", "total_requests"} <= set(vars(server.server_state))


@pytest.mark.parametrize(
    ("head", "keeps"),
    [
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n", True),
        (b"GET / HTTP/1.0\r\nKeep-Alive: timeout=5\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", False),
    ],
)
def test_only_a_connection_header_makes_the_parser_keep_a_connection_of_http_1_0(head: bytes, keeps: bool) -> None:
    seen = []

    class Callbacks:
        def on_headers_complete(self) -> None:
            seen.append(parser.should_keep_alive())

    parser = httptools.HttpRequestParser(Callbacks())
    parser.feed_data(head)
    assert seen == [keeps]


def test_an_exception_in_a_callback_is_a_parser_error() -> None:
    class Callbacks:
        def on_headers_complete(self) -> None:
            raise ValueError

    parser = httptools.HttpRequestParser(Callbacks())
    with pytest.raises(httptools.HttpParserError):
        parser.feed_data(b"GET / HTTP/1.1\r\n\r\n")
