"""Sockets that the gateway is given: in the numbers 3 and up of this process, as systemd gives them."""

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from app.commands import activation
from app.commands.activation import FIRST, take_sockets
from app.commands.endings import CommandError
from app.commands.listeners import inherit, listen
from app.commands.succession import accept_when_connected
from app.http.sockets import GivenSocket
from app.main import build_gateway
from app.settings import Settings
from tests.harness import GREET_ROUTES, LANE, PATIENCE, NatsServer, eventually, serve

Sockets = list[socket.socket]


def make_listener(family: socket.AddressFamily = socket.AF_INET) -> socket.socket:
    host = "::1" if family == socket.AF_INET6 else "127.0.0.1"
    return socket.create_server((host, 0), family=family)


@contextlib.contextmanager
def given(environment: pytest.MonkeyPatch, names: str | None, *sockets: socket.socket) -> Iterator[None]:
    """These sockets in adjacent numbers, which count as the first ones."""
    place = 200
    copies = [os.dup2(listener.fileno(), place + index) for index, listener in enumerate(sockets)]
    environment.setattr(activation, "FIRST", place)
    environment.setenv("LISTEN_FDS", str(len(sockets)))
    environment.setenv("LISTEN_PID", str(os.getpid()))
    if names is not None:
        environment.setenv("LISTEN_FDNAMES", names)
    try:
        yield
    finally:
        for copy in copies:
            with contextlib.suppress(OSError):
                os.close(copy)


def close(sockets: Mapping[str, GivenSocket]) -> None:
    for listener in sockets.values():
        listener.close()


def test_the_first_number_is_that_of_systemd() -> None:
    assert FIRST == 3


@pytest.mark.parametrize("name", [None, "main", "http", "nats-http-gateway.socket", "unknown", ""])
def test_a_single_socket_is_for_the_routes_whatever_its_name(monkeypatch: pytest.MonkeyPatch, name: str | None) -> None:
    with make_listener() as listener, given(monkeypatch, name, listener):
        sockets = take_sockets()
        assert {use: given.getsockname() for use, given in sockets.items()} == {"main": listener.getsockname()}
        close(sockets)


def test_a_socket_is_not_inherited_and_sends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with make_listener(socket.AF_INET6) as listener, given(monkeypatch, None, listener):
        sockets = take_sockets()
        assert sockets["main"].get_inheritable() is False
        assert sockets["main"].getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
        assert not [name for name in os.environ if name.startswith("LISTEN_")]
        close(sockets)


def test_names_say_which_sockets_are_for_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(make_listener()) for _ in range(3)]
        stack.enter_context(given(monkeypatch, "status:http:metrics", *listeners))
        sockets = take_sockets()
        found = {use: given.getsockname() for use, given in sockets.items()}
        wanted = zip(("status", "main", "metrics"), listeners, strict=True)
        assert found == {use: listener.getsockname() for use, listener in wanted}
        settings = Settings(GATEWAY_STATUS="127.0.0.1:1", GATEWAY_METRICS_ADDRESS="127.0.0.1:2")  # type: ignore[call-arg]
        with listen(settings, None, None, sockets) as ours:
            assert ours.main is sockets["main"]
            assert ours.beside == {("127.0.0.1", 1): sockets["status"], ("127.0.0.1", 2): sockets["metrics"]}
            assert ours.given == [listener.fileno() for listener in ours.all]


def test_an_address_without_a_given_socket_gets_a_new_one(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    with make_listener() as listener, given(monkeypatch, None, listener):
        settings = Settings(GATEWAY_STATUS=f"127.0.0.1:{port}")  # type: ignore[call-arg]
        with listen(settings, None, None, take_sockets()) as ours:
            assert ours.given == [ours.main.fileno()]
            assert len(ours.all) == 2


def test_a_worker_knows_which_sockets_were_given() -> None:
    settings = Settings(GATEWAY_STATUS="127.0.0.1:1")  # type: ignore[call-arg]
    fds = [make_listener().detach() for _ in range(2)]
    with inherit(settings, fds[0], fds[1:], given=fds[:1]) as ours:
        assert ours.given == fds[:1]


@pytest.mark.parametrize("pid", ["1", None])
def test_sockets_of_another_process_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], pid: str | None
) -> None:
    with make_listener() as listener, given(monkeypatch, None, listener):
        if pid is None:
            monkeypatch.delenv("LISTEN_PID")
        else:
            monkeypatch.setenv("LISTEN_PID", pid)
        assert take_sockets() == {}
    owner = pid or "unknown"
    assert capsys.readouterr().err.startswith(f"nats-http: warning: LISTEN_FDS is for process {owner} (LISTEN_PID)")


