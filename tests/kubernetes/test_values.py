"""Wrong values are refused, and the message names them."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml

from app.settings.fields import VARIABLES
from tests.kubernetes.chart import CHART, Refused, render, run_helm

SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
DEFAULTS: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))

SET_BY_THE_CHART = {
    "GATEWAY_ROUTES",
    "GATEWAY_DISCOVER",
    "GATEWAY_HOST",
    "GATEWAY_TLS_CERT",
    "GATEWAY_TLS_KEY",
    "GATEWAY_TLS_CLIENT_CA",
    "GATEWAY_DRAIN_TIMEOUT",
    "GATEWAY_METRICS_ADDRESS",
    "GATEWAY_STATUS",
}

FREE = {"routes", "routeFiles", "labels", "podLabels", "podAnnotations", "annotations", "nodeSelector", "requests"}
FREE |= {"limits", "grafana_dashboard", "nodeAffinity", "podAffinity", "podAntiAffinity", "extraVolumes", "filters"}
"""Keys below which somebody else chooses the names."""


def walk(schema: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each part that is an object, with its place."""
    if "$ref" in schema:
        schema = SCHEMA["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if schema.get("type") == "object":
        yield place, schema
    for name, inner in schema.get("properties", {}).items():
        yield from walk(inner, f"{place}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{place}[]")


def find_keys(values: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """The place of each key with a value that isn't an object, and of each empty object."""
    for name, value in values.items():
        if isinstance(value, dict) and value and name not in FREE:
            yield from find_keys(value, f"{place}.{name}")
        else:
            yield f"{place}.{name}"


def test_no_object_takes_keys_that_it_does_not_know() -> None:
    places = dict(walk(SCHEMA))
    assert len(places) > 60
    open_places = {
        place
        for place, schema in places.items()
        if schema.get("additionalProperties") is not False and place.rpartition(".")[2].rstrip("[]") not in FREE
    }
    texts = {place for place in open_places if "additionalProperties" in places[place]}
    assert open_places - texts == {".global"}  # Helm's own
    assert all(place.endswith((".matchLabels", ".labels")) for place in texts)


def test_every_value_of_the_chart_is_in_the_schema_and_the_other_way_round() -> None:
    known = set(SCHEMA["properties"]) - {"global"}
    assert known == set(DEFAULTS)
    places = {place for place, _ in walk(SCHEMA)}
    for place in find_keys(DEFAULTS):
        above, _, name = place.rpartition(".")
        schema = next(schema for found, schema in walk(SCHEMA) if found == above)
        assert name in schema["properties"], place
    assert {f".{name}" for name, value in DEFAULTS.items() if isinstance(value, dict)} <= places


def test_settings_are_those_of_the_gateway_that_the_chart_leaves_free() -> None:
    ours = {name for name in VARIABLES if name.startswith("GATEWAY_")}
    assert ours >= SET_BY_THE_CHART
    assert set(SCHEMA["properties"]["settings"]["properties"]) == ours - SET_BY_THE_CHART


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"replica": 3}, ["replica"]),
        ({"image": {"tga": "1"}}, ["/image", "tga"]),
        ({"nats": {"urls": "nats://a"}}, ["/nats", "urls"]),
        ({"nats": {"creds": {"name": "a"}}}, ["/nats/creds", "name"]),
        ({"nats": {"tls": {"ca": {"secrets": "a"}}}}, ["/nats/tls/ca", "secrets"]),
        ({"settings": {"GATEWAY_TIMOUT": "3s"}}, ["/settings", "GATEWAY_TIMOUT"]),
        ({"settings": {"GATEWAY_HOST": "::"}}, ["/settings", "GATEWAY_HOST"]),
        ({"settings": {"GATEWAY_TIMEOUT": None, "GATEWAY_X": 1}}, ["/settings", "GATEWAY_X"]),
        ({"drain": {"seconds": 3}}, ["/drain", "seconds"]),
        ({"autoscaling": {"enable": True}}, ["/autoscaling", "enable"]),
        ({"ingress": {"host": "a"}}, ["/ingress", "host"]),
        ({"httpRoute": {"parentRefs": [{"nam": "a"}]}}, ["/httpRoute/parentRefs/0", "nam"]),
        ({"networkPolicy": {"from": [{"podSelectors": {}}]}}, ["/networkPolicy/from/0", "podSelectors"]),
        ({"monitoring": {"serviceMonitor": {"intervall": "1s"}}}, ["/monitoring/serviceMonitor", "intervall"]),
        ({"probes": {"readiness": {"period": 1}}}, ["/probes/readiness", "period"]),
        ({"securityContext": {"readonlyRootFilesystem": True}}, ["/securityContext", "readonlyRootFilesystem"]),
        ({"spread": [{"topologyKey": "a"}]}, ["/spread/0", "whenUnsatisfiable"]),
        ({"replicas": "two"}, ["/replicas", "integer"]),
        ({"replicas": -1}, ["/replicas", "minimum"]),
        ({"service": {"type": "ExternalName"}}, ["/service/type", "LoadBalancer"]),
        ({"service": {"port": 70000}}, ["/service/port", "maximum"]),
        ({"image": {"digest": "abc"}}, ["/image/digest", "pattern"]),
        ({"monitoring": {"serviceMonitor": {"interval": "15"}}}, ["/monitoring/serviceMonitor/interval", "pattern"]),
        ({"labels": {"app.kubernetes.io/name": "mine"}}, ["app.kubernetes.io/name"]),
    ],
)
def test_a_typo_is_refused_by_its_name(values: Mapping[str, object], words: list[str]) -> None:
    with pytest.raises(Refused) as caught:
        render(values)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "panic" not in str(caught.value)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"routes": "version: 1", "discover": ["a"]}, "there are routes and discover"),
        ({"routes": "version: 1", "routesConfigMap": {"name": "a"}}, "there are routes and routesConfigMap"),
        ({"routeFiles": {"a.json": "{}"}}, "there is none"),
        ({"routes": "version: 1", "routeFiles": {"routes.yaml": ""}}, "routes.yaml is the name of the route file"),
        ({"routeSecrets": ["a"], "discover": ["b"]}, "routeSecrets are files that a route file names"),
        ({"nats": {"creds": {"secret": "a"}, "token": {"secret": "b"}}}, "there are nats.creds and nats.token"),
        ({"nats": {"tls": {"ca": {"secret": "a", "configMap": "b"}}}}, "not in both"),
        ({"tls": {"clientCa": {"secret": "a"}}}, "tls.clientCa needs tls.secret"),
        ({"autoscaling": {"enabled": True, "cpuPercent": None}}, "autoscaling needs cpuPercent or requestsInFlight"),
        ({"autoscaling": {"enabled": True, "minReplicas": 20}}, "minReplicas is greater"),
        ({"httpRoute": {"enabled": True}}, "httpRoute.parentRefs must name a Gateway"),
        ({"ingress": {"enabled": True, "tlsSecret": "a"}}, "ingress.tlsSecret needs ingress.hosts"),
    ],
)
def test_values_that_contradict_each_other_are_refused_in_words(values: Mapping[str, object], words: str) -> None:
    with pytest.raises(Refused) as caught:
        render(values)
    assert words in str(caught.value)


def test_the_linter_finds_a_typo_too() -> None:
    with pytest.raises(Refused, match="replica"):
        run_helm("lint", "--strict", CHART, "--set", "replica=3")
