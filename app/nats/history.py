"""Reads what a stream has, for one caller, in batches.

Laws:
1. Messages come in the order of their sequences, and none comes twice.
2. A batch has at most BATCH messages and BATCH_BYTES, so that a caller who is slow, or far behind, needs little memory.
3. The consumer stays between two batches. If it is lost, the next batch makes another one.
"""

import asyncio
import secrets
from typing import TYPE_CHECKING

from ..errors import StreamUnavailable
from ..formats.messages import Reply, name_subject
from .jetstream import API_TIMEOUT, Stored, ask_for_batch, make_reader, read_numbers, write_deletion

if TYPE_CHECKING:
    from .feeds import Feeds

BATCH, BATCH_BYTES = 100, 64 * 1024

_NO_MESSAGES = b"NATS/1.0 404"
_ENDS_BATCH = (b"NATS/1.0 408", b"NATS/1.0 409 Message Size Exceeds MaxBytes")


class History:
    """The messages of a stream, for one caller. With `is_last` only the last one of each subject. Call `close` in the
    end."""

    def __init__(self, feeds: "Feeds", stream: str, subject: str, *, is_last: bool = False) -> None:
        self.is_last = is_last
        self.has_more = True
        """Whether the stream had more messages behind the last batch."""
        self._feeds = feeds
        self._stream = stream
        self._subject = subject
        self._name: str | None = None
        self._inbox = ""
        self._sid = 0
        self._next = 0
        """The sequence from which on the consumer delivers."""
        self._expected = 1
        self._batch: list[Stored] = []
        self._batches = 0
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def read(self, position: int) -> list[Stored]:
        """The next messages from this sequence on. There is none if the stream has none, or if the next one is larger
        than a batch. Raises a GatewayError."""
        async with self._feeds.reading:
            try:
                if self._name is None or position != self._next:
                    await self._begin(position)
                await self._fetch()
            except BaseException:
                self.close()
                raise
        if self._batch:
            self._next = self._batch[-1].sequence + 1
        return [stored for stored in self._batch if stored.sequence >= position]

    def close(self) -> None:
        """Remove the consumer. Idempotent."""
        if self._sid:
            self._feeds.unlisten(self._sid)
            self._sid = 0
        if self._name is not None:
            self._feeds.publish(write_deletion(self._stream, self._name))
            self._name = None

    async def _begin(self, position: int) -> None:
        """Make a consumer."""
        self.close()
        self._inbox, self._next, self._expected = f"_INBOX.{secrets.token_hex(11)}", position, 1
        self._sid = self._feeds.listen(f"{self._inbox}.*", self._take)
        policy: dict[str, object] = {"deliver_policy": "by_start_sequence", "opt_start_seq": position}
        if self.is_last:
            policy = {"deliver_policy": "last_per_subject"}
        reader = await make_reader(self._feeds.link, self._stream, self._subject, policy)
        self._name = reader.name

    async def _fetch(self) -> None:
        """Fetch a batch. Raises StreamUnavailable."""
        self._batch, self.has_more = [], True
        self._batches += 1
        self._ended = asyncio.get_running_loop().create_future()
        request = ask_for_batch(self._stream, self._name or "", messages=BATCH, size=BATCH_BYTES)
        self._feeds.publish(request, reply=f"{self._inbox}.{self._batches}")
        try:
            async with asyncio.timeout(API_TIMEOUT):
                await self._ended
        except TimeoutError:
            raise StreamUnavailable from None

    def _take(self, subject: bytes, reply: bytes, message: Reply) -> None:
        """Take a message of the consumer, or what the server says about the batch."""
        if self._ended.done():
            return
        numbers = read_numbers(reply)
        if numbers is None:
            self._take_status(subject, message.headers)
        elif numbers.of_consumer != self._expected:
            self._ended.set_exception(StreamUnavailable())
        else:
            self._expected += 1
            self._batch.append(Stored(numbers.of_stream, name_subject(message, subject, self._subject)))
            self.has_more = numbers.pending > 0
            if not self.has_more or len(self._batch) == BATCH:
                self._ended.set_result(None)

    def _take_status(self, subject: bytes, headers: bytes) -> None:
        """Take the end of a batch. That of an earlier one can come late."""
        if subject.decode() != f"{self._inbox}.{self._batches}":
            return
        self.has_more = not headers.startswith(_NO_MESSAGES)
        if not self.has_more or headers.startswith(_ENDS_BATCH):
            self._ended.set_result(None)
        else:
            self._ended.set_exception(StreamUnavailable())
