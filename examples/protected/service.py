"""Answers `orders.*`. It never sees a token: the gateway tells it in `X-User` who calls. A token without `sub` names
nobody, and then the header is not there.

$ python service.py        # NATS_URL says where NATS is
"""

import asyncio
import json
import os

import nats
from nats.aio.msg import Msg

ORDERS: list[dict[str, str]] = []


async def answer(message: Msg) -> None:
    user = (message.headers or {}).get("X-User", "")
    if not user and message.subject != "orders.prices":
        message.headers = {"Nats-Service-Error-Code": "403", "Nats-Service-Error": "the token names no user"}
        await message.respond(b"")
        return
    match message.subject:
        case "orders.list":
            reply: object = [order for order in ORDERS if order["user"] == user]
        case "orders.make":
            reply = {"user": user, "item": json.loads(message.data)["item"]}
            ORDERS.append(reply)
        case _:
            reply = {"tea": 3}
    await message.respond(json.dumps(reply).encode())


async def main() -> None:
    client = await nats.connect(os.environ.get("NATS_URL", "nats://localhost:4222"))
    await client.subscribe("orders.*", cb=answer)
    print("answers orders.*", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
