"""The pages for people, in a real Chromium that can reach nothing but this machine. The `visitor` fixture holds every
test to that: nothing elsewhere is even asked for, nothing fails to load, the console stays silent."""

import json
from pathlib import Path
from urllib.parse import quote

import pytest
from nats.aio.msg import Msg
from openapi_spec_validator import OpenAPIV31SpecValidator
from playwright.async_api import Browser, Error, Locator, Page, expect

from app.routefile.load import RouteFile, load_route_file
from tests.browser.conftest import NARROW, Visitor
from tests.harness import Gateway, NatsServer, eventually, follow_references, responder, run_gateway

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Each page, and what selects the part of it that comes last.
PAGES = {
    "/docs": ".opblock",
    "/redoc": "h2",
    "/problems": "td a",
    "/problems/invalid-parameter": "h2",
    "/nothing": "h1 ~ p a",
}
TALL = 2000  # pixels of an operation that is open: two screens
INFO = ("title", "version", "description")
BROKEN_IMAGES = "() => [...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.outerHTML)"


async def greet(msg: Msg) -> None:
    await msg.respond(b"hello, " + msg.subject.split(".", 1)[1].encode())


async def open_greet(visitor: Visitor) -> Page:
    await visitor.open("/docs", PAGES["/docs"])
    await visitor.page.locator(".opblock-summary-control").click()
    await expect(visitor.page.locator(".opblock-body .responses-wrapper")).to_be_visible()
    return visitor.page


async def try_out(page: Page, name: str) -> None:
    await page.locator("tr[data-param-name=name] input").fill(name)
    await page.get_by_role("button", name="Execute").click()


async def read_answer(page: Page, status: int, url: str, part: str) -> dict[str, object]:
    """The JSON that Try it out shows as the response body, once it has this part: after a second request Swagger UI
    shows the new address beside the old body for a moment."""
    answer = page.locator(".live-responses-table tr.response")
    body = answer.locator(".highlight-code code").first
    await expect(body).to_contain_text(part)
    await expect(page.locator(".request-url")).to_contain_text(url)
    await expect(answer.locator(".response-col_status")).to_have_text(str(status), use_inner_text=True)
    shown = json.loads(await body.inner_text())
    assert isinstance(shown, dict)
    return shown


async def read_texts(locator: Locator) -> list[str]:
    return [text.strip() for text in await locator.all_inner_texts()]


async def test_the_root_leads_to_the_status_page_and_that_to_the_docs(visitor: Visitor) -> None:
    await visitor.open("/", "#routes tr")
    assert visitor.page.url == f"{visitor.url}/status"
    await visitor.page.get_by_role("link", name="API documentation").click()
    assert visitor.page.url == f"{visitor.url}/docs"
    await expect(visitor.page.get_by_role("heading", name="NATS HTTP gateway")).to_be_visible()


async def test_the_openapi_document_is_valid_openapi_3_1(gateway: Gateway) -> None:
    document = (await gateway.get("/openapi.json")).json()
    assert document["openapi"].startswith("3.1.")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


async def test_docs_lists_greet_with_its_reply_and_the_problems_of_every_request(
    visitor: Visitor, gateway: Gateway
) -> None:
    page = await open_greet(visitor)
    await expect(page.locator(".opblock")).to_have_count(1)
    await expect(page.locator(".opblock-summary-path")).to_have_text("/greet/{name}")
    document = follow_references((await gateway.get("/openapi.json")).json())
    responses = document["paths"]["/greet/{name}"]["get"]["responses"]
    rows = page.locator(".responses-table tr.response")
    assert await read_texts(rows.locator(".response-col_status")) == ["200", "4XX", "5XX"] == list(responses)
    for status, slug in (("4XX", "invalid-parameter"), ("5XX", "no-responders")):
        row = page.locator(f".responses-table tr.response[data-code='{status}']")
        await expect(row.locator("code.language-json")).to_contain_text(f'"type": "/problems/{slug}"')
    links = await rows.locator(".response-col_description a").evaluate_all("links => links.map(link => link.href)")
    assert links == [f"{visitor.url}/problems"] * 2


