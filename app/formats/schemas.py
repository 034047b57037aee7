"""JSON Schemas of parameters, of bodies, and in the OpenAPI document. Pure.

Laws:
1. Patterns run in linear time: look-around and back-references are refused when the schema is compiled.
2. Nothing is fetched: a `$ref` may only point into its own document.
3. A message never quotes the wrong value.
4. The time of `is_valid` grows with the length of the value, and with the cost of the schema: `schema_costs`.
   `find_fault` and `find_faults` may take far longer: jsonschema-rs makes all errors before it returns the first one,
   and each copies its value and its schema.
5. jsonschema-rs takes 4 MiB. It is loaded with the first schema, and many gateways have none.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from typing import TYPE_CHECKING, NoReturn

from .words import suggest

if TYPE_CHECKING:
    import jsonschema_rs

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]

MAX_MESSAGE = 200  # characters
MAX_POINTER = 1000  # characters; a longer one is cut
MAX_DEPTH = 64  # levels of arrays and objects
PATTERN_SIZES = tuple(kib * 1024 for kib in (4, 16, 64, 288, 1024, 4096, 16384))  # bytes of compiled patterns
KEPT_PATTERNS = 4096  # whose sizes are remembered
MAX_KEYWORD_FAULTS = 20  # that an error lists for one schema
DRAFT = "https://json-schema.org/draft/2020-12/schema"
TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")

# Errors of these contain errors of other schemas, or occur once for each path to a schema.
_COSTLY = {"anyOf", "oneOf", "propertyNames", "unevaluatedItems", "unevaluatedProperties"}
_COSTLY |= {"$ref", "$dynamicRef", "$recursiveRef"}
_NESTING = frozenset((list, dict))
_NOT_LINEAR = "not a regular expression that runs in linear time (no look-around, no back-references)"
_TOO_DEEP = "it is nested too deeply"


class SchemaError(ValueError):
    """The document is not a JSON Schema. `path` leads to the wrong part."""

    def __init__(self, message: str, path: Sequence[str | int] = ()) -> None:
        super().__init__(message)
        self.path = tuple(path)


class Schema:
    """A compiled JSON Schema of draft 2020-12, or of the draft that `$schema` names. It checks `format` as well."""

    def __init__(self, document: Json, *, cost: int = 1) -> None:
        """`cost` is that of `schema_costs`. Raises SchemaError."""
        import jsonschema_rs

        self.document = document
        self.cost = cost
        if not isinstance(document, dict | bool):
            raise SchemaError("not a JSON Schema: a schema is a mapping, true or false")
        try:
            self._validator = jsonschema_rs.validator_for(
                document,
                mask="it",
                pattern_options=jsonschema_rs.RegexOptions(),  # in linear time
                validate_formats=True,
                retriever=_refuse,
            )
        except jsonschema_rs.ValidationError as error:
            raise _make_error(error) from None
        except (ValueError, TypeError) as error:
            raise SchemaError(f"not a JSON Schema: {error}") from None
        self.is_valid: Callable[[object], bool] = self._validator.is_valid
        """Whether a value of at most MAX_DEPTH levels is valid. It stops at the first fault."""

    @cached_property
    def text(self) -> str:
        """The document as JSON."""
        return json.dumps(self.document)

    @cached_property
    def size(self) -> int:
        """The number of values in the document. `find_faults` may make so many errors for each value, of 6 µs each."""
        return count_values(self.document)

    @cached_property
    def is_plain(self) -> bool:
        """Whether the time of `find_faults` grows only with the value, and with `size`."""
        return _COSTLY.isdisjoint(_list_keys(self.document))

    def find_fault(self, value: object) -> str | None:
        """The first fault of a value, or None. It is fast only if the schema is plain, as those of parameters are."""
        found = self.find_first(value)
        return found[0][1] if found else None

    def find_first(self, value: object) -> list[tuple[str, str]]:
        """The first fault, in the form of `find_faults`, without looking for others."""
        import jsonschema_rs

        try:
            self._validator.validate(value)
        except jsonschema_rs.ValidationError as error:
            return [_describe(error)]
        return []

    def find_faults(self, value: object, *, limit: int) -> list[tuple[str, str]]:
        """At most `limit` faults. Each is a place (a JSON pointer, RFC 6901) and a text."""
        return [_describe(error) for error in islice(self._validator.iter_errors(value), limit)]


@lru_cache(KEPT_PATTERNS)
def measure_pattern(pattern: str) -> int:
    """The bytes of a compiled pattern, rounded up to one of PATTERN_SIZES. For each 64 KiB it takes at most 25 ms to
    search 16 KiB, and usually far less. Returns the smallest size for a text that does not run in linear time."""
    import jsonschema_rs

    for size in PATTERN_SIZES:
        options = jsonschema_rs.RegexOptions(size_limit=size)
        try:
            jsonschema_rs.validator_for({"pattern": pattern}, pattern_options=options)
        except (ValueError, jsonschema_rs.ValidationError):
            continue
        return size
    return PATTERN_SIZES[0]


def parse_json(data: bytes) -> Json:
    """The value of an I-JSON text (RFC 7493): in UTF-8, without equal keys or NaN, with at most MAX_DEPTH levels.
    Raises ValueError, whose text says what is wrong."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    try:
        value: Json = _decode(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except json.JSONDecodeError as error:
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a byte order mark, which JSON does not have") from None
        raise ValueError(f"it is not JSON: {error.msg.lower()}, line {error.lineno}, column {error.colno}") from None
    except _JsonError:
        raise
    except ValueError:  # CPython refuses longer ones, since they take quadratic time
        raise ValueError("it has an integer of more than 4,300 digits") from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
        raise ValueError(_TOO_DEEP)
    if "\\u" in text and not is_unicode(value):
        raise ValueError("it has half of a surrogate pair")
    return value


class _JsonError(ValueError):
    """The text is JSON, but not I-JSON."""


def _is_deep(value: Json) -> bool:
    """Whether there are more than MAX_DEPTH levels of arrays and objects. It visits each value once."""
    level = [value] if type(value) in _NESTING else []
    for _ in range(MAX_DEPTH):
        level = [
            item
            for outer in level
            for item in (outer.values() if type(outer) is dict else outer)  # type: ignore[union-attr] # a list, else
            if type(item) in _NESTING
        ]
    return level != []


def _build_object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    built = dict(pairs)
    if len(built) < len(pairs):
        raise _JsonError("it has a key twice in one object")
    return built


def _refuse_constant(name: str) -> NoReturn:
    raise _JsonError(f"it has {name}, which is not JSON")


_decode = json.JSONDecoder(object_pairs_hook=_build_object, parse_constant=_refuse_constant).decode
"""Made once: that takes as long as to read a short text."""


def is_unicode(value: object) -> bool:
    """Whether a JSON value has no half of a surrogate pair."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"{uri} is not in this document")


def list_keyword_faults(document: Json) -> list[SchemaError]:
    """All faults of a schema by its meta-schema, without those of its patterns. Empty if the draft is not known."""
    import jsonschema_rs

    draft = document.get("$schema", DRAFT) if isinstance(document, dict) else DRAFT
    try:
        validator = jsonschema_rs.validator_for({"$schema": draft, "$ref": draft}, mask="it", retriever=_refuse)
    except (ValueError, TypeError, jsonschema_rs.ReferencingError):
        return []
    return [_make_error(error) for error in islice(validator.iter_errors(document), MAX_KEYWORD_FAULTS)]


def _make_error(error: "jsonschema_rs.ValidationError") -> SchemaError:
    import jsonschema_rs

    path = tuple(error.instance_path)
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Format):
        return SchemaError(_NOT_LINEAR, path)
    if list(error.schema_path)[-2:] == ["type", "anyOf"]:
        return _refuse_type(error.instance, path)
    return SchemaError(f"not a JSON Schema: {error.message[:MAX_MESSAGE]}", path)


def _refuse_type(value: object, path: tuple[str | int, ...]) -> SchemaError:
    """The error for the first unknown type."""
    items = enumerate(value) if isinstance(value, list) else ()
    place, wrong = next((((*path, index), item) for index, item in items if item not in TYPES), (path, value))
    hint = suggest(wrong, TYPES) if isinstance(wrong, str) else ""
    return SchemaError(f"is not a type of JSON Schema{hint or '; known are ' + ', '.join(TYPES)}", place)


def _describe(error: "jsonschema_rs.ValidationError") -> tuple[str, str]:
    return encode_pointer(error.instance_path), error.message[:MAX_MESSAGE]


def encode_pointer(path: Sequence[str | int]) -> str:
    """The JSON pointer (RFC 6901) of a place in a document. If it is too long, it ends at a place around it."""
    pointer = ""
    for part in path:
        longer = pointer + "/" + str(part).replace("~", "~0").replace("/", "~1")
        if len(longer) > MAX_POINTER:
            break
        pointer = longer
    return pointer


def _list_keys(document: Json) -> Iterator[str]:
    for value in document.values() if isinstance(document, dict) else document if isinstance(document, list) else ():
        yield from _list_keys(value)
    yield from document if isinstance(document, dict) else ()


def count_values(document: Json) -> int:
    """The number of values in a JSON document."""
    count, waiting = 0, [document]
    while waiting:
        value = waiting.pop()
        count += 1
        if isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return count
