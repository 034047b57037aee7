"""The parts of JetStream's API that streams need: facts about a stream, its messages one by one, and the position of a
time. Each is one request to NATS. Every failure is a GatewayError."""

import base64
import time
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json, to_json

from ..errors import GatewayError, StreamUnavailable
from ..formats.messages import Reply
from .link import Link

API_TIMEOUT = 2.0  # seconds
MAX_ANSWER = 96 * 1024 * 1024  # bytes: a message of 64 MiB in Base64

_NO_MESSAGE = 10037
_NO_STREAM = 10059


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """Facts about a stream. `created` differs if it was deleted and made again."""

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
    return StreamInfo(int(state["first_seq"]), int(state["last_seq"]), str(answer.get("created")))


async def read_next(link: Link, stream: str, subject: str, sequence: int) -> Stored | None:
    """The first message on the subject with this sequence or a later one; None if there is none. Raises
    StreamUnavailable."""
    return await _read(link, stream, {"seq": sequence, "next_by_subj": subject})


async def read_last(link: Link, stream: str, subject: str) -> Stored | None:
    """The last message on the subject; None if there is none. Raises StreamUnavailable."""
    return await _read(link, stream, {"last_by_subj": subject})


async def _read(link: Link, stream: str, query: dict[str, Any]) -> Stored | None:
    answer = await _ask(link, f"STREAM.MSG.GET.{stream}", query, missing=_NO_MESSAGE)
    if not answer:
        return None
    message = answer["message"]
    headers, payload = (base64.b64decode(message.get(key) or "") for key in ("hdrs", "data"))
    return Stored(int(message["seq"]), Reply(headers, payload))


async def make_consumer(
    link: Link, stream: str, subject: str, *, deliver: str, sequence: int, heartbeat: float
) -> None:
    """Make an ordered consumer (ADR-17 of NATS): messages on `subject` from this sequence go to the subject `deliver`,
    without acknowledgements. The server removes it soon after the subscription to `deliver` has ended. Raises
    StreamUnavailable."""
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
    await _ask(link, f"CONSUMER.CREATE.{stream}", {"stream_name": stream, "config": config})


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
