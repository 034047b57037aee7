"""The parts of JetStream that streams need: facts about a stream, its messages, its consumers, and the position of a
time. Each is one request to NATS. Every failure is a GatewayError."""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic_core import from_json, to_json

from ..errors import GatewayError, StreamUnavailable
from ..formats.messages import Reply, name_subject
from .link import Link

API_TIMEOUT = 2.0  # seconds
UNUSED = 10.0  # seconds until the server removes a consumer that nobody reads
MAX_ANSWER = 96 * 1024 * 1024  # bytes: a message of 64 MiB in Base64

_NO_MESSAGE = 10037
_NO_STREAM = 10059


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """Facts about a stream. `first` is the sequence of its first message, or of the next one if it has none. `created`
    differs if it was deleted and made again."""

    first: int
    last: int
    created: str


@dataclass(frozen=True, slots=True)
class Stored:
    """A message of a stream, with its sequence."""

    sequence: int
    message: Reply


async def read_info(link: Link, stream: str) -> StreamInfo:
    """Raises StreamUnavailable if there is no such stream, or if JetStream does not answer."""
    answer = await _ask(link, f"STREAM.INFO.{stream}", {})
    state = answer.get("state", {})
    first = max(int(state["first_seq"]), 1)  # the server says 0 until the first message comes
    return StreamInfo(first, int(state["last_seq"]), str(answer.get("created")))


async def read_next(link: Link, stream: str, subject: str, sequence: int) -> Stored | None:
    """The first message on the subject with this sequence or a later one; None if there is none. Raises
    StreamUnavailable."""
    return await _read(link, stream, {"seq": sequence, "next_by_subj": subject})


async def read_last(link: Link, stream: str, subject: str) -> Stored | None:
    """The last message on the subject; None if there is none. Raises StreamUnavailable."""
    return await _read(link, stream, {"last_by_subj": subject})


async def _read(link: Link, stream: str, query: dict[str, Any]) -> Stored | None:
    answer = await _ask(link, f"STREAM.MSG.GET.{stream}", query, missing=_NO_MESSAGE)
    subject = next(str(query[key]) for key in ("next_by_subj", "last_by_subj") if key in query)
    if not answer:
        return None
    message = answer["message"]
    headers, payload = (base64.b64decode(message.get(key) or "") for key in ("hdrs", "data"))
    found = str(message.get("subject")).encode()
    return Stored(int(message["seq"]), name_subject(Reply(headers, payload), found, subject))


@dataclass(frozen=True, slots=True)
class Request:
    """A message to JetStream."""

    subject: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Reader:
    """A consumer that delivers batches when it is asked. `first` is the sequence with which it begins."""

    name: str
    first: int


async def make_reader(link: Link, stream: str, subject: str, policy: Mapping[str, object]) -> Reader:
    """Make a consumer for batches of messages on `subject`. `policy` says with which message it begins. The server
    removes it once nobody has read it for UNUSED. Raises StreamUnavailable."""
    config = {
        **policy,
        "ack_policy": "none",
        "max_deliver": 1,
        "filter_subject": subject,
        "inactive_threshold": int(UNUSED * 1e9),
        "mem_storage": True,
        "num_replicas": 1,
    }
    answer = await _ask(link, f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config})
    return Reader(str(answer["name"]), int(answer["delivered"]["stream_seq"]) + 1)


async def find_sequence(link: Link, stream: str, subject: str, time_: float) -> tuple[int, Request]:
    """The sequence of the first message at this Unix time or after it, and what removes the consumer that was made to
    find it. Raises StreamUnavailable."""
    start = datetime.fromtimestamp(time_, UTC).isoformat()
    reader = await make_reader(link, stream, subject, {"deliver_policy": "by_start_time", "opt_start_time": start})
    return reader.first, write_deletion(stream, reader.name)


def ask_for_batch(stream: str, name: str, *, messages: int, size: int) -> Request:
    """The request for the next messages of a consumer: at most so many, and so many bytes (ADR-37 of NATS)."""
    query = {"batch": messages, "max_bytes": size, "no_wait": True}
    return Request(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}", to_json(query))


def write_deletion(stream: str, name: str) -> Request:
    """The request that removes a consumer."""
    return Request(f"$JS.API.CONSUMER.DELETE.{stream}.{name}", b"")


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the reply subject of a delivered message says: its sequence in the stream, its number of the consumer, from
    1 on, and how many more messages wait."""

    of_stream: int
    of_consumer: int
    pending: int


def read_numbers(reply: bytes) -> Numbers | None:
    """None if this is not the reply subject of a delivered message."""
    tokens = reply.split(b".")
    if tokens[:2] != [b"$JS", b"ACK"]:
        return None
    start = 5 if len(tokens) == 9 else 7  # newer servers may write a domain and an account
    found = tokens[start : start + 4]
    if len(found) < 4 or not all(token.isdigit() for token in found):
        return Numbers(0, 0, 0)
    return Numbers(int(found[0]), int(found[1]), int(found[3]))


async def make_consumer(link: Link, stream: str, subject: str, *, deliver: str, sequence: int, heartbeat: float) -> str:
    """Make an ordered consumer (ADR-17 of NATS): messages on `subject` from this sequence go to the subject `deliver`,
    without acknowledgements. Returns its name. The server removes it some time after the subscription to `deliver` has
    ended. Raises StreamUnavailable."""
    config = {
        "deliver_subject": deliver,
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": sequence,
        "ack_policy": "none",
        "max_deliver": 1,
        "filter_subject": subject,
        "idle_heartbeat": int(heartbeat * 1e9),
        "inactive_threshold": int(30e9),
        "mem_storage": True,
        "num_replicas": 1,
    }
    answer = await _ask(link, f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config})
    return str(answer["name"])


async def _ask(link: Link, what: str, query: dict[str, Any], missing: int = 0) -> dict[str, Any]:
    """The answer; empty for the error `missing`."""
    outcome = await link.request(f"$JS.API.{what}", b"", to_json(query), time.monotonic() + API_TIMEOUT)
    if isinstance(outcome, GatewayError):
        raise StreamUnavailable from outcome
    try:
        answer = from_json(outcome.payload) if len(outcome.payload) <= MAX_ANSWER else None
    except ValueError:
        answer = None
    if not isinstance(answer, dict):
        raise StreamUnavailable("JetStream gave an answer that can't be read.")
    error = answer.get("error")
    if not error:
        return answer
    code = error.get("err_code") if isinstance(error, dict) else None
    if code == missing:
        return {}
    raise StreamUnavailable("There is no such stream." if code == _NO_STREAM else None)
