"""The rules of a route for request bodies: their types, and their JSON schema. Pure.

Everybody else waits while a body is checked, so only short bodies are checked at once, and still shorter ones by a
schema that makes much work. A body whose check could take longer becomes a Check, which `checker` runs in another
process.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from ..errors import InvalidBody, UnsupportedMediaType
from ..formats.fields import Pair, is_clean_value
from ..formats.schemas import Json, Schema, encode_pointer, parse_json

MAX_FAULTS = 20  # in the error of one body
MAX_TYPE = 64  # characters of a media type in an error, or of one that is remembered
MAX_SEEN = 16  # media types that are remembered for a route
CHECKED_MAX_BODY = 256 * 1024  # bytes, for a route with a schema and no limit: at most 50 ms, and 9 MiB of values

AT_ONCE = 16 * 1024  # bytes: to read and check such a body by a usual schema takes at most 3 ms
COST_AT_ONCE = (
    20 * AT_ONCE
)  # bytes times the cost of the schema: to check such a body by any schema takes at most 30 ms
LISTED_AT_ONCE = 2 * 1024  # bytes: to list the faults of such a body by a usual plain schema takes at most 2 ms
SIZE_AT_ONCE = (
    10 * LISTED_AT_ONCE
)  # bytes times the size of the schema: to list them by any plain schema, at most 40 ms
MAX_SIZE_AT_ONCE = 400  # the size of such a schema

_MEDIA_TYPE = re.compile(r"(?:\*/\*|[a-z0-9!#$&^_.+-]+/(?:\*|[a-z0-9!#$&^_.+-]+))")  # RFC 6838 §4.2, RFC 9110 §12.5.1


def is_media_range(text: str) -> bool:
    """Whether a text is allowed in `accepts`: `application/json`, `image/*` or `*/*`, in lower case."""
    return _MEDIA_TYPE.fullmatch(text) is not None


def is_content_type(text: str) -> bool:
    """Whether a text is allowed as `Content-Type`: it is not a range, and has no character that could end the
    header."""
    media_type = text.partition(";")[0].strip().lower()
    return text.isascii() and is_clean_value(text.encode()) and is_media_range(media_type) and "*" not in media_type


_ENCODING, _TYPE = b"content-encoding", b"content-type"
_BLANKS = b" \t\r\n"  # RFC 8259 §2

Taken = frozenset[str] | None
"""The names of the parameters that are merged into a JSON object, in lower case. None for no merge. The object may not
have such a key, in upper or lower case: some libraries, such as Go's, read `ID` as `id`."""


@dataclass(frozen=True, slots=True)
class Check:
    """A body that another process must check."""

    schema: Schema
    body: bytes
    taken: Taken = None


