"""What strangers on NATS say fills no log, and makes the gateway load its routes only every few seconds."""

import pytest
from structlog.testing import capture_logs

from app.commands.discovery import BURST, Discovery, Pace
from app.commands.remarks import LINES, WINDOW, RemarkLog
from app.discovery.infos import MAX_OTHERS, Info, Remark, choose


def make(*numbers: int) -> list[Remark]:
    return [Remark("orders", None, f"remark {number}") for number in numbers]


def test_each_remark_is_logged_once_as_long_as_it_stays() -> None:
    remarks = RemarkLog()
    with capture_logs() as lines:
        for now in (make(1, 2), make(1, 2), make(2, 3, 3), make(1, 2)):
            remarks.log(now)
    assert [line["reason"] for line in lines] == ["remark 1", "remark 2", "remark 3", "remark 1"]
    assert {line["event"] for line in lines} == {"service-refused"}


def test_remarks_that_change_all_the_time_do_not_fill_the_log() -> None:
    now = 0.0
    remarks = RemarkLog(lambda: now)
    with capture_logs() as lines:
        for number in range(0, 10_000, 30):
            remarks.log(make(*range(number, number + 30)))
    assert len(lines) == LINES + 1
    assert lines[-1]["reason"] == "there are 20 more; `nats-http discover` lists all"
    now += WINDOW
    with capture_logs() as lines:
        remarks.log(make(1))
    assert [line["reason"] for line in lines] == ["remark 1"]


def test_changes_are_taken_at_once_unless_there_are_changes_all_the_time() -> None:
    now = 0.0
    pace = Pace(3, 5.0, lambda: now)
    taken = []
    for tick in range(400):  # 40 seconds
        now = tick / 10
        if pace.allows():
            taken.append(now)
    assert taken == pytest.approx([0.0, 0.1, 0.2, *(float(second) for second in range(5, 40, 5))], abs=0.2)
    now += 60
    assert [pace.allows() for _ in range(4)] == [True, True, True, False]


def test_services_that_change_all_the_time_are_not_taken_each_time() -> None:
    discovery = Discovery()
    taken = 0
    for _ in range(50):
        discovery._fresh.set()
        taken += discovery.take()
    assert taken == BURST


def test_many_instances_that_differ_are_few_remarks() -> None:
    remarks: list[Remark] = []
    choose([Info("orders", f"1.0.{number}", str(number)) for number in range(1000)], remarks)
    assert len(remarks) == MAX_OTHERS + 1
    assert str(remarks[-1]) == f"orders: {1000 - 1 - MAX_OTHERS} more instances say something else as well"
