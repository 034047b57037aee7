import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.http.lane import LaneName
from tests.faults.report import Page, Report


@pytest.fixture(params=["fast", "asgi"])
def lane(request: pytest.FixtureRequest) -> LaneName:
    """The lane of the gateway: a test that asks for it runs over both."""
    chosen: LaneName = request.param
    return chosen


@pytest.fixture(scope="session")
def page(request: pytest.FixtureRequest) -> Iterator[Page]:
    """What was seen; written into the page that FAULTS_REPORT names, if it does and all is well."""
    page = Page()
    yield page
    if (path := os.environ.get("FAULTS_REPORT")) and not request.session.testsfailed:
        page.write(Path(path))


@pytest.fixture
def report(page: Page, request: pytest.FixtureRequest) -> Report:
    """Takes what a test has seen, under the first sentence of its module."""
    return page.begin(request.module.__doc__.partition(".")[0].replace("\n", " "))