class BodyRules:
    """The media types that a route takes, the schema of its bodies, and the parameters that are merged into them. An
    empty list of media types allows all."""

    __slots__ = ("_accepts", "_at_once", "_is_signed", "_keeps_encoding", "_schema", "_seen", "_taken")

    def __init__(
        self,
        accepts: Sequence[str],
        schema: Schema | None,
        *,
        taken: Taken = None,
        keeps_encoding: bool,
        is_signed: bool = False,
    ) -> None:
        """With `keeps_encoding` the service gets the `Content-Encoding`. With `is_signed` each body has a signature."""
        self._is_signed = is_signed
        self._accepts = frozenset(text.encode("ascii") for text in accepts)
        self._seen: set[bytes] = set()
        """Values of Content-Type that need no second look."""
        self._schema = _allow_anything() if schema is None and taken is not None else schema
        self._at_once = AT_ONCE if self._schema is None else min(AT_ONCE, COST_AT_ONCE // self._schema.cost)
        self._taken = taken
        self._keeps_encoding = keeps_encoding and self._schema is None

    def check_head(self, fields: Sequence[Pair]) -> None:
        """Raises UnsupportedMediaType if the request announces a body that the route does not take (RFC 9110
        §15.5.16)."""
        said = dict(fields)
        is_seen = not self._accepts or (len(said) == len(fields) and said.get(_TYPE) in self._seen)
        if is_seen and _ENCODING not in said:  # the usual case
            return
        encodings = [value.strip().lower() for name, value in fields if name == _ENCODING]
        if encodings and set(encodings) - {b"", b"identity"} and not self._keeps_encoding:
            raise UnsupportedMediaType(
                "This route accepts no Content-Encoding.", headers=((b"accept-encoding", b"identity"),)
            )
        if self._accepts and _has_body(fields):
            types = [value for name, value in fields if name == _TYPE]
            if len(types) != 1 or not self._is_accepted(types[0]):
                accepted = b", ".join(sorted(self._accepts))
                detail = f"This route accepts a body of the type {accepted.decode()}.{_describe_type(types)}"
                raise UnsupportedMediaType(detail, headers=((b"accept", accepted),))

    @property
    def reads_json(self) -> bool:
        """Whether a body must be JSON."""
        return self._schema is not None

    @property
    def max_body(self) -> int | None:
        """The largest body, in bytes, if neither the route nor the gateway has a smaller limit. None for no limit."""
        return CHECKED_MAX_BODY if self._schema is not None or self._is_signed else None

    def check_body(self, body: bytes) -> Check | None:
        """None if the body is valid, or the Check that another process must run. Raises InvalidBody."""
        schema = self._schema
        if schema is None:
            return None
        if len(body) > self._at_once:
            return Check(schema, body, self._taken)
        value = read_body(body)
        check_keys(value, self._taken)
        if schema.is_valid(value):
            return None
        if len(body) > _limit_listing(schema):
            return Check(schema, body, self._taken)
        raise InvalidBody(errors=tuple(schema.find_faults(value, limit=MAX_FAULTS)))

    def _is_accepted(self, content_type: bytes) -> bool:
        media_type = content_type.partition(b";")[0].strip().lower()
        family, slash, _ = media_type.partition(b"/")
        is_accepted = slash != b"" and not self._accepts.isdisjoint((media_type, family + b"/*", b"*/*"))
        if is_accepted and len(self._seen) < MAX_SEEN and len(content_type) <= MAX_TYPE:
            self._seen.add(content_type)
        return is_accepted


@cache
def _allow_anything() -> Schema:
    return Schema(True)


def _limit_listing(schema: Schema) -> int:
    """The bytes of the longest body whose faults are listed at once."""
    if schema.size > MAX_SIZE_AT_ONCE or not schema.is_plain:
        return 0
    return min(LISTED_AT_ONCE, SIZE_AT_ONCE // schema.size)


def _describe_type(types: Sequence[bytes]) -> str:
    """A sentence with the media type of a body. Empty if the type is too long, or is none."""
    media_type = types[0].partition(b";")[0].strip().lower().decode("latin-1") if len(types) == 1 else ""
    is_shown = len(media_type) <= MAX_TYPE and is_media_range(media_type)
    return f" The body has the type {media_type}." if is_shown else "" if types else " The request has no Content-Type."


def read_body(body: bytes) -> Json:
    """The JSON value of a body. Raises InvalidBody."""
    try:
        return parse_json(body)
    except ValueError as error:
        fault = str(error) if body else "it is empty"
        raise InvalidBody("The body can't be read as JSON.", errors=(("", fault),)) from None


def check_keys(value: Json, taken: Taken) -> None:
    """Raises InvalidBody if the parameters can't be merged into this value."""
    if taken is None:
        return
    detail = "The parameters of this route can't be added to the body."
    if not isinstance(value, dict):
        raise InvalidBody(detail, errors=(("", "it is not an object, and this route adds its parameters to it"),))
    if both := sorted(key for key in value if key.casefold() in taken):
        fault = "it is a parameter of this route, and can't be in the body as well"
        raise InvalidBody(detail, errors=tuple((encode_pointer((name,)), fault) for name in both[:MAX_FAULTS]))


def merge(body: bytes, parameters: bytes) -> bytes:
    """Merges two JSON objects that have no key in common. The bytes of the body stay as they are."""
    if parameters == b"{}":
        return body
    inner = body.rstrip(_BLANKS)[:-1]
    return b"%b%b%b" % (inner, b"" if inner.strip(_BLANKS) == b"{" else b",", parameters[1:])


def check_no_body(fields: Sequence[Pair], reason: str) -> None:
    """Raises UnsupportedMediaType if the request announces a body. The service would not get it."""
    if _has_body(fields):
        raise UnsupportedMediaType(f"This route accepts no body: {reason}.")


def _has_body(fields: Sequence[Pair]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0") != b"")
        for name, value in fields
    )
