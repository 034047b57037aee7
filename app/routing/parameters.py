"""The parameters that a route declares: in its path, its query, its headers, and from claims. Pure.

Laws:
1. Each value has exactly one text: `7` is an integer; `07`, `+7`, ` 7` and `7.0` are not. Nothing is repaired.
2. The rules of a parameter are one JSON Schema. It checks the values, and it is in the OpenAPI document.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from ..errors import InvalidParameter
from ..formats.fields import can_travel, is_of_proxies
from ..formats.schemas import Json, Schema, SchemaError
from ..formats.subjects import MAX_TOKEN, PLACEHOLDER
from .faults import Fault
from .tokens import Token

Scalar = str | int | float | bool
Value = Scalar | list[Scalar]
Location = Literal["path", "query", "header", "claim"]
Type = Literal["string", "integer", "number", "boolean"]
Format = Literal["uuid", "date", "date-time", "email", "ipv4", "ipv6", "uri"]
"""Formats of a text, as JSON Schema defines them."""

MAX_MANY = 256  # values of one query parameter
MAX_NAME = 64  # characters of the name of a query parameter
MAX_CLAIM = 128  # characters of the name of a claim
TOKEN_PATTERN = r"^[^.*>/\s]+$"  # documents as much of the token rule as a pattern can  # noqa: S105

_QUERY_NAME = re.compile(rf"[A-Za-z0-9_.~$@:\[\]-]{{1,{MAX_NAME}}}")
_CLAIM_PARAMETER = re.compile(rf"[!-~]{{1,{MAX_NAME}}}")
# OpenAPI 3.1 ignores the first three as parameters. The gateway reads the others itself.
_TAKEN_HEADERS = frozenset(("accept", "content-type", "authorization", "x-request-timeout", "x-request-id"))
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}", re.ASCII)
_LONG_INTEGER = re.compile(r"-?[1-9][0-9]{18,}", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,39})(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?", re.ASCII)  # RFC 8259 §6
# The name of a JSON Schema keyword in a declaration.
_KEYS = {"minimum": "min", "maximum": "max", "minLength": "min_length", "maxLength": "max_length"}
_BOOLEANS = {"true": True, "false": False}
_LONG = 2**63
_PYTHON_TYPES: Mapping[Type, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
}
_WHAT = {"integer": "an integer such as 7", "number": "a number such as 7 or 1.5", "boolean": "true or false"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A declared parameter. A rule that is None does not apply.

    - `many`: the value is a list. All rules but `required` and `default` are for each item. The items come as a
      repeated parameter or, with a `separator`, as one text.
    - `header`: the value goes to the service in the NATS header of this name, one for each item, and not in the
      payload.
    - `token`: how the text becomes a token of the subject. None if the text itself must be a token.
    - `claim`: the name of the claim, or the path to it. None if the parameter has the name of the claim.
    - `faults`: all that is wrong with the declaration.
    - `schema`: checks one value, or one item of a list. None if every text is valid.
    """

    name: str
    location: Location = "path"
    type: Type = "string"
    many: bool = False
    separator: Literal[","] | None = None
    format: Format | None = None
    pattern: str | None = None
    enum: tuple[Scalar, ...] | None = None
    minimum: int | float | None = None
    maximum: int | float | None = None
    min_length: int | None = None
    max_length: int | None = None
    required: bool | None = None
    default: Value | None = None
    header: str | None = None
    claim: str | None = None
    token: Token | None = None
    description: str = ""
    example: Value | None = None

    schema: Schema | None = field(init=False, compare=False)
    faults: tuple[Fault, ...] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        faults = list(_find_faults(self))
        schema: Schema | None = None
        try:
            rules = describe_rules(self)
            schema = Schema({"type": self.type, **rules}) if rules else None
        except SchemaError as error:
            keyword = str(error.path[0]) if error.path else ""
            faults.append(Fault((_KEYS.get(keyword, keyword),), str(error)))
        object.__setattr__(self, "schema", schema)
        faults += [] if faults else _find_bad_values(self)
        object.__setattr__(self, "faults", tuple(faults))

    @property
    def label(self) -> str:
        """The name of the parameter in error texts."""
        return f"{self.location.capitalize()} parameter '{self.name}'"

    @property
    def is_required(self) -> bool:
        """Whether a request without it is refused."""
        return self.location in ("path", "claim") or bool(self.required)

    @property
    def is_always_there(self) -> bool:
        """Whether it always has a value."""
        return self.is_required or self.default is not None

    @property
    def is_plain(self) -> bool:
        """Whether every text is valid, and is its own value."""
        return self.type == "string" and self.schema is None

    @property
    def document(self) -> dict[str, Json]:
        """The JSON Schema of the value, for documentation."""
        item: dict[str, Json] = {"type": self.type, **describe_rules(self)}
        whole: dict[str, Json] = {"type": "array", "items": item, "maxItems": MAX_MANY} if self.many else item
        default: Json = list(self.default) if isinstance(self.default, list) else self.default
        return whole if default is None else {**whole, "default": default}

    def parse(self, text: str) -> Scalar:
        """The value of one text. Raises InvalidParameter."""
        value = text if self.type == "string" else _parse_typed(text, self)
        if self.schema is not None and (fault := self.schema.find_fault(value)):
            raise InvalidParameter(f"{self.label} breaks its rule: {fault}.")
        return value


def describe_rules(parameter: Parameter) -> dict[str, Json]:
    """All rules but the type, as keywords of JSON Schema. The pattern must match the whole text."""
    rules: dict[str, Json | None] = {
        "format": parameter.format,
        "pattern": None if parameter.pattern is None else f"^(?:{parameter.pattern})$",
        "enum": None if parameter.enum is None else list(parameter.enum),
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "minLength": parameter.min_length,
        "maxLength": parameter.max_length,
    }
    return {keyword: rule for keyword, rule in rules.items() if rule is not None}


