"""The files of a release, each written into a folder. Functions raise CalledProcessError if a tool fails."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

from .tree import CHART, NAME, Tree

LOCK = "requirements/gateway.txt"
"""What the image has, and so what the bill of materials lists."""
SUMS = "SHA256SUMS"


def build_packages(root: Path, folder: Path, environment: Mapping[str, str]) -> None:
    """A wheel and an sdist of this tree. SOURCE_DATE_EPOCH in the environment is the time of all files in them."""
    _run(["hatchling", "build", "-d", str(folder)], root, environment)


def check_packages(root: Path, folder: Path) -> None:
    """That a package index would take and show them."""
    packages = [str(path) for path in sorted(folder.iterdir())]
    _run(["twine", "check", "--strict", *packages], root, os.environ)


def write_materials(tree: Tree, folder: Path) -> Path:
    """A bill of materials (SBOM) in the JSON of CycloneDX, of all packages in the lock file."""
    path = folder / f"{NAME}-{tree.version}.cdx.json"
    options = ["--pyproject", "pyproject.toml", "--output-reproducible", "--of", "JSON", "-o", str(path)]
    # Its warning: a lock file does not say which package needs which.
    _run(
        ["cyclonedx_py", "requirements", *options, LOCK],
        tree.root,
        make_environment(tree) | {"PYTHONWARNINGS": "ignore"},
    )
    materials = json.loads(path.read_bytes())
    # pyproject.toml leaves the version to app/__init__.py.
    materials["metadata"]["component"] |= {"version": tree.version, "purl": f"pkg:pypi/{NAME}@{tree.version}"}
    path.write_text(json.dumps(materials, indent=2, ensure_ascii=False, sort_keys=True) + "\n", encoding="utf-8")
    return path


def write_chart(tree: Tree, folder: Path) -> Path:
    """The Helm chart, as `helm install` takes it. All files in it have the time of the commit."""
    path = folder / f"{NAME}-{tree.version}.tgz"
    chart, time = tree.root / CHART, int(tree.epoch)
    with (
        path.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=time) as packed,
        tarfile.open(fileobj=packed, mode="w") as archive,
    ):
        for source in sorted(source for source in chart.rglob("*") if source.is_file()):
            entry = tarfile.TarInfo(f"{NAME}/{source.relative_to(chart).as_posix()}")
            content = source.read_bytes()
            entry.size, entry.mtime = len(content), time
            archive.addfile(entry, io.BytesIO(content))
    return path


def write_sums(folder: Path) -> None:
    """The digests of all files in the folder, as `sha256sum --check` reads them."""
    lines = [f"{_digest(path)}  {path.name}\n" for path in sorted(folder.iterdir()) if path.name != SUMS]
    (folder / SUMS).write_text("".join(lines), encoding="utf-8")


def make_environment(tree: Tree) -> dict[str, str]:
    """For tools, so that the same commit gives the same bytes."""
    return {**os.environ, "SOURCE_DATE_EPOCH": tree.epoch}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run(module: list[str], root: Path, environment: Mapping[str, str]) -> None:
    """Run a tool of this Python's environment in the tree."""
    subprocess.run([sys.executable, "-m", *module], cwd=root, env=environment, check=True)
