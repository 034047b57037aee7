"""The notes: a service that keeps short texts in a key-value bucket of JetStream, and knows no HTTP.

    $ python -m responders.notes        # NATS_URL says where NATS is; its server must have JetStream
    $ nats request notes.create '{"title": "Shopping", "text": "milk, bread"}'

A note is `{"id", "title", "text", "revision"}`. The revision changes with every change, and `ETag` has it in quotes. A
request with `If-Match` gets 409 if the note has changed since (RFC 9110 §13.1.1). Errors are those of ADR-32: 404 for
no such note, 409 for a note that has changed, 422 for a request that breaks a rule, 503 for no storage at the moment.
"""

import asyncio
import contextlib
import itertools
import json
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from nats.errors import Error
from nats.js import JetStreamContext
from nats.js.api import StorageType
from nats.js.errors import BadRequestError, BucketNotFoundError, KeyNotFoundError, KeyWrongLastSequenceError
from nats.js.kv import KeyValue
from nats.micro.request import Request, ServiceError

from ._lifecycle import Endpoint, Reply, find_header, get_jetstream, get_max_payload, run

BUCKET, STREAM, SUBJECT = "notes", "KV_notes", "$KV.notes."  # names as in ADR-8
STORAGE_SECONDS = 1.5  # for everything that one request needs from the storage
MAX_TITLE, MAX_TEXT = 200, 10_000  # characters
MAX_PAGE, USUAL_PAGE = 100, 20  # notes
ATTEMPTS = 5  # to change a note that others change at the same time
PAGE_FRAME = 64  # bytes of a page around its notes, at most
WRONG_LAST_SEQUENCE = (10071, 10164)  # error codes of nats-server

_ID = re.compile(r"[0-9a-f]{20}")
# RFC 9110 §8.8.3 and §5.6.1. A text matches in at most one way, so that no text takes long. It has no possessive
# quantifiers, since Python before 3.11.5 gets them wrong.
_TAG = re.compile(r'(?:W/)?"[^\x00-\x20"\x7f]*"')
_TAGS = re.compile(rf"[ \t]*(?:{_TAG.pattern}[ \t]*)?(?:,[ \t]*(?:{_TAG.pattern}[ \t]*)?)*")

logger = logging.getLogger("responders.notes")


@dataclass(frozen=True, slots=True)
class Content:
    """The title and the text of a note."""

    title: str
    text: str

    def encode(self) -> bytes:
        """The content as JSON, for the bucket."""
        return json.dumps({"title": self.title, "text": self.text}).encode()


@dataclass(frozen=True, slots=True)
class Note:
    """One note, and its revision in the bucket."""

    id: str
    content: Content
    revision: int

    def describe(self) -> dict[str, object]:
        """The note as a JSON object."""
        content = self.content
        return {"id": self.id, "title": content.title, "text": content.text, "revision": self.revision}

    def to_reply(self, **headers: str) -> Reply:
        """The note as JSON, with its `ETag` and these headers."""
        return Reply(_encode(self.describe()), {"ETag": f'"{self.revision}"', **headers})


