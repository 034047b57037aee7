"""Requests beside a flood are measured; the figures are for people."""

import re

from tests.benchmarks.test_benchmarks import run_benchmarks


def test_requests_are_measured_beside_each_flood() -> None:
    text = run_benchmarks("--only", "beside a flood", "--targets", "^gateway, streams")
    for watchers in (1, 4):
        assert f"### requests beside a flood, {watchers} watching: gateway, streams" in text
    assert len(re.findall(r"^\| they watch at (?:NATS|the gateway) \|", text, re.MULTILINE)) == 4
    assert len(re.findall(r"^p99: [\d.]+ times\.$", text, re.MULTILINE)) == 2
