"""docs/metrics.md lists what /metrics shows, and the dashboard and the alerts ask for nothing else."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.errors import ERRORS
from app.settings import VARIABLES
from tests.harness import NatsServer, run_gateway

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/metrics.md"
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
DASHBOARD = ROOT / "deploy/grafana/dashboard.json"
RUNBOOK = ROOT / "docs/runbook.md"
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*?) ?\|", re.MULTILINE)
METRIC = re.compile(r"\b((?:nats_http|process)_\w+?)(?:_bucket|_sum|_count)?\b")
WITHOUT_ALERT = {"http-version-not-supported", "draining", "not-connected"}
"""The caller's mistake; part of a restart; and NatsHttpNatsAway rings for its cause."""


def read_reference() -> dict[str, tuple[str, set[str]]]:
    """Name to type and labels, as documented."""
    rows = ROW.findall(REFERENCE.read_text())
    return {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


async def test_the_reference_has_every_metric_with_its_type_and_labels(shared_nats: NatsServer) -> None:
    async with run_gateway(shared_nats.url) as gateway:
        await gateway.get("/greet/sue")
        text = (await gateway.get("/metrics")).text
    reference = read_reference()
    shown = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        shown[name] = (family.type, labels if family.samples else reference.get(name, ("", set()))[1])
    assert shown == reference


def test_the_dashboard_and_the_alerts_ask_for_each_metric_and_no_other() -> None:
    used = {name for path in (ALERTS, DASHBOARD) for name in METRIC.findall(path.read_text())}
    assert used == set(read_reference()) - {"process_virtual_memory_bytes"}  # it says nothing of how the gateway is


def test_every_alert_is_in_the_table_with_its_severity() -> None:
    table = dict(re.findall(r"^\| `(NatsHttp\w+)` \| .* \| (\w+) \|$", REFERENCE.read_text(), re.MULTILINE))
    alerts = re.findall(r"alert: (\w+)\n(?:.*\n)*?\s+labels: \{severity: (\w+)\}", ALERTS.read_text())
    assert table == dict(alerts)


def test_every_failure_of_the_gateway_or_the_service_has_an_alert() -> None:
    failures = {error.slug for error in ERRORS if error.status >= 500}
    named = {slug for slugs in re.findall(r'slug=~?"([^"]+)"', ALERTS.read_text()) for slug in slugs.split("|")}
    assert named | WITHOUT_ALERT == failures


def read_alerts() -> Sequence[Mapping[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_every_alert_leads_to_its_part_of_the_runbook_and_no_part_is_left_over() -> None:
    headings = re.findall(r"^## (NatsHttp\w+)$", RUNBOOK.read_text(), re.MULTILINE)
    assert headings == [alert["alert"] for alert in read_alerts()]
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    page = urls["Documentation"].replace("index.md", RUNBOOK.name)
    for alert in read_alerts():
        assert alert["annotations"]["runbook_url"] == f"{page}#{alert['alert'].lower()}"


def test_each_part_of_the_runbook_says_what_the_alert_means_where_to_look_and_what_to_do() -> None:
    for part in re.split(r"^## (?=NatsHttp)", RUNBOOK.read_text(), flags=re.MULTILINE)[1:]:
        assert re.findall(r"^\*\*(.+?)\.\*\*", part, re.MULTILINE) == ["What it means", "Look at", "Do"], part


def test_the_runbook_names_only_metrics_events_settings_and_problems_that_there_are() -> None:
    text = RUNBOOK.read_text()
    assert set(METRIC.findall(text)) <= set(read_reference())
    assert set(re.findall(r"\b(?:GATEWAY|NATS)_[A-Z_]+", text)) <= set(VARIABLES)
    assert set(re.findall(r"/problems/([a-z-]+)", text)) <= {error.slug for error in ERRORS} | {"service-error"}
    code = "".join(path.read_text() for path in (ROOT / "app").rglob("*.py"))
    events = {*re.findall(r"events? `([a-z-]+)`", text), *re.findall(r'\.event == "([a-z-]+)"', text)}
    assert len(events) > 5
    assert {event for event in events if f'"{event}"' not in code} == set()
