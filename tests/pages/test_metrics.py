import asyncio
import itertools
import re
import time

from app.observe.board import Board, Boards
from app.observe.gauges import CPU_SECONDS, Reporter
from app.observe.prometheus import OPENMETRICS, TEXT
from app.pages.metrics import Metrics
from tests.harness import eventually


async def test_who_asks_at_the_same_time_gets_the_same_text() -> None:
    reports: list[int] = []
    metrics = Metrics(Boards(Board()), lambda: reports.append(1))
    texts = await asyncio.gather(*(metrics.write(TEXT) for _ in range(200)))
    assert len(set(texts)) == 1
    assert len(reports) == 1
    first = asyncio.create_task(metrics.write(TEXT))
    await eventually(lambda: len(reports) == 2)
    await asyncio.gather(metrics.write(TEXT), metrics.write(TEXT))
    assert len(reports) == 3, "one that had begun before they asked is not enough for them"
    await first


async def test_who_gives_up_in_the_middle_leaves_the_others_a_whole_text() -> None:
    started = asyncio.Event()
    metrics = Metrics(Boards(Board()), started.set)
    for _ in range(3):
        first = asyncio.create_task(metrics.write(TEXT))
        await started.wait()
        first.cancel()
        started.clear()
        assert b"nats_http_build_info" in await metrics.write(TEXT)


async def test_no_counter_goes_back_where_workers_and_formats_take_turns() -> None:
    """After a text that took long to write there is a pause, in which the last one may be given again."""
    board, other = Board(), Board()
    counter = Reporter(board, gauges={}, counters={CPU_SECONDS: itertools.count(1).__next__})

    def report() -> None:
        time.sleep(0.25)
        counter.report()

    one, two = Metrics(Boards(board, (other,)), report), Metrics(Boards(other, (board,)), report)
    scrapes = [(one, TEXT), (two, TEXT), (one, OPENMETRICS), (one, TEXT), (one, TEXT), (two, TEXT)]
    seconds = [read_seconds(await metrics.write(form)) for metrics, form in scrapes]
    assert seconds == sorted(seconds)
    assert seconds[3] == seconds[4], "the newest text of all is given again"


def read_seconds(text: bytes) -> float:
    found = re.search(rb"\nprocess_cpu_seconds_total (\S+)", text)
    assert found
    return float(found[1])
