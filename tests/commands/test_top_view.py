"""Two scrapes become rates, shares and quantiles, and these become lines that fit."""

import json
from collections import Counter
from typing import Any

import pytest

from app.commands.scrapes import RouteCounts, Scrape, ScrapeFailed, Scraper
from app.commands.top_output import write_json, write_lines
from app.commands.top_view import View, compare

INFINITE = float("inf")


def make_scrape(at: float, routes: dict[str, RouteCounts], **values: float) -> Scrape:
    names = {"cpu": "process_cpu_seconds_total", "memory": "process_resident_memory_bytes"}
    named = {names.get(name, f"nats_http_{name}"): value for name, value in values.items()}
    return Scrape(at, b"", named, routes)


def count(requests: float, *, failed: float = 0, refused: float = 0, fast: float | None = None, **problems: int) -> Any:
    """So many requests, of which `fast` took at most 10 ms, and the others at most 1 s."""
    buckets = {0.01: requests if fast is None else fast, 1.0: requests, INFINITE: requests}
    return RouteCounts(requests, failed, refused, buckets, Counter(problems))


def look(before: dict[str, RouteCounts], after: dict[str, RouteCounts], **values: float) -> View:
    return compare(make_scrape(10.0, before), make_scrape(12.0, after, **values))


def test_rates_and_shares_are_those_between_the_scrapes() -> None:
    before = {"a": count(100, failed=50, refused=10, timeout=50)}
    after = {"a": count(120, failed=55, refused=11, fast=118, timeout=53, other=2)}
    (row,) = look(before, after).routes
    assert (row.rate, row.failing, row.refused, row.problem) == (10.0, 0.25, 0.05, "timeout")


def test_quantiles_are_those_of_the_requests_between_the_scrapes() -> None:
    (row,) = look({"a": count(1000)}, {"a": count(1100, fast=1050)}).routes
    assert row.p50 == pytest.approx(0.01)
    assert row.p99 == pytest.approx(0.01 + 0.99 * 0.98)


def test_routes_that_fail_most_come_first_and_then_those_with_the_most_requests() -> None:
    after = {"calm": count(1), "busy": count(500), "failing": count(10, failed=2), "worse": count(100, failed=3)}
    view = look({"idle": count(7)}, {**after, "idle": count(7)})
    assert [row.route for row in view.routes] == ["worse", "failing", "busy", "calm"]
    assert (view.idle_routes, view.rate) == (1, 305.5)


def test_after_a_restart_all_numbers_are_new() -> None:
    (row,) = look({"a": count(1000, failed=10)}, {"a": count(20, failed=5)}).routes
    assert (row.rate, row.failing) == (10.0, 0.25)


def test_the_values_of_several_clusters_become_one_and_each_says_whether_it_is_connected() -> None:
    clusters = {
        "nats_http_nats_connected": {"main": 1.0, "factory": 0.0},
        "nats_http_nats_round_trip_seconds": {"main": 0.001, "factory": 0.004},
        "nats_http_requests_in_flight": {"main": 3.0, "factory": 40.0},
        "nats_http_requests_in_flight_limit": {"main": 100.0, "factory": 100.0},
    }
    view = compare(Scrape(1.0, b"", {}, {}), Scrape(2.0, b"", {}, {}, clusters))
    assert (view.nats_connected, view.clusters) == (False, {"main": True, "factory": False})
    assert (view.round_trip, view.in_flight, view.in_flight_limit, view.backlog) == (0.004, 43, 200, None)
    lines = [line.text for line in write_lines(view, width=100)]
    assert lines[0].startswith("NOT CONNECTED TO NATS (factory): requests to it get 503. Look for `connect-failed`")
    assert lines[1].startswith("NATS main up, factory away   round trip 4.0 ms   in flight 43/200")
    assert json.loads(write_json(view, indent=None))["clusters"] == {"main": True, "factory": False}


def test_cpu_is_a_share_of_one_processor() -> None:
    view = compare(make_scrape(10.0, {}, cpu=5.0), make_scrape(12.0, {}, cpu=6.0, memory=2.0**20))
    assert (view.cpu, view.memory) == (0.5, 2**20)
    assert look({}, {}).cpu is None


def show(view: View, width: int = 80, height: int | None = None) -> list[str]:
    return [line.text for line in write_lines(view, width=width, height=height)]


def test_the_table_fits_into_80_columns_and_into_the_height() -> None:
    routes = {f"route-with-a-long-name-{number:04}": count(9, failed=1, bad=1) for number in range(500)}
    lines = show(look({}, routes, nats_connected=1, requests_in_flight=4096, open_connections=10000), height=24)
    assert len(lines) == 24
    assert max(map(len, lines)) <= 80
    assert lines[-1] == f"{500 - (24 - 5)} more routes"
    assert all(len(line) <= 30 for line in show(look({}, routes), 30))


def test_a_small_screen_still_has_the_head() -> None:
    view = look({}, {"a": count(9)}, nats_connected=1)
    assert show(view, height=2)[0].startswith("NATS up")


def test_troubles_come_first() -> None:
    lines = show(look({}, {}, nats_connected=0, config_last_reload_successful=0))
    assert [line.split(":")[0] for line in lines[:2]] == ["NOT CONNECTED TO NATS", "THE LAST RELOAD WAS REFUSED"]
    assert lines[-1] == "no requests in the last 2.0 s"


def test_a_name_can_not_control_the_terminal() -> None:
    assert "\x1b" not in "".join(show(look({}, {"\x1b[2Jevil": count(1)})))


def test_json_has_all_of_it() -> None:
    view = json.loads(write_json(look({}, {"": count(4)}, nats_connected=1, workers=2), indent=None))
    assert view.items() >= {"nats_connected": True, "workers": 2, "in_flight": None, "rate": 2.0}.items()
    assert view["routes"][0].items() >= {"route": "", "rate": 2.0, "problem": None}.items()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html></html>",
        "nats_http_build_info",
        'nats_http_build_info{version="1"} x',
        'nats_http_build_info{version="1',
        'nats_http_build_info{} 1\nnats_http_request_duration_seconds_bucket{route="a",le="x"} 1',
        'nats_http_build_info{} 1\nnats_http_problems_total{route="a",slug="x"} +Inf',
        "go_info 1",
    ],
)
def test_a_text_that_is_not_the_metrics_of_a_gateway_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scraper = Scraper("http://a/metrics", {}, checks_certificate=True)
    monkeypatch.setattr(scraper, "_fetch", text.encode)
    with pytest.raises(ScrapeFailed, match="not the metrics of a gateway"):
        scraper.scrape()


def test_a_later_scrape_has_what_has_changed_and_what_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        'nats_http_build_info{version="1"} 1\nnats_http_workers %d\n'
        'nats_http_requests_total{route="a \\"b\\"",method="GET",code="200"} %d\n'
        'nats_http_requests_total{route="c",method="GET",code="503"} 7\n'
    )
    scraper = Scraper("http://a/metrics", {}, checks_certificate=True)
    for numbers in ((1, 5), (1, 6), (2, 6), (2, 5)):
        monkeypatch.setattr(scraper, "_fetch", (text % numbers).encode)
        scrape = scraper.scrape()
        assert scrape.values["nats_http_workers"] == numbers[0]
        assert {name: counts.requests for name, counts in scrape.routes.items()} == {'a "b"': numbers[1], "c": 7}
