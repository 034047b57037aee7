"""The expressions of the dashboard and of the alerts, ready to be asked."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import cast

import yaml

from tests.monitoring.prometheus import JOB, ROOT, RULES, WINDOW

DASHBOARD = ROOT / "deploy/grafana/dashboard.json"
VARIABLES = {"job": JOB, "instance": ".+", "route": ".*", "__rate_interval": WINDOW, "__range": WINDOW}
"""Filled in as Grafana does where all of each are chosen."""

Node = Mapping[str, "Node"] | list["Node"] | str | int | float | bool | None


def list_panel_queries() -> list[str]:
    """Of the panels, as they are written."""
    return list(_find_expressions(read_dashboard()["panels"]))


def list_annotation_queries() -> list[str]:
    return list(_find_expressions(read_dashboard()["annotations"]))


def list_alerts() -> dict[str, str]:
    """Name to expression."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def read_dashboard() -> Mapping[str, Node]:
    return cast("Mapping[str, Node]", json.loads(DASHBOARD.read_text()))


def fill_in(expression: str) -> str:
    """With a value for each variable; raises KeyError for one that there is not."""
    return re.sub(r"\$(\w+)", lambda match: VARIABLES[match[1]], expression)


def remove_limits(expression: str) -> str:
    """An alert without the comparisons by which it rings."""
    return re.sub(r"\s(==|>=|>|<)\s[\d.]+", "", expression)


def _find_expressions(node: Node) -> Iterator[str]:
    if isinstance(node, Mapping):
        if isinstance(expression := node.get("expr"), str):
            yield expression
        for child in node.values():
            yield from _find_expressions(child)
    elif isinstance(node, list):
        for child in node:
            yield from _find_expressions(child)
