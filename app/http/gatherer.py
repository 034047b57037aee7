"""Requests with many replies, on the ASGI lane."""

import asyncio
import time
from typing import Self

from starlette.types import Receive

from ..checks.checker import Checker
from ..errors import GatewayError
from ..exchange.many import (
    ARRAY,
    ElementWriter,
    Form,
    choose_form,
    open_stream,
    write_array,
    write_end,
    write_part,
)
from ..exchange.outbound import Outbound, Streaming
from ..exchange.relay import Relay
from ..exchange.request_fields import find_accept
from ..exchange.responses import Response, Unchecked
from ..nats.many import Bounds, ManyReplies, Room
from ..pieces import PIECE
from ..routing.kinds import Gather
from .caller_watch import CallerWatch

MAX_KEPT = 64 * 1024 * 1024  # bytes of replies, for all requests together


class Gatherer:
    """Makes the responses of routes that have many replies to one request."""

    def __init__(self, relay: Relay, checker: Checker, watch: CallerWatch) -> None:
        self._relay = relay
        self._checker = checker
        self._watch = watch
        self._room = Room(MAX_KEPT)

    def begin(self, outbound: Outbound, kind: Gather) -> ManyReplies:
        """What collects the replies. The caller sends it, and then calls `finish`."""
        bounds = Bounds(kind.most, kind.stall, kind.max_bytes, kind.ends_empty)
        peer = outbound.request.caller.counted_as
        return ManyReplies(bounds, self._room, share=outbound.plan.share, peer=peer, deadline=outbound.deadline)

    async def finish(
        self, many: ManyReplies, outbound: Outbound, writer: ElementWriter, receive: Receive
    ) -> Response | Streaming:
        """The response once all replies have come, or a stream of them. Raises CallerGone."""
        form = choose_form(find_accept(outbound.request.headers), outbound.request.method)
        elements = _Elements(many, writer, self._checker)
        answer: Response | Streaming | None = None
        try:
            first = await self._watch.wait(asyncio.ensure_future(elements.next_batch()), receive)
            if many.error is not None:
                answer = self._relay.finish(outbound, many.error)
            elif form == ARRAY:
                rest = await self._watch.wait(asyncio.ensure_future(elements.collect()), receive)
                answer = self._relay.finish_many(outbound, write_array([*first, *rest], many.ended or "end"))
            else:
                head = self._relay.finish_many(outbound, open_stream(form), is_stream=True)
                answer = Streaming(response=head, parts=_Parts(elements, form, first))
        except GatewayError as error:
            answer = self._relay.finish(outbound, error)
        finally:
            if not isinstance(answer, Streaming):
                many.abandon()
        return answer


class _Elements:
    """The elements of one request, as its replies come. `ended` is set once all have been returned."""

    def __init__(self, many: ManyReplies, writer: ElementWriter, checker: Checker) -> None:
        self.many = many
        self.ended: str | None = None
        self._writer = writer
        self._checker = checker

    async def next_batch(self) -> list[bytes]:
        """The elements of all replies that have come, once there is one or the end. It does not keep the event loop
        from others for longer than PIECE. Raises a GatewayError if a reply ends the request."""
        await self.many.more()
        ended = self.many.ended
        elements: list[bytes] = []
        pause = time.monotonic() + PIECE
        for reply in self.many.take_replies():
            element = self._writer.write(reply)
            if isinstance(element, Unchecked):
                verdict = await self._checker.submit(element.check, self.many.deadline)
                element = self._writer.write_checked(element, verdict)
            elements.append(element)
            if time.monotonic() >= pause:
                await asyncio.sleep(PIECE)
                pause = time.monotonic() + PIECE
        self.ended = ended
        return elements

    async def collect(self) -> list[bytes]:
        """All further elements."""
        elements: list[bytes] = []
        while self.ended is None:
            elements += await self.next_batch()
        return elements


class _Parts:
    """The parts of a stream: each has the elements that have come since the one before."""

    def __init__(self, elements: _Elements, form: Form, first: list[bytes]) -> None:
        self._elements = elements
        self._form = form
        self._first: list[bytes] | None = first
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._is_over:
            raise StopAsyncIteration
        first, self._first = self._first, None
        try:
            batch = await self._elements.next_batch() if first is None else first
        except GatewayError as error:  # the status is sent: only the end can say it
            self._is_over = True
            return write_end(self._form, "error", error)
        parts = [write_part(self._form, element) for element in batch]
        if self._elements.ended is not None:
            self._is_over = True
            parts.append(write_end(self._form, self._elements.ended))
        return b"".join(parts)

    async def aclose(self) -> None:
        """Forget the request, since nobody waits for its replies any more."""
        self._elements.many.abandon()
