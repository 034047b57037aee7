"""Which port the embedded NATS server gets. What `dev` starts and prints is in tests/process/test_dev.py."""

import socket

import pytest

from app.commands.dev import Stack, _choose_port
from app.commands.embedded import PORT, is_free


def choose(nats_port: int | None) -> int:
    return _choose_port(Stack(embedded=True, nats_port=nats_port, examples=False, lane=None, extend=None))


def test_a_port_that_is_asked_for_is_taken_or_refused(port: int) -> None:
    assert choose(port) == port
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(RuntimeError, match=f"port {port} is taken: choose another with --nats-port; 0 picks a free one"),
    ):
        choose(port)
    assert choose(port) == port  # as after a restart


def test_any_port_will_do_where_0_is_asked_for() -> None:
    assert choose(0) == 0


def test_without_a_word_it_is_that_where_clients_look_if_it_is_free() -> None:
    assert PORT == 4222
    assert choose(None) == (PORT if is_free(PORT) else 0)


def test_a_port_is_free_where_nobody_listens_on_any_address(port: int) -> None:
    assert is_free(port)
    with socket.create_server(("0.0.0.0", port)):  # noqa: S104 - for a moment, and nobody is answered
        assert not is_free(port)
