"""Reads the header fields of a request for the gateway, and encodes the headers that travel to the service. Pure.

Law: the work grows linearly with the length of the fields. Parts that cost more than their bytes, such as the media
ranges of `Accept`, are counted and limited before they are parsed.
"""

from collections.abc import Iterator, Mapping, Sequence

from ..edge.request import BODY_METHODS
from ..errors import HeadersTooLarge, InvalidParameter
from ..formats.accept import prefers_plain_text
from ..formats.fields import MAX_BLOCK, OF_PROXIES, Pair, encode_fields, find_hop_by_hop_names, is_clean_value
from ..formats.messages import encode_block
from ..formats.units import parse_duration
from ..routing.parameters import Parameter, Value, write_value
from ..routing.routes import Route
from ..routing.words import sends_body
from .responses import encode_json

MAX_MEDIA_RANGES = 64  # of all `Accept` fields
MAX_WEIGHTS = 256  # weights and other parameters in all `Accept` fields
MAX_HOP_BY_HOP = 64  # names in all `Connection` fields

_END = b"\r\n\r\n"
_EMPTY = b"NATS/1.0" + _END
_NO_NAMES: frozenset[bytes] = frozenset()
_REQUEST_ID, _TIMEOUT = b"x-request-id", b"x-request-timeout"
_OURS = OF_PROXIES.union((_REQUEST_ID, _TIMEOUT))
"""Headers that the gateway writes itself: the request id, the time that is left, and who calls."""
_RELEVANT = frozenset((_REQUEST_ID, _TIMEOUT, b"content-length", b"connection"))
_RELEVANT_TO_WRAPPED = frozenset((b"accept",))
_SAYS_NOTHING = (b"accept", b"*/*"), (b"accept", b"application/json"), (b"connection", b"keep-alive")
_RELEVANT_TO_BODIES = frozenset((b"content-type", b"content-encoding", b"transfer-encoding"))


def choose_relevant(route: Route) -> frozenset[bytes]:
    """The names of the fields that matter for a route, without those that only its policies read."""
    names = _RELEVANT.union(route.request_allow.names, route.reader.header_names)
    if route.reply.wrap is not None:
        names |= _RELEVANT_TO_WRAPPED
    may_have_body = not BODY_METHODS.isdisjoint(route.methods) or sends_body(route.payload, route.methods)
    return names | _RELEVANT_TO_BODIES if may_have_body else names


def choose_unheeded(route: Route) -> tuple[frozenset[bytes], frozenset[Pair]]:
    """The names, and the whole fields, that change neither the headers for the service of this route, nor the time
    limit, nor the form of the reply. The names are those of the request id, which is read before, and of facts about
    the body. If a request has other fields, all of its fields count: a second `Accept` may say more than the first."""
    travel = route.request_allow.names | route.reader.header_names
    names = (_RELEVANT_TO_BODIES | {b"content-length"}) - travel | {_REQUEST_ID}
    return names, frozenset(pair for pair in _SAYS_NOTHING if pair[0] not in travel)


def choose_timeout(fields: Sequence[Pair], usual: float, most: float) -> float:
    """The seconds that the caller asks for, at most `most`; else `usual`. Raises InvalidParameter."""
    asked = [value for name, value in fields if name == _TIMEOUT]
    if not asked:
        return usual
    if len(asked) > 1:
        raise InvalidParameter("Header X-Request-Timeout is in the request more than once.")
    try:
        return min(parse_duration(asked[0].decode("latin-1")), most)
    except ValueError as error:
        raise InvalidParameter(f"Header X-Request-Timeout is not a duration: {error}.") from None


def sends_request_id(route: Route) -> bool:
    """Whether the service gets the request id."""
    return _REQUEST_ID in route.request_allow.names


def find_timeout_header(route: Route) -> bytes | None:
    """The NATS name of the header with the milliseconds that are left; None if the route does not list it."""
    return route.request_allow.canonical(_TIMEOUT) if _TIMEOUT in route.request_allow.names else None


def encode_sent(route: Route, own: Sequence[Pair] = ()) -> bytes:
    """The header block for a request without headers that travel. `own` are the headers that the gateway writes. If the
    service gets the request id, the block ends before its value."""
    if not sends_request_id(route):
        return encode_block([*_list_sent(route), *own])
    block = encode_block([*_list_sent(route), *own, (route.request_allow.canonical(_REQUEST_ID), b"")])
    return block.removesuffix(b"\r\n\r\n")


def add_fields(block: bytes, pairs: Sequence[Pair]) -> bytes:
    """The header block with more headers. Their values must be clean."""
    return b"%b%b\r\n" % (block[:-2] if block else b"NATS/1.0\r\n", encode_fields(pairs))


def choose_travelling(route: Route) -> Mapping[bytes, bytes]:
    """The names of the fields that travel as they came and do nothing else, each with its name on the NATS side."""
    allow = route.request_allow
    more = _RELEVANT_TO_WRAPPED if route.reply.wrap is not None else _NO_NAMES
    return {name: allow.canonical(name) for name in allow.names - _OURS - more}


