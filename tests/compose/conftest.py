import subprocess
from collections.abc import Generator, Iterator

import pytest

from tests.compose.stack import Stack, find_engine_trouble, run_stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The stack, healthy, for tests that only look at it."""
    if trouble := find_engine_trouble():
        pytest.fail(f"these tests need a container engine that `docker compose` can use: {trouble}", pytrace=False)
    with run_stack() as stack:
        yield stack


@pytest.fixture
def own_stack(stack: Stack) -> Iterator[Stack]:
    """The stack for a test that hurts it; as it was afterwards."""
    yield stack
    stack.up()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the log of the containers."""
    report = yield
    arguments = item.funcargs.values() if isinstance(item, pytest.Function) else ()
    for stack in {argument for argument in arguments if report.failed and isinstance(argument, Stack)}:
        try:
            log = stack.compose("logs", "--no-color", "--tail", "100")
        except (AssertionError, subprocess.TimeoutExpired) as error:
            log = f"cannot be read: {error}"
        report.sections.append(("log of the stack", log))
    return report
