"""`make release`: what it refuses, and what it builds of a clean checkout, without the image."""

import json
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pytest

from app import __version__
from release import NotReadyError
from release.changelog import check_changelog, find_newest, read_sections
from release.tree import CHART
from tests.harness import PATIENCE, clean_environment
from tests.process.programs import call

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv" / "release" / "bin" / "python"  # made for `make release` and `make sweep`
GIT = ("git", "-c", "user.name=A Person", "-c", "user.email=person@example.com", "-c", "commit.gpgsign=false")
NEXT = "99.0.0"
NO_ENGINE = {"DOCKER_HOST": "unix:///nowhere/docker.sock"}


def run(command: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = clean_environment(**variables)
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=3 * PATIENCE
    )


def commit(folder: Path) -> None:
    subprocess.run([*GIT, "add", "--all"], cwd=folder, check=True)
    subprocess.run([*GIT, "commit", "--quiet", "--message", "A state"], cwd=folder, check=True)


def copy_tree(folder: Path) -> Path:
    """A clean checkout of the files that this repository has now, as the release NEXT."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\0")
    for name in filter(None, listed):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)
    raise_version(folder)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    commit(folder)
    return folder


def raise_version(folder: Path) -> None:
    """As CONTRIBUTING.md says: the entries under "Unreleased" get a section with a version and a date."""
    changelog = folder / "CHANGELOG.md"
    for file in (folder / "app" / "__init__.py", folder / CHART / "Chart.yaml"):
        file.write_text(file.read_text(encoding="utf-8").replace(__version__, NEXT), encoding="utf-8")
    text, heading = changelog.read_text(encoding="utf-8"), "## [Unreleased]\n"
    changelog.write_text(text.replace(heading, f"{heading}\n## [{NEXT}] - 2099-01-02\n"), encoding="utf-8")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A clean checkout of a project that could be released, with nothing to build."""
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text('__version__ = "1.2.3"\n')
    (tmp_path / CHART).mkdir(parents=True)
    (tmp_path / CHART / "Chart.yaml").write_text("name: small\nversion: 1.2.3\nappVersion: 1.2.3\n")
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n## [1.2.3] - 2026-01-02\n\n- All.\n")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    commit(tmp_path)
    return tmp_path


def release(folder: Path) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, "-m", "release", "dist"], folder, PYTHONPATH=str(ROOT))


