"""What the gateway says of itself: where its pages lead, and what their headers say, whatever a caller sends."""

import httpx
import pytest
from fastapi.responses import RedirectResponse

from app.main import create_app
from app.settings import Settings
from tests.harness import Gateway, NatsServer, run_gateway

REDIRECTS = {
    "/": "/docs",
    "/docs/": "/docs",
    "/docs///": "/docs",
    "/redoc/?x=1&y=%2F": "/redoc?x=1&y=%2F",
    '/redoc/?q="<>': "/redoc?q=%22%3C%3E",
    "/problems/": "/problems",
    "/problems/timeout/": "/problems/timeout",
    "/problems/a%3Fb%23c%25d%5C/": "/problems/a%3Fb%23c%25d%5C",
    "/problems/%C3%A9/": "/problems/%C3%A9",
    "/livez/": "/livez",
    "/docs/assets": "/docs/assets/",
}
HOSTS = [b"evil.example", b"evil.example:81", b"[::1]"]


def find_field(answer: bytes, name: str) -> list[str]:
    """Every value of a field of a response."""
    lines = [line.partition(b":") for line in answer.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    return [value.strip().decode("latin-1") for key, _, value in lines if key.decode().lower() == name]


@pytest.mark.parametrize(("target", "place"), REDIRECTS.items())
async def test_a_redirect_leads_to_a_place_of_this_gateway_whatever_host_says(
    gateway: Gateway, target: str, place: str
) -> None:
    for host in HOSTS:
        head = b"%b %b HTTP/1.1\r\nHost: %b\r\nConnection: close\r\n\r\n"
        for method in (b"GET", b"HEAD", b"POST") if target != "/" else (b"GET", b"HEAD"):
            answer = await gateway.send_raw(head % (method, target.encode(), host))
            assert answer.startswith(b"HTTP/1.1 307 "), answer
            assert find_field(answer, "location") == [place]
            assert b"evil" not in answer


async def test_a_path_that_begins_with_two_slashes_is_never_redirected(shared_nats: NatsServer) -> None:
    """A browser would take it for a host."""
    async with run_gateway(shared_nats.url) as gateway:

        @gateway.app.get("/{path:path}/end")
        async def end(path: str) -> None: ...

        assert (await gateway.get_raw(b"/evil.example/end/")).startswith(b"HTTP/1.1 307 ")
        assert (await gateway.get_raw(b"//evil.example/end/")).startswith(b"HTTP/1.1 404 ")


async def test_a_redirect_keeps_the_root_path(shared_nats: NatsServer) -> None:
    app = create_app(Settings(nats_url=(shared_nats.url,)))
    transport = httpx.ASGITransport(app, root_path="/api")
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        for path, place in {"/api": "/api/", "/api/": "/api/docs", "/api/docs/": "/api/docs"}.items():
            assert (await client.get(path)).headers["location"] == place


async def test_a_redirect_of_one_s_own_may_lead_elsewhere(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url) as gateway:

        @gateway.app.get("/manual")
        async def manual() -> RedirectResponse:
            return RedirectResponse("https://manual.example/")

        assert (await gateway.get("/manual")).headers["location"] == "https://manual.example/"
