"""The tree that is released: its version, its commit, and whether it is ready."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from . import NotReadyError
from .changelog import check_changelog

NAME = "nats-http-gateway"
CHART = "deploy/helm/nats-http-gateway"
_VERSION = re.compile(r'^__version__ = "([^"]+)"$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tree:
    """A clean checkout. `epoch` is when its commit was made, in seconds since 1970."""

    root: Path
    version: str
    commit: str
    epoch: str


def read_tree(root: Path) -> Tree:
    """Raises NotReadyError if the tree can't be released."""
    if changes := _ask_git(root, "status", "--porcelain"):
        raise NotReadyError(f"The tree has changes that are not committed. Commit or remove them:\n{changes}")
    version = read_version(root)
    check_changelog((root / "CHANGELOG.md").read_text(encoding="utf-8"), version)
    check_chart(root, version)
    commit, epoch = _ask_git(root, "log", "-1", "--format=%H %ct").split()
    if _ask_git(root, "tag", "--list", f"v{version}"):
        tagged = _ask_git(root, "rev-list", "-1", f"v{version}")
        if tagged != commit:
            raise NotReadyError(f"The tag v{version} is that of another commit, {tagged}. Raise the version.")
    return Tree(root, version, commit, epoch)


def read_version(root: Path) -> str:
    found = _VERSION.search((root / "app" / "__init__.py").read_text(encoding="utf-8"))
    if not found:
        raise NotReadyError("app/__init__.py has no line `__version__ = …`.")
    return found[1]


def check_chart(root: Path, version: str) -> None:
    """Raises NotReadyError unless the chart, and the image that it names, have this version."""
    text = (root / CHART / "Chart.yaml").read_text(encoding="utf-8")
    for key in ("version", "appVersion"):
        if f"\n{key}: {version}\n" not in text:
            raise NotReadyError(f"{CHART}/Chart.yaml has no line `{key}: {version}`.")


def _ask_git(root: Path, *arguments: str) -> str:
    """Raises NotReadyError with git's words, such as that this is no repository."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotReadyError(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout.rstrip()
