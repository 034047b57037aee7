import gc
from collections.abc import AsyncIterator, Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from tests.harness import Gateway, NatsServer, reserve_port, run_gateway, run_nats

SOAK = "soak"
FEW, MANY = 25, 100  # examples of a property, in `make test` and in `make sweep`


def pytest_configure(config: pytest.Config) -> None:
    """No test looks at the clock of a machine that may be slow."""
    hypothesis.settings.register_profile(
        "here",
        hypothesis.settings(),
        deadline=None,
        max_examples=MANY if config.option.markexpr == SOAK else FEW,
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    hypothesis.settings.load_profile("here")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Whatever is made while tests are collected lives on: to look for garbage in it takes a third of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no process is left with it at the end. `make sweep` has the properties,
    too, with many examples."""
    items.sort(key=lambda item: item.path.parent.name not in ("process", "browser", "javascript"))
    if config.option.markexpr == SOAK:
        for item in items:
            if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
                item.add_marker(SOAK)


@pytest.fixture(scope="session", autouse=True)
def _logs_as_json() -> None:
    """As `nats-http serve` writes them, but to whatever a test captures."""
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ]
    )


@pytest.fixture(scope="session")
def shared_nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server for tests that only use it: one a test process, never stopped or reconfigured."""
    with run_nats(tmp_path_factory.mktemp("nats")) as server:
        yield server


@pytest.fixture
def own_nats(tmp_path: Path) -> Iterator[NatsServer]:
    """A server for one test that hurts it."""
    with run_nats(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def port() -> Iterator[int]:
    """A port that nobody else takes: for a server that is not there yet, or comes back."""
    with reserve_port() as port:
        yield port


@pytest.fixture
async def gateway(shared_nats: NatsServer) -> AsyncIterator[Gateway]:
    """A gateway with the packaged routes, on the shared server."""
    async with run_gateway(shared_nats.url) as gateway:
        yield gateway
