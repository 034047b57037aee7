"""What the log says of responses: one line for each, whoever made it, but for a storm of failures."""

import asyncio
import json
from collections import Counter
from typing import Any

import pytest

from app.http.lane import LaneName
from app.observe.storm import LINES
from tests.harness import PATIENCE, NatsServer, eventually
from tests.http.test_records import LAST, LIVING, converse, get, post, run

KEYS = {
    "route",
    "method",
    "status",
    "slug",
    "delivered",
    "duration_ms",
    "reply_ms",
    "bytes_in",
    "bytes_out",
    "peer",
} | {
    "request_id",
    "event",
    "level",
}


class Lines:
    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture
        self._found: list[dict[str, Any]] = []

    def read(self, event: str = "exchange") -> list[dict[str, Any]]:
        self._found += [json.loads(line) for line in self._capture.readouterr().out.splitlines()]
        return [line for line in self._found if line["event"] == event]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    return Lines(capsys)


async def test_each_response_of_any_origin_is_one_line_with_its_peer_bytes_and_times(
    shared_nats: NatsServer, lines: Lines
) -> None:
    async with run(shared_nats, None, access_log=True) as gateway:
        talks = [[request, get("/livez", "Connection: close")] for request in LIVING] + [[request] for request in LAST]
        answers = await asyncio.gather(*(converse(gateway, talk, pipelined=True) for talk in talks))
        seen = Counter(status for statuses in answers for status in statuses if status != 100)
        await eventually(lambda: len(lines.read()) >= seen.total())
    found = lines.read()
    assert lines.read("exchanges-summed-up") == []
    assert Counter(line["status"] for line in found) == seen
    assert all(line.keys() >= KEYS and line["peer"] == "127.0.0.1" and line["request_id"] for line in found)
    assert {line["level"] for line in found if line["status"] < 500} == {"info"}
    assert {(line["level"], line["slug"] == "internal") for line in found if line["status"] >= 500} == {
        ("warning", False),
        ("error", True),
    }
    [written] = [line for line in found if line["method"] == "POST" and line["bytes_in"] == 2]
    assert (written["status"], written["bytes_out"]) == (200, 5)
    assert 0 < written["reply_ms"] <= written["duration_ms"]


async def test_of_a_storm_ten_lines_a_second_are_written_and_the_rest_is_counted(
    shared_nats: NatsServer, lines: Lines
) -> None:
    count = 200
    async with run(shared_nats, None) as gateway:
        requests = [*[get("/nobody")] * (count - 1), get("/nobody", "Connection: close")]
        assert await converse(gateway, requests, pipelined=True) == [503] * count
        assert len(lines.read()) >= LINES
        await eventually(lambda: lines.read("exchanges-summed-up"))  # though the storm is over
    summaries = lines.read("exchanges-summed-up")
    assert len(lines.read()) + sum(line["count"] for line in summaries) == count
    assert len(lines.read()) <= LINES * (len(summaries) + 1)
    assert {(line["route"], line["slug"], line["level"]) for line in summaries} == {
        ("nobody", "no-responders", "warning")
    }


async def test_the_status_page_counts_what_the_log_leaves_out(shared_nats: NatsServer) -> None:
    count = 50
    async with run(shared_nats, None) as gateway:
        await converse(gateway, [*[get("/nobody")] * (count - 1), get("/nobody", "Connection: close")], pipelined=True)
        failures: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE):
            while sum(1 + failure["more"] for failure in failures) < count:
                await asyncio.sleep(0.05)
                failures = (await gateway.get("/status/data")).json()["failures"]
        assert len(failures) < count


async def test_the_count_of_a_storm_comes_out_at_the_stop(shared_nats: NatsServer, lines: Lines) -> None:
    async with run(shared_nats, None) as gateway:
        requests = [*[get("/nobody")] * 49, get("/nobody", "Connection: close")]
        await converse(gateway, requests, pipelined=True)
    assert len(lines.read()) + sum(line["count"] for line in lines.read("exchanges-summed-up")) == 50


async def test_successes_are_never_summed_up_and_refusals_are(shared_nats: NatsServer, lines: Lines) -> None:
    async with run(shared_nats, None, access_log=True) as gateway:
        requests = [*[get("/read/1")] * 40, *[get("/read/a.b")] * 40, get("/read/1", "Connection: close")]
        await converse(gateway, requests, pipelined=True)
    found = Counter(line["status"] for line in lines.read())
    assert found[200] == 41
    assert found[422] < 40
    assert found[422] + sum(line["count"] for line in lines.read("exchanges-summed-up")) == 40


async def test_where_the_level_drops_successes_they_are_no_records(
    shared_nats: NatsServer, lines: Lines, lane: LaneName
) -> None:
    async with run(shared_nats, None, access_log=True, log_level="warning") as gateway:
        assert gateway.parts.relay.way_out._other == ()
        await converse(gateway, [post(b"x"), get("/nobody"), get("/livez", "Connection: close")], pipelined=False)
    assert [line["status"] for line in lines.read()] == [503]
