"""Writes what is made from the chart, and into it: `make manifests`.

deploy/kubernetes/ has manifests for people without Helm. They are what the chart renders, without the labels that say
that Helm manages them. The chart has copies of the alerts and of the dashboard, since Helm reads only its own folder.
"""

import re
import shutil
from collections.abc import Mapping

from tests.kubernetes.chart import CHART, ROOT, render_text

FOLDER = ROOT / "deploy/kubernetes"
COPIES = {"alerts.yaml": "prometheus/alerts.yaml", "dashboard.json": "grafana/dashboard.json"}
NAME = "nats-http-gateway"
ROUTES = FOLDER / "routes.yaml"
FILES: Mapping[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "gateway.yaml": (
        "Two gateways with the routes of the ConfigMap. Change the image, NATS_URL and the routes.",
        (f"routes={ROUTES}",),
        ("serviceaccount", "configmap", "service", "deployment", "poddisruptionbudget"),
    ),
    "autoscaling.yaml": (
        "More gateways under load, by their CPU. Remove `replicas` from the Deployment.",
        ("autoscaling.enabled=true",),
        ("horizontalpodautoscaler",),
    ),
    "network-policy.yaml": (
        "Who may reach the gateways, and what they may reach: DNS, and NATS at port 4222.",
        ("networkPolicy.enabled=true",),
        ("networkpolicy",),
    ),
    "monitoring.yaml": (
        "For the Prometheus operator and Grafana. Add the labels that your Prometheus looks for.",
        tuple(f"monitoring.{part}.enabled=true" for part in ("serviceMonitor", "prometheusRule", "dashboard")),
        ("servicemonitor", "prometheusrule", "dashboard"),
    ),
    "ingress.yaml": (
        "A way in from outside of the cluster. Change the host, and the class of your controller.",
        ("ingress.enabled=true", "ingress.className=nginx", "ingress.hosts={api.example.com}"),
        ("ingress",),
    ),
    "http-route.yaml": (
        "The same by the Gateway API. Change the host, and the name of your Gateway.",
        ("httpRoute.enabled=true", "httpRoute.hostnames={api.example.com}", "httpRoute.parentRefs[0].name=public"),
        ("httproute",),
    ),
}


def write_manifest(title: str, values: tuple[str, ...], templates: tuple[str, ...]) -> str:
    """The text of a file: these templates of the chart with these values."""
    options = [word for value in values for word in (("--set-file" if "=/" in value else "--set"), value)]
    shown = [word for name in templates for word in ("--show-only", f"templates/{name}.yaml")]
    text = render_text("--set", f"fullnameOverride={NAME}", *options, *shown)
    text = re.sub(r"^# Source: .*\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^ *(?:helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", "", text, flags=re.MULTILINE)
    parts = [part.strip("\n") for part in re.split(r"^---\n", text, flags=re.MULTILINE) if part.strip()]
    return (
        f"# {title}\n# `make manifests` writes this file from the Helm chart: docs/kubernetes.md.\n"
        + "\n---\n".join([*parts, ""]).removesuffix("---\n")
    )


def main() -> None:
    """Write all files."""
    for name, original in COPIES.items():
        shutil.copyfile(ROOT / "deploy" / original, CHART / "files" / name)
    for file, (title, values, templates) in FILES.items():
        (FOLDER / file).write_text(write_manifest(title, values, templates), encoding="utf-8")


if __name__ == "__main__":
    main()
