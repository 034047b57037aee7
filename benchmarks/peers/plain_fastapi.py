"""What one writes first: FastAPI path operations that await `nc.request`."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import nats
import nats.errors
from fastapi import FastAPI, HTTPException, Path, Query, Request, Response
from nats.aio.msg import Msg
from pydantic import BaseModel, Field


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.nc = await nats.connect(os.environ["NATS_URL"])
    yield
    await app.state.nc.close()


app = FastAPI(lifespan=lifespan)


async def send(subject: str, payload: bytes = b"", headers: dict[str, str] | None = None) -> Msg:
    try:
        reply: Msg = await app.state.nc.request(subject, payload, timeout=2, headers=headers)
    except nats.errors.NoRespondersError:
        raise HTTPException(503) from None
    except nats.errors.TimeoutError:
        raise HTTPException(504) from None
    return reply


class Order(BaseModel):
    item: str = Field(min_length=1)
    amount: int = Field(ge=1)


@app.get("/greet/{name}")
async def greet(name: str) -> dict[str, str]:
    return {"message": (await send(f"greet.{name}")).data.decode()}


@app.get("/traced/{name}")
async def traced(name: str, request: Request) -> Response:
    names = ("traceparent", "tracestate", "x-request-id")
    headers = {name: request.headers[name] for name in names if name in request.headers}
    return Response((await send(f"greet.{name}", headers=headers)).data)


@app.get("/typed/{number}")
async def typed(
    number: Annotated[int, Path(ge=1)], limit: Annotated[int, Query(ge=1, le=100)] = 10, deep: bool = False
) -> Response:
    values = {"number": number, "limit": limit, "deep": deep}
    return Response((await send("echo", json.dumps(values).encode())).data)


@app.post("/echo")
async def echo(request: Request) -> Response:
    return Response((await send("echo", await request.body())).data)


@app.post("/orders")
async def orders(order: Order) -> Response:
    return Response((await send("echo", order.model_dump_json().encode())).data)


@app.get("/blob/{size}")
async def blob(size: str) -> Response:
    return Response((await send(f"blob.{size}")).data)


@app.get("/nobody/{name}")
async def nobody(name: str) -> Response:
    return Response((await send(f"nobody.{name}")).data)


for number in range(int(os.environ.get("EXTRA_ROUTES", "0"))):
    app.get(f"/extra{number}/greet/{{name}}")(greet)
