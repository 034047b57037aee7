"""Answers `greet.sue` with `hello, sue`.

$ python service.py        # NATS_URL says where NATS is
"""

import asyncio
import os

import nats
from nats.micro import add_service
from nats.micro.request import Request


async def greet(request: Request) -> None:
    name = request.subject.removeprefix("greet.")
    await request.respond(f"hello, {name}".encode())


async def main() -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    service = await add_service(client, name="greet", version="1.0.0")
    await service.add_endpoint(name="greet", subject="greet.*", handler=greet)
    print("answers greet.*", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
