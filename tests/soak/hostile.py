"""Callers of a soak that send slowly, close half of a connection, reset it, or read nothing."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping
from multiprocessing.connection import Connection

from tests.bounds.processes import hear, make_event, start_teller
from tests.bounds.sending import Sending, attack

PAUSE = 0.1  # seconds between two looks of an attacker at its connections
NAME = "hostile"  # instead of the number of a request


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: soak\r\n\r\n".encode()


UPLOAD = f"POST /upload/{NAME} HTTP/1.1\r\nHost: soak\r\nContent-Length: 99999\r\n\r\n".encode() + b"x" * 9999

HOSTILE: Mapping[str, Sending] = {
    "slow heads": Sending(first=_get(f"/jobs/{NAME}") * 50, piece=3, pause=PAUSE, connections=15),
    "half-closed": Sending(first=_get(f"/jobs/{NAME}"), then="half-close", pause=PAUSE, connections=3),
    "requests that are reset": Sending(first=_get(f"/jobs/{NAME}"), then="reset", pause=PAUSE, connections=3),
    "uploads that are reset": Sending(first=UPLOAD, then="reset", pause=PAUSE, connections=2),
    "replies that nobody reads": Sending(first=_get(f"/large/{NAME}") * 4, reads=False, pause=PAUSE, connections=5),
    "streams that nobody reads": Sending(first=_get("/past/a"), reads=False, pause=PAUSE, connections=3),
}


@contextlib.asynccontextmanager
async def attacking(ports: Iterable[int], seconds: float, seen: Counter[str]) -> AsyncIterator[None]:
    """All of them against each port. `seen` counts their connections, when it is left."""
    go = make_event()
    with contextlib.ExitStack() as stack:
        tellers = {
            (name, port): stack.enter_context(start_teller(attack, port, sending, seconds, go))
            for name, sending in HOSTILE.items()
            for port in ports
        }
        go.set()
        yield
        for (name, _), teller in tellers.items():
            seen[name] += await asyncio.to_thread(count_connections, teller)


def count_connections(teller: Connection) -> int:
    """The connections of an attacker. Raises ValueError if it says nothing."""
    ends = hear(teller)
    if not isinstance(ends, Counter):
        raise ValueError("a hostile caller has ended before its time")
    return ends.total()
