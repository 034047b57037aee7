"""`Server-Timing`, over both lanes."""

import asyncio
import re

import httpx
import pytest
from nats.aio.msg import Msg

from app.routing.routes import ReplyRules, Route
from tests.harness import NatsServer, replying, responder, run_gateway

BOTH = re.compile(r"nats;dur=(\d+\.\d{2}), gateway;dur=(\d+\.\d{2})")
OWN = re.compile(r"gateway;dur=(\d+\.\d{2})")

ROUTES = [
    Route(name="slow", methods=("GET",), path="/slow", subject="tim.slow"),
    Route(name="post", methods=("POST",), path="/post", subject="tim.post"),
    Route(name="nobody", methods=("GET",), path="/nobody", subject="tim.nobody"),
    Route(name="late", methods=("GET",), path="/late", subject="tim.silent", timeout=0.1),
    Route(name="none", methods=("DELETE",), path="/none", subject="tim.post", reply=ReplyRules(status=204)),
    Route(name="own", methods=("GET",), path="/own", subject="tim.own", reply=ReplyRules(headers=("Server-Timing",))),
]


async def reply_late(msg: Msg) -> None:
    await asyncio.sleep(0.2)
    await msg.respond(b"late")


async def never(_: Msg) -> None:
    pass


def read(response: httpx.Response) -> tuple[float, float]:
    match = BOTH.fullmatch(response.headers["server-timing"])
    assert match, response.headers["server-timing"]
    return float(match[1]), float(match[2])


async def test_it_says_how_long_nats_and_the_gateway_took(shared_nats: NatsServer) -> None:
    url = shared_nats.url
    async with (
        responder(url, "tim.slow", reply_late),
        responder(url, "tim.post", replying(b"ok")),
        responder(url, "tim.silent", never),
        responder(url, "tim.own", replying(b"ok", {"Server-Timing": "db;dur=5"})),
        run_gateway(url, routes=ROUTES, server_timing=True) as gateway,
    ):
        nats, own = read(await gateway.get("/slow"))
        assert nats >= 200
        assert own < nats
        assert read(await gateway.client.head("/slow"))[0] >= 200
        assert read(await gateway.client.post("/post", content=b"x"))[0] > 0
        gone = await gateway.client.delete("/none")
        assert (gone.status_code, len(read(gone))) == (204, 2)
        assert read(await gateway.get("/nobody"))[0] > 0
        assert read(await gateway.get("/late"))[0] >= 100
        shown = (await gateway.get("/own")).headers.get_list("server-timing")
        assert shown[0] == "db;dur=5"
        assert BOTH.fullmatch(shown[1])
        for path in ("/slow/x", "/post"):  # no route has the one, and not this method the other
            assert OWN.fullmatch((await gateway.get(path)).headers["server-timing"])


@pytest.mark.parametrize("path", ["/nobody", "/livez", "/nowhere"])
async def test_without_the_setting_nothing_is_said(shared_nats: NatsServer, path: str) -> None:
    async with run_gateway(shared_nats.url, routes=ROUTES) as gateway:
        assert "server-timing" not in (await gateway.get(path)).headers
