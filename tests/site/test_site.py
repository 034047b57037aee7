"""The site that `make docs` has built: its links, images and diagrams are there, and it needs nothing elsewhere."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import Error, Page, Request, Response, expect, sync_playwright

ROOT = Path(__file__).parents[2]
SITE = ROOT / "build/site"
PAGES = sorted(page for page in SITE.rglob("*.html") if page.name != "404.html")  # whose links begin with /
DIAGRAM = re.compile(r"^```mermaid\n(.*?)^```", re.MULTILINE | re.DOTALL)
SOURCES = {file: DIAGRAM.findall(file.read_text(encoding="utf-8")) for file in (ROOT / "docs").rglob("*.md")}
DIAGRAMS = [(str(file.relative_to(ROOT)), diagram) for file, diagrams in SOURCES.items() for diagram in diagrams]
WITH_DIAGRAMS = [file for file, diagrams in SOURCES.items() if diagrams]
EXECUTABLE = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Links(HTMLParser):
    """Of a page: where its links lead, and what it loads."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids.add(values.get("id") or "")
        for key in ("href", "src"):
            if value := values.get(key):
                (self.targets if tag == "a" else self.loaded).append(value)


LINKS = {page: Links(page) for page in PAGES}


def find_broken(page: Path) -> Iterator[str]:
    for link in LINKS[page].targets + LINKS[page].loaded:
        address = urlsplit(link)
        if address.scheme or address.netloc:
            continue
        target = (page.parent / unquote(address.path)).resolve() if address.path else page
        target = target / "index.html" if target.is_dir() else target
        anchor = unquote(address.fragment)
        if not target.is_file() or (anchor and target in LINKS and anchor not in LINKS[target].ids):
            yield link


def test_the_site_is_built() -> None:
    assert len(PAGES) > 40, "`make docs` builds it"
    assert len(DIAGRAMS) > 2


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(SITE)))
def test_every_link_and_image_of_a_page_is_in_the_site(page: Path) -> None:
    assert list(find_broken(page)) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(SITE)))
def test_a_page_loads_nothing_from_elsewhere(page: Path) -> None:
    assert [link for link in LINKS[page].loaded if urlsplit(link).netloc] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(SITE)))
def test_lists_and_tables_are_no_plain_text(page: Path) -> None:
    """GitHub begins a list without a blank line before it, and the site does not."""
    text = re.sub(r"<pre.*?</pre>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    paragraphs = re.findall(r"<p>(.*?)</p>", text, re.DOTALL)
    assert [text for text in paragraphs if re.search(r"^(?:- |\d+\. |\|)", text, re.MULTILINE)] == []


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: str(source.relative_to(ROOT)))
def test_lists_within_lists_are_indented_by_four(source: Path) -> None:
    """GitHub takes two, and the site makes one list of both."""
    text = re.sub(r"^( *)```.*?^\1```", "", source.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^ {1,3}(?:- |\d+\. ).*", text, re.MULTILINE) == []


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=SITE)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def note_request(url: str, asked: list[str], request: Request) -> None:
    if not request.url.startswith((url, "data:", "blob:")):
        asked.append(request.url)


def note_response(asked: list[str], response: Response) -> None:
    if response.status >= 400:
        asked.append(response.url)


@contextmanager
def open_window(url: str, asked: list[str]) -> Iterator[Page]:
    """`asked` gets every address outside of the site that a page asks for, and every file that the site lacks."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=EXECUTABLE, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.route(lambda address: not address.startswith(url), lambda route: route.abort())
        page.on("request", partial(note_request, url, asked))
        page.on("response", partial(note_response, asked))
        yield page
        browser.close()


@pytest.fixture(scope="module")
def window(url: str) -> Iterator[Page]:
    asked: list[str] = []
    with open_window(url, asked) as page:
        yield page
    assert asked == []


@pytest.mark.parametrize("source", WITH_DIAGRAMS, ids=lambda source: source.name)
def test_the_diagrams_of_a_page_are_drawn(window: Page, url: str, source: Path) -> None:
    window.goto(f"{url}/docs/{source.stem}/")
    drawn = window.locator("div.mermaid")
    expect(drawn).to_have_count(len(SOURCES[source]))
    for number in range(len(SOURCES[source])):
        assert (drawn.nth(number).bounding_box() or {"height": 0})["height"] > 50


@pytest.mark.parametrize(("page", "diagram"), DIAGRAMS, ids=[f"{page} {i}" for i, (page, _) in enumerate(DIAGRAMS)])
def test_a_diagram_has_no_mistake(window: Page, url: str, page: str, diagram: str) -> None:
    window.goto(f"{url}/docs/{Path(page).stem}/")
    assert window.evaluate("async text => Boolean(await mermaid.parse(text))", diagram)


def test_a_diagram_with_a_mistake_is_found(window: Page, url: str) -> None:
    window.goto(f"{url}/docs/how-it-works/")
    with pytest.raises(Error, match="Parse error"):
        window.evaluate("text => mermaid.parse(text)", "sequenceDiagram\n  A->>B")


def test_the_button_of_a_terminal_copies_only_its_commands(window: Page, url: str) -> None:
    window.context.grant_permissions(["clipboard-read", "clipboard-write"])
    window.goto(f"{url}/docs/rate-limits/")
    terminal = window.locator(".highlight", has=window.locator(".gp")).nth(1)
    terminal.hover()
    terminal.locator("[data-md-type=copy], .md-clipboard").click()
    expect(window.get_by_text("Copied to clipboard")).to_be_visible()
    copied = window.evaluate("navigator.clipboard.readText()").splitlines()
    assert list(filter(None, copied)) == ["curl http://127.0.0.1:8000/greet/sue"] * 3
