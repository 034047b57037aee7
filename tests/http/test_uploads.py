import pytest

from app.http.uploads import GRACE, Uploads


@pytest.fixture
def lane() -> None:
    """No gateway runs here."""


class Upload:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def granted(self) -> None:
        self.told.append("granted")

    def evicted(self) -> None:
        self.told.append("evicted")


def ask(uploads: Uploads, size: int) -> tuple[Upload, bool]:
    upload = Upload()
    return upload, uploads.ask(upload, size)


def test_what_fits_is_granted_at_once_and_no_more_than_there_is() -> None:
    uploads = Uploads(100)
    assert [ask(uploads, size)[1] for size in (60, 40, 1)] == [True, True, False]
    assert uploads.used == 100


def test_those_that_wait_are_served_in_their_order_and_nobody_overtakes() -> None:
    uploads = Uploads(100)
    first, _ = ask(uploads, 80)
    large, _ = ask(uploads, 90)
    small, is_granted = ask(uploads, 5)
    assert not is_granted  # it would fit, but the large one would wait for ever
    uploads.forget(first)
    assert (large.told, small.told) == (["granted"], ["granted"])
    assert uploads.used == 95


def test_more_than_there_is_counts_as_all_and_is_served_too() -> None:
    uploads = Uploads(100)
    first, _ = ask(uploads, 1)
    huge, _ = ask(uploads, 10**9)
    uploads.forget(first)
    assert huge.told == ["granted"]
    assert uploads.used == 100
    uploads.forget(huge)
    assert uploads.used == 0


def test_who_leaves_the_line_is_told_nothing_and_takes_nothing() -> None:
    uploads = Uploads(100)
    first, _ = ask(uploads, 100)
    second, _ = ask(uploads, 100)
    third, _ = ask(uploads, 100)
    uploads.forget(second)
    uploads.forget(first)
    assert (second.told, third.told) == ([], ["granted"])
    uploads.forget(third)
    uploads.forget(third)
    assert uploads.used == 0


def test_an_upload_that_stalls_gives_way_once_another_waits() -> None:
    uploads = Uploads(100)
    stalled, _ = ask(uploads, 100)
    now = uploads._coming[stalled]
    uploads.check(now + 100)
    assert stalled.told == []  # nobody waits
    waiting, _ = ask(uploads, 50)
    uploads.check(now + GRACE / 2)
    assert stalled.told == []
    uploads.check(now + GRACE)
    assert (stalled.told, waiting.told) == (["evicted"], ["granted"])
    assert uploads.used == 50


def test_no_more_give_way_than_have_to() -> None:
    uploads = Uploads(100)
    stalled = [ask(uploads, 25)[0] for _ in range(4)]
    waiting, _ = ask(uploads, 30)
    uploads.check(uploads._coming[stalled[-1]] + GRACE)
    assert [upload.told for upload in stalled] == [["evicted"], ["evicted"], [], []]
    assert waiting.told == ["granted"]


def test_a_body_that_is_complete_keeps_its_memory() -> None:
    uploads = Uploads(100)
    complete, _ = ask(uploads, 100)
    now = uploads._coming[complete]
    uploads.complete(complete)
    waiting, _ = ask(uploads, 1)
    uploads.check(now + 100)
    assert (complete.told, waiting.told) == ([], [])
    uploads.forget(complete)
    assert waiting.told == ["granted"]
