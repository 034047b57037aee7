"""How a gateway begins on a socket that another one served before."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from ..gateway import Gateway

START_PATIENCE = 5.0  # seconds
LOOK_INTERVAL = 0.01  # seconds between two looks whether the gateway is connected


def accept_when_connected(gateway: Gateway, *, patience: float = START_PATIENCE) -> None:
    """Let the gateway accept nobody before it is connected to NATS, for at most `patience` seconds. Its callers wait
    meanwhile, and would get 503 otherwise."""
    live = gateway.app.router.lifespan_context

    @asynccontextmanager
    async def live_and_wait(app: FastAPI) -> AsyncIterator[Any]:
        async with live(app) as state:
            end = time.monotonic() + patience
            while gateway.link.reason is not None and time.monotonic() < end:
                await asyncio.sleep(LOOK_INTERVAL)
            yield state

    gateway.app.router.lifespan_context = live_and_wait
