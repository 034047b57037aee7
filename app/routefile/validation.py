"""Checks the mappings of a route file with their models. Reports their faults in plain words, each with its place."""

from collections.abc import Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..formats.schemas import Json
from ..formats.words import find_close, suggest
from .about import ContactModel, LicenseModel, ServerModel, TagModel
from .auth import AuthRulesModel
from .cors import CorsModel
from .diagnostics import Diagnostics
from .discover import DiscoverModel
from .keys import KeyModel
from .model import DefaultsModel, FileModel, RouteModel
from .parameters import ParameterModel
from .rate_limits import LimitModel
from .replies import ManyRepliesModel, ReplyModel, StatusModel
from .signatures import SignatureModel
from .types import HeaderModel
from .yamltree import Path

_WORDS = {
    "string_type": "must be a text; put it into quotes",
    "int_type": "must be a whole number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "too_short": "must not be empty",
    "string_too_short": "must not be empty",
    "missing": "is missing",
}
_BOUNDS = {"greater_than_equal": "must be {ge} or more", "less_than_equal": "must be at most {le}"}

# Names that other formats have for our keys.
_OTHER_NAMES = {
    "location": "in",
    "minimum": "min",
    "maximum": "max",
    "minLength": "min_length",
    "maxLength": "max_length",
    "methods": "method",
}

_M = TypeVar("_M", bound=BaseModel)


def validate(
    kind: type[_M],
    raw: Json,
    path: Path,
    diagnostics: Diagnostics,
    *,
    essential: frozenset[str] = frozenset(),
    shows_values: bool = True,
) -> tuple[_M | None, Json]:
    """Check a mapping. Faults are reported. Returns the model and the mapping, both without the keys that are wrong.
    The model is None if a key of `essential` is wrong, or if no model can be made without the wrong keys. Without
    `shows_values` the report shows no value, since it may be a secret."""
    try:
        return kind.model_validate(raw), raw
    except ValidationError as error:
        found = error.errors()
    misspelled = {hint for detail in found if (hint := _find_meant(kind, detail))}
    for detail in found:
        if detail["type"] != "missing" or detail["loc"] not in misspelled:
            _report(kind, detail, path, diagnostics, shows_values=shows_values)
    wrong = {str(detail["loc"][0]) for detail in found if detail["loc"]}
    meant = {str(location[0]) for location in misspelled}
    if not isinstance(raw, dict) or (wrong | meant) & essential or not found:
        return None, {}
    rest = {key: value for key, value in raw.items() if key not in wrong}
    try:
        return kind.model_validate(rest), rest
    except ValidationError:
        return None, rest


def _report(
    kind: type[BaseModel], detail: ErrorDetails, base: Path, diagnostics: Diagnostics, *, shows_values: bool
) -> None:
    path = (*base, *(part for part in detail["loc"] if part != "[key]"))
    if detail["type"] == "extra_forbidden":
        known = _list_keys(kind, detail["loc"][:-1])
        hint = _find_home(kind, detail["loc"]) or suggest(str(path[-1]), known, _OTHER_NAMES)
        hint = hint or f"; known are {', '.join(known)}"
        diagnostics.add(path, f"unknown key{hint}", of_key=True)
    else:
        is_shown = shows_values and detail["type"] != "missing"
        diagnostics.add(path, _describe(detail), detail["input"] if is_shown else None)


def _find_home(kind: type[BaseModel], location: Sequence[int | str]) -> str:
    """A hint for a key of a route at the top of a file or in its `defaults`; empty for any other key."""
    key, *others = map(str, location)
    if others or kind not in (FileModel, DefaultsModel) or key not in _list_keys(RouteModel, ()):
        return ""
    return f"; `{key}` is a key of a route" + (" or of `defaults`" if key in _list_keys(DefaultsModel, ()) else "")


def _find_meant(kind: type[BaseModel], detail: ErrorDetails) -> tuple[int | str, ...] | None:
    """The path of the key that was probably intended, if the fault is an unknown key with a similar name."""
    if detail["type"] != "extra_forbidden":
        return None
    *location, word = detail["loc"]
    close = find_close(str(word), _list_keys(kind, location), _OTHER_NAMES)
    return (*location, close) if close else None


def _describe(detail: ErrorDetails) -> str:
    if detail["type"] == "literal_error":
        expected = str(detail.get("ctx", {}).get("expected", ""))
        choices = [choice.strip("' ") for choice in expected.replace(" or ", ",").split(",")]
        return f"must be {expected}{suggest(str(detail['input']), choices)}"
    if detail["type"] in _BOUNDS:
        return _BOUNDS[detail["type"]].format(**detail.get("ctx", {}))
    return _WORDS.get(detail["type"], detail["msg"].removeprefix("Value error, "))


def _list_keys(kind: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    """The keys that are allowed at this place of a mapping."""
    inner: dict[object, type[BaseModel]] = {
        "params": ParameterModel,
        "reply": ReplyModel,
        "replies": ManyRepliesModel,
        "cors": CorsModel,
        "discover": DiscoverModel,
        "headers": HeaderModel,
        "statuses": StatusModel,
        "contact": ContactModel,
        "license": LicenseModel,
        "servers": ServerModel,
        "tags": TagModel,
        "auth": AuthRulesModel,
        "keys": KeyModel,
        "rate_limits": LimitModel,
        "signature": SignatureModel,
    }
    for part in location:
        kind = inner.get(part, kind)
    return [field.alias or name for name, field in kind.model_fields.items()]
