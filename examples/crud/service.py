"""Keeps items in a key-value bucket of JetStream. Errors are those of ADR-32: a code and a text.

$ python service.py        # NATS_URL says where NATS is
"""

import asyncio
import json
import os

import nats
from nats.js.errors import KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from nats.micro import add_service
from nats.micro.request import Request, ServiceError

CONFLICT = "1001"  # a code of this service: routes.yaml makes the status 409 of it


async def main() -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    items = await client.jetstream().create_key_value(bucket="items")

    async def find(request: Request) -> KeyValue.Entry:
        name = request.subject.rpartition(".")[2]
        try:
            return await items.get(name)
        except KeyNotFoundError:
            raise ServiceError("404", f"there is no item {name}") from None

    async def create(request: Request) -> None:
        name = json.loads(request.data)["name"]
        try:
            await items.create(name, request.data)
        except KeyWrongLastSequenceError:
            raise ServiceError(CONFLICT, f"there is an item {name} already") from None
        await request.respond(request.data, {"Location": f"/items/{name}"})

    async def read(request: Request) -> None:
        await request.respond((await find(request)).value or b"")

    async def replace(request: Request) -> None:
        before = await find(request)
        try:
            await items.update(before.key, request.data, last=before.revision)
        except KeyWrongLastSequenceError:
            raise ServiceError(CONFLICT, f"item {before.key} has just changed") from None
        await request.respond(request.data)

    async def delete(request: Request) -> None:
        await items.delete((await find(request)).key)
        await request.respond()

    service = await add_service(client, name="items", version="1.0.0")
    await service.add_endpoint(name="create", subject="items.create", handler=create)
    await service.add_endpoint(name="read", subject="items.read.*", handler=read)
    await service.add_endpoint(name="replace", subject="items.replace.*", handler=replace)
    await service.add_endpoint(name="delete", subject="items.delete.*", handler=delete)
    print("answers items.>", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
