"""FastStream's own bridge: its NATS router for FastAPI, and a request to the broker in a path operation."""

import os

from fastapi import FastAPI, HTTPException
from faststream.nats.fastapi import NatsRouter
from nats.errors import NoRespondersError
from nats.errors import TimeoutError as NatsTimeoutError

router = NatsRouter(os.environ["NATS_URL"], schema_url=None, logger=None)


@router.get("/greet/{name}")
async def greet(name: str) -> dict[str, str]:
    try:
        reply = await router.broker.request(b"", f"greet.{name}", timeout=2)
    except NoRespondersError:
        raise HTTPException(503) from None
    except (NatsTimeoutError, TimeoutError):
        raise HTTPException(504) from None
    return {"message": reply.body.decode()}


app = FastAPI()
app.include_router(router)
