"""What a server announces, and what of it can be true. How replies are found in pieces: test_connection.py."""

import pytest

from app.nats.inbox import LARGEST_MESSAGE, TOO_LARGE, WRONG_END, Inbox

TOKEN = b"0123456789abcdef"


class Recorded:
    """An inbox and what it tells."""

    def __init__(self) -> None:
        self.replies: list[tuple[bytes, bytes, bytes]] = []
        self.broken: list[str] = []
        self.inbox = Inbox(b"_INBOX.x.", replied=lambda *reply: self.replies.append(reply), broken=self.broken.append)

    def take(self, text: bytes) -> int:
        return self.inbox.take(text.replace(b"@", b"_INBOX.x." + TOKEN))


@pytest.mark.parametrize("line", [b"MSG @ 1 %d\r\n", b"HMSG @ 1 12 %d\r\n"])
def test_a_reply_larger_than_any_can_be_is_not_waited_for(line: bytes) -> None:
    recorded = Recorded()
    recorded.take(line % (LARGEST_MESSAGE + 1))
    assert recorded.broken == [TOO_LARGE]
    assert recorded.inbox.coming is None


def test_the_largest_reply_is_waited_for() -> None:
    recorded = Recorded()
    recorded.take(b"MSG @ 1 %d\r\nab" % (64 * 1024 * 1024))
    assert recorded.broken == []
    assert recorded.inbox.coming is not None
    assert recorded.inbox.coming[1] == 64 * 1024 * 1024


def test_a_reply_in_pieces_that_does_not_end_where_it_should_is_told() -> None:
    recorded = Recorded()
    recorded.take(b"MSG @ 1 2\r\nhi-")
    recorded.take(b"-")
    assert len(recorded.broken) == 1
    assert recorded.replies == []


@pytest.mark.parametrize(
    "text",
    [
        b"MSG @ 1 1\r\nhi\r\n",
        b"MSG @ 1 2\r\nhi--",
        b"MSG @ 1 0\r\nMSG @ 1 2\r\nhi\r\n",
        b"HMSG @ 1 12 13\r\nNATS/1.0\r\n\r\nhi\r\n",
        b"HMSG @ 1 14 12\r\nNATS/1.0\r\n\r\n\r\n",
        b"HMSG @ 1 14 12\r\n",
    ],
)
def test_a_reply_of_a_false_size_is_told_and_nothing_behind_it_is_handed_over(text: bytes) -> None:
    recorded = Recorded()
    data = text + b"MSG @ 1 2\r\nhi\r\n"
    whole = data.replace(b"@", b"_INBOX.x." + TOKEN)
    assert recorded.take(data) == len(whole)
    assert recorded.broken == [WRONG_END]
    assert recorded.replies == []


def test_only_whole_replies_count_as_received() -> None:
    recorded = Recorded()
    counts = [recorded.inbox.received]
    for piece in (b"MSG @ 1 4\r\n", b"ab", b"cd\r"):
        recorded.take(piece)
        assert recorded.inbox.received == counts[0]
    for piece in (b"\n", b"MSG @ 1 0\r\n\r\n", b"MSG @ 1 0\r\n\r\nMSG @ 1 1\r\n"):
        recorded.take(piece)
        counts.append(recorded.inbox.received)
    assert counts == sorted(set(counts))
