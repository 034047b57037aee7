"""What the access log says, and of what."""

import json

import pytest

from app.observe.access import log_failure, log_record
from app.observe.record import Record

RECORD = Record(
    route="greet",
    method="GET",
    version="1.1",
    status=503,
    slug="no-responders",
    delivered="no",
    duration=0.0012345678,
    reply_time=None,
    bytes_in=1,
    bytes_out=2,
    is_written=True,
    request_id="r-1",
    lane="fast",
    peer="192.0.2.1",
)


def test_a_record_is_one_line_with_its_facts(capsys: pytest.CaptureFixture[str]) -> None:
    log_record(RECORD)
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line) == {
        "event": "exchange",
        "level": "error",
        "route": "greet",
        "method": "GET",
        "status": 503,
        "slug": "no-responders",
        "delivered": "no",
        "duration_ms": 1.235,
        "reply_ms": None,
        "bytes_in": 1,
        "bytes_out": 2,
        "peer": "192.0.2.1",
        "request_id": "r-1",
    }


def test_what_else_is_known_of_a_failure_stands_in_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    log_record(RECORD._replace(facts=(("subject", "greet.sue"),)))
    assert json.loads(capsys.readouterr().out)["subject"] == "greet.sue"


@pytest.mark.parametrize(("status", "level"), [(200, "info"), (404, "info"), (499, "info"), (500, "error")])
def test_only_failures_are_errors(status: int, level: str, capsys: pytest.CaptureFixture[str]) -> None:
    log_record(RECORD._replace(status=status, reply_time=0.0005))
    found = json.loads(capsys.readouterr().out)
    assert (found["level"], found["reply_ms"]) == (level, 0.5)


@pytest.mark.parametrize(
    ("route", "slug", "is_logged"),
    [("greet", None, True), (None, "overloaded", True), ("greet", "timeout", True), (None, None, False)],
)
def test_a_page_that_only_says_that_something_is_not_well_is_no_failure(
    route: str | None, slug: str | None, is_logged: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    log_failure(RECORD._replace(route=route, slug=slug))
    assert bool(capsys.readouterr().out) == is_logged
