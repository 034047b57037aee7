"""The signals that stop an example responder."""

import asyncio
import logging
import os
import signal

SIGNALS = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger("responders")


async def first_signal() -> None:
    """Return at the first of SIGNALS. From then on each of them ends the process at once, even as PID 1 of a
    container."""
    came = asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, came.set)
    await came.wait()
    for number in SIGNALS:
        signal.signal(number, lambda number, _frame: os._exit(128 + number))
    logger.info("stopping")
