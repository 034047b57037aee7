import pytest

import tests.harness
from app.http.lane import LaneName

ABOVE_OR_BELOW = frozenset(
    f"test_{name}.py"
    for name in ("announced_tls", "client_certificates", "metrics", "page_auth", "pages", "status", "tls")
)
"""Modules about what both lanes leave to others: pages, which the application answers, and TLS, which the server takes
off. `make sweep` has them over the second lane."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in ABOVE_OR_BELOW and item.path.parent.name == "http" and "[asgi" in item.name:
            item.add_marker("soak")


@pytest.fixture(params=["fast", "asgi"], autouse=True)
def lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LaneName:
    """The lane of every gateway that a test here runs: each test runs over both."""
    chosen: LaneName = request.param
    monkeypatch.setattr(tests.harness, "LANE", chosen)
    return chosen
