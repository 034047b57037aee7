"""`python -m release FOLDER` in the root of a clean checkout: build a release into the folder, and upload nothing."""

import subprocess
import sys
from pathlib import Path

from . import NotReadyError, artifacts
from .artifacts import SUMS
from .image import build_image, has_engine
from .tree import NAME, Tree, read_tree

SOURCE = f"https://github.com/{NAME}/{NAME}"
NEXT = """\
What to do now:
  1. Tag        git tag --sign v{version} --message '{name} {version}' && git push origin v{version}
  2. Sign       gpg --armor --detach-sign {folder}/{sums}
  3. Upload     {python} -m twine upload {folder}/*.whl {folder}/*.tar.gz
  4. Image      {image}
  5. Chart      helm push {folder}/{name}-{version}.tgz oci://REGISTRY/charts
  6. Announce   {source}/releases/new?tag=v{version}
                with the section {version} of CHANGELOG.md and the files of {folder}/"""

PUSH = "docker tag {image} REGISTRY/{image} && docker push REGISTRY/{image}"
NO_IMAGE = "run `make release` again where a Docker engine runs: this release has none"


def main(arguments: list[str]) -> int:
    """The exit code."""
    if len(arguments) != 1:
        print("usage: python -m release FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[0]).absolute()
    try:
        tree = read_tree(Path.cwd())
        build(tree, folder)
    except NotReadyError as error:
        print(f"release: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"release: {' '.join(error.cmd)} failed", file=sys.stderr)
        return 1
    print_end(tree, folder)
    return 0


def build(tree: Tree, folder: Path) -> None:
    """Build everything. Files of an earlier release are removed first."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    artifacts.build_packages(tree.root, folder, artifacts.make_environment(tree))
    artifacts.check_packages(tree.root, folder)
    artifacts.write_materials(tree, folder)
    artifacts.write_chart(tree, folder)
    if has_engine():
        build_image(tree, folder)
    else:
        print("NO IMAGE was built: no Docker engine answers.")
    artifacts.write_sums(folder)


def print_end(tree: Tree, folder: Path) -> None:
    print(f"\n{folder} has version {tree.version}, of commit {tree.commit}:")
    for path in sorted(folder.iterdir()):
        print(f"  {path.name}")
    shown = folder.relative_to(tree.root) if folder.is_relative_to(tree.root) else folder
    python = Path(sys.executable)
    python = python.relative_to(tree.root) if python.is_relative_to(tree.root) else python
    image = PUSH.format(image=f"{NAME}:{tree.version}") if any(folder.glob("*-image.tar")) else NO_IMAGE
    words = {"version": tree.version, "name": NAME, "folder": shown, "sums": SUMS, "python": python, "source": SOURCE}
    print(NEXT.format(**words, image=image))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
