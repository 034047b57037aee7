"""What app.nats.connection uses of nats-py beyond its public API: an upgrade that changes it fails here, by name."""

import asyncio
import inspect
from importlib.metadata import version

import pytest
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.protocol.parser import AWAITING_CONTROL_LINE, AWAITING_MSG_PAYLOAD, Parser

from app import __version__
from app.main import build_gateway
from app.nats.internals import TRIED, IncompatibleNats, check_nats
from app.settings import Settings
from tests.harness import NatsServer


def test_the_version_is_one_that_was_tried() -> None:
    assert ".".join(version("nats-py").split(".")[:2]) == TRIED
    check_nats()


@pytest.mark.parametrize("method", ["_process_msg", "_process_err", "_process_op_err", "_process_info"])
def test_the_methods_that_are_replaced_are_coroutines(method: str) -> None:
    assert inspect.iscoroutinefunction(getattr(Client, method))


@pytest.mark.parametrize(
    ("owner", "name", "shown"),
    [
        (Client, "_process_msg", "Client._process_msg(sid, subject, reply, data, headers)"),
        (Client, "__init__", "Client._flusher_task, Client._nuid, "),
        (TcpTransport, "__init__", "TcpTransport._bare_io_writer, TcpTransport._io_reader, TcpTransport._io_writer"),
    ],
)
def test_a_name_that_is_missing_is_told_at_the_start_with_both_versions(
    owner: object, name: str, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "__init__":
        monkeypatch.setattr(owner, name, lambda _: None)
    else:
        monkeypatch.delattr(owner, name)
    with pytest.raises(IncompatibleNats) as caught:
        build_gateway(Settings())
    assert str(caught.value).startswith(f"nats-py {version('nats-py')} has no {shown}")
    assert str(caught.value).endswith(
        f", which nats-http-gateway {__version__} needs: install nats-py {TRIED}, or a newer nats-http-gateway"
    )


def test_a_method_that_takes_something_else_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Client, "_process_err", lambda _: None)
    with pytest.raises(IncompatibleNats, match=r"no Client\._process_err\(err_msg\), which"):
        check_nats()


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
            seen.append((bytes(reader.buf), message))

    line = b"-ERR 'Permissions Violation for Publish to \"greet.Sue\"'\r\n"
    reader = Parser(Recorder())
    await reader.parse(line)
    assert seen == [(line, line.decode().lower()[5:-2])]


async def test_a_message_is_handed_over_as_bytes_with_its_raw_header_block() -> None:
    seen: list[tuple[object, ...]] = []

    class Recorder:
        async def _process_msg(self, *arguments: object) -> None:
            seen.append(arguments)

    reader = Parser(Recorder())
    await reader.parse(b"MSG a 1 2\r\nhi\r\nHMSG a 1 b 12 14\r\nNATS/1.0\r\n\r\nhi\r\n")
    assert seen == [(1, b"a", b"", b"hi", None), (1, b"a", b"b", b"hi", b"NATS/1.0\r\n\r\n")]


async def test_the_parser_tells_what_it_still_waits_for() -> None:
    class Recorder:
        async def _process_msg(self, *_: object) -> None:
            pass

    reader = Parser(Recorder())
    assert (reader.state, bytes(reader.buf)) == (AWAITING_CONTROL_LINE, b"")
    await reader.parse(b"MSG a 1")
    assert (reader.state, bytes(reader.buf)) == (AWAITING_CONTROL_LINE, b"MSG a 1")
    await reader.parse(b" 5\r\nhe")
    assert (reader.state, reader.needed, bytes(reader.buf)) == (AWAITING_MSG_PAYLOAD, 5, b"he")
    await reader.parse(b"llo\r\n")
    assert (reader.state, bytes(reader.buf)) == (AWAITING_CONTROL_LINE, b"")


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