def test_without_the_variables_there_are_no_sockets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("LISTEN_FDS", raising=False)
    assert take_sockets() == {}
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("count", "names", "expected"),
    [
        (2, "a:b", "LISTEN_FDNAMES: the sockets 'a' and 'b' are both for the routes: give one. Those for pages have"),
        (2, None, "LISTEN_FDNAMES: the sockets 'unknown' and 'unknown' are both for the routes: give one."),
        (2, "status:status", "LISTEN_FDNAMES: the sockets 'status' and 'status' are both for status: give one."),
        (1, "a:b", "LISTEN_FDNAMES 'a:b': must have 1 names, the number in LISTEN_FDS"),
    ],
    ids=str,
)
def test_sockets_that_do_not_fit_are_an_error_with_their_names(
    monkeypatch: pytest.MonkeyPatch, count: int, names: str | None, expected: str
) -> None:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(make_listener()) for _ in range(count)]
        stack.enter_context(given(monkeypatch, names, *listeners))
        with pytest.raises(CommandError) as error:
            take_sockets()
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize("text", ["x", "-1", "1.0"])
def test_a_count_that_is_no_number_is_an_error(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LISTEN_FDS", text)
    with pytest.raises(CommandError, match=f"LISTEN_FDS '{text}': must be the number of sockets"):
        take_sockets()


def make_unix(folder: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen()
    return listener


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (make_unix, "socket 200 'main': it is not for TCP: give it a port, as in ListenStream=8000"),
        (lambda _: socket.socket(type=socket.SOCK_DGRAM), "socket 200 'main': it is for datagrams: use ListenStream="),
        (lambda _: socket.socket(), "socket 200 'main': it does not listen: a unit needs Accept=no"),
    ],
    ids=["unix", "datagrams", "silent"],
)
def test_a_socket_of_another_kind_is_an_error_with_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, make: object, expected: str
) -> None:
    assert callable(make)
    with make(tmp_path) as listener, given(monkeypatch, "main", listener), pytest.raises(CommandError) as error:
        take_sockets()
    assert str(error.value) == f"LISTEN_FDS: {expected}"


def test_a_file_that_is_no_socket_or_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with given(monkeypatch, None):
        monkeypatch.setenv("LISTEN_FDS", "1")
        with pytest.raises(CommandError, match="LISTEN_FDS: file 200 'unknown': bad file descriptor"):
            take_sockets()
        monkeypatch.setenv("LISTEN_FDS", "1")
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        with (tmp_path / "file").open("w") as file:
            os.dup2(file.fileno(), 200)
            with pytest.raises(CommandError, match="LISTEN_FDS: file 200 'unknown': socket operation on non-socket"):
                take_sockets()
            os.close(200)


@pytest.mark.parametrize(
    ("names", "settings", "expected"),
    [
        ("status", {}, "LISTEN_FDNAMES 'status': GATEWAY_STATUS must be the address of this socket"),
        ("metrics", {"GATEWAY_STATUS": "off"}, "LISTEN_FDNAMES 'metrics': GATEWAY_METRICS_ADDRESS must be the address"),
        (
            "status:metrics",
            {"GATEWAY_STATUS": "127.0.0.1:9"},
            "LISTEN_FDNAMES 'metrics': GATEWAY_STATUS and GATEWAY_METRICS_ADDRESS are one address: give one socket",
        ),
    ],
    ids=str,
)
def test_a_socket_for_a_page_needs_a_page_with_its_own_address(
    monkeypatch: pytest.MonkeyPatch, names: str, settings: dict[str, str], expected: str
) -> None:
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(make_listener()) for _ in names.split(":")]
        stack.enter_context(given(monkeypatch, names, *listeners))
        sockets = take_sockets()
        with pytest.raises(CommandError) as error, listen(Settings.model_validate(settings), "127.0.0.1", 0, sockets):
            pass
        close(sockets)
    assert str(error.value).startswith(expected)


@pytest.mark.parametrize(("host", "port", "option"), [("127.0.0.1", None, "--host"), (None, 0, "--port")])
def test_an_address_on_the_command_line_and_a_given_socket_are_an_error(
    monkeypatch: pytest.MonkeyPatch, host: str | None, port: int | None, option: str
) -> None:
    with make_listener() as listener, given(monkeypatch, None, listener):
        sockets = take_sockets()
        with pytest.raises(CommandError) as error, listen(Settings(), host, port, sockets):
            pass
        close(sockets)
    assert str(error.value).startswith(f"{option}: the gateway is given a socket that listens already (LISTEN_FDS)")


async def test_a_gateway_accepts_nobody_before_it_is_connected(own_nats: NatsServer) -> None:
    own_nats.stop()
    parts = build_gateway(Settings(nats_url=(own_nats.url,)), routes=GREET_ROUTES)
    accept_when_connected(parts, patience=PATIENCE)

    async def come_back() -> None:
        await eventually(lambda: "refused" in (parts.link.reason or ""))
        await asyncio.to_thread(own_nats.start)

    coming = asyncio.create_task(come_back())
    async with serve(parts, lane=LANE) as gateway:
        assert gateway.link.reason is None
    await coming


async def test_a_gateway_that_finds_no_nats_accepts_after_a_while(port: int) -> None:
    parts = build_gateway(Settings(nats_url=(f"nats://127.0.0.1:{port}",)), routes=GREET_ROUTES)
    accept_when_connected(parts, patience=0.1)
    async with serve(parts, lane=LANE) as gateway:
        assert (await gateway.get("/greet/sue")).json()["type"] == "/problems/not-connected"
