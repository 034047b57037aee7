"""CONTRIBUTING.md names files, tests, commands, commits and import rules that exist."""

import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MADE = {"dist"}  # by a command
TOP = ("app", "tests", "docs", "deploy", "benchmarks", "responders", "examples", "release", ".devcontainer", ".ci")


def test_every_path_exists() -> None:
    code = re.findall(r"`([^`\n]+)`", TEXT) + re.findall(r"^\.venv/bin/pytest (.*)$", TEXT, re.MULTILINE)
    paths = {part.partition("::")[0] for text in code for part in text.split() if part.partition("/")[0] in TOP}
    paths = {path for path in paths if "/" in path and "<" not in path}
    assert len(paths) > 60
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_every_test_and_every_name_in_capitals_exists() -> None:
    for path, name in re.findall(r"(tests/\S+\.py)::(\w+)", TEXT):
        assert f"def {name}(" in (ROOT / path).read_text(encoding="utf-8")
    for names, path in re.findall(r"((?:`[A-Z_]{4,}`(?:,| and| in)? ?(?:in )?)+)`(app/\S+\.py)`", TEXT):
        code = (ROOT / path).read_text(encoding="utf-8")
        assert all(re.search(rf"^{name}\b", code, re.MULTILINE) for name in re.findall(r"`([A-Z_]+)`", names)), names


def test_every_command_of_make_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    commands = set(re.findall(r"\bmake ([a-z-]+)`", TEXT))
    assert len(commands) > 8
    assert commands <= set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))


def test_the_layers_are_those_that_are_enforced() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = project["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["id"] == "layers")
    assert "\n```\n" + "\n".join(layers) + "\n```\n" in TEXT
    assert len(contracts) == 8  # as the text says


def test_every_commit_is_in_the_history() -> None:
    hashes = re.findall(r"^\*\*.*, ([0-9a-f]{7}):$", TEXT, re.MULTILINE)
    assert len(hashes) == 4
    if not has_history():
        return  # a shallow clone or an archive has only some commits, or none
    for commit in hashes:
        found = subprocess.run(["git", "merge-base", "--is-ancestor", commit, "HEAD"], cwd=ROOT, check=False)
        assert found.returncode == 0, commit


def has_history() -> bool:
    asked = ["git", "rev-parse", "--is-shallow-repository"]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() == "false"
