"""The fan-out of a stream is measured; its figures are for people."""

import resource
from pathlib import Path

import pytest

from benchmarks.fanout import FanOut, find_limit
from benchmarks.load import read_pss
from benchmarks.readers import SIZE, find_events, summarize, write_payload
from benchmarks.targets import find_nchan
from tests.benchmarks.test_benchmarks import run_benchmarks

EVENT = b"data: %b\n\n"


def test_a_payload_has_100_bytes_and_comes_back_from_an_event() -> None:
    payload = write_payload(123_456_789_012, 7)
    assert len(payload) == SIZE == 100
    assert find_events(b"id: 1:0\n" + EVENT % payload) == ([(123_456_789_012, 7)], b"\n")


def test_events_are_found_between_chunks_and_signs_of_life() -> None:
    first, second = (EVENT % write_payload(number, number) for number in (1, 2))
    data = b"6c\r\n%b\r\n3\r\n:\n\n\r\n6c\r\n%b\r\n" % (first, second)
    assert find_events(data) == ([(1, 1), (2, 2)], b"\n\r\n")


@pytest.mark.parametrize("cut", range(1, len(EVENT % write_payload(5, 3))))
def test_an_event_in_two_parts_is_found_once(cut: int) -> None:
    event = EVENT % write_payload(5, 3)
    found, rest = find_events(event[:cut])
    more, _ = find_events(rest + event[cut:])
    assert found + more == [(5, 3)]


def test_bytes_that_are_no_event_do_not_pile_up() -> None:
    rest = b""
    for _ in range(1000):
        _, rest = find_events(rest + b":\n\n")
    assert len(rest) == 2 * SIZE


def test_an_event_that_one_caller_did_not_get_is_missing_even_if_another_got_one_twice() -> None:
    found = summarize([2_000_000] * 4, [{0, 1}, {0}], 2)
    assert found == {"events": 4, "missing": 1, "p50_ms": 2.0, "p99_ms": 2.0}


def test_percentiles_are_of_all_delays() -> None:
    found = summarize([number * 1_000_000 for number in range(100, 0, -1)], [set(range(100))], 100)
    assert (found["p50_ms"], found["p99_ms"]) == (51.0, 100.0)
    assert summarize([], [set()], 3) == {"events": 0, "missing": 3, "p50_ms": 0.0, "p99_ms": 0.0}


def test_shared_pages_are_counted_once() -> None:
    assert read_pss("55d0-7ffe ---p 00000000 00:00 0 [rollup]\nRss: 9000 kB\nPss: 4321 kB\nPss_Anon: 1 kB\n") == 4321


def test_too_low_a_limit_on_open_files_is_said() -> None:
    allowed = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert find_limit(FanOut(1, rate=1)) is None
    if allowed != resource.RLIM_INFINITY:
        assert find_limit(FanOut(allowed, rate=1)) == f"a process may open {allowed:,} files (ulimit -Hn)"


def test_a_missing_nchan_is_said(tmp_path: Path) -> None:
    missing = find_nchan(tmp_path / "ngx_nchan_module.so")
    assert missing in ("nchan is not installed (Debian: libnginx-mod-nchan)", "nginx is not installed")


def test_every_caller_gets_every_event() -> None:
    lines = run_benchmarks("--only", "fan-out to 1,000 callers", "--targets", "^gateway, streams").splitlines()
    rows = [line for line in lines if line.startswith("| gateway, streams |")]
    assert len(rows) == 1
    assert rows[0].endswith("| 0 |")  # missing events
