import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.bounds.processes import make_event, start
from tests.bounds.report import Row, format_text, write
from tests.bounds.services import serve
from tests.bounds.stage import Stage
from tests.harness import PATIENCE, NatsServer

_ROWS = pytest.StashKey[list[Row]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ROWS] = []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The table of the attacks; into the file that BOUNDS_REPORT names, too."""
    if rows := config.stash[_ROWS]:
        terminalreporter.section("attacks")
        for line in format_text(rows):
            terminalreporter.write_line(line)
        if path := os.environ.get("BOUNDS_REPORT"):
            write(rows, Path(path))


@pytest.fixture(scope="session")
def rows(request: pytest.FixtureRequest) -> list[Row]:
    """Takes what was seen of each attack."""
    return request.config.stash[_ROWS]


@pytest.fixture(scope="session")
def stage(shared_nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Gateways before a real server, with the services of routes.yaml behind it."""
    ready = make_event()
    with start(serve, shared_nats.url, ready):
        assert ready.wait(PATIENCE)
        stage = Stage(tmp_path_factory.mktemp("bounds"), shared_nats.url)
        yield stage
        stage.clear()
