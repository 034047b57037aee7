"""Reads the parameters of a request, as its route declares them. Pure.

Laws:
1. The writers in `tokens` make every token of a subject from its parameter, wherever the parameter comes from.
2. A query or header parameter comes once, unless it is declared `many`. Other parameters are not read.
3. An error lists all faults, up to MAX_FAULTS.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from urllib.parse import unquote_to_bytes

from ..edge.identity import Identity
from ..errors import InvalidParameter, UriTooLong
from ..formats.fields import Pair, is_clean_value
from ..formats.subjects import BROKEN_ENCODING, PERCENT, decode_percent, parse_token
from ..formats.words import find_close
from .identity import read_claim, refuse_claim
from .parameters import MAX_MANY, MAX_NAME, Parameter, Value, write_value
from .tokens import TokenWriter, check_tail, write_plain

MAX_PAIRS = 1024  # in a query
MAX_FAULTS = 20  # that an error lists for one request
MAX_HINTS = 3  # for one request: each takes 30 µs for every declared name
MAX_COMPARED = 64  # names that are compared for a hint

_LONGEST_NAME = len("%00") * MAX_NAME  # of a declared parameter, if each byte is percent-encoded


_Faults = list[tuple[str, str, str]]


class ParameterReader:
    """Reads the declared parameters of one route.

    - `path`: the path parameters in the order of the path. The last one may be the `tail`.
    - `tokens`: the writer of each parameter that is in the subject.
    - `is_strict`: a query parameter that is not declared is a fault, unless it is in `others`.
    - `others`: query parameters that are read elsewhere, such as API keys.
    """

    __slots__ = (
        "_claims",
        "_headers",
        "_is_strict",
        "_others",
        "_path",
        "_plain_tokens",
        "_query",
        "_tail",
        "_tokens",
        "header_names",
    )

    def __init__(
        self,
        parameters: Sequence[Parameter],
        *,
        path: Sequence[str],
        tokens: Mapping[str, TokenWriter],
        tail: str | None = None,
        is_strict: bool = False,
        others: Sequence[str] = (),
    ) -> None:
        by_name = {parameter.name: parameter for parameter in parameters}
        self._path = [by_name[name] for name in path]
        self._query = {p.name.encode("ascii"): p for p in parameters if p.location == "query"}
        self._headers = {p.name.lower().encode("ascii"): p for p in parameters if p.location == "header"}
        self._claims = tuple(p for p in parameters if p.location == "claim")
        self._tokens = tokens
        self._tail = tail
        self._is_strict = is_strict
        self._others = frozenset(name.encode("ascii") for name in others)
        is_plain = len(path) == len(parameters) and all(
            tokens.get(name) is write_plain and by_name[name].is_plain for name in path
        )
        self._plain_tokens = tuple(path) if is_plain and not is_strict else None
        """The names, if every parameter is a token of the path and has no other rule. Else None."""
        self.header_names = frozenset(self._headers)

    def read(
        self, segments: Sequence[bytes], query: bytes, headers: Sequence[Pair], identity: Identity | None = None
    ) -> tuple[Mapping[str, str], Mapping[str, Value]]:
        """The subject tokens, and the typed values of all parameters that are in the request or have a default.

        `segments` and `query` are raw. `identity` has the claims of the caller. Raises InvalidParameter with all
        faults, UriTooLong, or Forbidden if a claim is missing or invalid.
        """
        if self._plain_tokens is not None:
            tokens: dict[str, str] = {}
            try:
                for name, segment in zip(self._plain_tokens, segments):  # noqa: B905 - a table makes them equally long
                    tokens[name] = parse_token(segment, name)
            except InvalidParameter as error:
                if len(segments) > 1:  # other segments may be wrong too
                    return self._read_all(segments, b"", ())
                error.parameters = ((name, "path", error.detail),)
                raise
            return tokens, tokens
        return self._read_all(segments, query, headers, identity)

    def _read_all(
        self, segments: Sequence[bytes], query: bytes, headers: Sequence[Pair], identity: Identity | None = None
    ) -> tuple[Mapping[str, str], Mapping[str, Value]]:
        reading = _Reading(self._tokens)
        for parameter, segment in zip(self._path, segments, strict=True):
            reading.take_segment(parameter, segment, is_tail=parameter.name == self._tail)
        if self._query or (self._is_strict and query):
            pairs = _split_query(query)
            if self._others:
                pairs = ((name, value) for name, value in pairs if name not in self._others)
            reading.take_pairs(self._query, pairs, knows_all=self._is_strict)
        if self._headers:
            reading.take_pairs(self._headers, ((name, value) for name, value in headers if name in self._headers))
        for parameter in self._claims:
            reading.take_claim(parameter, identity)
        if reading.faults:
            raise _refuse(reading.faults)
        return reading.tokens, reading.values


class _Reading:
    """What was read of the parameters of one request so far."""

    __slots__ = ("_writers", "faults", "tokens", "values")

    def __init__(self, writers: Mapping[str, TokenWriter]) -> None:
        self._writers = writers
        self.tokens: dict[str, str] = {}
        self.values: dict[str, Value] = {}
        self.faults: _Faults = []

    def take_segment(self, parameter: Parameter, segment: bytes, *, is_tail: bool) -> None:
        """Read a path parameter. The segments of a tail may have `%2F` between them, since clients that don't know
        tails send it."""
        name = parameter.name
        write = self._writers.get(name)
        try:
            if write is write_plain:
                text = self.tokens[name] = parse_token(segment, name)
            else:
                text = _decode(segment, parameter)
                if is_tail:
                    check_tail(text, parameter.label)
                if write is not None:
                    self.tokens[name] = write(text, parameter.label)
            self.values[name] = parameter.parse(text)
        except InvalidParameter as error:
            self._note(parameter, error)

    def take_pairs(
        self, declared: Mapping[bytes, Parameter], pairs: Iterator[tuple[bytes, bytes]], *, knows_all: bool = False
    ) -> None:
        """Read the parameters of the query, or of the headers. With `knows_all` a name that is not declared is a
        fault."""
        found: dict[bytes, list[bytes]] = {}
        for name, raw in pairs:
            if name in declared:
                found.setdefault(name, []).append(raw)
            elif knows_all:
                self._note_unknown(name, declared)
        for name, parameter in declared.items():
            try:
                self._take(parameter, found.get(name, []))
            except InvalidParameter as error:
                self._note(parameter, error)

    def take_claim(self, parameter: Parameter, identity: Identity | None) -> None:
        """Read a parameter from a claim. Raises Forbidden, since the caller can't change it."""
        text = read_claim(parameter, identity)
        try:
            if write := self._writers.get(parameter.name):
                self.tokens[parameter.name] = write(text, parameter.label)
            self.values[parameter.name] = parameter.parse(text)
        except (InvalidParameter, UriTooLong) as error:
            raise refuse_claim(error) from None

    def _take(self, parameter: Parameter, raws: Sequence[bytes]) -> None:
        texts = _split(parameter, raws)
        value = _choose(parameter, texts)
        if value is not None:
            self.values[parameter.name] = value
            if write := self._writers.get(parameter.name):
                self.tokens[parameter.name] = write(texts[0] if texts else write_value(value), parameter.label)

    def _note(self, parameter: Parameter, error: InvalidParameter) -> None:
        self.faults.append((parameter.name, parameter.location, error.detail))

    def _note_unknown(self, raw: bytes, declared: Mapping[bytes, Parameter]) -> None:
        shown = "".join(c for c in raw.decode("utf-8", "replace")[:MAX_NAME] if c.isprintable())
        if len(self.faults) < MAX_FAULTS and (shown, "query") not in [fault[:2] for fault in self.faults]:
            hint = _suggest(shown, declared.values()) if len(self.faults) < MAX_HINTS else ""
            self.faults.append((shown, "query", f"Query parameter '{shown}' is not known{hint or '.'}"))


