"""The types of values in the route file. Each says how a value is read, checked, and described to editors. Pure."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from ..edge.networks import parse_network
from ..formats.units import parse_age, parse_duration, parse_size
from ..routing.words import METHODS
from .strict import StrictModel, check_with


def _read_duration(value: object) -> object:
    return parse_duration(value if isinstance(value, str) else "")


def _read_long_duration(value: object) -> float:
    text = value if isinstance(value, str) else ""
    return float(parse_age(text) or 0) if text[-1:] in ("h", "d") else parse_duration(text)


def _read_size(value: object) -> object:
    is_plain = isinstance(value, int) and not isinstance(value, bool)
    return parse_size(str(value) if isinstance(value, str) or is_plain else "")


def read_list(value: object) -> object:
    """A list of one entry for a text; any other value as it is."""
    return [value] if isinstance(value, str) else value


def _check_scalar(value: object) -> object:
    if not isinstance(value, str | int | float | bool):
        raise ValueError("must be a text, a number, true or false")
    return value


def _check_number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) == float("inf"):
        raise ValueError("must be a number")
    return value


def _check_value(value: object) -> object:
    for item in value if isinstance(value, list) else [value]:
        _check_scalar(item)
    return value


def _check_code(code: str) -> str:
    if not _CODE.fullmatch(code):
        raise ValueError("a service error code is a number such as 404, or a word such as E_CUSTOMS")
    return code


def _check_status(status: str) -> str:
    if not (len(status) == 3 and status.isascii() and status.isdigit()):
        raise ValueError("a status is a number of three digits, such as 202")
    return status


def _check_schema(value: object) -> object:
    if not isinstance(value, dict | bool | str):
        raise ValueError("must be a JSON Schema, or the path of a file with one")
    return value


def _check_schema_name(name: str) -> str:
    if not _SCHEMA_NAME.fullmatch(name):
        raise ValueError("the name of a schema is 1 to 64 of letters, digits, `.`, `_` and `-`")
    return name


_SCHEMA_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_CODE = re.compile(r"[0-9]{1,9}|[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
_DURATION = {"type": "string", "pattern": r"^\d{1,9}(\.\d{1,6})?(ms|s|m)$", "examples": ["500ms", "2s", "1m"]}
_LONG_DURATION = {
    "type": "string",
    "pattern": r"^\d{1,9}(\.\d{1,6})?(ms|s|m|h|d)$",
    "examples": ["1s", "1m", "1h"],
}
_SIZE = {
    "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": r"^\d{1,12}(KiB|MiB)?$"}],
    "examples": [1048576, "64KiB", "1MiB"],
}
_SCALAR = {"type": ["string", "number", "boolean"]}
_METHODS: dict[str, Any] = {"enum": list(METHODS)}

Duration = Annotated[float, BeforeValidator(_read_duration), WithJsonSchema(_DURATION)]
LongDuration = Annotated[float, BeforeValidator(_read_long_duration), WithJsonSchema(_LONG_DURATION)]
"""A duration that may also be in hours and days."""
Size = Annotated[int, BeforeValidator(_read_size), WithJsonSchema(_SIZE)]
Scalar = Annotated[Any, AfterValidator(_check_scalar), WithJsonSchema(_SCALAR)]
Number = Annotated[Any, AfterValidator(_check_number), WithJsonSchema({"type": "number"})]
Value = Annotated[
    Any,
    AfterValidator(_check_value),
    WithJsonSchema({"anyOf": [_SCALAR, {"type": "array", "items": _SCALAR}]}),
]
SchemaOrFile = Annotated[Any, AfterValidator(_check_schema), WithJsonSchema({"type": ["object", "boolean", "string"]})]
SchemaName = Annotated[str, AfterValidator(_check_schema_name)]
Code = Annotated[str, AfterValidator(_check_code)]
Status = Annotated[str, AfterValidator(_check_status)]
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Methods = Annotated[
    list[Method],
    BeforeValidator(read_list),
    WithJsonSchema({"anyOf": [_METHODS, {"type": "array", "items": _METHODS, "minItems": 1, "uniqueItems": True}]}),
]


class HeaderModel(StrictModel):
    """A request header that has another name on the NATS side."""

    name: str = Field(description="Its name in the request.")
    as_: str = Field(alias="as", description="Its name on the NATS side.")


def _read_header(value: object) -> object:
    if not isinstance(value, str | dict):
        raise ValueError("must be the name of a header, or a mapping of `name` and `as`")
    return {"name": value, "as": value} if isinstance(value, str) else value


Header = Annotated[
    HeaderModel,
    BeforeValidator(_read_header),
    WithJsonSchema({"anyOf": [{"type": "string"}, HeaderModel.model_json_schema(by_alias=True)]}),
]


_NETWORK = {"type": "string", "examples": ["10.0.0.0/8", "2001:db8::/32", "127.0.0.1"]}
Networks = Annotated[
    list[Annotated[str, check_with(parse_network)]],
    Field(min_length=1),
    BeforeValidator(read_list),
    WithJsonSchema({"anyOf": [_NETWORK, {"type": "array", "items": _NETWORK, "minItems": 1}]}),
]