def test_the_version_is_that_of_the_newest_section_of_the_changelog_and_of_the_command() -> None:
    newest = find_newest((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert newest
    assert newest.name == __version__
    assert newest.text
    assert call("--version").stdout == f"nats-http-gateway {newest.name}\n"


def test_every_entry_of_the_newest_section_is_at_most_two_sentences() -> None:
    newest = find_newest((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert newest
    entries = re.findall(r"^- (.*)$", newest.text, re.MULTILINE)
    assert len(entries) > 20
    assert [entry for entry in entries if len(re.findall(r"[.?!](?= |$)", entry)) > 2] == []


def test_sections_are_read_with_their_dates_and_without_the_links_below_them() -> None:
    text = "# Changelog\n\n## [Unreleased]\n\n## [1.0.0] - 2026-01-02\n\n### Added\n\n- One.\n\n[1.0.0]: https://a.example\n"
    unreleased, first = read_sections(text)
    assert (unreleased.name, unreleased.date, unreleased.text) == ("Unreleased", None, "")
    assert (first.name, first.date, first.text) == ("1.0.0", "2026-01-02", "### Added\n\n- One.")


@pytest.mark.parametrize(
    ("changelog", "reason"),
    [
        ("# Changelog\n", "No section has a date"),
        ("## [1.2.3]\n\n- One.\n", "No section has a date"),
        ("## [1.2.4] - 2026-01-02\n\n## [1.2.3] - 2026-01-01\n", "The newest dated section is that of 1.2.4"),
        ("## [Unreleased]\n\n- New.\n\n## [1.2.3] - 2026-01-02\n", "has entries under [Unreleased]"),
    ],
)
def test_a_version_needs_the_newest_dated_section_and_nothing_above_it(changelog: str, reason: str) -> None:
    with pytest.raises(NotReadyError, match=re.escape(reason)):
        check_changelog(changelog, "1.2.3")


def test_a_dirty_tree_is_refused(small: Path) -> None:
    (small / "new.txt").write_text("")
    done = release(small)
    assert done.returncode == 1
    assert "not committed" in done.stderr
    assert "?? new.txt" in done.stderr
    assert not (small / "dist").exists()


def test_a_version_without_a_dated_section_is_refused(small: Path) -> None:
    (small / "app" / "__init__.py").write_text('__version__ = "1.3.0"\n')
    commit(small)
    done = release(small)
    assert done.returncode == 1
    assert done.stderr.startswith("release: CHANGELOG.md has no section `## [1.3.0] - YYYY-MM-DD`")


@pytest.mark.parametrize("key", ["version", "appVersion"])
def test_a_chart_of_another_version_is_refused(small: Path, key: str) -> None:
    chart = small / CHART / "Chart.yaml"
    chart.write_text(chart.read_text().replace(f"\n{key}: 1.2.3", f"\n{key}: 1.2.2"))
    commit(small)
    done = release(small)
    assert (done.returncode, done.stderr) == (1, f"release: {CHART}/Chart.yaml has no line `{key}: 1.2.3`.\n")


def test_a_version_whose_tag_is_at_another_commit_is_refused(small: Path) -> None:
    subprocess.run(["git", "tag", "v1.2.3"], cwd=small, check=True)
    (small / "new.txt").write_text("")
    commit(small)
    done = release(small)
    assert done.returncode == 1
    assert "The tag v1.2.3 is that of another commit" in done.stderr


def test_a_folder_without_git_is_refused(tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "release", "dist"], tmp_path, PYTHONPATH=str(ROOT), GIT_DIR="nowhere")
    assert done.returncode == 1
    assert done.stderr.startswith("release: git status: ")


@pytest.mark.soak
def test_a_clean_checkout_gives_the_same_packages_materials_and_sums_each_time(tmp_path: Path) -> None:
    checkout = copy_tree(tmp_path / "checkout")
    command = [str(PYTHON), "-m", "release"]
    done = run([*command, "dist"], checkout, **NO_ENGINE)
    assert done.returncode == 0, done.stdout + done.stderr
    names = [
        "SHA256SUMS",
        f"nats-http-gateway-{NEXT}.cdx.json",
        f"nats-http-gateway-{NEXT}.tgz",
        f"nats_http_gateway-{NEXT}-py3-none-any.whl",
        f"nats_http_gateway-{NEXT}.tar.gz",
    ]
    dist = checkout / "dist"
    assert sorted(path.name for path in dist.iterdir()) == names
    assert done.stdout.count("PASSED") == 2
    assert "NO IMAGE was built" in done.stdout
    assert "docker push" not in done.stdout
    assert f"git tag --sign v{NEXT}" in done.stdout
    assert "twine upload dist/*.whl" in done.stdout
    checked = run(["sha256sum", "--check", "--strict", "SHA256SUMS"], dist, LC_ALL="C")
    assert (checked.returncode, checked.stdout.count(": OK")) == (0, len(names) - 1)
    check_materials(dist / names[1])
    check_chart(dist / names[2])
    assert run([*command, str(tmp_path / "again")], checkout, **NO_ENGINE).returncode == 0
    assert [(tmp_path / "again" / name).read_bytes() == (dist / name).read_bytes() for name in names] == [True] * 5


def check_chart(path: Path) -> None:
    """The chart has all of its files, below its own name, as Helm wants them."""
    listed = subprocess.run(
        ["git", "ls-files", CHART], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    with tarfile.open(path) as archive:
        names = archive.getnames()
    assert sorted(names) == sorted(f"nats-http-gateway{name.removeprefix(CHART)}" for name in listed)


def check_materials(path: Path) -> None:
    """The bill of materials names the project, and every package of the lock file with its digests."""
    materials = json.loads(path.read_text(encoding="utf-8"))
    assert (materials["bomFormat"], materials["metadata"]["component"]["version"]) == ("CycloneDX", NEXT)
    lock = (ROOT / "requirements" / "gateway.txt").read_text(encoding="utf-8")
    locked = re.findall(r"^([a-z0-9-]+)(?:\[[^\]]*\])?==([^\s;]+)", lock, re.MULTILINE)
    components = materials["components"]
    assert [(component["name"], component["version"]) for component in components] == locked
    digests = {found["content"] for one in components for link in one["externalReferences"] for found in link["hashes"]}
    assert digests == set(re.findall(r"sha256:([0-9a-f]{64})", lock))


def test_the_project_has_the_same_address_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    source = project["urls"]["Source"]
    assert set(project["urls"]) == {"Homepage", "Documentation", "Source", "Changelog", "Issues"}
    assert all(url.startswith(source) for url in project["urls"].values())
    for name in (
        "Dockerfile",
        "CHANGELOG.md",
        "SECURITY.md",
        "release/__main__.py",
        ".github/ISSUE_TEMPLATE/config.yml",
    ):
        text = (ROOT / name).read_text(encoding="utf-8").replace("{NAME}", project["name"])
        found = re.findall(r"https://github\.com/[\w-]+/nats-http-gateway", text)
        assert set(found) == {source}, name
