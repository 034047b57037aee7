"""The Helm chart, through the real program `helm`. `make kubernetes-test` puts it into the PATH."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy/helm/nats-http-gateway"
MATRIX = sorted((Path(__file__).parent / "values").glob("*.yaml"))
RELEASE = "nats-http"

Manifest = dict[str, Any]


class Refused(Exception):
    """Helm's own words about values that it does not take."""


def find_helm() -> Path:
    """The program. Raises FileNotFoundError with the way to get it."""
    if found := shutil.which("helm"):
        return Path(found)
    raise FileNotFoundError("there is no helm in the PATH: run `make kubernetes-test`, which installs it")


def run_helm(*arguments: str | Path) -> str:
    """What it prints. Raises Refused with its errors."""
    command = [str(find_helm()), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise Refused(done.stderr + done.stdout)
    assert done.stderr == "", done.stderr
    return done.stdout


def render_text(*options: str | Path) -> str:
    """All manifests of the release, as `helm template` prints them."""
    return run_helm("template", RELEASE, CHART, *options)


def render(values: Path | Mapping[str, object], *options: str) -> list[Manifest]:
    """All manifests of the release with these values."""
    if isinstance(values, Path):
        text = render_text("--values", values, *options)
    else:
        text = render_text("--set-json", json.dumps(values), *options) if values else render_text(*options)
    return [manifest for manifest in yaml.safe_load_all(text) if manifest]


def choose(manifests: Sequence[Manifest], kind: str) -> Manifest:
    """The only one of this kind, apart from objects for monitoring."""
    (manifest,) = (each for each in manifests if each["kind"] == kind and "monitoring" not in each["metadata"]["name"])
    return manifest


def find_container(manifests: Sequence[Manifest]) -> Manifest:
    """The gateway's container."""
    (container,) = choose(manifests, "Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(container)


def read_environment(container: Manifest) -> dict[str, str]:
    """Its variables that are not taken from a Secret or from the pod."""
    return {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}


def clean_environment() -> dict[str, str]:
    """The environment without settings of the gateway."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("GATEWAY_", "NATS_"))}
