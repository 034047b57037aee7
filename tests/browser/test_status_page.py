"""The status page alone, in Chromium, before a peer that speaks its protocol. The peer has a root path, and sends the
policy of the page: a window complains of each breach."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Locator, Page, expect

from tests.browser.conftest import HEIGHT, Visitor, open_window
from tests.browser.status_peer import ROOT, StatusPeer, run_peer
from tests.browser.status_sample import State, make_failure, make_nats, make_route, make_state, write_sample
from tests.browser.test_pages import ACTIVE, LIGHTNESS, MARKUP
from tests.harness import reserve_port

pytestmark = pytest.mark.asyncio(loop_scope="session")

PHONE = 360  # pixels
ROWS = "#routes tr"
UNIT = "\u202f"  # stands between a number and its unit


@pytest.fixture
def peer() -> StatusPeer:
    """Two routes, of which all is well."""
    return StatusPeer(make_state(time.time(), [make_route("greet", rate=2.5), make_route("orders", rate=70.0)]))


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(window: Visitor, peer: StatusPeer) -> AsyncIterator[Visitor]:
    async with run_peer(peer) as url:
        await window.begin(url)
        yield window
        await window.check()
        await window.page.goto("about:blank")


async def open_status(visitor: Visitor) -> Page:
    await visitor.open("/status", f"{ROWS}, #routes-empty:text('no routes')")
    return visitor.page


async def read_names(page: Page) -> list[str]:
    return await page.locator("#routes strong").all_inner_texts()


async def show_seen(page: Page, peer: StatusPeer, state: State) -> None:
    """Returns when the browser has the state, and had the time to paint it."""
    cdp = await page.context.new_cdp_session(page)
    seen: asyncio.Queue[str] = asyncio.Queue()
    cdp.on("Network.eventSourceMessageReceived", lambda message: seen.put_nowait(message["data"]))
    await cdp.send("Network.enable")
    peer.show(state)
    while json.loads(await seen.get()) != state:
        pass
    await page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def headline(page: Page) -> Locator:
    return page.locator("#headline")


async def test_an_operator_sees_that_all_is_well_and_each_number(visitor: Visitor) -> None:
    page = await open_status(visitor)
    await expect(headline(page)).to_have_text("All is well")
    assert await page.title() == "✓ All is well – Shop API"
    cards = await page.locator(".cards").inner_text()
    assert f"73{UNIT}/s" in cards
    assert "37\nof 8,192" in cards
    assert "2 workers, version 0.14.0" in cards
    await expect(page.locator("#nats-servers")).to_contain_text("nats-eu-1NATS 2.12.1 · cluster eu · 10.0.4.17:4222")
    await expect(page.locator("#timeline rect[data-state=up]")).to_have_count(60)
    await expect(page.locator("figcaption")).to_have_text(f"NATS was connected for all of the last 5{UNIT}min.")
    row = page.get_by_role("row", name="greet")
    assert await row.get_by_role("cell").all_inner_texts() == [
        "well", f"2.5{UNIT}/s", f"0{UNIT}%", f"1.2{UNIT}ms", f"3.4{UNIT}ms", f"12{UNIT}ms", "",
    ]  # fmt: skip
    await expect(page.get_by_text("No request has failed yet.")).to_be_visible()
    await expect(page.get_by_text("No service answers $SRV.")).to_be_visible()


async def test_a_route_with_trouble_comes_first_and_is_said_once(visitor: Visitor, peer: StatusPeer) -> None:
    page = await open_status(visitor)
    assert await read_names(page) == ["orders", "greet"]
    heard = page.get_by_role("status")
    await expect(heard).to_have_text("All is well")
    bad = make_route("greet", failing=0.4, answered=False, slug="no-responders")
    peer.show(peer.state | {"routes": [bad, peer.state["routes"][1]]}, rows=[bad])
    await expect(headline(page)).to_have_text("1 route has trouble: greet")
    await expect(heard).to_have_text("1 route has trouble: greet")
    assert await read_names(page) == ["greet", "orders"]
    assert await page.locator("[role=status], [role=alert], [aria-live]").count() == 1
    link = page.get_by_role("link", name="no-responders")
    assert await link.get_attribute("href") == f"{ROOT}/problems/no-responders"
    await expect(page.locator("#unanswered")).to_have_text("Routes that nobody answers: greet")
    peer.show(peer.state, rows=[])
    await page.wait_for_function("document.querySelectorAll('#routes tr').length === 2")


async def test_a_nats_that_is_away_and_a_gateway_that_stops_are_seen(visitor: Visitor, peer: StatusPeer) -> None:
    page = await open_status(visitor)
    away = make_nats("down", down=range(55, 60), reason="connection refused")
    peer.show(peer.state | {"ready": False, "reason": "not connected to NATS", "nats": away}, rows=[])
    await expect(headline(page)).to_have_text(re.compile(r"NATS has been away since \d\d:\d\d:\d\d"))
    await expect(page.locator("#nats-badge")).to_have_text("not connected: connection refused")
    await expect(page.locator("#timeline rect[data-state=down]")).to_have_count(5)
    await expect(page.locator("#timeline-words")).to_contain_text(f"NATS was away for 25{UNIT}s from")
    peer.say("bye", {})
    await expect(headline(page)).to_have_text("The gateway is stopping")


async def test_each_of_several_clusters_has_a_panel_and_the_one_that_is_away_is_named(
    visitor: Visitor, peer: StatusPeer
) -> None:
    page = await open_status(visitor)
    main = make_nats(name="main")
    factory = make_nats("down", down=range(55, 60), reason="connection refused", name="factory")
    there = make_route("there", nats="factory")
    stock, *_ = write_sample(1e9)["services"]["list"]
    robot = stock | {"name": "robot", "nats": "factory", "routes": ["there"]}
    services = {"list": [stock, robot], "note": None, "cut": False}
    routes = [*peer.state["routes"], there]
    peer.show(peer.state | {"nats": main, "other_nats": [factory], "routes": routes, "services": services})
    await expect(headline(page)).to_have_text(re.compile(r"NATS factory has been away since \d\d:\d\d:\d\d"))
    await expect(page.get_by_role("heading", level=2, name=re.compile("^NATS"))).to_have_text(
        ["NATS: main", "NATS: factory"]
    )
    panel = page.get_by_role("region", name="NATS: factory")
    await expect(panel.locator(".badge")).to_have_text("not connected: connection refused")
    await expect(panel.locator(".timeline rect[data-state=down]")).to_have_count(5)
    await expect(panel.locator("figcaption")).to_contain_text(f"NATS was away for 25{UNIT}s from")
    await expect(page.get_by_role("region", name="NATS: main").locator(".badge")).to_have_text("connected")
    await expect(page.locator("#routes tr").filter(has_text="there")).to_contain_text("→ there.{id} NATS factory")
    await expect(page.locator("#services tr").filter(has_text="robot")).to_contain_text("NATS factory")
    await page.get_by_label("Filter services").fill("factory")
    await expect(page.locator("#services tr")).to_have_count(1)
    ids = await page.evaluate("[...document.querySelectorAll('[id]')].map(({ id }) => id)")
    assert len(ids) == len(set(ids))
    peer.show(peer.state | {"other_nats": [make_nats(name="factory")]})
    await expect(headline(page)).to_have_text("All is well")
    peer.show(peer.state | {"other_nats": []})
    await expect(page.get_by_role("heading", level=2, name=re.compile("^NATS"))).to_have_text(["NATS"])


async def test_a_gateway_that_does_not_answer_is_seen_at_once_and_its_return_too(
    browser: Browser, peer: StatusPeer
) -> None:
    with reserve_port() as port:
        async with open_window(browser, f"http://127.0.0.1:{port}{ROOT}") as visitor:
            page = visitor.page
            async with run_peer(peer, port):
                await open_status(visitor)
            await expect(page.locator("#banner")).to_have_text(
                re.compile(r"No answer from the gateway since \d\d:\d\d:\d\d")
            )
            await expect(headline(page)).to_have_text("The gateway does not answer")
            await expect(page.get_by_role("status")).to_contain_text("No answer from the gateway")
            await expect(page.locator("#routes strong").first).to_have_text("orders")  # the last that is known
            async with run_peer(peer, port):
                await expect(headline(page)).to_have_text("All is well")
                await expect(page.locator("#banner")).to_be_hidden()
                await expect(page.locator("#live")).to_have_attribute("data-live", "live")
                await page.goto("about:blank")
                visitor.forgive()


@pytest.mark.soak
async def test_plain_polling_takes_the_place_of_events(visitor: Visitor, peer: StatusPeer) -> None:
    peer.has_events = False
    page = await open_status(visitor)
    await expect(page.locator("#live")).to_have_attribute("data-live", "polling")
    peer.state = peer.state | {"in_flight": 4321}
    await expect(page.locator("#in-flight")).to_have_text("4,321")
    peer.is_failing = True
    await expect(page.locator("#banner")).to_be_visible()
    peer.is_failing = False
    await expect(page.locator("#banner")).to_be_hidden()
    assert set(visitor.take_refusals()) == {(404, f"{ROOT}/status/events"), (502, f"{ROOT}/status/data")}


COUNT_TOUCHED = """() => {
    window.touched = new Set();
    new MutationObserver(changes => changes.forEach(({target}) =>
        touched.add((target.closest ? target : target.parentElement).closest("tr")?.querySelector("strong").textContent)
    )).observe(document.getElementById("routes"),
        {subtree: true, childList: true, characterData: true, attributes: true});
}"""


@pytest.mark.soak
async def test_of_a_thousand_routes_only_those_in_sight_that_change_are_touched(
    visitor: Visitor, peer: StatusPeer
) -> None:
    peer.state = make_state(time.time(), [make_route(f"route-{number:03}", rate=number) for number in range(1000)])
    page = await open_status(visitor)
    assert (await read_names(page))[::99] == ["route-999", "route-900"]
    await page.get_by_role("button", name="Show all 1,000 routes").click()
    await expect(page.locator(ROWS)).to_have_count(1000)
    await page.locator(ROWS).first.scroll_into_view_if_needed()
    await page.evaluate(COUNT_TOUCHED)
    peer.show(peer.state, rows=[make_route(f"route-{number:03}", rate=number, p50=0.6) for number in (7, 998, 999)])
    await expect(page.locator(ROWS, has_text="route-998")).to_contain_text("600")
    assert sorted(await page.evaluate("[...touched]")) == ["route-998", "route-999"]
    last = page.locator(ROWS, has_text="route-007")
    await last.scroll_into_view_if_needed()
    await expect(last).to_contain_text("600")
    await page.get_by_label("Filter routes").fill("ROUTE-00")
    await expect(page.locator(ROWS)).to_have_count(10)
    await page.get_by_label("Filter routes").fill("nothing")
    await expect(page.get_by_text("No route matches the filter.")).to_be_visible()


async def test_the_page_works_by_keyboard(visitor: Visitor, peer: StatusPeer) -> None:
    page = await open_status(visitor)
    await page.get_by_role("button", name="Route").focus()
    await page.keyboard.press("Enter")
    header = page.get_by_role("columnheader", name="Route", exact=True)
    await expect(header).to_have_attribute("aria-sort", "ascending")
    assert await read_names(page) == ["greet", "orders"]
    await page.keyboard.press("Space")
    await expect(header).to_have_attribute("aria-sort", "descending")
    assert await read_names(page) == ["orders", "greet"]
    await page.get_by_role("button", name="Pause").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="Resume")).to_be_focused()
    await show_seen(page, peer, peer.state | {"connections": 4711})
    await expect(page.locator("#connections")).to_have_text("212")
    await page.keyboard.press("Enter")
    await expect(page.locator("#connections")).to_have_text("4,711")


async def test_what_is_more_than_a_reply_and_what_is_not_used_are_said(visitor: Visitor, peer: StatusPeer) -> None:
    peer.state = make_state(
        1e9, [make_route("ticks", kind="subscribe"), make_route("greet")], unused=["orders.get: no"]
    )
    page = await open_status(visitor)
    ticks, greet = (page.locator("#routes tr").filter(has_text=name) for name in ("ticks", "greet"))
    await expect(ticks).to_contain_text("stream")
    await expect(greet).not_to_contain_text("stream")
    await expect(page.locator("#services-unused li")).to_have_text(["orders.get: no"])
    peer.state = make_state(1e9 + 1, [make_route("greet")])
    await expect(page.locator("#services-unused")).to_be_hidden()


async def test_failures_are_found_by_text_and_lead_to_their_problem(visitor: Visitor, peer: StatusPeer) -> None:
    late = {"status": 504, "slug": "timeout", "delivered": "unknown", "more": 132}
    failures = [make_failure(1e9 - at, at, **(late if at == 7 else {})) for at in range(100)]
    peer.state = peer.state | {"failures": failures}
    page = await open_status(visitor)
    rows = page.locator("#failures tr")
    await expect(rows).to_have_count(10)
    await page.get_by_role("button", name="Show all 100 failures").click()
    await expect(rows).to_have_count(100)
    await page.get_by_label("Filter latest failures").fill("unknown")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("timeout and 132 alike")
    assert await page.get_by_role("link", name="timeout").get_attribute("href") == f"{ROOT}/problems/timeout"
    await page.get_by_role("button", name="Copy request id").click()
    await expect(rows.get_by_role("button")).to_have_text("Copied")


def write_hostile_state() -> State:
    """Every text that comes from elsewhere is markup with scripts."""
    route = make_route(
        MARKUP, path=MARKUP, subject=MARKUP, methods=[MARKUP], slug=MARKUP, failing=1.0, services=[MARKUP]
    )
    failure = make_failure(1e9, 1, route=MARKUP, method=MARKUP, slug=MARKUP, delivered=MARKUP, request_id=MARKUP)
    service = {"name": MARKUP, "version": MARKUP, "instances": 1, "requests": 1, "errors": 1, "average": 0.1}
    server = {"name": MARKUP, "version": MARKUP, "cluster": MARKUP, "address": MARKUP}
    services = {"list": [service | {"routes": [MARKUP]}], "note": MARKUP, "cut": True}
    values = {"title": MARKUP, "version": MARKUP, "failures": [failure], "services": services, "unused": [MARKUP]}
    return make_state(1e9, [route], nats=make_nats(servers=[server], reason=MARKUP), **values)


async def test_no_text_from_elsewhere_becomes_markup(visitor: Visitor, peer: StatusPeer) -> None:
    peer.state = write_hostile_state()
    page = await open_status(visitor)
    await expect(page.locator("#services tr")).to_have_count(1)
    assert await page.evaluate("document.body.dataset.ran ?? null") is None
    assert await page.locator(ACTIVE).count() == 0
    assert await page.locator("[style], style, script:not([src])").count() == 0


@pytest.mark.parametrize("dark", [True, False])
async def test_a_rich_page_fits_a_phone_in_light_and_dark(visitor: Visitor, peer: StatusPeer, dark: bool) -> None:
    peer.state = write_sample(time.time())
    await visitor.page.set_viewport_size({"width": PHONE, "height": HEIGHT})
    await visitor.page.emulate_media(color_scheme="dark" if dark else "light")
    page = await open_status(visitor)
    await expect(headline(page)).to_contain_text("3 routes have trouble: search, payments-refund")
    assert await page.evaluate("document.documentElement.scrollWidth") <= PHONE
    lightness = await page.evaluate(LIGHTNESS % "backgroundColor", "body")
    assert lightness < 0.2 if dark else lightness > 0.9
