"""Makes a stream for events, and shows the latest event of a source.

$ python service.py        # NATS_URL says where NATS is
"""

import asyncio
import os

import nats
from nats.js.errors import NotFoundError
from nats.micro import add_service
from nats.micro.request import Request


async def main() -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    jetstream = client.jetstream()
    await jetstream.add_stream(name="EVENTS", subjects=["events.*"])

    async def show(request: Request) -> None:
        source = request.subject.removeprefix("latest.")
        try:
            event = await jetstream.get_last_msg("EVENTS", f"events.{source}")
        except NotFoundError:
            await request.respond_error("404", f"there is no event of {source}")
        else:
            await request.respond(event.data or b"")

    service = await add_service(client, name="events", version="1.0.0")
    await service.add_endpoint(name="latest", subject="latest.*", handler=show)
    print("answers latest.*", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
