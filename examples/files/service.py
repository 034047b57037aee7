"""Keeps files in an object store of JetStream. A file is the payload of a message, as it is.

$ python service.py        # NATS_URL says where NATS is
"""

import asyncio
import json
import os
from base64 import urlsafe_b64decode

import nats
from nats.js.api import ObjectMeta
from nats.js.errors import ObjectNotFoundError
from nats.micro import add_service
from nats.micro.request import Request, ServiceError


def find_path(request: Request) -> str:
    token = request.subject.rpartition(".")[2]
    return urlsafe_b64decode(f"{token}==").decode()


async def main() -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    files = await client.jetstream().create_object_store(bucket="files")

    async def put(request: Request) -> None:
        path = find_path(request)
        media_type = (request.headers or {}).get("Content-Type", "application/octet-stream")
        await files.put(path, request.data, ObjectMeta(headers={"Content-Type": [media_type]}))
        await request.respond(json.dumps({"path": path, "size": len(request.data)}).encode())

    async def get(request: Request) -> None:
        try:
            file = await files.get(find_path(request))
        except ObjectNotFoundError:
            raise ServiceError("404", "there is no such file") from None
        (media_type,) = (file.info.headers or {})["Content-Type"]
        await request.respond(file.data or b"", {"Content-Type": media_type})

    async def delete(request: Request) -> None:
        try:
            await files.delete(find_path(request))
        except ObjectNotFoundError:
            raise ServiceError("404", "there is no such file") from None
        await request.respond()

    service = await add_service(client, name="files", version="1.0.0")
    await service.add_endpoint(name="put", subject="files.put.*", handler=put)
    await service.add_endpoint(name="get", subject="files.get.*", handler=get)
    await service.add_endpoint(name="delete", subject="files.delete.*", handler=delete)
    print("answers files.>", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
