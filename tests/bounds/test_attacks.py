"""The law of bounds: whatever one caller sends, another is answered at once, and the process hardly grows.

`pytest tests/bounds -k "fast and trailers"` runs some; BOUNDS_REPORT=path writes their table there, and
BOUNDS_ONLY_MEASURE=1 lets none of them fail.
"""

import os
import re
from dataclasses import replace

import pytest

from app.http.lane import LaneName
from tests.bounds import (
    attacks_on_bodies,
    attacks_on_connections,
    attacks_on_credentials,
    attacks_on_heads,
    attacks_on_nats,
    attacks_on_streams,
    attacks_on_tls,
)
from tests.bounds.attacks import MANY, STORM, Attack
from tests.bounds.bout import run_attack
from tests.bounds.report import Row
from tests.bounds.stage import Stage
from tests.pace import SLOWNESS

_TABLES: tuple[Attack, ...] = (
    *attacks_on_bodies.JSON,
    *attacks_on_bodies.FRAMES,
    *attacks_on_heads.FIELDS,
    *attacks_on_heads.TARGETS,
    *attacks_on_heads.HEADS,
    *attacks_on_heads.PIPELINES,
    *attacks_on_heads.PROXIES,
    *attacks_on_connections.CONNECTIONS,
    *attacks_on_connections.UNREAD,
    *attacks_on_tls.HANDSHAKES,
    *attacks_on_credentials.FLOODS,
    *attacks_on_credentials.ISSUERS,
    *attacks_on_credentials.CERTIFICATES,
    *attacks_on_nats.SERVICES,
    *attacks_on_nats.LOGS,
    *attacks_on_nats.LIES,
    *attacks_on_nats.RELOADS,
    *attacks_on_streams.STREAMS,
)
# docs/security.md, "What is not bounded", says why another caller may have to wait longer beside these.
OF_MANY = frozenset(
    (
        "trailers on 50 connections",
        "chunks of one byte at full speed on 20 connections",
        "chunks of one byte to a path that is not there",
        "200 uploads of 1 MiB that are not finished",
        "200 uploads in chunks that are not finished",
        "uploads that are announced, 1,000 of them",
        "heads byte by byte on 300 connections",
        "heads of 60 KiB in pieces on 200 connections",
        "queries of 1,000 pairs behind each other",
        "more connections than there may be, and none idle",
        "more connections than there may be, all idle",
        "a service that never answers, at the cap of requests in flight",
        "a caller at its share of the requests in flight, seen from the same route",
    )
)
OF_STORMS = frozenset(("2,000 requests that nobody answers",))
ATTACKS = tuple(
    replace(attack, prompt=max(attack.prompt, MANY if attack.name in OF_MANY else STORM))
    if attack.name in OF_MANY | OF_STORMS
    else attack
    for attack in _TABLES
)
LANES: tuple[LaneName, ...] = ("fast", "asgi")
AGAIN = 2  # times, where nothing but the wait is too much: the machine may be to blame
ONLY_MEASURE = bool(os.environ.get("BOUNDS_ONLY_MEASURE"))


def _name_case(lane: LaneName, attack: Attack) -> str:
    return f"{lane}-{re.sub('[^a-z0-9]+', '-', attack.name.lower()).strip('-')}"


CASES = [
    pytest.param(lane, attack, id=_name_case(lane, attack), marks=() if attack.is_quick else (pytest.mark.soak,))
    for lane in LANES
    for attack in ATTACKS
    if lane in attack.lanes
]


@pytest.mark.timeout(150 * SLOWNESS)
@pytest.mark.parametrize(("lane", "attack"), CASES)
def test_another_caller_hardly_notices(stage: Stage, rows: list[Row], lane: LaneName, attack: Attack) -> None:
    seen = run_attack(attack, stage.set(attack, lane))
    for _ in range(0 if ONLY_MEASURE else AGAIN):
        if seen.is_close(attack):
            stage.clear()
            seen = run_attack(attack, stage.set(attack, lane))
    rows.append(Row(attack, lane, seen))
    faults = seen.find_faults(attack)
    assert ONLY_MEASURE or not faults, "; ".join(faults)
