"""The application under uvicorn as it comes, not under the server of `nats-http serve`."""

import json
import sys
from pathlib import Path

import httpx
import pytest

from tests.harness import NatsServer
from tests.process.programs import run, wait_until_ready


@pytest.mark.soak
def test_an_open_status_page_holds_up_the_stop_for_seconds_only(
    tmp_path: Path, port: int, own_nats: NatsServer
) -> None:
    """That server waits for all responses, and tells the application of its stop only after them."""
    command = [sys.executable, "-m", "uvicorn", "app.main:app", "--port", str(port)]
    url = f"http://127.0.0.1:{port}"
    with run(command, tmp_path / "log", NATS_URL=own_nats.url) as server:
        wait_until_ready(url)
        with httpx.stream("GET", f"{url}/status/events", trust_env=False, timeout=30) as response:
            lines = response.iter_lines()
            assert next(lines) == "event: state"
            assert json.loads(next(lines).removeprefix("data: "))["whole"]
            server.process.terminate()
            assert [line for line in lines if line.startswith("event: ")]
        assert server.process.wait(30) in (0, -15)
