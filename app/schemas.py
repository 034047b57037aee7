"""JSON Schema, as the gateway uses it: for parameters, for request bodies, and in the OpenAPI document. Pure.

Laws:
1. Patterns run in linear time: look-around and back-references are refused when the schema is compiled.
2. Nothing is fetched: a `$ref` may only point into its own document.
3. A message never quotes the value that it is about.
"""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import NoReturn

import jsonschema_rs

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

MAX_MESSAGE = 200  # characters

_LINEAR = jsonschema_rs.RegexOptions()


class SchemaError(ValueError):
    """A document is no JSON Schema; `path` leads to the part that is wrong."""

    def __init__(self, message: str, path: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        self.path = tuple(path)


class Schema:
    """A compiled JSON Schema: draft 2020-12, or the one that `$schema` names. `format` is checked."""

    __slots__ = ("_validator", "document")

    def __init__(self, document: Json) -> None:
        """Raises SchemaError."""
        self.document = document
        if not isinstance(document, dict | bool):
            raise SchemaError("it is a mapping, true or false")
        try:
            self._validator = jsonschema_rs.validator_for(
                document, mask="it", pattern_options=_LINEAR, validate_formats=True, retriever=_refuse
            )
        except jsonschema_rs.ValidationError as error:
            raise SchemaError(_explain(error), error.instance_path) from None
        except (ValueError, TypeError) as error:
            raise SchemaError(str(error)) from None

    def find_problem(self, value: object) -> str | None:
        """What is wrong with a value, or None."""
        return next((text for _, text in self.find_problems(value, limit=1)), None)

    def find_problems(self, value: object, *, limit: int) -> list[tuple[str, str]]:
        """Where (a JSON pointer, RFC 6901) and what, for at most `limit` problems."""
        try:
            if self._validator.is_valid(value):
                return []
            found = list(islice(self._validator.iter_errors(value), limit))
        except ValueError:  # at 255 levels
            return [("", "it is nested too deeply")]
        return [(_encode_pointer(error.instance_path), error.message[:MAX_MESSAGE]) for error in found]


def parse_json(data: bytes) -> Json:
    """The value of an I-JSON text (RFC 7493): UTF-8, no key twice, no NaN. ValueError says what is wrong."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    try:
        value: Json = json.loads(text, object_pairs_hook=_build_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not JSON: {error.msg.lower()}, line {error.lineno}, column {error.colno}") from None
    if "\\u" in text and not _is_unicode(value):
        raise ValueError("it has half of a surrogate pair")
    return value


def _build_object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    built = dict(pairs)
    if len(built) < len(pairs):
        raise ValueError("it has a key twice in one object")
    return built


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it has {name}, which is not JSON")


def _is_unicode(value: Json) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is not in this document")


def _explain(error: jsonschema_rs.ValidationError) -> str:
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Format):
        return "not a regular expression that runs in linear time (no look-around, no back-references)"
    return error.message[:MAX_MESSAGE]


def _encode_pointer(path: Sequence[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def rebase(document: Json, base: str) -> Json:
    """The schema as it stands at `base`, a URI fragment, of a larger document: its own references lead there."""
    if isinstance(document, list):
        return [rebase(item, base) for item in document]
    if not isinstance(document, Mapping):
        return document
    return {
        key: base + value[1:]
        if key == "$ref" and isinstance(value, str) and value[:2] in ("#", "#/")
        else rebase(value, base)
        for key, value in document.items()
        if key != "$schema"
    }
