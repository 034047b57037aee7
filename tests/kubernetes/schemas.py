"""Kubernetes' own schemas, of several versions, and those of the Prometheus operator and the Gateway API. A key that a
schema does not know is an error."""

import functools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs

from tests.kubernetes.chart import Manifest, find_helm

VERSIONS = ("1.27", "1.32", "1.37")
"""The oldest version that the chart takes, one in between, and the newest that there are schemas of."""
MODULES = Path(__file__).parent / "node_modules/@kubernetes-models"
OTHERS = {
    "monitoring.coreos.com/v1": "prometheus-operator",
    "gateway.networking.k8s.io/v1": "gateway-api",
}
"""Kinds that Kubernetes does not have, by their API, and the package with their schemas."""


def find_faults(manifest: Manifest, version: str) -> list[str]:
    """One line for each, with its place."""
    validator = _make_validator(manifest["apiVersion"], manifest["kind"], version)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(manifest)]


@functools.cache
def _make_validator(api: str, kind: str, version: str) -> jsonschema_rs.Draft202012Validator:
    schema = _read_other(OTHERS[api], api, kind) if api in OTHERS else _read_own(api, kind, version)
    return jsonschema_rs.Draft202012Validator(schema)


def _read_own(api: str, kind: str, version: str) -> dict[str, Any]:
    (folder,) = (find_helm().parent.parent / "lib").glob(
        f"python*/site-packages/kubernetes_validate/kubernetes-json-schema/v{version}.0-local-strict"
    )
    group, _, number = api.rpartition("/")
    words = (kind.lower(), group.partition(".")[0], number)
    text = (
        (folder / f"{'-'.join(word for word in words if word)}.json")
        .read_text(encoding="utf-8")
        .replace("/api/_definitions.json#", "#")
    )
    schema: dict[str, Any] = json.loads(text)
    schema.pop("$id", None)
    return {**schema, "$defs": _read_definitions(folder)}


@functools.cache
def _read_definitions(folder: Path) -> object:
    return json.loads((folder / "_definitions.json").read_text(encoding="utf-8"))["$defs"]


def _read_other(package: str, api: str, kind: str) -> dict[str, Any]:
    """The schema is a JSON text in a module."""
    module = (MODULES / package / api / f"{kind}.js").read_text(encoding="utf-8")
    found = re.search(r"^const schema = (\{.*?^\});", module, re.MULTILINE | re.DOTALL)
    assert found, f"{package} has another form than expected"
    schema: dict[str, Any] = json.loads(found[1])
    schema["properties"]["metadata"] = {"type": "object"}
    for part in _walk(schema):
        if "properties" in part and "x-kubernetes-preserve-unknown-fields" not in part:
            part.setdefault("additionalProperties", False)
    return schema


def _walk(part: object) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if isinstance(part.get("properties", {}), dict):
            yield part
        for inner in part.values():
            yield from _walk(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _walk(inner)