class Storage:
    """The bucket, for one request. Its methods raise nats.errors.Error or TimeoutError if there is no storage."""

    def __init__(self, jetstream: JetStreamContext, bucket: KeyValue) -> None:
        self._jetstream = jetstream
        self._bucket = bucket

    @classmethod
    async def open(cls, jetstream: JetStreamContext) -> "Storage":
        """Open the bucket. Make it if it does not exist."""
        try:
            return cls(jetstream, await jetstream.key_value(BUCKET))
        except BucketNotFoundError:
            bucket = await jetstream.create_key_value(bucket=BUCKET, storage=StorageType.FILE, history=1)
            return cls(jetstream, bucket)

    async def list_ids(self) -> list[str]:
        """The ids of all notes, the oldest first."""
        info = await self._jetstream.stream_info(STREAM, subjects_filter=f"{SUBJECT}>")
        keys = (subject.removeprefix(SUBJECT) for subject in info.state.subjects or {})
        return sorted(key for key in keys if _ID.fullmatch(key))

    async def find(self, id_: str) -> Note | None:
        """The note with this id. None if there is none, or if somebody else keeps another value there."""
        with contextlib.suppress(KeyNotFoundError, ServiceError):
            entry = await self._bucket.get(id_)
            return Note(id_, _parse_content(entry.value or b""), entry.revision or 0)
        return None

    async def create(self, content: Content) -> Note:
        """Keep a new note."""
        # Ids are sorted by age, as far as clocks agree: they have the time in nanoseconds, and random bits.
        milliseconds, rest = divmod(time.time_ns(), 1_000_000)
        id_ = f"{milliseconds:012x}{rest:05x}{secrets.randbelow(1 << 12):03x}"
        return Note(id_, content, await self._bucket.create(id_, content.encode()))

    async def replace(self, note: Note, content: Content) -> Note:
        """Replace the content of a note. Raises KeyWrongLastSequenceError if the note has changed."""
        return Note(note.id, content, await self._bucket.update(note.id, content.encode(), last=note.revision))

    async def delete(self, note: Note) -> None:
        """Delete a note. Raises KeyWrongLastSequenceError if the note has changed."""
        try:
            await self._bucket.delete(note.id, last=note.revision)
        except BadRequestError as error:  # nats-py reports a lost race in another way here than in `update`
            if error.err_code in WRONG_LAST_SEQUENCE:
                raise KeyWrongLastSequenceError(error.description) from None
            raise
        with contextlib.suppress(Error):  # the marker of a deletion would stay for ever, and no id comes twice
            await self._jetstream.purge_stream(STREAM, subject=SUBJECT + note.id)


async def create(request: Request) -> Reply:
    """Keep a new note, and answer with it and its place."""
    content = _parse_content(request.data)
    async with _open_storage(request) as storage:
        note = await storage.create(content)
    return note.to_reply(Location=f"/notes/{note.id}")


async def list_notes(request: Request) -> bytes:
    """Answer with a page of notes, the oldest first, and with the place where the next page begins, if there is one.

    A page has fewer than `limit` notes if a reply has no room for more.
    """
    limit, after = _parse_page(request.data)
    notes: list[Note] = []
    async with _open_storage(request) as storage:
        ids = [id_ for id_ in await storage.list_ids() if id_ > after]
        while ids and len(notes) <= limit:
            wanted, ids = ids[: limit + 1], ids[limit + 1 :]
            found = await asyncio.gather(*(storage.find(id_) for id_ in wanted))
            notes += [note for note in found if note]
    page = _fit(notes[:limit], get_max_payload(request) - PAGE_FRAME)
    more = {"next": page[-1].id} if len(notes) > len(page) else {}
    return _encode({"notes": [note.describe() for note in page], **more})


def _fit(notes: list[Note], room: int) -> list[Note]:
    """The first notes, as many as fit into this number of bytes, but at least one."""
    sizes = itertools.accumulate(len(_encode(note.describe())) + len(",") for note in notes)
    return [note for note, size in zip(notes, sizes, strict=True) if size <= room] or notes[:1]


async def read(request: Request) -> Reply:
    """Answer with a note."""
    id_ = _parse_id(request.subject)
    async with _open_storage(request) as storage:
        return (await _get(storage, id_, None)).to_reply()


async def replace(request: Request) -> Reply:
    """Give a note another content, if it is still the one that the caller knows. Answer with it."""
    id_, expected, content = _parse_id(request.subject), _parse_if_match(request), _parse_content(request.data)
    async with _open_storage(request) as storage:
        for _ in range(ATTEMPTS):
            note = await _get(storage, id_, expected)
            with contextlib.suppress(KeyWrongLastSequenceError):  # somebody else was faster
                return (await storage.replace(note, content)).to_reply()
    raise _give_up(id_)


