"""What app.nats.connection uses of nats-py beyond its public API: an upgrade that changes it fails here, by name."""

import asyncio
import inspect
from importlib.metadata import version

import pytest
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import AWAITING_CONTROL_LINE, AWAITING_MSG_PAYLOAD, Parser

from tests.harness import NatsServer


def test_the_version_is_one_that_was_tried() -> None:
    major, minor = (int(part) for part in version("nats-py").split(".")[:2])
    assert (major, minor) >= (2, 16)
    assert major < 3


@pytest.mark.parametrize(
    ("method", "parameters"),
    [
        ("_process_msg", ["self", "sid", "subject", "reply", "data", "headers"]),
        ("_process_err", ["self", "err_msg"]),
        ("_process_op_err", ["self", "e"]),
        ("_process_info", ["self", "info", "initial_connection"]),
    ],
)
def test_the_methods_that_are_replaced_take_what_they_took(method: str, parameters: list[str]) -> None:
    function = getattr(Client, method)
    assert inspect.iscoroutinefunction(function)
    assert list(inspect.signature(function).parameters) == parameters


async def test_a_connected_client_has_its_tasks_its_transport_and_its_nuid(shared_nats: NatsServer) -> None:
    client = Client()
    await client.connect(shared_nats.url, allow_reconnect=False)
    try:
        for task in (client._reading_task, client._ping_interval_task, client._flusher_task):
            assert isinstance(task, asyncio.Task)
        assert isinstance(client._transport, TcpTransport)
        assert client._transport._io_writer is not None
        transport = client._transport._io_writer.transport
        assert transport.get_write_buffer_size() == 0
        assert callable(transport.abort)
        stream = transport.get_protocol()
        assert isinstance(stream, asyncio.StreamReaderProtocol)
        assert client._transport._io_reader is getattr(stream, "_stream_reader")  # noqa: B009 - typeshed leaves it out
        assert client._transport._bare_io_writer is client._transport._io_writer  # without TLS
        assert len(getattr(client._transport._io_reader, "_buffer")) >= 0  # noqa: B009
        assert client._nuid.next().decode().isalnum()
        assert isinstance(client._ps, Parser)
    finally:
        await client.close()


async def test_an_error_line_still_stands_in_the_parser_s_buffer_with_its_case() -> None:
    seen: list[tuple[bytes, str]] = []

    class Recorder:
        async def _process_err(self, message: str) -> None:
            seen.append((bytes(parser.buf), message))

    line = b"-ERR 'Permissions Violation for Publish to \"greet.Sue\"'\r\n"
    parser = Parser(Recorder())
    await parser.parse(line)
    assert seen == [(line, line.decode().lower()[5:-2])]


async def test_a_message_is_handed_over_as_bytes_with_its_raw_header_block() -> None:
    seen: list[tuple[object, ...]] = []

    class Recorder:
        async def _process_msg(self, *arguments: object) -> None:
            seen.append(arguments)

    parser = Parser(Recorder())
    await parser.parse(b"MSG a 1 2\r\nhi\r\nHMSG a 1 b 12 14\r\nNATS/1.0\r\n\r\nhi\r\n")
    assert seen == [(1, b"a", b"", b"hi", None), (1, b"a", b"b", b"hi", b"NATS/1.0\r\n\r\n")]


async def test_the_parser_tells_what_it_still_waits_for() -> None:
    class Recorder:
        async def _process_msg(self, *_: object) -> None:
            pass

    parser = Parser(Recorder())
    assert (parser.state, bytes(parser.buf)) == (AWAITING_CONTROL_LINE, b"")
    await parser.parse(b"MSG a 1")
    assert (parser.state, bytes(parser.buf)) == (AWAITING_CONTROL_LINE, b"MSG a 1")
    await parser.parse(b" 5\r\nhe")
    assert (parser.state, parser.needed, bytes(parser.buf)) == (AWAITING_MSG_PAYLOAD, 5, b"he")
    await parser.parse(b"llo\r\n")
    assert (parser.state, bytes(parser.buf)) == (AWAITING_CONTROL_LINE, b"")


async def test_tls_is_what_the_info_and_the_options_say_after_it_was_processed(shared_nats: NatsServer) -> None:
    """The context that is put there is used, once the info says that TLS is required: this server knows none."""

    class Asking(Client):
        async def _process_info(self, info: dict[str, object], initial_connection: bool = False) -> None:
            info["tls_required"] = True
            self.options["tls"] = "no context"
            await super()._process_info(info, initial_connection)

    client = Asking()
    try:
        with pytest.raises(TypeError, match="no context"):
            await client.connect(shared_nats.url, allow_reconnect=False)
    finally:
        assert isinstance(client._transport, TcpTransport)
        client._transport.close()  # type: ignore[no-untyped-call]
        await client._transport.wait_closed()  # type: ignore[no-untyped-call]
