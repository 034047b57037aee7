"""A soak: mixed load, hostile callers and one event after the other, for as long as SOAK_MINUTES says."""

import os
from pathlib import Path

import pytest

from tests.soak.report import format_table, write_if_asked
from tests.soak.run import say, soak

MINUTES = float(os.environ.get("SOAK_MINUTES", "3"))
BESIDE = 300  # seconds to start, to end and to compare


@pytest.mark.timeout(MINUTES * 60 + BESIDE)
async def test_it_stays_true_and_flat(tmp_path: Path) -> None:
    outcome = await soak(tmp_path, MINUTES)
    faults = "\n".join(outcome.find_faults())
    assert not faults, faults
    say(format_table(outcome))  # its words are true only of a run without faults
    write_if_asked(outcome)
