import contextlib
import socket
import threading

import pytest

from benchmarks import arrivals


def test_first_answers_are_measured_apart_from_later_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(arrivals, "COUNT", 50)
    arrivals.main(["--targets", "^gateway, fast lane$", "--rounds", "1", "--seconds", "3"])
    name, *figures = (cell.strip() for cell in capsys.readouterr().out.splitlines()[-1].strip("| ").split("|"))
    cpu, rate, first_p50, first_p99, later_p50, later_p99 = (float(figure.replace(",", "")) for figure in figures)
    assert name == "gateway, fast lane"
    assert cpu > 0
    assert rate > 50
    assert 0 < first_p50 <= first_p99
    assert 0 < later_p50 <= later_p99


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "an answer is not 200"),
        (b"", "1 connections have had no answer"),
    ],
)
def test_a_target_that_does_not_answer_ends_the_run(answer: bytes, complaint: str) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

        def answer_once() -> None:
            connection, _ = listener.accept()
            stack.enter_context(connection)
            connection.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        callers = arrivals.Callers(listener.getsockname()[1], 1, stack)
        with pytest.raises(RuntimeError, match=complaint):
            callers.ask(1)
        thread.join()