async def test_an_open_operation_is_short_and_the_headers_of_every_request_are_told_once(visitor: Visitor) -> None:
    page = await open_greet(visitor)
    await expect(page.locator(".responses-table tr.response code.language-json")).to_have_count(3)
    box = await page.locator(".opblock").bounding_box()
    assert box is not None
    assert box["height"] < TALL
    assert await read_texts(page.locator(".parameter__name")) == ["name\xa0*"]
    await expect(page.locator(".information-container")).to_contain_text("X-Request-Timeout: how long")


async def test_try_it_out_shows_the_greeting_of_a_name_in_any_script(visitor: Visitor, shared_nats: NatsServer) -> None:
    async with responder(shared_nats.url, "greet.*", greet):
        page = await open_greet(visitor)
        for name in ("sue", "José", "😀"):
            await try_out(page, name)
            answer = await read_answer(page, 200, f"{visitor.url}/greet/{quote(name)}", name)
            assert answer == {"message": f"hello, {name}"}


async def test_try_it_out_shows_that_nobody_responds(visitor: Visitor) -> None:
    page = await open_greet(visitor)
    await try_out(page, "sue")
    problem = await read_answer(page, 503, f"{visitor.url}/greet/sue", "no-responders")
    assert (problem["type"], problem["delivered"]) == ("/problems/no-responders", "no")
    assert visitor.take_refusals() == [(503, "/greet/sue")]


async def test_the_docs_page_itself_refuses_a_name_that_breaks_the_pattern_and_says_which(visitor: Visitor) -> None:
    page = await open_greet(visitor)
    for name, reason in (("a.b", "follow pattern"), ("x" * 129, "be no longer than 128"), ("a/b", "follow pattern")):
        await try_out(page, name)
        await expect(page.locator(".validation-errors")).to_contain_text(f"For 'name': Value must {reason}")
        await expect(page.locator("tr[data-param-name=name] input")).to_contain_class("invalid")
    await try_out(page, "sue")
    await expect(page.locator(".live-responses-table")).to_be_visible()
    assert [path for path in visitor.requested if path.startswith("/greet")] == ["/greet/sue"]
    assert visitor.take_refusals() == [(503, "/greet/sue")]


async def test_try_it_out_shows_the_problem_of_a_name_that_only_the_gateway_refuses(visitor: Visitor) -> None:
    page = await open_greet(visitor)
    await try_out(page, "su\u200be")  # a zero-width space is none of the white space that the pattern excludes
    problem = await read_answer(page, 422, f"{visitor.url}/greet/su%E2%80%8Be", "invalid-parameter")
    assert (problem["type"], problem["delivered"]) == ("/problems/invalid-parameter", "no")
    assert visitor.take_refusals() == [(422, "/greet/su%E2%80%8Be")]


async def test_redoc_shows_greet_with_all_its_responses(visitor: Visitor) -> None:
    await visitor.open("/redoc", PAGES["/redoc"])
    page = visitor.page
    await expect(page.get_by_role("heading", name="Greet somebody")).to_be_visible()
    await expect(page.get_by_role("button", name="get /greet/{name}")).to_be_visible()
    assert await read_texts(page.locator("button > strong")) == ["200", "4XX", "5XX"]
    await page.get_by_role("tab", name="5XX").click()
    await expect(page.get_by_role("tabpanel").filter(visible=True)).to_contain_text("/problems/no-responders")


async def test_the_search_of_redoc_finds_the_operation(visitor: Visitor) -> None:
    await visitor.open("/redoc", PAGES["/redoc"])
    await visitor.page.get_by_label("Search").fill("somebody")
    results = visitor.page.locator("[data-role='search:results']")
    await expect(results.get_by_role("menuitem", name="Greet somebody")).to_be_visible()


