"""What is in the image, and what is not."""

import json

import pytest

from release.image import look_into, make_materials
from tests.compose.stack import Stack

pytestmark = pytest.mark.timeout(1200)

FIND_SLOW = r"""
import json, os, re, subprocess
from importlib.util import find_spec

environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
lines = []
command = ["nats-http", "serve", "--port", "0"]
with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as gateway:
    for line in gateway.stderr:
        lines.append(line)
        if '"event":"connected"' in line:
            gateway.terminate()
for command in (["nats-http", "healthcheck"], ["nats-http", "serve", "--help"]):
    lines += subprocess.run(command, capture_output=True, text=True, env=environment).stderr.splitlines()
names = {match[1] for line in lines if (match := re.match(r"import time: .*[|] +([a-z]\S+)\s*$", line))}
found = {}
for name in names:
    try:
        found[name] = find_spec(name)
    except (ImportError, ValueError):
        pass
compiled = {name: spec.cached for name, spec in found.items() if spec and spec.has_location and spec.cached}
print(json.dumps([len(compiled), sorted(name for name, path in compiled.items() if not os.path.exists(path))]))
"""
"""Prints how many modules of Python commands load, and those that have no bytecode. It runs in the image."""


def test_its_materials_name_what_it_has_and_it_has_no_installer(stack: Stack) -> None:
    materials = make_materials(look_into(stack.image), "1")
    names = {component["name"] for component in materials["components"]}
    assert {"debian", "python", "libc6", "fastapi", "nats-http-gateway", "redis"} <= names
    assert {"pip", "setuptools", "hatchling"} & names == set()
    for name in ("ensurepip", "pip"):
        with pytest.raises(AssertionError, match=f"No module named '{name}'"):
            stack.execute(stack.find_containers("gateway")[0], "python", "-c", f"import {name}")


def test_every_module_that_a_start_loads_has_bytecode(stack: Stack) -> None:
    gateway = stack.find_containers("gateway")[0]
    count, slow = json.loads(stack.execute(gateway, "python", "-c", FIND_SLOW))
    assert count > 500
    assert slow == []
