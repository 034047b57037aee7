"""The image of a release, and its bill of materials (SBOM)."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .tree import NAME, Tree

LOOK = """
import json, platform
from importlib.metadata import distributions
from pathlib import Path

fields = [dict(line.split(": ", 1) for line in package.splitlines() if ": " in line and line[0] != " ")
    for package in Path("/var/lib/dpkg/status").read_text().split("\\n\\n")]
print(json.dumps({
    "system": platform.freedesktop_os_release(),
    "python": platform.python_version(),
    "debian": [[one["Package"], one["Version"], one["Architecture"]] for one in fields
        if one.get("Status", "").endswith(" installed")],
    "packages": [[one.metadata["Name"], one.version] for one in distributions()],
}))
"""
"""A program that prints what the image has, in JSON. It runs in the image."""


def has_engine() -> bool:
    """Whether a Docker engine answers."""
    try:
        return subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


def build_image(tree: Tree, folder: Path) -> None:
    """The image, in the engine under its name and version, and in a file that `docker load` reads. A second file lists
    what is in it. Raises CalledProcessError."""
    image = f"{NAME}:{tree.version}"
    arguments = {"VERSION": tree.version, "REVISION": tree.commit, "SOURCE_DATE_EPOCH": tree.epoch}
    options = [text for name, value in arguments.items() for text in ("--build-arg", f"{name}={value}")]
    subprocess.run(["docker", "build", *options, "--tag", image, "."], cwd=tree.root, check=True)
    path = folder / f"{NAME}-{tree.version}-image.tar"
    subprocess.run(["docker", "save", "--output", str(path), image], check=True)
    materials = make_materials(look_into(image), tree.version)
    text = json.dumps(materials, indent=2, ensure_ascii=False) + "\n"
    path.with_suffix(".cdx.json").write_text(text, encoding="utf-8")


def look_into(image: str) -> dict[str, Any]:
    """What an image has: its system, the version of its Python, and its packages of Debian and of Python."""
    command = ["docker", "run", "--rm", "--network", "none", "--read-only", image, "python", "-c", LOOK]
    found: dict[str, Any] = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return found


def make_materials(found: Mapping[str, Any], version: str) -> dict[str, Any]:
    """The bill of materials in the form of CycloneDX 1.6. The same image always gives the same one."""
    subject = {"type": "container", "bom-ref": "image", "name": NAME, "version": version}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": subject},
        "components": list(_list_components(found)),
    }


def _list_components(found: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    system = found["system"]
    distribution = f"{system['ID']}-{system['VERSION_ID']}"
    yield {
        "type": "operating-system",
        "bom-ref": distribution,
        "name": system["ID"],
        "version": system["VERSION_ID"],
    }
    yield _describe("python", found["python"], f"pkg:generic/python@{found['python']}")
    for name, version, machine in sorted(found["debian"]):
        place = f"pkg:deb/{system['ID']}/{quote(name)}@{quote(version)}"
        yield _describe(name, version, f"{place}?arch={machine}&distro={distribution}")
    for name, version in sorted(found["packages"], key=lambda one: one[0].lower()):
        yield _describe(name, version, f"pkg:pypi/{name.lower().replace('_', '-')}@{version}")


def _describe(name: str, version: str, purl: str) -> dict[str, str]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}
