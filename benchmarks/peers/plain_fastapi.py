"""What one writes first: a FastAPI path operation that awaits `nc.request`."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
import nats.errors
from fastapi import FastAPI, HTTPException


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.nc = await nats.connect(os.environ["NATS_URL"])
    yield
    await app.state.nc.close()


app = FastAPI(lifespan=lifespan)


@app.get("/greet/{name}")
async def greet(name: str) -> dict[str, str]:
    nc = app.state.nc
    try:
        reply = await nc.request(f"greet.{name}", b"", timeout=2)
    except nats.errors.NoRespondersError:
        raise HTTPException(503) from None
    except nats.errors.TimeoutError:
        raise HTTPException(504) from None
    return {"message": reply.data.decode()}
