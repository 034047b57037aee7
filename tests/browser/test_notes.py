"""The walk of docs/notes.md, in the docs page of a real Chromium, before a real responder."""

import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Locator, expect

from app.routefile.load import EXAMPLES, load_route_file
from tests.browser.conftest import Visitor
from tests.harness import Gateway, NatsServer, eventually, run_gateway
from tests.process.programs import start

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def gateway(shared_nats: NatsServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gateway]:
    """A gateway with the routes of `nats-http dev`, before notes that are kept on the shared server."""
    log = Path(tmp_path_factory.mktemp("notes") / "log")
    with log.open("wb") as output:
        command = [sys.executable, "-m", "responders.notes"]
        environment = {**os.environ, "NATS_URL": shared_nats.url}
        notes = start(command, environment, output.fileno(), output.fileno())
    try:
        async with run_gateway(shared_nats.url, routes=load_route_file(EXAMPLES)) as gateway:
            await eventually(lambda: "connected" in log.read_text())
            yield gateway
    finally:
        notes.kill()
        notes.wait()


class Operation:
    """One operation of the docs page, open."""

    def __init__(self, block: Locator) -> None:
        self._block = block

    @classmethod
    async def open(cls, visitor: Visitor, name: str) -> "Operation":
        block = visitor.page.locator(f".opblock[id$='-{name}']")
        await block.locator(".opblock-summary-control").click()
        await expect(block.locator(".responses-wrapper")).to_be_visible()
        return cls(block)

    async def execute(self, status: int, *, body: object = None, **parameters: str) -> dict[str, Any]:
        """Fills in, executes, and reads the answer, if it has one."""
        for name, value in parameters.items():
            await self._block.locator(f"tr[data-param-name={name.replace('_', '-')}] input").fill(value)
        if body is not None:
            await self._block.locator("textarea.body-param__text").fill(json.dumps(body))
        await self._block.get_by_role("button", name="Execute").click()
        answer = self._block.locator(".live-responses-table tr.response")
        await expect(answer.locator(".response-col_status")).to_contain_text(str(status))
        code = answer.locator(".highlight-code code")
        if not await code.count():
            return {}
        shown: dict[str, Any] = json.loads(await code.first.inner_text())
        return shown


async def test_operations_are_grouped_by_tag(visitor: Visitor) -> None:
    await visitor.open("/docs", ".opblock")
    assert [await tag.inner_text() for tag in await visitor.page.locator("h3.opblock-tag a").all()] == [
        "greet",
        "notes",
        "clock",
    ]
    await expect(visitor.page.locator(".opblock")).to_have_count(8)
    await expect(visitor.page.get_by_role("heading", name="Examples of nats-http-gateway")).to_be_visible()


async def test_a_note_is_written_read_and_changed_in_the_docs_page(visitor: Visitor) -> None:
    await visitor.open("/docs", ".opblock")
    create = await Operation.open(visitor, "notes-create")
    made = await create.execute(201)  # with the example that the page fills in
    assert (made["title"], made["text"]) == ("Shopping", "milk, bread")

    read = await Operation.open(visitor, "notes-read")
    assert await read.execute(200, id=made["id"]) == made

    replace = await Operation.open(visitor, "notes-replace")
    tag = f'"{made["revision"]}"'
    changed = await replace.execute(200, id=made["id"], if_match=tag, body={"title": "名前"})
    assert (changed["title"], changed["id"]) == ("名前", made["id"])
    stale = await replace.execute(412, id=made["id"], if_match=tag, body={"title": "too late"})
    assert (stale["type"], stale["delivered"]) == ("/problems/service-error", "yes")
    assert visitor.take_refusals() == [(412, f"/notes/{made['id']}")]


@pytest.mark.soak
async def test_a_note_is_listed_and_deleted_in_the_docs_page(visitor: Visitor) -> None:
    await visitor.open("/docs", ".opblock")
    create = await Operation.open(visitor, "notes-create")
    made = await create.execute(201)

    listing = await Operation.open(visitor, "notes-list")
    assert made in (await listing.execute(200, limit="100"))["notes"]

    delete = await Operation.open(visitor, "notes-delete")
    assert await delete.execute(204, id=made["id"]) == {}
    gone = await delete.execute(404, id=made["id"])
    assert gone["detail"] == f"there is no note {made['id']}"
    assert visitor.take_refusals() == [(404, f"/notes/{made['id']}")]


async def test_a_note_that_breaks_the_schema_is_refused_with_a_pointer(visitor: Visitor) -> None:
    await visitor.open("/docs", ".opblock")
    create = await Operation.open(visitor, "notes-create")
    problem = await create.execute(422, body={"title": "", "color": "red"})
    assert problem["type"] == "/problems/invalid-body"
    assert sorted(error["pointer"] for error in problem["errors"]) == ["#", "#/title"]
    assert visitor.take_refusals() == [(422, "/notes")]
