import json

from app.observe.board import NOTE, Board, Boards
from app.observe.recent import MOST, MOST_ALIKE, Recent, read_failures
from app.observe.record import Record
from app.observe.storm import Summary


def make_record(number: int, *, status: int = 503, slug: str | None = "timeout", route: str | None = "greet") -> Record:
    return Record(
        route=route,
        method="GET",
        version="1.1",
        status=status,
        slug=slug,
        delivered="no",
        duration=0.001,
        reply_time=None,
        bytes_in=0,
        bytes_out=0,
        is_written=True,
        request_id=f"r-{number}",
        lane="fast",
        peer="192.0.2.1",
        facts=(("subject", "secret"),),
        path=b"/secret",
    )


def test_the_latest_failures_of_all_processes_are_there_the_newest_first() -> None:
    boards = Boards(Board(), (Board(),))
    recents = [Recent(board) for board in boards.all]
    for number in range(2 * MOST):
        recents[number % 2].take(make_record(number, route=f"route-{number % 50}"))
    for recent in recents:
        recent.publish()
    found = read_failures(boards)
    assert len(found) == MOST
    assert [failure["time"] for failure in found] == sorted((failure["time"] for failure in found), reverse=True)
    assert {failure["request_id"] for failure in found} <= {f"r-{number}" for number in range(2 * MOST)}


def test_a_storm_of_one_kind_pushes_out_no_other() -> None:
    boards = Boards(Board())
    recent = Recent(boards.own)
    recent.take(make_record(0, slug="internal"))
    for number in range(1, 1000):
        recent.take(make_record(number))
    recent.publish()
    found = read_failures(boards)
    assert len(found) == MOST_ALIKE + 1
    assert [failure["request_id"] for failure in found[:2]] == ["r-999", "r-998"]
    assert found[-1]["slug"] == "internal"


def test_they_have_names_and_no_path_address_or_subject() -> None:
    boards = Boards(Board())
    recent = Recent(boards.own)
    recent.take(make_record(1))
    recent.publish()
    text = json.dumps(read_failures(boards))
    assert "secret" not in text
    assert "192.0.2.1" not in text


def test_a_page_that_only_says_by_its_status_that_something_is_not_well_is_none() -> None:
    boards = Boards(Board())
    recent = Recent(boards.own)
    recent.take(make_record(1, slug=None, route=None))
    recent.publish()
    assert read_failures(boards) == []


def test_those_that_were_summed_up_are_told_with_the_last_one_of_their_kind() -> None:
    boards = Boards(Board())
    recent = Recent(boards.own)
    for number, slug in enumerate(("timeout", "timeout", "no-responders")):
        recent.take(make_record(number, slug=slug))
    recent.add_left_out(Summary("greet", "timeout", 40, 0.0))
    recent.add_left_out(Summary("other", "timeout", 1, 0.0))
    recent.publish()
    assert [(failure["request_id"], failure["more"]) for failure in read_failures(boards)] == [
        ("r-0", 0),
        ("r-1", 40),
        ("r-2", 0),
    ] or {failure["request_id"]: failure["more"] for failure in read_failures(boards)} == {
        "r-0": 0,
        "r-1": 40,
        "r-2": 0,
    }


def test_all_that_is_kept_fits_into_a_note() -> None:
    board = Board()
    recent = Recent(board)
    for _ in range(MOST):
        recent.take(make_record(1, route="r" * 1000)._replace(request_id="é" * 1000, method="M" * 1000))
    recent.publish()
    assert 0 < len(board.read_note("failures")) < NOTE