def _suggest(name: str, declared: Iterable[Parameter]) -> str:
    close = find_close(name, [parameter.name for parameter in islice(declared, MAX_COMPARED)])
    return f", did you mean '{close}'?" if close else ""


def _refuse(faults: _Faults) -> InvalidParameter:
    detail = faults[0][2] if len(faults) == 1 else f"{len(faults)} parameters are wrong: `errors` lists them."
    return InvalidParameter(detail, parameters=tuple(faults[:MAX_FAULTS]))


def _split(parameter: Parameter, raws: Sequence[bytes]) -> list[str]:
    """The texts of all values of a parameter. Raises InvalidParameter."""
    is_list = parameter.many and parameter.separator is None
    if len(raws) > (MAX_MANY if is_list else 1):
        most = f"more than {MAX_MANY} times" if is_list else "more than once"
        raise InvalidParameter(f"{parameter.label} is in the request {most}.")
    texts = [_decode(raw, parameter) for raw in raws]
    if parameter.separator and texts:
        if texts[0].count(parameter.separator) >= MAX_MANY:
            raise InvalidParameter(f"{parameter.label} has more than {MAX_MANY} values.")
        return texts[0].split(parameter.separator)
    return texts


def _choose(parameter: Parameter, texts: Sequence[str]) -> Value | None:
    if not texts:
        if parameter.is_required:
            raise InvalidParameter(f"{parameter.label} is missing.")
        return parameter.default
    parsed = [parameter.parse(text) for text in texts]
    return parsed if parameter.many else parsed[0]


def _split_query(query: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The decoded names and the still encoded values of a form-encoded query (URL standard §5.1)."""
    if query.count(b"&") >= MAX_PAIRS:
        raise UriTooLong(f"The query has more than {MAX_PAIRS} parameters.")
    for field_ in query.replace(b"+", b" ").split(b"&"):
        if field_:
            name, _, value = field_.partition(b"=")
            is_encoded = PERCENT in name and len(name) <= _LONGEST_NAME
            yield unquote_to_bytes(name) if is_encoded else name, value


def _decode(raw: bytes, parameter: Parameter) -> str:
    if parameter.location != "header" and PERCENT in raw:
        if BROKEN_ENCODING.search(raw):
            raise InvalidParameter(f"{parameter.label} has a '%' that is not followed by two hex digits.")
        raw = decode_percent(raw)
    if parameter.location == "header" and not is_clean_value(raw):
        raise InvalidParameter(f"{parameter.label} has a control character.")
    if parameter.location == "path" and not raw:
        raise InvalidParameter(f"{parameter.label} is empty.")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidParameter(f"{parameter.label} is not valid UTF-8.") from None
