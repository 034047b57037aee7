import re
from html import escape

from app.formats.html import write_navigation, write_page
from app.pages.assets import Assets
from app.pages.status_page import write_status_page


def read_colours(style: str) -> list[dict[str, str]]:
    """The custom properties of `:root` that all pages have, in light and dark."""
    shared = ("page", "ink", "faint", "soft", "line", "link")
    blocks = re.findall(r":root\s*{([^}]*)}", style)
    return [
        {name: value for name, value in re.findall(r"--(\w+):\s*([^;]+)", block) if name in shared} for block in blocks
    ]


async def test_the_status_page_has_the_colours_of_the_other_pages() -> None:
    styles = (await Assets().find("status.css")).plain.decode()
    colours = read_colours(styles)
    assert [len(block) for block in colours] == [6, 6]
    assert colours == read_colours(write_page("", "", root=""))


async def test_the_page_names_its_data_and_files_below_the_root() -> None:
    page = await write_status_page(Assets(), "<b>", "/api")
    assert 'data-root="/api" data-events="/api/status/events" data-snapshot="/api/status/data"' in page
    assert re.findall(r'(?:src|href)="(/[^"?]*)', page) == [
        "/api/docs/assets/favicon.svg",
        "/api/docs/assets/status.css",
        "/api/docs/assets/status.js",
        "/api/status",
        "/api/docs",
        "/api/redoc",
        "/api/problems",
        "/api/status/data",
    ]
    assert f"<h1>{escape('<b>')}</h1>" in page
    assert " style=" not in page


def test_no_page_leads_to_a_status_page_that_is_off() -> None:
    assert 'href="/api/status"' in write_navigation("/api")
    assert "status" not in write_navigation("/api", ["/docs"])
    assert 'href="/status"' not in write_page("", "", root="", pages=["/docs"])
