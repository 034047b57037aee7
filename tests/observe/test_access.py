"""What the access log says, and of what."""

import json

import pytest

from app.observe.access import log_failure, log_record, log_summary
from app.observe.record import Record
from app.observe.storm import Summary

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
        "level": "warning",
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


def test_a_caller_who_is_known_stands_in_the_line_of_the_request(capsys: pytest.CaptureFixture[str]) -> None:
    log_record(RECORD._replace(scheme="users", caller="sue"))
    line = json.loads(capsys.readouterr().out)
    assert (line["scheme"], line["caller"]) == ("users", "sue")


@pytest.mark.parametrize(
    ("status", "slug", "level"),
    [
        (200, None, "info"),
        (404, "not-found", "info"),
        (499, "caller-gone", "info"),
        (500, None, "warning"),
        (504, "timeout", "warning"),
        (500, "internal", "error"),
    ],
)
def test_failures_are_warnings_and_our_own_bugs_errors(
    status: int, slug: str | None, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log_record(RECORD._replace(status=status, slug=slug, reply_time=0.0005))
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


@pytest.mark.parametrize(("slug", "level"), [("no-responders", "warning"), ("internal", "error")])
def test_a_summary_says_of_which_failure_how_many_and_since_when(
    slug: str, level: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log_summary(Summary("greet", slug, 4711, 1763922810.052883))
    assert json.loads(capsys.readouterr().out) == {
        "event": "exchanges-summed-up",
        "level": level,
        "route": "greet",
        "slug": slug,
        "count": 4711,
        "since": "2025-11-23T18:33:30.052Z",
    }
