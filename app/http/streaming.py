"""Sends a response whose body comes in parts, over ASGI."""

from contextlib import aclosing

from starlette.types import Receive, Send

from ..exchange.outbound import Streaming
from .asgi_exchange import AsgiExchange, CallerGone
from .caller_watch import stay_with


async def stream(streaming: Streaming, exchange: AsgiExchange, receive: Receive, send: Send) -> None:
    """Send the head, and each part as soon as the caller reads it. What `parts` raises goes on to the server, which
    cuts the connection: a body that breaks off must not look like a whole one."""
    response = streaming.response
    exchange.begin_stream(response)
    if exchange.server is not None:
        exchange.server.nudge = streaming.nudge
    is_whole = False
    try:
        async with aclosing(streaming.parts) as parts, stay_with(receive):
            await send({"type": "http.response.start", "status": response.status, "headers": response.headers})
            if exchange.request.method != "HEAD":
                async for part in parts:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                    exchange.check_caller()
        is_whole = True
    except CallerGone:
        pass
    finally:
        if not is_whole:
            exchange.break_off()
    await send({"type": "http.response.body", "body": b""})