async def test_the_list_of_problems_leads_to_each_by_status_and_back(visitor: Visitor, gateway: Gateway) -> None:
    page = visitor.page
    problems = (await gateway.get("/problems")).json()
    await visitor.open("/problems", PAGES["/problems"])
    rows = await read_texts(page.locator("tr:has(td)"))
    expected = [
        [
            "400–599" if p["type"] == "/problems/service-error" else str(p["status"]),
            p["title"],
            p["delivered"],
            "yes" if p["retryable"] else "no",
        ]
        for p in problems
    ]
    assert [row.split("\t") for row in rows] == expected
    assert [p["status"] for p in problems] == sorted(p["status"] for p in problems)
    links = await page.locator("td a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    assert links == [p["type"] for p in problems]
    await page.get_by_role("link", name="No responders").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("No responders")
    await page.get_by_role("link", name="All problems").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Problems")


@pytest.mark.parametrize("every", [False, pytest.param(True, marks=pytest.mark.soak)])
async def test_a_problem_page_tells_cause_and_cure_and_whether_it_was_delivered(
    visitor: Visitor, gateway: Gateway, every: bool
) -> None:
    said = {"no": "No: the service has not run.", "yes": "Yes: the service has run.", "unknown": "Unknown: "}
    problems = (await gateway.get("/problems")).json()
    one_of_each = {problem["delivered"]: problem for problem in problems}
    for problem in problems if every else one_of_each.values():
        await visitor.open(problem["type"], "h2")
        await expect(visitor.page.get_by_role("heading", level=1)).to_have_text(problem["title"])
        text = await visitor.page.locator("body").inner_text()
        status = "400–599" if problem["type"] == "/problems/service-error" else problem["status"]
        assert f"Status {status}, {problem['type'][10:]}" in text
        assert problem["cause"].replace("`", "") in text
        assert problem["cure"].replace("`", "") in text
        assert said[problem["delivered"]] in text


async def test_what_is_not_found_is_a_page_that_leads_on(visitor: Visitor) -> None:
    for path in ("/problems/nothing", "/<script>"):
        answer = await visitor.page.goto(visitor.url + path)
        assert answer is not None
        assert answer.status == 404
        await expect(visitor.page.get_by_role("heading", level=1)).to_have_text("404 Not found")
    await visitor.page.get_by_role("link", name="What this means").click()
    await expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Not found")
    await visitor.page.get_by_role("link", name="API documentation").click()
    await visitor.page.locator(PAGES["/docs"]).first.wait_for()
    await visitor.page.get_by_role("link", name="All problems").click()
    await expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Problems")
    assert visitor.take_refusals() == [(404, "/problems/nothing"), (404, "/%3Cscript%3E")]


LIGHTNESS = """selector => {
    const [r, g, b] = getComputedStyle(document.querySelector(selector))[%r].match(/[\\d.]+/g).map(Number);
    return (0.2126 * r + 0.7152 * g + 0.0722 * b) / 255;
}"""


@pytest.mark.parametrize("dark", [True, pytest.param(False, marks=pytest.mark.soak)])
async def test_each_page_is_dark_where_the_reader_s_system_is(visitor: Visitor, dark: bool) -> None:
    await visitor.page.emulate_media(color_scheme="dark" if dark else "light")
    for path, ready in PAGES.items():
        await visitor.open(path, ready)
        await visitor.settle()
        page = await visitor.page.evaluate(LIGHTNESS % "backgroundColor", "body")
        text = [await visitor.page.evaluate(LIGHTNESS % "color", "h1, h2, .title")]
        assert (page < 0.2 and min(text) > 0.6) if dark else (page > 0.9 and max(text) < 0.4), (path, page, text)
    visitor.take_refusals()


@pytest.mark.parametrize("width", [NARROW])
@pytest.mark.parametrize("path", PAGES)
async def test_a_page_fits_a_narrow_screen_without_broken_images_or_links(
    visitor: Visitor, gateway: Gateway, path: str
) -> None:
    await (open_greet(visitor) if path == "/docs" else visitor.open(path, PAGES[path]))
    assert await visitor.page.evaluate("document.documentElement.scrollWidth") <= NARROW
    await visitor.page.wait_for_function(f"({BROKEN_IMAGES}).length == 0")
    links: list[str] = await visitor.page.locator("a[href]").evaluate_all("links => links.map(link => link.href)")
    ours = {link.partition("#")[0] for link in links if link.startswith(visitor.url)}
    assert ours
    assert {link: (await gateway.client.get(link)).status_code for link in ours} == dict.fromkeys(ours, 200)
    assert [refusal for refusal in visitor.take_refusals() if refusal != (404, path)] == []


async def test_a_page_that_reaches_elsewhere_would_be_caught(visitor: Visitor) -> None:
    page = visitor.page
    await page.goto("about:blank")
    with pytest.raises(Error, match="Failed to fetch"):
        await page.evaluate("fetch('https://cdn.example/script.js')")
    await page.evaluate("new Image().src = 'http://192.0.2.1/pixel.png'")
    await eventually(lambda: any("pixel.png" in text for text in visitor.complaints))
    await visitor.settle()
    assert visitor.outside == ["https://cdn.example/script.js", "http://192.0.2.1/pixel.png"]
    visitor.forgive()


async def test_what_the_policy_of_a_page_forbids_would_be_caught(visitor: Visitor) -> None:
    await visitor.open("/problems", PAGES["/problems"])
    await visitor.page.evaluate("new Image().src = 'https://cdn.example/logo.svg'")
    await eventually(lambda: any("content security policy:" in text for text in visitor.complaints))
    await visitor.settle()
    assert visitor.outside == ["https://cdn.example/logo.svg"]
    visitor.forgive()


MARKUP = """</title></script><script>document.body.dataset.ran = "script"</script><img src="data:,"
onerror="document.body.dataset.ran = 'image'"><iframe srcdoc="<script>parent.document.body.dataset.ran = 1</script>">
</iframe><svg onload="document.body.dataset.ran = 'drawing'"></svg>

**[a link](javascript:document.body.dataset.ran='link')**"""
ACTIVE = "[onerror], [onload], iframe, a[href^='javascript:']"


def write_hostile_routes(path: Path) -> RouteFile:
    """Routes whose every text is markup with scripts."""
    line = MARKUP.splitlines()[0]
    route = {
        "name": "hostile",
        "method": "POST",
        "path": "/hostile/{id}",
        "subject": "hostile",
        "summary": line,
        "description": MARKUP,
        "tags": [line],
        "params": {"id": {"header": "X-Id", "description": MARKUP, "example": line, "enum": [line]}},
        "body_schema": {"title": line, "description": MARKUP, "properties": {line: {"description": MARKUP}}},
        "reply": {"schema": {"description": MARKUP}, "example": line},
    }
    path.write_text(json.dumps({"version": 1, "info": dict.fromkeys(INFO, MARKUP), "routes": [route]}))
    return load_route_file(path)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
async def test_no_text_of_the_route_file_runs_as_a_script(
    browser: Browser, shared_nats: NatsServer, tmp_path: Path, path: str
) -> None:
    routes = write_hostile_routes(tmp_path / "routes.yaml")
    async with run_gateway(shared_nats.url, routes=routes) as gateway:
        page = await browser.new_page()
        try:
            await page.goto(gateway.url + path)
            links = page.get_by_text("a link")
            await expect(links.first).to_be_visible()
            assert await page.title() == " ".join(MARKUP.split())
            await links.evaluate_all("links => links.forEach(link => link.click())")
            assert await page.evaluate("document.body.dataset.ran ?? null") is None
            assert await page.locator(ACTIVE).evaluate_all("found => found.map(one => one.outerHTML)") == []
        finally:
            await page.context.close()


async def test_the_browser_itself_finds_no_way_out(browser: Browser) -> None:
    page = await browser.new_page()
    try:
        for url in ("http://cdn.example/", "http://192.0.2.1/"):
            with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
                await page.goto(url)
    finally:
        await page.context.close()
