"""What a user adds to the application is served, and what nobody has is not found without FastAPI."""

import pytest
from fastapi import APIRouter
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route as Page

import tests.harness
from app.main import build_gateway
from app.observe.record import Observers, Record
from app.settings import Settings
from tests.harness import NatsServer, serve


async def say_hi(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hi")


async def test_pages_that_a_user_adds_are_served_also_while_the_gateway_runs(shared_nats: NatsServer) -> None:
    parts = build_gateway(Settings(nats_url=(shared_nats.url,)))
    async with serve(parts, lane=tests.harness.LANE) as gateway:
        for path in ("/mine", "/mine/", "/sub/page", "/items/1", "/sub", "/mïne"):
            assert (await gateway.get(path)).status_code == 404
        router = APIRouter(prefix="/items")

        @router.get("/{number}")
        async def read_item(number: int) -> int:
            return number

        parts.app.add_route("/mine", say_hi)
        parts.app.add_route("/mïne", say_hi)
        parts.app.include_router(router)
        parts.app.mount("/sub", Starlette(routes=[Page("/page", say_hi)]))
        assert (await gateway.get("/mine")).text == "hi"
        assert (await gateway.get("/m%69ne")).text == "hi"
        assert (await gateway.get("/mïne")).text == "hi"
        assert (await gateway.get("/mine/")).headers["location"] == "/mine"
        assert (await gateway.get("/items/1")).json() == 1
        assert (await gateway.get("/sub/page")).text == "hi"
        assert (await gateway.get("/mine/more")).status_code == 404


async def test_an_answer_of_the_user_s_own_to_what_is_not_found_is_given(shared_nats: NatsServer) -> None:
    parts = build_gateway(Settings(nats_url=(shared_nats.url,)))

    @parts.app.exception_handler(404)
    async def not_found(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"mine": True}, 404)

    async with serve(parts, lane=tests.harness.LANE) as gateway:
        assert (await gateway.get("/nothing")).json() == {"mine": True}


@pytest.mark.parametrize("path", ["/nothing", "/greet", "/livez/x", "/%ff", "//x"])
async def test_what_is_not_found_has_its_answer_in_the_lane_that_it_came_by(shared_nats: NatsServer, path: str) -> None:
    records: list[Record] = []
    observers = Observers(other=(records.append,))
    parts = build_gateway(Settings(nats_url=(shared_nats.url,)), observers=observers)
    async with serve(parts, lane=tests.harness.LANE) as gateway:
        answer = await gateway.get_raw(path.encode())
        assert b'"type":"/problems/not-found"' in answer
    assert [(record.lane, record.slug, record.route) for record in records] == [(tests.harness.LANE, "not-found", None)]
