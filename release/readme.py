"""The README as package indexes show it. Hatchling loads this file whenever it builds the package."""

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

_LINK = re.compile(r"(!?)(\[[^\[\]]*\]\()(?![a-z]+:|#)([^)\s]+)\)")


class Readme(MetadataHookInterface):
    """Gives the package a description: README.md, with links to the files of this version."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = make_links_absolute(text, metadata["urls"]["Source"], f"v{metadata['version']}")
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def make_links_absolute(text: str, source: str, tag: str) -> str:
    """Links and images of this Markdown that are relative lead to the repository, at the tag. Other links stay."""

    def replace(link: re.Match[str]) -> str:
        is_image, label, path = link.groups()
        kind = "raw" if is_image else "tree" if path.endswith("/") else "blob"
        return f"{is_image}{label}{source}/{kind}/{tag}/{path})"

    return _LINK.sub(replace, text)
