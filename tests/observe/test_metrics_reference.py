"""docs/metrics.md lists what /metrics shows, and the dashboard and the alerts ask for nothing else."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from app.errors import ERRORS
from tests.harness import NatsServer, run_gateway

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "docs/metrics.md"
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
DASHBOARD = ROOT / "deploy/grafana/dashboard.json"
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
