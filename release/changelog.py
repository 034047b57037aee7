"""The sections of CHANGELOG.md."""

import re
from dataclasses import dataclass

from . import NotReadyError

_HEADING = re.compile(r"^## \[([^\]]+)\](?: - (\d{4}-\d{2}-\d{2}))?$", re.MULTILINE)
_LINK = re.compile(r"^\[[^\]]+\]: \S+$", re.MULTILINE)
UNRELEASED = "Unreleased"


@dataclass(frozen=True, slots=True)
class Section:
    """What changed in one version. `date` is None if the section has none."""

    name: str
    date: str | None
    text: str


def read_sections(changelog: str) -> list[Section]:
    """The sections in the order of the file: the newest is first."""
    _, *parts = _HEADING.split(changelog)
    names, dates, texts = parts[::3], parts[1::3], parts[2::3]
    return [
        Section(name, date, _LINK.sub("", text).strip()) for name, date, text in zip(names, dates, texts, strict=True)
    ]


def find_newest(changelog: str) -> Section | None:
    """The first section with a date."""
    return next((section for section in read_sections(changelog) if section.date), None)


def check_changelog(changelog: str, version: str) -> None:
    """Raise NotReadyError unless the newest dated section is that of the version, and nothing newer is above it."""
    newest = find_newest(changelog)
    if newest is None or newest.name != version:
        found = f"The newest dated section is that of {newest.name}" if newest else "No section has a date"
        raise NotReadyError(f"CHANGELOG.md has no section `## [{version}] - YYYY-MM-DD` for this version. {found}.")
    if any(section.text for section in read_sections(changelog) if section.name == UNRELEASED):
        raise NotReadyError(
            f"CHANGELOG.md has entries under [{UNRELEASED}]. "
            f"Raise the version in app/__init__.py, and give these entries a section of that version."
        )
