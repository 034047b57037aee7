import asyncio

from app.observe.board import Board, Boards
from app.observe.prometheus import TEXT
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
