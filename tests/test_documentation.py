"""The pages of the documentation: their links lead somewhere, and the references have all that there is."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.main import get_command

from app.commands.cli import cli
from app.errors import ERRORS, ServiceError

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    page
    for folder in ("", "docs", "docs/adr", "examples", "benchmarks")
    for page in (ROOT / folder).glob("**/*.md" if folder == "examples" else "*.md")
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
CODE = re.compile(r"^( *)```.*?^\1```", re.MULTILINE | re.DOTALL)


def read(page: Path) -> str:
    """Its text without blocks of code."""
    return CODE.sub("", page.read_text(encoding="utf-8"))


def find_anchors(page: Path) -> set[str]:
    """Those that GitHub gives to its headings."""
    headings = re.findall(r"^#+ (.*)$", read(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def find_broken_links(page: Path) -> Iterator[str]:
    for link in LINK.findall(read(page)):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if link.startswith(("https:", "http:")):
            continue
        if not target.exists() or (anchor and anchor not in find_anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_to_a_file_and_to_a_heading_in_it(page: Path) -> None:
    assert list(find_broken_links(page)) == []


def test_the_index_leads_to_every_page() -> None:
    links = {link.partition("#")[0] for link in LINK.findall(read(ROOT / "docs/index.md"))}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - links == {"index.md"}


def test_the_site_leads_to_every_page() -> None:
    named = re.findall(r"^ +- (?:.*: )?(\S+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(named) == sorted({str(page.relative_to(ROOT)) for page in PAGES})


def test_the_list_of_problems_has_every_error_with_its_status_and_its_delivery() -> None:
    rows = re.findall(r"^\| (\S+) \| `([a-z-]+)` \| .* \| (\w+) \|$", read(ROOT / "docs/problems.md"), re.MULTILINE)
    expected = {error.slug: (str(error.status), error.delivered) for error in ERRORS}
    expected[ServiceError.slug] = ("400–599", ServiceError.delivered)
    assert {slug: (status, delivered) for status, slug, delivered in rows} == expected


def test_the_list_of_commands_has_every_command() -> None:
    rows = re.findall(r"^\| `nats-http (\w+)", read(ROOT / "docs/commands.md"), re.MULTILINE)
    assert sorted(rows) == sorted(get_command(cli).commands)  # type: ignore[attr-defined] # a group has commands
