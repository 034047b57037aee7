import pytest

from benchmarks import connections


def test_the_memory_of_connections_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "COUNT", 500)
    monkeypatch.setattr(connections, "PAUSE", 0.5)
    idle, more = connections._run(connections.CALLERS["a browser"])
    assert 2 < idle < 30
    assert more < 10
