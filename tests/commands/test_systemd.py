"""What systemd learns from a process: messages on a real socket of a stand-in for it."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.commands.systemd import SEND_LIMIT, Notifier, Parent, describe, tell_life
from app.observe.board import Board, make_board_files
from tests.systemd import Ear, listen_to


@pytest.fixture(params=["path", "abstract"])
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ear]:
    name = tmp_path / "notify"
    with listen_to(str(name) if request.param == "path" else f"@{name}") as ear:
        yield ear


def take(environment: pytest.MonkeyPatch, **variables: str) -> Notifier:
    for name, value in variables.items():
        environment.setenv(name, value)
    return Notifier.take()


def test_a_message_reaches_a_path_and_an_abstract_name(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    notifier = take(monkeypatch, NOTIFY_SOCKET=ear.address)
    notifier.tell_ready(12)
    assert ear.hear() == ["READY=1", "STATUS=Serving 12 routes"]
    before = time.monotonic_ns() // 1000
    notifier.tell_reloading()
    reloading, instant = ear.hear()
    assert reloading == "RELOADING=1"
    assert before <= int(instant.removeprefix("MONOTONIC_USEC=")) <= time.monotonic_ns() // 1000
    notifier.tell_stopping()
    assert ear.hear()[0] == "STOPPING=1"


def test_one_route_is_no_plural() -> None:
    assert [describe(count) for count in (0, 1, 2)] == [
        "STATUS=Serving 0 routes",
        "STATUS=Serving 1 route",
        "STATUS=Serving 2 routes",
    ]


def test_no_child_inherits_the_variables(ear: Ear, monkeypatch: pytest.MonkeyPatch) -> None:
    take(monkeypatch, NOTIFY_SOCKET=ear.address, WATCHDOG_USEC="3000000", WATCHDOG_PID=str(os.getpid()))
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & os.environ.keys()


def test_without_systemd_nothing_happens(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notifier = take(monkeypatch, WATCHDOG_USEC="1000")
    notifier.tell_ready(1)
    notifier.beat_if_due()
    assert notifier.interval is None
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("address", ["vsock:2:1234", "notify", "/nowhere/at/all", "@", f"/{'a' * 200}", "@nobody\0"])
def test_a_socket_that_is_wrong_is_one_warning(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    notifier = Notifier(address, 1.0)
    notifier.tell_ready(1)
    notifier.beat_if_due()
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1
    assert '"level": "warning"' in lines[0]
    assert '"event": "systemd-not-told"' in lines[0]


@pytest.mark.parametrize(
    ("variables", "interval"),
    [
        ({"WATCHDOG_USEC": "3000000"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "this"}, 1.5),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_beat_is_due_at_half_of_the_watchdog_of_this_process(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], interval: float | None
) -> None:
    given = {name: value.replace("this", str(os.getpid())) for name, value in variables.items()}
    assert take(monkeypatch, NOTIFY_SOCKET="@x", **given).interval == interval


def test_a_beat_before_its_time_is_left_out(ear: Ear) -> None:
    notifier = Notifier(ear.address, 600.0)
    notifier.beat_if_due()
    notifier.beat_if_due()
    assert ear.hear() == ["WATCHDOG=1"]
    assert list(ear.hear_all()) == []


def fill(address: str) -> None:
    """Send until nobody can. Each socket may have only so much under way, so this takes several."""
    has_sent = True
    while has_sent:
        has_sent = False
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, contextlib.suppress(BlockingIOError):
            sender.setblocking(False)
            while sender.sendto(b"full", address.replace("@", "\0")):
                has_sent = True


def test_a_systemd_that_does_not_read_delays_a_message_by_a_bounded_time(ear: Ear) -> None:
    notifier = Notifier(ear.address)
    fill(ear.address)
    started = time.monotonic()
    notifier.tell_ready(1)
    assert time.monotonic() - started >= SEND_LIMIT * 0.9
    assert ear.hear() == ["full"]
    notifier.tell_ready(1)  # now there is room
    assert ear.wait_for("READY=1")


async def test_systemd_learns_when_the_loop_serves_that_it_runs_and_when_it_stops(ear: Ear) -> None:
    answers, drain = iter([False, False, True]), asyncio.Event()

    def serves() -> bool:
        assert list(ear.hear_all()) == []
        return next(answers)

    life = asyncio.create_task(tell_life(Notifier(ear.address, 0.02), serves, drain, routes=3))
    assert await ear.hear_soon() == ["READY=1", "STATUS=Serving 3 routes"]
    for _ in range(3):
        assert await ear.hear_soon() == ["WATCHDOG=1"]
    drain.set()
    await life
    while (lines := await ear.hear_soon()) == ["WATCHDOG=1"]:
        pass
    assert lines[0] == "STOPPING=1"


async def test_without_a_watchdog_there_are_no_beats(ear: Ear) -> None:
    drain = asyncio.Event()
    life = asyncio.create_task(tell_life(Notifier(ear.address), lambda: True, drain, routes=1))
    assert (await ear.hear_soon())[0] == "READY=1"
    drain.set()
    await life
    assert (await ear.hear_soon())[0] == "STOPPING=1"


def test_the_parent_of_workers_beats_while_one_of_them_is_alive(ear: Ear) -> None:
    files = make_board_files(2)
    one, two = map(Board, files)
    parent = Parent(Notifier(ear.address, 0.002), files, routes=1)
    one.beat()
    parent.tell(have_served=False)
    assert list(ear.hear_all()) == []
    parent.tell(have_served=True)
    assert ear.hear()[0] == "READY=1"
    assert ear.hear() == ["WATCHDOG=1"]
    one.leave()
    time.sleep(0.002)
    parent.tell(have_served=True)
    assert list(ear.hear_all()) == []
    two.beat()
    parent.tell(have_served=True)
    assert ear.hear() == ["WATCHDOG=1"]
