"""Collects the pages of the documentation site in a folder, in the places that they have in the repository. So links
from one page to another, and to files outside of docs/, work as they are."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
ASSETS = [ROOT / "website" / name for name in ("site.css", "node_modules/mermaid/dist/mermaid.min.js")]
LINK = re.compile(r"\]\(([^)\s#]+)")


def find_linked_files(page: Path) -> Iterator[Path]:
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / link).resolve()
        if "://" not in link and target.is_file() and target.is_relative_to(ROOT):
            yield target


def find_files() -> set[Path]:
    """README.md, the pages of docs/, and all that they link to, directly or by other pages."""
    found: set[Path] = set()
    open_files = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    while open_files:
        file = open_files.pop()
        if file not in found:
            found.add(file)
            open_files.extend(find_linked_files(file) if file.suffix == ".md" else ())
    return found


def prepare(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    targets = {file: folder / file.relative_to(ROOT) for file in find_files()}
    targets |= {asset: folder / "assets" / asset.name for asset in ASSETS}
    for source, target in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


if __name__ == "__main__":
    prepare(Path(sys.argv[1]))
