import pytest

import tests.harness
from app.http.lane import LaneName


@pytest.fixture(params=["fast", "asgi"], autouse=True)
def lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> LaneName:
    """The lane of every gateway that a test here runs: each test runs over both."""
    chosen: LaneName = request.param
    monkeypatch.setattr(tests.harness, "LANE", chosen)
    return chosen
