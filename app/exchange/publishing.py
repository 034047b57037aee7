"""Publishing: the headers that a message gets besides those of the request, and what its outcome means for the caller.
Pure.

Law: `delivered` of an answer says whether the message is stored. It is "yes" only if a stream has acknowledged the
message. It is "no" only if the message was not sent, or if the server has said that it does not store it.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

from pydantic_core import from_json

from ..edge.request import Request
from ..errors import (
    ConnectionLost,
    Delivered,
    GatewayError,
    IdempotencyKeyMissing,
    InvalidParameter,
    NoResponders,
    NotStored,
    PayloadTooLarge,
    PreconditionFailed,
    Timeout,
)
from ..formats.fields import Pair, find_values
from ..formats.units import format_duration
from ..routing.kinds import Store
from .responses import Fields, Response, encode_json

_IF_MATCH = b"if-match"

MAX_KEY = 255  # characters of an Idempotency-Key
MAX_ANSWER = 65536  # bytes; an acknowledgement has a few hundred
_MAX_DIGITS = 19  # in a sequence
_ACCEPTED = Response(202, Fields(()), b"")
_JSON: Pair = (b"content-type", b"application/json")

# Errors of JetStream (`err_code`, see errors.json of nats-server). After any other code nobody knows whether the
# message is stored.
_WRONG_SEQUENCE = frozenset((10071, 10164))
_TOO_LARGE = 10054
_IN_PROGRESS = 10158
_NEVER = {
    10060: "The stream of this route does not store messages on this subject: another stream does.",
    10109: "The stream of this route is sealed: it stores no more messages.",
}
_NOT_NOW = {
    10008: "JetStream has no leader at the moment.",
    10009: "The stream of this route has no leader at the moment.",
    10023: "The NATS server has no resources for more messages.",
    10028: "The NATS account has no room for more messages.",
    10039: "JetStream is not enabled for the NATS account.",
    10047: "The NATS server has no room for more messages.",
    10076: "JetStream is not enabled on the NATS server.",
    10077: "The stream of this route stores no more messages: it is full.",
    10167: "The stream of this route has too many messages to store at the moment.",
}


class PublishReader:
    """Reads the outcome of a message that nobody replies to: the NATS server has taken it. Nobody knows whether a
    service gets it."""

    delivered: Delivered = "unknown"

    def read(self, _block: bytes, _payload: bytes, _prefers_text: bool, /) -> Response:
        """As in Reader."""
        return Response(_ACCEPTED.status, _ACCEPTED.fields, b"")

    def explain(self, error: GatewayError, _request: Request, timeout: float, /) -> GatewayError:
        """As in Reader."""
        if isinstance(error, Timeout) and error.delivered == "unknown":
            return Timeout(f"The NATS server did not confirm the message within {format_duration(timeout)}.")
        return error


class StoreReader:
    """Reads the answer of a stream to a message: a PubAck."""

    delivered: Delivered = "yes"

    def __init__(self, kind: Store) -> None:
        self._kind = kind

    def read(self, _block: bytes, payload: bytes, _prefers_text: bool, /) -> Response:
        """The 201 for the acknowledgement. Raises a GatewayError."""
        answer = _parse(payload)
        if "error" in answer:
            raise _to_error(answer["error"])
        sequence = answer.get("seq")
        if answer.get("stream") != self._kind.stream or not isinstance(sequence, int) or sequence < 1:
            raise NotStored.unknown("The answer to the message is not the acknowledgement of the stream of this route.")
        body = {"stream": self._kind.stream, "seq": sequence, "duplicate": answer.get("duplicate") is True}
        return Response(201, Fields((_JSON, (b"etag", b'"%d"' % sequence))), encode_json(body))

    def explain(self, error: GatewayError, request: Request, timeout: float, /) -> GatewayError:
        """The error in the words for a message. If nobody knows whether the message is stored, a caller with an
        idempotency key may repeat the request: the stream drops the second message."""
        if isinstance(error, NoResponders):
            return NotStored.not_now("No stream stores messages on the subject of this route.")
        if isinstance(error, Timeout) and error.delivered == "unknown":
            error = Timeout(f"The stream did not acknowledge the message within {format_duration(timeout)}.")
        if isinstance(error, Timeout | ConnectionLost) and _find_key(self._kind, request) is not None:
            error.retryable = True
        return error


def write_expected_stream(kind: Store) -> Sequence[Pair]:
    """The headers of a message without a key and without `If-Match`."""
    return ((b"Nats-Expected-Stream", kind.stream.encode("ascii")),)


def write_expectations(kind: Store, request: Request, subject: str) -> Sequence[Pair]:
    """The headers by which the stream decides whether it stores the message. Raises a GatewayError.

    - the stream that is expected to store it;
    - the id of the message, made from the idempotency key;
    - the expected last sequence of the subject, from `If-Match`.
    """
    pairs = [*write_expected_stream(kind)]
    key = _find_key(kind, request)
    if key is not None:
        pairs.append((b"Nats-Msg-Id", _make_message_id(request, subject, _read_key(kind, key))))
    elif kind.idempotency_key == "required":
        raise IdempotencyKeyMissing(f"The request has no header {kind.idempotency_header}, which this route needs.")
    tags = find_values(request.headers, _IF_MATCH)
    if tags:
        pairs.append((b"Nats-Expected-Last-Subject-Sequence", _read_sequence(b",".join(tags))))
    return pairs


def list_read_fields(kind: Store) -> frozenset[bytes]:
    """The names of the request headers that `write_expectations` reads."""
    return frozenset((kind.idempotency_header.lower().encode("ascii"), _IF_MATCH))


def _find_key(kind: Store, request: Request) -> bytes | None:
    keys = find_values(request.headers, kind.idempotency_header.lower().encode("ascii"))
    return b",".join(keys) if keys else None


def _read_key(kind: Store, value: bytes) -> bytes:
    """The key: a quoted string of a structured field (RFC 8941 §3.3.3), as in the IETF draft, or the same text without
    quotes, as in many APIs. Raises InvalidParameter."""
    key = value[1:-1] if len(value) > 1 and value[:1] == value[-1:] == b'"' else value
    if not (1 <= len(key) <= MAX_KEY and key.isascii() and key.decode("ascii").isprintable()) or b'"' in key:
        detail = f"Header {kind.idempotency_header} must be one key of 1 to {MAX_KEY} printable ASCII characters."
        raise InvalidParameter(detail, parameters=((kind.idempotency_header, "header", detail),))
    return key


def _make_message_id(request: Request, subject: str, key: bytes) -> bytes:
    """The id of a message. A stream compares the ids of all its subjects. So the id includes the subject and the
    caller: otherwise the same key of another caller, or on another route, would hide this message."""
    identity = request.identity
    caller = f"{identity.scheme}:{identity.subject}" if identity else ""
    return sha256(b"\0".join((subject.encode(), caller.encode(), key))).hexdigest().encode("ascii")


def _read_sequence(value: bytes) -> bytes:
    """The sequence in an entity tag such as `"16"`. A tag that no stream has ever given out can't match. Raises
    PreconditionFailed and InvalidParameter."""
    tag = value.strip()
    is_weak = tag.startswith(b"W/")
    text = tag.removeprefix(b"W/")
    if len(text) < 2 or not text.startswith(b'"') or not text.endswith(b'"') or b'"' in text[1:-1]:
        detail = 'Header If-Match must be one sequence in quotes, such as "16"; "0" means that there is no message yet.'
        raise InvalidParameter(detail, parameters=(("If-Match", "header", detail),))
    digits = text[1:-1]
    is_number = digits.isdigit() and len(digits) <= _MAX_DIGITS and digits == b"%d" % int(digits)
    if is_weak or not is_number:  # RFC 9110 §13.1.1: only strong tags can match
        raise PreconditionFailed("The tag in If-Match is not the sequence of a message.")
    return digits


def _parse(payload: bytes) -> dict[str, Any]:
    try:
        answer = from_json(payload) if len(payload) <= MAX_ANSWER else None
    except ValueError:
        answer = None
    return answer if isinstance(answer, dict) else {}


def _to_error(found: object) -> GatewayError:
    """The error of the gateway for an error of JetStream."""
    code = found.get("err_code") if isinstance(found, dict) else None
    if code in _WRONG_SEQUENCE:
        return PreconditionFailed()
    if code == _TOO_LARGE:
        return PayloadTooLarge("The message is larger than the stream of this route accepts.")
    if code in _NEVER:
        return NotStored(_NEVER[code])
    if code in _NOT_NOW:
        return NotStored.not_now(_NOT_NOW[code])
    if code == _IN_PROGRESS:
        error = NotStored.unknown("A message with the same Idempotency-Key is being stored at the moment.")
        error.retryable = True
        return error
    return NotStored.unknown("The stream answered with an error that leaves open whether the message is stored.")
