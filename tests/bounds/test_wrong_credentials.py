"""Of what is wrong nothing is remembered: a hundred thousand different keys or tokens leave the process as it was."""

import socket
from pathlib import Path

import pytest

from app.http.lane import LaneName
from tests.bounds.attacks import Attack
from tests.bounds.bystander import PATIENCE
from tests.bounds.credentials import Write, forge, forge_unknown, make_garbage, make_key, write_requests
from tests.bounds.memory import MIB, measure
from tests.bounds.stage import run_gateway
from tests.harness import NatsServer

GROWTH = 5 * MIB  # it shows if 50 bytes are kept of each of 100,000
WARM_UP = 10_000  # requests, after which the process has all that it needs
BATCH = 50  # requests that are sent at once


def make_token(number: int) -> bytes:
    """One with a wrong signature, one of a key that is not known, and a word, by turns."""
    return (forge, forge_unknown, make_garbage)[number % 3](number)


CASES: dict[str, tuple[LaneName, str, Write, int]] = {
    "100,000 tokens, fast": ("fast", "Authorization: Bearer ", make_token, 100_000),
    "100,000 keys, fast": ("fast", "X-API-Key: ", make_key, 100_000),
    "20,000 tokens, asgi": ("asgi", "Authorization: Bearer ", make_token, 20_000),
}


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("lane", "field", "write", "count"), CASES.values(), ids=CASES)
def test_wrong_credentials_do_not_grow_the_process(
    shared_nats: NatsServer, tmp_path: Path, lane: LaneName, field: str, write: Write, count: int
) -> None:
    with (
        run_gateway(tmp_path / "gateway", shared_nats.url, lane, Attack("wrong credentials")) as gateway,
        socket.create_connection(("127.0.0.1", gateway.port), PATIENCE) as connection,
    ):
        for start in range(0, WARM_UP, BATCH):
            _send(connection, field, write, start)
        before = measure([gateway.pid])
        for start in range(WARM_UP, WARM_UP + count, BATCH):
            _send(connection, field, write, start)
        assert measure([gateway.pid]) - before < GROWTH


def _send(connection: socket.socket, field: str, write: Write, start: int) -> None:
    """A batch from this number on; all of it is refused."""
    connection.sendall(write_requests("/known/sue", field, write, count=BATCH, start=start))
    answers = b""
    while answers.count(b"HTTP/1.1 ") < BATCH or not answers.endswith(b"}"):
        more = connection.recv(1 << 20)
        assert more
        answers += more
    assert answers.count(b"HTTP/1.1 401 ") == BATCH
