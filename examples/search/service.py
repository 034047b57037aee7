"""Finds teas. The gateway has checked the parameters, and they come with their types.

$ python service.py        # NATS_URL says where NATS is
"""

import asyncio
import json
import os
from typing import Any

import nats
from nats.micro import add_service
from nats.micro.request import Request

TEAS: list[dict[str, Any]] = [
    {"name": "assam", "kind": "black", "price": 4},
    {"name": "darjeeling", "kind": "black", "price": 7.5},
    {"name": "gyokuro", "kind": "green", "price": 12},
    {"name": "sencha", "kind": "green", "price": 5},
    {"name": "silver needle", "kind": "white", "price": 9},
]


async def search(request: Request) -> None:
    asked = json.loads(request.data)
    found = [
        tea
        for tea in TEAS
        if asked.get("q", "") in tea["name"]
        and tea["kind"] in asked.get("kind", [tea["kind"]])
        and tea["price"] <= asked.get("max_price", tea["price"])
    ]
    found.sort(key=lambda tea: tea[asked["sort"]])
    await request.respond(json.dumps(found[: asked["limit"]]).encode())


async def main() -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    service = await add_service(client, name="teas", version="1.0.0")
    await service.add_endpoint(name="search", subject="teas.search", handler=search)
    print("answers teas.search", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
