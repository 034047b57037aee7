"""Keeps orders. It never sees a token or a key: the gateway writes the name of the caller into `X-User`.

$ python service.py        # NATS_URL says where NATS is
"""

import asyncio
import json
import os

import nats
from nats.micro import add_service
from nats.micro.request import Request, ServiceError

ORDERS: list[dict[str, str]] = []


def find_user(request: Request) -> str:
    user = (request.headers or {}).get("X-User")
    if not user:  # a token without `sub`
        raise ServiceError("403", "the token names no user")
    return user


async def list_orders(request: Request) -> None:
    user = find_user(request)
    await request.respond(json.dumps([order for order in ORDERS if order["user"] == user]).encode())


async def make_order(request: Request) -> None:
    order = {"user": find_user(request), "item": json.loads(request.data)["item"]}
    ORDERS.append(order)
    await request.respond(json.dumps(order).encode())


async def list_prices(request: Request) -> None:
    await request.respond(b'{"tea": 3}')


async def main() -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    service = await add_service(client, name="orders", version="1.0.0")
    await service.add_endpoint(name="list", subject="orders.list", handler=list_orders)
    await service.add_endpoint(name="make", subject="orders.make", handler=make_order)
    await service.add_endpoint(name="prices", subject="orders.prices", handler=list_prices)
    print("answers orders.*", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
