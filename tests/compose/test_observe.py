"""The profile `observe`, as compose understands it.

Its images can't be pulled where no image registry is reached, so it is not started here.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.compose.stack import CLUSTER, COMPOSE_FILE, ROOT, Stack

OBSERVE = "observe"
WATCHERS = ("prometheus", "grafana")


def read_services(*profiles: str, **variables: str) -> dict[str, Any]:
    config = Stack(*profiles).compose("config", "--format", "json", timeout=60, **variables)
    services: dict[str, Any] = json.loads(config)["services"]
    return services


@pytest.mark.parametrize("more", [(), (CLUSTER,)])
def test_it_adds_prometheus_and_grafana_and_changes_nothing_else(more: tuple[str, ...]) -> None:
    same = {"IMAGE": "same", "PORT": "8000", "PORT_2": "8001"}
    before, after = read_services(*more, **same), read_services(OBSERVE, *more, **same)
    assert set(after) - set(before) == set(WATCHERS)
    assert {name: service for name, service in after.items() if name not in WATCHERS} == before


@pytest.mark.parametrize("name", WATCHERS)
def test_a_watcher_has_a_pinned_image_no_privileges_and_a_port_on_loopback_only(name: str) -> None:
    ports = {"PROMETHEUS_PORT": "19090", "GRAFANA_PORT": "13000"}
    service = read_services(OBSERVE, PUBLISH_ADDRESS="0.0.0.0", **ports)[name]  # noqa: S104 - shown, not bound
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["user"].split(":")[0] != "0"
    assert [(port["host_ip"], port["published"]) for port in service["ports"]] == [
        ("127.0.0.1", ports[f"{name.upper()}_PORT"])
    ]


def test_every_file_that_a_watcher_reads_is_there() -> None:
    services = read_services(OBSERVE)
    mounts = [mount for name in WATCHERS for mount in services[name]["volumes"] if mount["type"] == "bind"]
    assert len(mounts) == 4
    for mount in mounts:
        assert Path(mount["source"]).is_relative_to(ROOT)
        assert Path(mount["source"]).exists()
        assert mount["read_only"]


def test_every_gateway_is_scraped() -> None:
    scraped = (COMPOSE_FILE.parent / "deploy/prometheus/prometheus.yml").read_text()
    names = {name for name in read_services(OBSERVE, CLUSTER) if name.startswith("gateway")}
    assert f"names: [{', '.join(sorted(names))}]" in scraped
