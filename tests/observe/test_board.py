import json
import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.observe.board import LONGEST_NAME, NOTE, Board, Boards, make_board_files


@pytest.fixture
def files() -> list[int]:
    return make_board_files(2)


def test_a_name_has_the_same_cells_each_time_and_they_begin_with_0() -> None:
    board = Board()
    first, second = board.allot(("a", "x"), 3), board.allot(("a", "y"), 2)
    assert first is not None
    assert second == first + 3
    assert board.cells[first : first + 5].tolist() == [0] * 5
    assert (board.allot(("a", "x"), 3), board.get(("a", "y"))) == (first, second)
    assert dict(board.find("a")) == {("x",): first, ("y",): second}


def test_another_reader_sees_names_and_values_as_soon_as_they_are_there(files: list[int]) -> None:
    writer, reader = Board(files[0]), Board(files[0])
    place = writer.allot(("a", 'é\n"{}'), 1)
    assert place is not None
    writer.cells[place] += 41
    writer.cells[place] += 1
    assert reader.get(("a", 'é\n"{}')) is None
    reader.refresh()
    assert reader.get(("a", 'é\n"{}')) == place
    assert reader.cells[place] == 42


def test_the_next_process_goes_on_from_the_values_of_the_one_before(files: list[int]) -> None:
    before = Board(files[0])
    place = before.allot(("a", "x"), 1)
    assert place is not None
    before.cells[place] = 7
    after = Board(files[0])
    assert after.allot(("a", "x"), 1) == place
    assert after.cells[place] == 7
    assert after.allot(("a", "new"), 1) == place + 1


def test_a_board_that_is_full_takes_no_new_name_and_keeps_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    place = board.allot(("a", "x"), 1)
    assert board.allot(("a", "y"), len(board.cells)) is None
    assert board.allot(("a", "n" * LONGEST_NAME), 1) is None
    assert board.allot(("a", "x"), 1) == place
    monkeypatch.setattr("app.observe.board.NAMES", 40)
    assert board.allot(("a", "z" * 40), 1) is None


def test_a_process_lives_as_long_as_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board()
    assert board.pid is None
    board.beat()
    assert board.pid == os.getpid()
    monkeypatch.setattr("app.observe.board.STALE", 0.0)
    assert board.pid is None
    monkeypatch.undo()
    board.leave()
    assert board.pid is None


def test_a_note_is_replaced_as_a_whole_and_one_that_is_too_long_is_left_out() -> None:
    board = Board()
    assert board.read_note("nats") == b""
    board.write_note("nats", b"long and long")
    board.write_note("nats", b"short")
    board.write_note("failures", b"other")
    board.write_note("nats", b"x" * NOTE)
    assert (board.read_note("nats"), board.read_note("failures")) == (b"short", b"other")


def test_a_note_that_was_never_finished_is_empty_to_who_comes_next(files: list[int]) -> None:
    board = Board(files[0])
    board.write_note("nats", b"whole")
    head, _ = board._find_note("nats")
    head[0] += 1  # its writer dies here
    assert Board(files[0]).read_note("nats") == b""
    again = Boards(Board(files[0])).own
    again.write_note("nats", b"next")
    assert again.read_note("nats") == b"next"


def test_a_reader_beside_a_writer_never_sees_a_mixture(files: list[int]) -> None:
    """Of two threads that switch at any bytecode: a note is one of those that were written."""
    writer, reader = Board(files[0]), Board(files[0])
    texts = [json.dumps([number] * 500).encode() for number in range(10)]
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [writer.write_note("nats", texts[number % 10]) for number in range(5000)])  # type: ignore[func-returns-value]
        seen = {reader.read_note("nats") for _ in range(5000)}
        writing.result()
    assert seen <= {b"", *texts}


def _count(fd: int, times: int) -> None:
    board = Board(fd)
    place = board.allot(("a", "x"), 1) or 0
    for _ in range(times):
        board.cells[place] += 1


def test_what_several_processes_count_is_found_by_name(files: list[int]) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_count, args=(fd, 1000)) for fd in files]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    boards = Boards(Board(files[0]), (Board(files[1]),))
    boards.refresh()
    assert sum(board.cells[place] for board, place in boards.find("a")[("x",)]) == 2000
