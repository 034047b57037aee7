"""The clock: publishes the time on `clock.tick` once a second, and answers `clock.now` with it.

    $ python -m responders.clock        # NATS_URL says where NATS is
    $ nats subscribe clock.tick
    {"time": "2026-11-27T17:00:00Z"}

The JetStream stream CLOCK has the ticks of the last hour. The clock makes it, also after somebody has deleted it. A
server without JetStream has the ticks, and no stream.
"""

import asyncio
import contextlib
import json
import time

from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import StorageType, StreamConfig
from nats.micro.request import Request

from ._lifecycle import Endpoint, run

TICK = "clock.tick"
STREAM = StreamConfig(name="CLOCK", subjects=[TICK], max_msgs=3600, storage=StorageType.MEMORY)
SECONDS = 0.4  # for one call of JetStream: two fit between two ticks


async def now(_: Request) -> bytes:
    """Answers the time in UTC, to the second, as JSON."""
    return _write_time(time.time())


async def tick(client: Client) -> None:
    """Publishes the time at the beginning of each second, for as long as the task runs."""
    jetstream = client.jetstream(timeout=SECONDS)
    await _make_stream(client)
    second = int(time.time())
    while True:
        while int(time.time()) == second:  # a sleep may end a little early
            await asyncio.sleep(1 - time.time() % 1)
        second = int(time.time())
        payload = _write_time(second)
        try:  # with several clocks, the stream has one tick a second
            await jetstream.publish(TICK, payload, headers={"Nats-Msg-Id": payload.decode()})
        except (Error, TimeoutError):
            await _make_stream(client)


async def _make_stream(client: Client) -> None:
    with contextlib.suppress(Error, TimeoutError):
        await client.jetstream(timeout=SECONDS).add_stream(STREAM)


def _write_time(seconds: float) -> bytes:
    return json.dumps({"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))}).encode()


def main() -> None:
    """Runs the service `clock` until a signal ends it."""
    run(
        name="clock",
        version="1.0.0",
        description="Tells the time, once a second and when asked.",
        endpoints=[Endpoint("now", "clock.now", now)],
        work=tick,
    )


if __name__ == "__main__":
    main()
