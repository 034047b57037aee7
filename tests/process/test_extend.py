"""`--extend MODULE:FUNCTION`: middleware and pages of somebody's own, in `serve`, in its workers and in `dev`."""

import sys
from pathlib import Path

import httpx
import pytest

from tests.harness import NO_TLS, PATIENCE, NatsServer
from tests.process.programs import Process, run, wait_until_ready

ADDRESS = r'"address":"(http://[^"]+)"'
CODE = """
from starlette.middleware.base import BaseHTTPMiddleware

async def mark(request, call_next):
    response = await call_next(request)
    response.headers["X-Marked"] = "yes"
    return response

def with_middleware(app):
    app.add_middleware(BaseHTTPMiddleware, dispatch=mark)

def with_a_page(app):
    app.get("/hello")(lambda: {"page": "mine"})

def broken(app):
    raise ValueError("its own fault")
"""


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_gateway.py").write_text(CODE)
    (tmp_path / "needs_another.py").write_text("import one_that_is_not_there\n")
    (tmp_path / "routes.yaml").write_text("routes: [{path: '/greet/{name}', subject: 'greet.{name}'}]\n")
    monkeypatch.chdir(tmp_path)


def serve(name: str, *more: str) -> list[str]:
    program = [sys.executable, "-P", "-m", "app"]  # without the current folder on its path, like the console script
    return [*program, "serve", "--port", "0", "--extend", name, *more]


def get(gateway: Process, path: str) -> httpx.Response:
    url = gateway.find(ADDRESS)
    wait_until_ready(url)
    return httpx.get(f"{url}{path}", trust_env=False, verify=NO_TLS, timeout=PATIENCE)


@pytest.mark.parametrize("more", [(), pytest.param(("--workers", "2"), marks=pytest.mark.soak)])
def test_middleware_sees_routes_and_pages(tmp_path: Path, shared_nats: NatsServer, more: tuple[str, ...]) -> None:
    with run(serve("my_gateway:with_middleware", *more), tmp_path / "log", NATS_URL=shared_nats.url) as gateway:
        for path, status in (("/livez", 200), ("/greet/sue", 503), ("/nothing", 404)):
            response = get(gateway, path)
            assert (response.status_code, response.headers["x-marked"]) == (status, "yes")
        assert '"lane":"asgi"' in gateway.log
        assert gateway.stop() == 0


def test_a_page_is_served_and_routes_stay_on_the_fast_lane(tmp_path: Path, shared_nats: NatsServer) -> None:
    with run(serve("my_gateway:with_a_page"), tmp_path / "log", NATS_URL=shared_nats.url) as gateway:
        assert get(gateway, "/hello").json() == {"page": "mine"}
        assert get(gateway, "/greet/sue").status_code == 503
        assert '"lane":"fast"' in gateway.log
        assert gateway.stop() == 0


def test_what_can_t_be_called_is_a_line_and_no_start(tmp_path: Path, shared_nats: NatsServer) -> None:
    with run(serve("nowhere:extend"), tmp_path / "log", NATS_URL=shared_nats.url) as gateway:
        assert gateway.process.wait(PATIENCE) == 1
        assert gateway.log == "nats-http: --extend 'nowhere:extend': there is no module 'nowhere'\n"


@pytest.mark.parametrize(
    ("name", "error"), [("my_gateway:broken", "its own fault"), ("needs_another:f", "one_that_is_")]
)
def test_a_bug_of_its_own_is_shown_with_its_place(
    tmp_path: Path, shared_nats: NatsServer, name: str, error: str
) -> None:
    with run(serve(name), tmp_path / "log", NATS_URL=shared_nats.url) as gateway:
        assert gateway.process.wait(PATIENCE) == 1
        assert "Traceback" in gateway.log
        assert error in gateway.log


def test_the_fast_lane_is_refused_where_there_is_middleware(tmp_path: Path, shared_nats: NatsServer) -> None:
    command = serve("my_gateway:with_middleware", "--lane", "fast")
    with run(command, tmp_path / "log", NATS_URL=shared_nats.url) as gateway:
        assert gateway.process.wait(PATIENCE) == 1
        assert "nats-http: the fast lane runs no middleware" in gateway.log


def test_the_example_of_the_documentation_allows_an_origin(tmp_path: Path, shared_nats: NatsServer) -> None:
    page = (Path(__file__).parents[2] / "docs" / "embedding.md").read_text()
    code = page.partition("```python\n# my_gateway.py")[2].partition("```")[0]
    (tmp_path / "my_gateway.py").write_text(f"#{code}")
    with run(serve("my_gateway:extend"), tmp_path / "log", NATS_URL=shared_nats.url) as gateway:
        url = gateway.find(ADDRESS)
        wait_until_ready(url)
        response = httpx.get(
            f"{url}/greet/sue",
            headers={"Origin": "https://example.com"},
            trust_env=False,
            verify=NO_TLS,
            timeout=PATIENCE,
        )
        assert response.headers["access-control-allow-origin"] == "https://example.com"
        assert gateway.stop() == 0
