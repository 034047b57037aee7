"""`python -m responders.notes` on real servers, asked by plain NATS clients."""

import asyncio
import json
import shutil
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from app.settings import Settings
from responders.notes import STORAGE_SECONDS
from tests.harness import PATIENCE, reserve_port
from tests.process.test_responder_greet import NatsServer, Process, Start, start, until

__all__ = ["start"]  # a fixture

NOTES = ("-m", "responders.notes")
NOBODY = "0" * 20


@dataclass(frozen=True, slots=True)
class Answer:
    payload: bytes
    headers: dict[str, str]

    @property
    def code(self) -> str:
        """Of a service error; empty for a success."""
        return self.headers.get("Nats-Service-Error-Code", "")

    @property
    def note(self) -> dict[str, Any]:
        assert not self.code, self.headers
        note: dict[str, Any] = json.loads(self.payload)
        return note

    @property
    def tag(self) -> str:
        return self.headers["ETag"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with reserve_port() as port:
        server = NatsServer(tmp_path / "nats", "-js", "-sd", str(tmp_path / "store"), port=port)
        yield server
        server.kill()


@pytest.fixture
async def nc(server: NatsServer) -> AsyncIterator[Client]:
    nc = await nats.connect(await server.url(), reconnect_time_wait=0, max_reconnect_attempts=-1)
    yield nc
    await nc.close()


@pytest.fixture
async def notes(server: NatsServer, start: Start) -> Process:
    process = start(await server.url(), *NOTES)
    await process.logs("connected")
    return process


async def ask(nc: Client, subject: str, payload: object = b"", **headers: str) -> Answer:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    reply = await nc.request(f"notes.{subject}", data, timeout=PATIENCE, headers=named or None)
    return Answer(reply.data, reply.headers or {})


async def write(nc: Client, title: str = "a", **more: str) -> dict[str, Any]:
    return (await ask(nc, "create", {"title": title, **more})).note


async def test_a_note_is_kept_read_replaced_and_deleted(nc: Client, notes: Process) -> None:
    made = await ask(nc, "create", {"title": "名前 😀", "text": "milk\nbread"})
    id_ = made.note["id"]
    assert made.note == {"id": id_, "title": "名前 😀", "text": "milk\nbread", "revision": made.note["revision"]}
    assert (made.headers["Location"], made.tag) == (f"/notes/{id_}", f'"{made.note["revision"]}"')
    read = await ask(nc, f"read.{id_}")
    assert (read.note, read.tag) == (made.note, made.tag)
    replaced = await ask(nc, f"replace.{id_}", {"title": "b"})
    assert replaced.note["revision"] > made.note["revision"]
    assert (replaced.note["title"], replaced.note["text"]) == ("b", "")
    assert (await ask(nc, f"read.{id_}")).note == replaced.note
    deleted = await ask(nc, f"delete.{id_}")
    assert (deleted.code, deleted.payload) == ("", b"")
    for subject, payload in ((f"read.{id_}", b""), (f"replace.{id_}", {"title": "c"}), (f"delete.{id_}", b"")):
        gone = await ask(nc, subject, payload)
        assert (gone.code, gone.headers["Nats-Service-Error"]) == ("404", f"there is no note {id_}")


async def test_notes_are_listed_in_pages_in_the_order_of_their_making(nc: Client, notes: Process) -> None:
    assert (await ask(nc, "list")).note == {"notes": []}
    made = [await write(nc, f"n{number}") for number in range(7)]
    await ask(nc, f"replace.{made[0]['id']}", {"title": "changed"})
    await ask(nc, f"delete.{made[3]['id']}")
    expected = [note["id"] for note in made if note is not made[3]]
    assert [note["id"] for note in (await ask(nc, "list")).note["notes"]] == expected
    seen: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while "next" in page:
        page = (await ask(nc, "list", {"limit": 2, "after": page["next"]})).note
        seen += [note["id"] for note in page["notes"]]
        assert len(page["notes"]) == 2
    assert seen == expected


async def test_notes_that_are_made_one_after_the_other_are_listed_so(nc: Client, notes: Process) -> None:
    made = [(await write(nc))["id"] for _ in range(300)]
    assert made == sorted(made)


async def test_a_page_ends_where_a_reply_has_no_more_room(nc: Client, notes: Process) -> None:
    made = [(await write(nc, text="é" * 10_000))["id"] for _ in range(70)]
    seen: list[str] = []
    page: dict[str, Any] = {"next": ""}
    while "next" in page:
        answer = await ask(nc, "list", {"limit": 100, "after": page["next"]})
        page = answer.note
        seen += [note["id"] for note in page["notes"]]
        assert len(answer.payload) <= nc.max_payload
        assert len(answer.payload) > nc.max_payload - 30_000 or "next" not in page
    assert seen == made


async def test_what_others_keep_in_the_bucket_is_no_note(nc: Client, notes: Process) -> None:
    note = await write(nc)
    bucket = await nc.jetstream().key_value("notes")
    for value in (b"", b"x", b"[]", b"{}", b'{"title": 1, "text": ""}', b"\xff", b"[" * 100_000):
        for key in ("f" * 20, "other", "a.b"):
            await bucket.put(key, value)
        assert (await ask(nc, "list")).note == {"notes": [note]}
        assert (await ask(nc, f"read.{'f' * 20}")).code == "404"
        assert (await ask(nc, f"replace.{'f' * 20}", {"title": "a"})).code == "404"


async def test_nothing_of_a_deleted_note_stays(nc: Client, notes: Process) -> None:
    for _ in range(5):
        note = await write(nc)
        await ask(nc, f"delete.{note['id']}")
    assert (await nc.jetstream().stream_info("KV_notes")).state.messages == 0


@pytest.mark.parametrize("action", ["replace", "delete"])
@pytest.mark.parametrize("name", ["If-Match", "if-match", "IF-MATCH"])
async def test_a_note_that_changed_since_is_left_as_it_is(nc: Client, notes: Process, action: str, name: str) -> None:
    note = await write(nc)
    id_, tag = note["id"], f'"{note["revision"]}"'
    newer = await ask(nc, f"replace.{id_}", {"title": "b"}, **{name: tag})
    assert not newer.code
    content = {"title": "c"} if action == "replace" else b""
    stale = await ask(nc, f"{action}.{id_}", content, **{name: tag})
    assert stale.code == "409"
    assert (await ask(nc, f"read.{id_}")).note == newer.note
    assert not (await ask(nc, f"{action}.{id_}", content, **{name: newer.tag})).code


CONDITIONS = [
    ("*", ""),
    (" * ", ""),
    ('"{0}"', ""),
    ('"999", "{0}"', ""),
    ('"{0}","999"', ""),
    ('"999",,"{0}" , ', ""),  # RFC 9110 §5.6.1: empty elements are ignored
    ('"a,b","{0}"', ""),
    ('W/"{0}"', "409"),
    ('"999"', "409"),
    ('""', "409"),
    ('"*"', "409"),
    ('W/"{0}", W/"999"', "409"),
    ('"名前"', "409"),
    ("{0}", "422"),
    ('"{0}', "422"),
    ("nonsense", "422"),
    ('"999", *', "422"),
    ('"{0}""{0}"', "422"),
    ('w/"{0}"', "422"),
    (", ,", "422"),
]


async def test_if_match_is_a_list_of_strong_tags(nc: Client, notes: Process) -> None:
    for condition, code in CONDITIONS:
        note = await write(nc)
        answer = await ask(nc, f"delete.{note['id']}", if_match=condition.format(note["revision"]))
        assert answer.code == code, condition
        missing = await ask(nc, f"delete.{NOBODY}", if_match=condition.format(1))
        assert missing.code == ("422" if code == "422" else "404"), condition


async def test_a_condition_holds_in_whatever_case_its_name_comes_twice(nc: Client, notes: Process) -> None:
    note = await write(nc)
    tag = f'"{note["revision"]}"'
    assert (
        await ask(nc, f"replace.{note['id']}", {"title": "b"}, **{"If-Match": '"998"', "if-match": '"999"'})
    ).code == "409"
    assert not (await ask(nc, f"delete.{note['id']}", **{"If-Match": '"999"', "if-match": tag})).code


async def test_of_two_that_replace_the_same_revision_one_wins(nc: Client, notes: Process, start: Start) -> None:
    second = start(nc.connected_url.geturl() if nc.connected_url else "", *NOTES)
    await second.logs("connected")
    note = await write(nc)
    tag = f'"{note["revision"]}"'
    answers = await asyncio.gather(
        *(ask(nc, f"replace.{note['id']}", {"title": f"n{n}"}, if_match=tag) for n in range(20))
    )
    codes = sorted(answer.code for answer in answers)
    assert codes == ["", *["409"] * 19]
    winner = next(answer for answer in answers if not answer.code)
    assert (await ask(nc, f"read.{note['id']}")).note == winner.note


@pytest.mark.parametrize("conditional", [True, False])
async def test_of_those_that_delete_a_note_one_does_and_the_others_find_none(
    nc: Client, notes: Process, start: Start, conditional: bool
) -> None:
    second = start(nc.connected_url.geturl() if nc.connected_url else "", *NOTES)
    await second.logs("connected")
    for _ in range(5):
        note = await write(nc)
        named = {"If-Match": f'"{note["revision"]}"'} if conditional else {}
        answers = await asyncio.gather(*(ask(nc, f"delete.{note['id']}", **named) for _ in range(10)))
        assert sorted(answer.code for answer in answers) == ["", *["404"] * 9]


async def test_a_note_that_is_replaced_and_deleted_at_once_has_one_winner(nc: Client, notes: Process) -> None:
    for _ in range(10):
        note = await write(nc)
        id_, tag = note["id"], f'"{note["revision"]}"'
        replaced, deleted = await asyncio.gather(
            ask(nc, f"replace.{id_}", {"title": "b"}, if_match=tag), ask(nc, f"delete.{id_}", if_match=tag)
        )
        assert (replaced.code, deleted.code) in {("", "409"), ("404", "")}
        assert (await ask(nc, f"read.{id_}")).code == ("404" if replaced.code else "")


async def test_who_does_not_ask_for_a_revision_is_not_refused_for_a_race(nc: Client, notes: Process) -> None:
    note = await write(nc)
    answers = await asyncio.gather(*(ask(nc, f"replace.{note['id']}", {"title": f"n{n}"}) for n in range(4)))
    assert [answer.code for answer in answers] == [""] * 4
    assert len({answer.tag for answer in answers}) == 4


NO_NOTES = [
    b"",
    b"title",
    b"\xff",
    b"[]",
    b"null",
    b'"title"',
    b"{}",
    b'{"title": ""}',
    b'{"title": 1}',
    b'{"title": null}',
    b'{"title": "a", "text": 1}',
    b'{"title": "a", "color": "red"}',
    b'{"title": "\\ud800"}',
    b'{"title": "a", "\\ud800": 1}',
    b'{"title": "a", "title": "b"}',
    b'{"title": NaN}',
    b'{"title": 1e999}',
    b'\xef\xbb\xbf{"title": "a"}',
    '{"title": "a"}'.encode("utf-16"),
    b"[" * 100_000,
    b'{"title": ' + b"9" * 10_000 + b"}",
    json.dumps({"title": "x" * 201}).encode(),
    json.dumps({"title": "x", "text": "x" * 10_001}).encode(),
]


async def test_what_is_no_note_is_refused(nc: Client, notes: Process) -> None:
    for payload in NO_NOTES:
        assert (await ask(nc, "create", payload)).code == "422", payload[:30]
        assert (await ask(nc, f"replace.{NOBODY}", payload)).code == "422", payload[:30]
    assert (await ask(nc, "list")).note == {"notes": []}


async def test_the_greatest_note_is_kept(nc: Client, notes: Process) -> None:
    note = await write(nc, "😀" * 200, text="é" * 10_000)
    assert (await ask(nc, f"read.{note['id']}")).note == note


async def test_a_page_that_can_t_be_is_refused(nc: Client, notes: Process) -> None:
    wrong = (("limit", 0), ("limit", 101), ("limit", True), ("limit", "5"), ("after", "x"), ("after", 1), ("x", 1))
    for name, value in wrong:
        assert (await ask(nc, "list", {name: value})).code == "422", (name, value)
    for payload in (b"[]", b"\xff", b'{"limit": NaN}', b'{"limit": 1, "limit": 2}', b'{"after": "\\ud800"}'):
        assert (await ask(nc, "list", payload)).code == "422", payload


async def test_an_id_that_no_note_can_have_is_not_repeated(nc: Client, notes: Process) -> None:
    for id_ in ("x", "名前", "0" * 19, "0" * 21, "A" * 20, "-"):
        answer = await ask(nc, f"read.{id_}")
        assert (answer.code, answer.headers["Nats-Service-Error"]) == ("404", "there is no such note")


async def test_notes_outlive_the_responder_and_the_server(
    tmp_path: Path, server: NatsServer, nc: Client, notes: Process, start: Start
) -> None:
    note = await write(nc)
    notes.kill()
    again = start(await server.url(), *NOTES)
    await again.logs("connected")
    assert (await ask(nc, f"read.{note['id']}")).note == note
    port = int((await server.url()).rpartition(":")[2])
    server.popen.send_signal(signal.SIGTERM)
    server.popen.wait()
    second = NatsServer(tmp_path / "second", "-js", "-sd", str(tmp_path / "store"), port=port)
    try:
        await again.logs("reconnected")
        assert (await ask(nc, f"read.{note['id']}")).note == note
    finally:
        second.kill()


async def test_without_jetstream_it_says_so_and_it_heals(tmp_path: Path, start: Start, port: int) -> None:
    server = NatsServer(tmp_path / "bare", port=port)
    url = await server.url()
    process = start(url, *NOTES)
    await process.logs("connected")
    nc = await nats.connect(url, reconnect_time_wait=0, max_reconnect_attempts=-1)
    try:
        answer = await ask(nc, "create", {"title": "a"})
        assert (answer.code, answer.headers["Nats-Service-Error"]) == ("503", "the notes' storage is not available")
        server.kill()
        server = NatsServer(tmp_path / "full", "-js", "-sd", str(tmp_path / "store"), port=port)
        await process.logs("reconnected")
        await until(lambda: nc.is_connected)
        note = await write(nc)
        assert (await ask(nc, f"read.{note['id']}")).note == note
    finally:
        await nc.close()
        server.kill()


@pytest.mark.parametrize("stopping", [False, True])
async def test_a_storage_that_does_not_answer_is_told_within_the_timeout_of_a_gateway(
    tmp_path: Path, start: Start, stopping: bool
) -> None:
    server = NatsServer(tmp_path / "bare")
    url = await server.url()
    process = start(url, *NOTES)
    await process.logs("connected")
    nc = await nats.connect(url)

    taken: list[Msg] = []

    async def take(msg: Msg) -> None:
        taken.append(msg)

    try:
        await nc.subscribe("$JS.API.>", cb=take)
        begun = time.monotonic()
        wanted = (("create", {"title": "a"}), ("list", b""), (f"read.{NOBODY}", b""), (f"delete.{NOBODY}", b""))
        asking = [asyncio.create_task(ask(nc, subject, payload)) for subject, payload in wanted]
        if stopping:
            await until(lambda: len(taken) == len(wanted))
            process.popen.terminate()
        answers = await asyncio.gather(*asking)
        assert [answer.code for answer in answers] == ["503"] * len(wanted)
        assert time.monotonic() - begun < 4  # nats-py would wait for 5 s
        assert Settings().timeout > STORAGE_SECONDS + 0.25
        assert not stopping or await process.ends() == 0
    finally:
        await nc.close()
        server.kill()


async def test_a_bucket_that_somebody_deletes_is_made_again(nc: Client, notes: Process) -> None:
    note = await write(nc)
    await nc.jetstream().delete_key_value("notes")
    assert (await ask(nc, f"read.{note['id']}")).code == "404"
    assert (await ask(nc, "list")).note == {"notes": []}
    assert not (await ask(nc, "create", {"title": "b"})).code


async def test_two_that_start_at_once_share_one_bucket(nc: Client, server: NatsServer, start: Start) -> None:
    for process in [start(await server.url(), *NOTES) for _ in range(2)]:
        await process.logs("connected")
    made = await asyncio.gather(*(write(nc, f"n{n}") for n in range(20)))
    listed = (await ask(nc, "list", {"limit": 100})).note["notes"]
    assert sorted(note["id"] for note in made) == [note["id"] for note in listed]


async def test_what_was_taken_is_answered_before_it_stops(nc: Client, notes: Process) -> None:
    await write(nc)
    asking = [asyncio.create_task(ask(nc, "list")) for _ in range(50)]
    await asyncio.sleep(0.01)
    notes.popen.send_signal(signal.SIGTERM)
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert await notes.ends() == 0
    assert "stopped unanswered=0" in notes.log
    answered = [answer for answer in answers if isinstance(answer, Answer)]
    assert all(not answer.code for answer in answered)
    assert {type(answer).__name__ for answer in answers} <= {"Answer", "NoRespondersError"}


async def test_it_is_a_service_that_others_can_find(nc: Client, notes: Process) -> None:
    info = json.loads((await nc.request("$SRV.INFO.notes", timeout=PATIENCE)).data)
    assert {(endpoint["name"], endpoint["subject"]) for endpoint in info["endpoints"]} == {
        ("create", "notes.create"),
        ("list", "notes.list"),
        ("read", "notes.read.*"),
        ("replace", "notes.replace.*"),
        ("delete", "notes.delete.*"),
    }


async def test_a_storage_that_is_full_is_told(tmp_path: Path, start: Start) -> None:
    """JetStream is there, but may keep nothing."""
    server = NatsServer(tmp_path / "nats", "-js", "-sd", str(tmp_path / "store"))
    url = await server.url()
    nc = await nats.connect(url)
    try:
        await nc.jetstream().create_key_value(bucket="notes", max_bytes=100)
        await start(url, *NOTES).logs("connected")
        assert (await ask(nc, "create", {"title": "x" * 150})).code == "503"
    finally:
        await nc.close()
        server.kill()
        shutil.rmtree(tmp_path / "store", ignore_errors=True)
