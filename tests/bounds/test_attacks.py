"""The law of bounds: whatever one caller sends, another is answered at once, and the process hardly grows.

`pytest tests/bounds -k "fast and trailers"` runs some; BOUNDS_REPORT=path writes their table there, and
BOUNDS_ONLY_MEASURE=1 lets none of them fail.
"""

import os
import re

import pytest

from app.lanes import LaneName
from tests.bounds import attacks_on_bodies, attacks_on_connections, attacks_on_heads, attacks_on_nats
from tests.bounds.attacks import Attack
from tests.bounds.bout import run_attack
from tests.bounds.report import Row
from tests.bounds.stage import Stage

ATTACKS: tuple[Attack, ...] = (
    *attacks_on_bodies.JSON,
    *attacks_on_bodies.FRAMES,
    *attacks_on_heads.FIELDS,
    *attacks_on_heads.TARGETS,
    *attacks_on_heads.HEADS,
    *attacks_on_heads.PIPELINES,
    *attacks_on_connections.CONNECTIONS,
    *attacks_on_connections.UNREAD,
    *attacks_on_nats.SERVICES,
    *attacks_on_nats.LOGS,
    *attacks_on_nats.LIES,
    *attacks_on_nats.RELOADS,
)
LANES: tuple[LaneName, ...] = ("fast", "asgi")
ONLY_MEASURE = bool(os.environ.get("BOUNDS_ONLY_MEASURE"))


def _name_case(lane: LaneName, attack: Attack) -> str:
    return f"{lane}-{re.sub('[^a-z0-9]+', '-', attack.name.lower()).strip('-')}"


CASES = [
    pytest.param(lane, attack, id=_name_case(lane, attack), marks=() if attack.is_quick else (pytest.mark.soak,))
    for lane in LANES
    for attack in ATTACKS
    if lane in attack.lanes
]


@pytest.mark.timeout(150)
@pytest.mark.parametrize(("lane", "attack"), CASES)
def test_another_caller_hardly_notices(stage: Stage, rows: list[Row], lane: LaneName, attack: Attack) -> None:
    seen = run_attack(attack, stage.set(attack, lane))
    if seen.is_close(attack) and not ONLY_MEASURE:
        stage.clear()
        seen = run_attack(attack, stage.set(attack, lane))
    rows.append(Row(attack, lane, seen))
    faults = seen.find_faults(attack)
    assert ONLY_MEASURE or not faults, "; ".join(faults)
