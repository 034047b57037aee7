import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from benchmarks import arrivals


def test_first_answers_are_measured_apart_from_later_ones(capsys: pytest.CaptureFixture[str]) -> None:
    arrivals.main(["--targets", "^gateway, fast lane$", "--callers", "50", "--rounds", "1", "--seconds", "3"])
    name, *figures = (cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("| ").split("|"))
    cpu, rate, first_p50, first_p99, later_p50, later_p99 = (float(figure.replace(",", "")) for figure in figures)
    assert name == "gateway, fast lane"
    assert cpu > 0
    assert rate > 50
    assert 0 < first_p50 <= first_p99
    assert 0 < later_p50 <= later_p99


@contextlib.contextmanager
def answering(answer: bytes) -> Iterator[arrivals.Callers]:
    """One caller, who gets this answer to the first request."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def answer_once() -> None:
            connection, _ = listener.accept()
            stack.enter_context(connection)
            connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        yield arrivals.Callers(listener.getsockname()[1], 1, stack)
        thread.join()


def test_an_answer_that_is_not_200_ends_the_run() -> None:
    with (
        answering(b"HTTP/1.1 503 Service Unavailable\r\n\r\n") as callers,
        pytest.raises(RuntimeError, match="an answer is not 200"),
    ):
        callers.ask(5)


def test_who_has_no_answer_has_waited_until_the_end() -> None:
    with answering(b"") as callers:
        first, later = callers.ask(1)
    assert len(first) == 1
    assert first[0] > 0.9
    assert not later
