"""Stores events in a stream of JetStream, each of them once, and answers when an event is stored.

$ python service.py        # NATS_URL says where NATS is
"""

import asyncio
import json
import os

import nats
from nats.micro import add_service
from nats.micro.request import Request


async def main() -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    jetstream = client.jetstream()
    await jetstream.add_stream(name="EVENTS", subjects=["events.*"])

    async def take(request: Request) -> None:
        source, delivery = request.subject.removeprefix("hooks."), (request.headers or {})["X-Delivery"]
        stored = await jetstream.publish(f"events.{source}", request.data, headers={"Nats-Msg-Id": delivery})
        reply = json.dumps({"sequence": stored.seq}).encode()
        await request.respond(reply, {"Http-Status": "200"} if stored.duplicate else None)

    service = await add_service(client, name="webhooks", version="1.0.0")
    await service.add_endpoint(name="take", subject="hooks.*", handler=take)
    print("answers hooks.*", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
