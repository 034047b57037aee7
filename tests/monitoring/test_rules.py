"""The files in deploy/prometheus, as promtool sees them."""

from tests.monitoring.prometheus import RULES, promtool


def test_the_alerts_are_valid() -> None:
    assert "SUCCESS" in promtool("check", "rules", str(RULES))


def test_each_alert_rings_when_it_should_and_is_silent_in_a_near_miss() -> None:
    assert "SUCCESS" in promtool("test", "rules", str(RULES.with_name("alerts.test.yaml")))


def test_the_configuration_for_compose_is_valid() -> None:
    assert "SUCCESS" in promtool("check", "config", str(RULES.with_name("prometheus.yml")))
