"""Reads the parameters of a request, as its route declares them. Pure.

Laws:
1. A parameter in the subject is always one token, wherever it comes from.
2. A query or header parameter stands once, unless it is declared `many`. What is not declared is not read.
"""

from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import unquote_to_bytes

from ..errors import InvalidParameter, UriTooLong
from ..formats.fields import Pair, is_clean_value
from ..formats.subjects import BROKEN_ENCODING, PERCENT, check_token, decode_percent, parse_token
from .parameters import MAX_MANY, MAX_NAME, Parameter, Value, write_value

MAX_PAIRS = 1024  # of a query

_LONGEST_NAME = len("%00") * MAX_NAME  # of a declared parameter, each byte percent-encoded


class ParameterReader:
    """Reads the declared parameters of one route. `path` are its path parameters, in the order of the path; `tokens`
    the names of those that stand in the subject."""

    __slots__ = ("_headers", "_path", "_plain_tokens", "_query", "_tokens", "header_names")

    def __init__(self, parameters: Sequence[Parameter], *, path: Sequence[str], tokens: frozenset[str]) -> None:
        by_name = {parameter.name: parameter for parameter in parameters}
        self._path = [(by_name[name], name in tokens, by_name[name].is_plain) for name in path]
        self._query = {p.name.encode("ascii"): p for p in parameters if p.location == "query"}
        self._headers = {p.name.lower().encode("ascii"): p for p in parameters if p.location == "header"}
        self._tokens = tokens
        is_plain = len(path) == len(parameters) and all(name in tokens and by_name[name].is_plain for name in path)
        self._plain_tokens = tuple(path) if is_plain else None
        """The names, where every parameter is a token of the path, and nothing more."""
        self.header_names = frozenset(self._headers)

    def read(
        self, segments: Sequence[bytes], query: bytes, headers: Sequence[Pair]
    ) -> tuple[Mapping[str, str], Mapping[str, Value]]:
        """The subject tokens, and the typed values of all that is there or has a default. Raises InvalidParameter or
        UriTooLong. `segments` and `query` are raw."""
        tokens: dict[str, str] = {}
        if self._plain_tokens is not None:
            for name, segment in zip(self._plain_tokens, segments):  # noqa: B905 - a table makes them equally long
                tokens[name] = parse_token(segment, name)
            return tokens, tokens
        values: dict[str, Value] = {}
        for (parameter, is_in_subject, is_plain), segment in zip(self._path, segments, strict=True):
            name = parameter.name
            text = parse_token(segment, name) if is_in_subject else _decode(segment, parameter)
            values[name] = text if is_plain else parameter.parse(text)
            if is_in_subject:
                tokens[name] = text
        if self._query:
            self._take(self._query, _split_query(query), values, tokens)
        if self._headers:
            self._take(
                self._headers, ((name, value) for name, value in headers if name in self._headers), values, tokens
            )
        return tokens, values

    def _take(
        self,
        declared: Mapping[bytes, Parameter],
        pairs: Iterator[tuple[bytes, bytes]],
        values: dict[str, Value],
        tokens: dict[str, str],
    ) -> None:
        texts: dict[bytes, list[str]] = {}
        for name, raw in pairs:
            if parameter := declared.get(name):
                texts.setdefault(name, []).append(_decode(raw, parameter))
        for name, parameter in declared.items():
            value = _choose(parameter, texts.get(name, []))
            if value is not None:
                values[parameter.name] = value
                if parameter.name in self._tokens:
                    text = texts[name][0] if name in texts else write_value(value)
                    check_token(text, label=parameter.label)
                    tokens[parameter.name] = text


def _choose(parameter: Parameter, texts: Sequence[str]) -> Value | None:
    if not texts:
        if parameter.is_required:
            raise InvalidParameter(f"{parameter.label} is missing.")
        return parameter.default
    if len(texts) > (MAX_MANY if parameter.many else 1):
        most = f"more than {MAX_MANY} times" if parameter.many else "more than once"
        raise InvalidParameter(f"{parameter.label} stands in the request {most}.")
    parsed = [parameter.parse(text) for text in texts]
    return parsed if parameter.many else parsed[0]


def _split_query(query: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names, decoded, and values, still encoded, of a form-encoded query (URL standard §5.1)."""
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
