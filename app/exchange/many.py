"""Turns many replies to one request into one response: a JSON array once all have come, or a stream of them, as NDJSON
or server-sent events. Pure.

Laws:
1. Every reply that came before the end is one element, in its order. A reply that can't be used becomes an element that
   says why. A service's error (ADR-32 of NATS) is an element with its code, unless the route has `errors: fail`.
2. Every response says what ended the replies: in `X-Replies-Ended`, or in the last event or line of a stream.
3. An element is JSON in one line. So no reply can forge a line, an event, or the end of a stream.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from pydantic_core import from_json

from ..errors import BadReply, GatewayError, ServiceError
from ..formats.accept import choose_type
from ..formats.messages import Reply
from ..routing.kinds import Gather
from ..routing.routes import Route
from .replies import ReplyReader, check_reply, to_bad_reply
from .responses import Fields, Response, Unchecked, encode_json

Form = Literal["application/json", "application/x-ndjson", "text/event-stream"]
FORMS: tuple[Form, ...] = ("application/json", "application/x-ndjson", "text/event-stream")
ENDED = b"x-replies-ended"

_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
ARRAY: Form = "application/json"
_EVENTS: Form = "text/event-stream"


def choose_form(accept: bytes, method: str) -> Form:
    """The form that the caller prefers. HEAD gets the head of an array."""
    return choose_type(accept, FORMS) if method != "HEAD" else ARRAY


class ElementWriter:
    """Writes the replies to one route as elements."""

    def __init__(self, route: Route, kind: Gather) -> None:
        self._rules = route.reply_rules
        self._reader = ReplyReader(route)
        self._may_fail = kind.errors == "fail"
        media_type = (route.reply.content_type or "").partition(";")[0].strip().lower()
        self._is_json = route.reply.schema is not None or media_type.endswith(("/json", "+json"))
        self._is_text = media_type.startswith("text/")

    def write(self, reply: Reply) -> bytes | Unchecked:
        """The element. An Unchecked must be checked first: see `write_checked`. With `errors: fail` raises a
        GatewayError for a reply that is an error."""
        try:
            response = self._reader.read(reply.headers, reply.payload, False)
            if response.status >= 400:
                return self._write_error(response)
            checked = check_reply(response, self._rules)
            return checked if isinstance(checked, Unchecked) else self._write_body(response.body)
        except GatewayError as error:
            return self._write_failure(error)

    def write_checked(self, unchecked: Unchecked, verdict: GatewayError | None) -> bytes:
        """The element after its check. Raises as `write`."""
        return self._write_body(unchecked.body) if verdict is None else self._write_failure(to_bad_reply(verdict))

    def _write_body(self, body: bytes) -> bytes:
        """JSON stays as it is, except for its line breaks. A text becomes a string."""
        if not self._is_text:
            try:
                from_json(body, allow_inf_nan=False)
            except ValueError:
                if self._is_json:
                    return self._write_failure(BadReply("The service's reply is not JSON."))
            else:
                return body.translate(_ONE_LINE)  # they are only between the parts of JSON, never within a string
        try:
            return encode_json(body.decode())
        except UnicodeDecodeError:
            return self._write_failure(BadReply("The service's reply is not text in UTF-8."))

    def _write_error(self, response: Response) -> bytes:
        """The element for an error with a payload of its own."""
        facts = dict(response.facts)
        if self._may_fail:
            raise ServiceError(facts.get("service_error"), status=response.status, facts=response.facts)
        error: dict[str, Any] = {"code": _read_code(facts.get("service_error_code") or str(response.status))}
        if detail := facts.get("service_error"):
            error["detail"] = detail
        written = encode_json({"error": error})
        return b'%b,"data":%b}}' % (written[:-2], self._write_body(response.body))

    def _write_failure(self, error: GatewayError) -> bytes:
        if self._may_fail:
            raise error
        code = dict(error.facts).get("service_error_code", error.slug if isinstance(error, BadReply) else "")
        return encode_json({"error": {"code": _read_code(code) or error.status, "detail": error.detail}})


def _read_code(code: str) -> int | str:
    return int(code) if code.isascii() and code.isdigit() and len(code) <= 9 else code


def write_array(elements: Sequence[bytes], ended: str) -> Response:
    """The response once all replies have come."""
    return Response(200, Fields((*_list_fields(ARRAY), (ENDED, ended.encode()))), b"[%b]" % b",".join(elements))


def open_stream(form: Form) -> Response:
    """The head of a stream."""
    return Response(200, Fields((*_list_fields(form), (b"x-accel-buffering", b"no"))), b"")


def _list_fields(form: Form) -> Iterable[tuple[bytes, bytes]]:
    return (b"content-type", form.encode()), (b"cache-control", b"no-store"), (b"vary", b"Accept")


def write_part(form: Form, element: bytes) -> bytes:
    """An element in a stream."""
    return b"data: %b\n\n" % element if form == _EVENTS else element + b"\n"


def write_end(form: Form, ended: str, error: GatewayError | None = None) -> bytes:
    """The end of a stream: what ended it, and the error, if one did."""
    told: dict[str, Any] = {"X-Replies-Ended": ended}
    if error is not None:
        told["error"] = {"code": error.slug, "detail": error.detail}
    written = encode_json(told)
    return b"event: end\ndata: %b\n\n" % written if form == _EVENTS else written + b"\n"
