"""The same in Starlette, without FastAPI's models and validation."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import nats.errors
from nats.aio.msg import Msg
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    app.state.nc = await nats.connect(os.environ["NATS_URL"])
    yield
    await app.state.nc.close()


async def send(request: Request, subject: str, payload: bytes = b"", headers: dict[str, str] | None = None) -> Msg:
    try:
        reply: Msg = await request.app.state.nc.request(subject, payload, timeout=2, headers=headers)
    except nats.errors.NoRespondersError:
        raise HTTPException(503) from None
    except nats.errors.TimeoutError:
        raise HTTPException(504) from None
    return reply


async def greet(request: Request) -> Response:
    reply = await send(request, f"greet.{request.path_params['name']}")
    return JSONResponse({"message": reply.data.decode()})


async def traced(request: Request) -> Response:
    names = ("traceparent", "tracestate", "x-request-id")
    headers = {name: request.headers[name] for name in names if name in request.headers}
    return Response((await send(request, f"greet.{request.path_params['name']}", headers=headers)).data)


async def echo(request: Request) -> Response:
    return Response((await send(request, "echo", await request.body())).data)


async def blob(request: Request) -> Response:
    return Response((await send(request, f"blob.{request.path_params['size']}")).data)


async def nobody(request: Request) -> Response:
    return Response((await send(request, f"nobody.{request.path_params['name']}")).data)


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/greet/{name}", greet),
        Route("/traced/{name}", traced),
        Route("/echo", echo, methods=["POST"]),
        Route("/blob/{size}", blob),
        Route("/nobody/{name}", nobody),
    ],
)
