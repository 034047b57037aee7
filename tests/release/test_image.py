"""What `make release` says of the image, and that its packages are there for each machine that it is for."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from release.image import make_materials
from tests.harness import PATIENCE

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements" / "gateway.txt"
NOT_A_WHEEL = "nkeys"  # pure Python, which is built when the image is
FOUND: dict[str, Any] = {
    "system": {"ID": "debian", "VERSION_ID": "13"},
    "python": "3.13.9",
    "debian": [["libstdc++6", "14.2.0-19", "arm64"], ["libc6", "2:2.41-12", "arm64"]],
    "packages": [["typing_extensions", "4.16.0"], ["PyYAML", "6.0.3"]],
}


def test_the_materials_of_the_image_list_its_system_its_python_and_all_packages() -> None:
    materials = make_materials(FOUND, "1.2.3")
    assert materials["metadata"]["component"]["version"] == "1.2.3"
    system, *libraries = materials["components"]
    assert (system["type"], system["name"], system["version"]) == ("operating-system", "debian", "13")
    assert [(library["name"], library["version"], library["purl"]) for library in libraries] == [
        ("python", "3.13.9", "pkg:generic/python@3.13.9"),
        ("libc6", "2:2.41-12", "pkg:deb/debian/libc6@2%3A2.41-12?arch=arm64&distro=debian-13"),
        ("libstdc++6", "14.2.0-19", "pkg:deb/debian/libstdc%2B%2B6@14.2.0-19?arch=arm64&distro=debian-13"),
        ("PyYAML", "6.0.3", "pkg:pypi/pyyaml@6.0.3"),
        ("typing_extensions", "4.16.0", "pkg:pypi/typing-extensions@4.16.0"),
    ]


def test_the_same_image_gives_the_same_materials() -> None:
    turned = {**FOUND, "debian": FOUND["debian"][::-1], "packages": FOUND["packages"][::-1]}
    assert json.dumps(make_materials(turned, "1")) == json.dumps(make_materials(FOUND, "1"))


ONLY_LOCKED = """
import importlib.metadata, re, sys
from importlib.machinery import PathFinder

locked = set(sys.argv.pop(1).split())
foreign = {
    str(distribution.locate_file(file))
    for distribution in importlib.metadata.distributions()
    if re.sub("[-_.]+", "-", distribution.metadata["Name"]).lower() not in locked
    for file in distribution.files or ()
}

class OnlyLocked:
    def find_spec(name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin in foreign:
            raise ModuleNotFoundError(f"No module named {name!r} in requirements/gateway.txt", name=name)

sys.meta_path.insert(0, OnlyLocked)
"""


def test_what_the_image_loads_when_it_is_built_needs_only_the_locked_packages(tmp_path: Path) -> None:
    package = shutil.copytree(ROOT / "app", tmp_path / "nats_http_gateway")  # as in the wheel
    shutil.copytree(ROOT / "responders", package / "responders")
    load = re.search(r"<<'LOAD'\n(.*?)\nLOAD\n", (ROOT / "Dockerfile").read_text(encoding="utf-8"), re.DOTALL)
    assert load
    locked = re.findall(r"^([\w.-]+)==", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    command = [sys.executable, "-c", ONLY_LOCKED + load[1], " ".join([*locked, "nats-http-gateway"])]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr


@pytest.mark.soak
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("python", ["3.13", "3.14"])
def test_every_locked_package_has_a_wheel_for_each_machine(machine: str, python: str, tmp_path: Path) -> None:
    blocks = LOCK.read_text(encoding="utf-8").replace("\\\n", "").splitlines(keepends=True)
    wheels = [line for line in blocks if not line.startswith(f"{NOT_A_WHEEL}==")]
    assert len(blocks) - len(wheels) == 1
    (tmp_path / "lock.txt").write_text("".join(wheels), encoding="utf-8")
    platforms = [word for libc in ("2_17", "2_28") for word in ("--platform", f"manylinux_{libc}_{machine}")]
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--python-version", python, *platforms, "--require-hashes"]
    command += ["--dest", str(tmp_path / "wheels"), "--requirement", str(tmp_path / "lock.txt")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=3 * PATIENCE)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "wheels").glob("*.whl"))) > 40