async def delete(request: Request) -> bytes:
    """Forget a note, if it is still the one that the caller knows."""
    id_, expected = _parse_id(request.subject), _parse_if_match(request)
    async with _open_storage(request) as storage:
        for _ in range(ATTEMPTS):
            note = await _get(storage, id_, expected)
            with contextlib.suppress(KeyWrongLastSequenceError):
                await storage.delete(note)
                return b""
    raise _give_up(id_)


@contextlib.asynccontextmanager
async def _open_storage(request: Request) -> AsyncIterator[Storage]:
    """The storage, for STORAGE_SECONDS. If there is no storage, or if it is too slow, the request ends with 503."""
    try:
        async with asyncio.timeout(STORAGE_SECONDS):
            yield await Storage.open(get_jetstream(request, timeout=STORAGE_SECONDS))
    except (Error, TimeoutError) as error:
        logger.warning("no storage reason=%s", str(error) or type(error).__name__)
        raise ServiceError("503", "the notes' storage is not available") from None


async def _get(storage: Storage, id_: str, expected: frozenset[str] | None) -> Note:
    """The note as it is now. Raises ServiceError if there is none, or if its tag is not one of the expected ones."""
    note = await storage.find(id_)
    if note is None:
        raise ServiceError("404", f"there is no note {id_}")
    if expected is not None and expected.isdisjoint({"*", f'"{note.revision}"'}):
        raise ServiceError("409", f"note {id_} has changed: its revision is {note.revision}")
    return note


def _give_up(id_: str) -> ServiceError:
    return ServiceError("503", f"too many change note {id_} at the same time")


def _parse_id(subject: str) -> str:
    id_ = subject.rpartition(".")[2]
    if not _ID.fullmatch(id_):
        raise ServiceError("404", "there is no such note")
    return id_


def _parse_content(payload: bytes) -> Content:
    given = _parse_object(payload, {"title", "text"})
    title, text = given.get("title"), given.get("text", "")
    if not isinstance(title, str) or not 1 <= len(title) <= MAX_TITLE:
        raise ServiceError("422", f"title is a text of 1 to {MAX_TITLE} characters")
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        raise ServiceError("422", f"text is a text of at most {MAX_TEXT} characters")
    return Content(title, text)


def _parse_page(payload: bytes) -> tuple[int, str]:
    given = _parse_object(payload, {"limit", "after"}) if payload else {}
    limit, after = given.get("limit", USUAL_PAGE), given.get("after", "")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:
        raise ServiceError("422", f"limit is a number from 1 to {MAX_PAGE}")
    if not isinstance(after, str) or (after and not _ID.fullmatch(after)):
        raise ServiceError("422", "after is the id of a note")
    return limit, after


def _parse_object(payload: bytes, keys: set[str]) -> dict[str, object]:
    try:
        value = json.loads(payload.decode("utf-8"), object_pairs_hook=_make_object)
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair is not text
    except (ValueError, RecursionError):
        raise ServiceError("422", "the payload is not JSON in UTF-8 with unique keys") from None
    if not isinstance(value, dict) or value.keys() - keys:
        raise ServiceError("422", f"the payload is an object with no keys but {' and '.join(sorted(keys))}")
    return value


def _make_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key comes twice")
    return made


def _parse_if_match(request: Request) -> frozenset[str] | None:
    """The accepted entity tags, or `*` for any. None if the caller does not care. A weak tag stays weak."""
    text = find_header(request, "If-Match")
    if text is None:
        return None
    tags = ["*"] if text.strip() == "*" else _TAG.findall(text) if _TAGS.fullmatch(text) else []
    if not tags:
        raise ServiceError("422", 'If-Match is a list of entity tags, such as "7"')
    return frozenset(tags)


def _encode(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def main() -> None:
    """Runs the service `notes` until a signal ends it."""
    run(
        name="notes",
        version="1.0.0",
        description="Keeps short texts.",
        endpoints=[
            Endpoint("create", "notes.create", create),
            Endpoint("list", "notes.list", list_notes),
            Endpoint("read", "notes.read.*", read),
            Endpoint("replace", "notes.replace.*", replace),
            Endpoint("delete", "notes.delete.*", delete),
        ],
    )


if __name__ == "__main__":
    main()