def find_place(sent: bytes) -> int:
    """The place in such a block where headers that travel are added: before the request id, if it has one."""
    return sent.rfind(b"\n", 0, -2 if sent.endswith(_END) else None) + 1 if sent else len(_EMPTY) - len(b"\r\n")


def add_travelling(block: bytes, place: int, fields: Sequence[Pair], names: Mapping[bytes, bytes]) -> bytes:
    """The header block with fields that all travel, at this place. `names` has their names on the NATS side. Raises
    InvalidParameter or HeadersTooLarge."""
    lines = b""
    for name, value in fields:
        _check_value(name, value)
        lines += b"%b: %b\r\n" % (names[name], value)
    block = block or _EMPTY
    return _check_size(b"%b%b%b" % (block[:place], lines, block[place:]))


def _check_value(name: bytes, value: bytes) -> None:
    if not is_clean_value(value):
        raise InvalidParameter(f"Header {name.decode('latin-1')} has a control character.")


def _check_size(block: bytes) -> bytes:
    if len(block) > MAX_BLOCK:
        raise HeadersTooLarge(f"The headers for the service have {len(block)} bytes; at most {MAX_BLOCK} may travel.")
    return block


def add_time_left(block: bytes, name: bytes, seconds: float) -> bytes:
    """The header block with one more header: the time that is left for a reply, in milliseconds, at least 1."""
    return add_fields(block, [(name, b"%d" % max(1, int(seconds * 1000)))])


def _list_sent(route: Route) -> list[Pair]:
    return [(name.encode("ascii"), value.encode("ascii")) for name, value in route.send_headers]


def encode_headers(
    route: Route,
    fields: Sequence[Pair],
    request_id: str,
    values: Mapping[str, Value] | None = None,
    own: Sequence[Pair] = (),
) -> bytes:
    """The header block for the service. It includes the parameters (from `values`) that travel as headers, and `own`,
    the headers that the gateway itself writes. Raises InvalidParameter or HeadersTooLarge."""
    allow = route.request_allow
    connection = [value for name, value in fields if name == b"connection"]
    hop_by_hop = _find_hop_by_hop(connection) if connection else _NO_NAMES
    pairs = _list_sent(route) if route.send_headers else []
    for name, value in fields:
        if name not in allow.names or name in hop_by_hop or name in _OURS:
            continue
        _check_value(name, value)
        pairs.append((allow.canonical(name), value))
    if _REQUEST_ID in allow.names and _REQUEST_ID not in hop_by_hop:
        pairs.append((allow.canonical(_REQUEST_ID), request_id.encode("ascii")))
    pairs += own
    for parameter in route.by_header:
        pairs += _list_values(parameter, (values or {}).get(parameter.name))
    return _check_size(encode_block(pairs))


def _list_values(parameter: Parameter, value: Value | None) -> Iterator[Pair]:
    name = (parameter.header or "").encode("ascii")
    for item in value if isinstance(value, list) else [] if value is None else [value]:
        text = write_value(item).encode("utf-8")
        if not is_clean_value(text) or text != text.strip():  # a parser of headers would remove the blanks
            detail = f"{parameter.label} has a control character, or a blank at one of its ends."
            raise InvalidParameter(detail, parameters=((parameter.name, parameter.location, detail),))
        yield name, text


def is_text_preferred(fields: Sequence[Pair]) -> bool:
    """Whether the caller prefers plain text. Raises HeadersTooLarge."""
    accept = find_accept(fields)
    if len(accept) > MAX_MEDIA_RANGES:  # a shorter text can't have as many
        _check_count(accept.count(b",") + 1, MAX_MEDIA_RANGES, "Accept", "media ranges")
        _check_count(accept.count(b";"), MAX_WEIGHTS, "Accept", "parameters")
    return prefers_plain_text(accept)


def find_accept(fields: Sequence[Pair]) -> bytes:
    """The value of `Accept`, from one field or several; empty if there is none."""
    return b",".join([value for name, value in fields if name == b"accept"])


def _find_hop_by_hop(connection: Sequence[bytes]) -> frozenset[bytes]:
    value = b",".join(connection)
    if len(value) > MAX_HOP_BY_HOP:
        _check_count(value.count(b",") + 1, MAX_HOP_BY_HOP, "Connection", "names")
    return find_hop_by_hop_names(value)


def _check_count(count: int, most: int, name: str, what: str) -> None:
    if count > most:
        raise HeadersTooLarge(f"Header {name} has more than {most} {what}.")


def encode_payload(route: Route, values: Mapping[str, Value]) -> bytes:
    """The JSON object of all parameters that do not travel in a header."""
    if route.by_header:
        elsewhere = {parameter.name for parameter in route.by_header}
        values = {name: value for name, value in values.items() if name not in elsewhere}
    return encode_json(values)