def _parse_typed(text: str, parameter: Parameter) -> Scalar:
    value: Scalar | None = None
    if parameter.type == "boolean":
        value = _BOOLEANS.get(text)
    elif _INTEGER.fullmatch(text) and -_LONG <= int(text) < _LONG:
        value = int(text)
    elif parameter.type == "number" and _NUMBER.fullmatch(text):
        value = float(text) if abs(float(text)) != float("inf") else None
    if value is None:
        why = ": it has more than 64 bits" if parameter.type == "integer" and _LONG_INTEGER.fullmatch(text) else ""
        raise InvalidParameter(f"{parameter.label} is not {_WHAT[parameter.type]}{why}.")
    return value


def write_value(value: Value) -> str:
    """The text of a value, as `Parameter.parse` reads it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _find_faults(parameter: Parameter) -> Iterator[Fault]:
    """The faults of a parameter by itself, without those of its pattern and its values."""
    location = parameter.location
    if location == "path" and not PLACEHOLDER.fullmatch(f"{{{parameter.name}}}"):
        yield Fault((), "a path parameter is named with letters, digits, _ and -")
    if location == "query" and not _QUERY_NAME.fullmatch(parameter.name):
        yield Fault((), "a query parameter is named with 1 to 64 of letters, digits and _.~$@:[]-")
    if location == "header":
        yield from _find_header_faults(parameter.name)
    yield from _find_claim_faults(parameter)
    yield from _find_rule_faults(parameter)
    if parameter.many and location != "query":
        yield Fault(("many",), "only a query parameter can be repeated")
    if parameter.separator and not parameter.many:
        yield Fault(("separator",), "only a parameter with `many` has several values to separate")
    if parameter.required is False and location in ("path", "claim"):
        yield Fault(("required",), f"a {location} parameter is always there")
    if parameter.default is not None and parameter.is_required:
        yield Fault(("default",), "a parameter that is required needs no default")


def _find_rule_faults(parameter: Parameter) -> Iterator[Fault]:
    """Rules that belong to another type, and rules that no value can meet."""
    rules: dict[str, tuple[object, tuple[Type, ...]]] = {
        "format": (parameter.format, ("string",)),
        "pattern": (parameter.pattern, ("string",)),
        "min_length": (parameter.min_length, ("string",)),
        "max_length": (parameter.max_length, ("string",)),
        "min": (parameter.minimum, ("integer", "number")),
        "max": (parameter.maximum, ("integer", "number")),
    }
    for key, (rule, types) in rules.items():
        if rule is not None and parameter.type not in types:
            yield Fault((key,), f"only a parameter of the type {' or '.join(types)} can have this rule")
    for low, high in (("min", "max"), ("min_length", "max_length")):
        least, most = rules[low][0], rules[high][0]
        if isinstance(least, int | float) and isinstance(most, int | float) and least > most:
            yield Fault((high,), f"it is below {low}, so no value would be valid")


def _find_claim_faults(parameter: Parameter) -> Iterator[Fault]:
    is_of_claim, claim = parameter.location == "claim", parameter.claim
    if is_of_claim and not _CLAIM_PARAMETER.fullmatch(parameter.name):
        yield Fault((), "a parameter from a claim is named with 1 to 64 printable ASCII characters")
    if claim is not None and not is_of_claim:
        yield Fault(("claim",), "only a parameter with `in: claim` comes from a claim")
    elif claim is not None and not (claim.isprintable() and 0 < len(claim) <= MAX_CLAIM):
        yield Fault(("claim",), f"the name of a claim has 1 to {MAX_CLAIM} printable characters")


def _find_header_faults(name: str) -> Iterator[Fault]:
    if not can_travel(name):
        yield Fault((), "this header can't be a parameter")
    elif is_of_proxies(name):
        yield Fault((), "callers could write anything into this header; `headers` can list the true one")
    elif name.lower() in _TAKEN_HEADERS:
        yield Fault(
            (), "the gateway or OpenAPI gives this header a meaning of its own; to pass it on, list it in `headers`"
        )


def _find_bad_values(parameter: Parameter) -> Iterator[Fault]:
    """Values in the declaration itself that break its own rules."""
    listed = [(("enum", index), value) for index, value in enumerate(parameter.enum or ())]
    given: list[tuple[tuple[str | int, ...], Scalar]] = list(listed)
    if parameter.enum == ():
        yield Fault(("enum",), "no value would be valid")
    for key in ("default", "example"):
        value = parameter.default if key == "default" else parameter.example
        if parameter.many and value is not None and not isinstance(value, list):
            yield Fault((key,), "with `many` this is a list")
        elif isinstance(value, list):
            given += [((key, index), item) for index, item in enumerate(value)]
            if not parameter.many:
                yield Fault((key,), "without `many` this is one value")
        elif value is not None:
            given.append(((key,), value))
    for place, item in given:
        if not isinstance(item, _PYTHON_TYPES[parameter.type]) or (
            isinstance(item, bool) and parameter.type != "boolean"
        ):
            yield Fault(place, f"it is not of the type {parameter.type}")
        elif parameter.schema is not None and (fault := parameter.schema.find_fault(item)):
            yield Fault(place, f"it breaks the rules of this parameter: {fault}")


def token_schema() -> dict[str, Json]:
    """The rules of a subject token, for the documentation of a parameter."""
    return {"minLength": 1, "maxLength": MAX_TOKEN, "pattern": TOKEN_PATTERN}
