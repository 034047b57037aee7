"""`cors` in a route file: its keys and their meaning. The names are those of Starlette's CORSMiddleware."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from ..edge.cors import ANY, Cors, CorsRules, check_origin, check_pattern, takes_any_origin
from ..edge.policy import Policy
from ..formats.fields import is_token
from ..formats.schemas import Json
from ..formats.units import parse_duration
from ..routing.routes import Route
from .strict import StrictModel, check_with
from .types import read_list

NONE = "none"
_UNSAID: Any = None
MAX_AGE = 24 * 60 * 60  # seconds; no browser remembers a preflight for longer

_OPEN = ("allow_origins", "allow_methods", "allow_headers", "expose_headers")


def _check_header(name: str) -> None:
    if not is_token(name):
        raise ValueError("must be the name of a header")


def _read_age(value: object) -> object:
    if isinstance(value, str):
        value = int(parse_duration(value))
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_AGE:
        raise ValueError("must be a duration such as 10m, or a number of seconds, of at most a day")
    return value


def _list_of(item: dict[str, Json], **more: Json) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [item, {"type": "array", "items": item, **more}]})


_METHODS: dict[str, Json] = {"enum": ["GET", "POST", "PUT", "PATCH", "DELETE", ANY]}
_ORIGIN: dict[str, Json] = {"type": "string", "examples": ["https://app.example.com", "http://localhost:5173", ANY]}

_Origins = Annotated[
    list[Annotated[str, check_with(check_origin)]],
    Field(min_length=1),
    BeforeValidator(read_list),
    _list_of(_ORIGIN, minItems=1),
]
_Methods = Annotated[
    list[Literal["GET", "POST", "PUT", "PATCH", "DELETE", "*"]],
    Field(min_length=1),
    BeforeValidator(read_list),
    _list_of(_METHODS, minItems=1),
]
_Headers = Annotated[
    list[Annotated[str, check_with(_check_header)]], BeforeValidator(read_list), _list_of({"type": "string"})
]
_Age = Annotated[
    int,
    BeforeValidator(_read_age),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": MAX_AGE},
                {"type": "string", "pattern": r"^\d{1,9}(\.\d{1,6})?(ms|s|m)$"},
            ],
            "examples": [600, "10m"],
        }
    ),
]


class CorsModel(StrictModel):
    """Which pages of other origins may call and read the answers."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["allow_origins"]}, {"required": ["allow_origin_regex"]}]}
    )

    # Null is an error: a list whose lines are all comments must not allow everything.
    allow_origins: _Origins = Field(
        _UNSAID, description="The origins of the pages, one or a list, such as `https://app.example.com`; `*` for all."
    )
    allow_origin_regex: Annotated[str, check_with(check_pattern)] = Field(
        _UNSAID,
        description="A regular expression for the whole origin, without look-around and back-references. It adds to "
        "`allow_origins`.",
    )
    allow_methods: _Methods = Field(
        _UNSAID,
        description="The methods that pages may use, one or a list, out of the methods that the routes of a path have. "
        "Default: all of these.",
    )
    allow_headers: _Headers = Field(
        _UNSAID,
        description="The request headers that pages may send, one or a list; `*` for all. Default: the headers that "
        "the routes read.",
    )
    expose_headers: _Headers = Field(
        _UNSAID,
        description="The response headers that pages may read, one or a list; `*` for all. Default: the headers that "
        "the route passes on or sets, and the gateway's own.",
    )
    allow_credentials: bool = Field(
        False, description="Whether browsers send cookies and client certificates along. Not with `*`."
    )
    max_age: _Age = Field(
        600, description="How long a browser may remember a preflight: seconds, or a duration such as `10m`."
    )

    @field_validator("allow_credentials")
    @classmethod
    def _check_credentials(cls, value: bool, info: ValidationInfo) -> bool:
        """`*` and credentials can't be together. Browsers do not read `*` as a wildcard then (Fetch, 3.2.5), and any
        site could act as its visitors."""
        for key in _OPEN if value else ():
            if ANY in (info.data.get(key) or ()):
                raise ValueError(f"can't go with `*` in {key}: any site could act as its visitors; list what you mean")
        rules = CorsRules(allow_origin_regex=info.data.get("allow_origin_regex"))
        if value and takes_any_origin(rules):
            raise ValueError("can't go with an allow_origin_regex for any host: any site could act as its visitors")
        return value

    @model_validator(mode="after")
    def _check_origins(self) -> Self:
        if not self.allow_origins and self.allow_origin_regex is None:
            raise ValueError(f"must have `allow_origins` or `allow_origin_regex`; `cors: {NONE}` allows nobody")
        return self


NO_CORS: Any = None
"""The default of `cors`. In a file null is an error: it is a mapping whose lines are all comments."""


def _read(value: object) -> object:
    """The mapping, or None for the word `none`. Raises ValueError for anything else."""
    if value == NONE:
        return None
    if not isinstance(value, dict):
        raise ValueError(f"must be a mapping, or `{NONE}`")
    return value


def _add_word(schema: dict[str, Any]) -> None:
    schema["anyOf"] = [{"const": NONE} if kind == {"type": "null"} else kind for kind in schema["anyOf"]]


RouteCors = Annotated[CorsModel | None, BeforeValidator(_read), Field(json_schema_extra=_add_word)]


def make_cors(model: CorsModel | None, *answers_with: Iterable[str]) -> list[Policy]:
    """The CORS policy of a route, as a list: empty without a model. `answers_with` has the names of the headers of its
    answers."""
    return [Cors(to_rules(model), itertools.chain(*answers_with))] if model else []


def find_open(declared: Json, routes: Iterable[Route]) -> Iterator[str]:
    """One line for each `cors` that allows pages of any origin: that at the top of the file, and those of routes."""
    of_all = read_cors(declared)
    if of_all is not None and takes_any_origin(of_all.rules):
        yield "cors: pages of any origin may call the routes, and read the gateway's own pages"
    names: dict[CorsRules, list[str]] = {}
    for route in routes:
        for policy in route.policies:
            if isinstance(policy, Cors) and not (of_all and policy.rules == of_all.rules):
                names.setdefault(policy.rules, []).append(route.name)
    for rules, found in names.items():
        if takes_any_origin(rules):
            others = f" and {len(found) - 1} more" if len(found) > 1 else ""
            yield f"route '{found[0]}'{others}: cors: pages of any origin may call"


def to_rules(model: CorsModel) -> CorsRules:
    """The rules that these keys declare, for requests and preflights."""
    return CorsRules(
        allow_origins=frozenset(model.allow_origins or ()),
        allow_origin_regex=model.allow_origin_regex,
        allow_methods=_to_tuple(model.allow_methods),
        allow_headers=_to_tuple(model.allow_headers),
        expose_headers=_to_tuple(model.expose_headers),
        allow_credentials=model.allow_credentials,
        max_age=model.max_age,
    )


def read_cors(declared: Json) -> Cors | None:
    """The CORS policy for answers without a route, from the valid `cors` at the top of a file; None without one."""
    return None if declared is None else Cors(to_rules(CorsModel.model_validate(declared)))


def _to_tuple(names: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if names is None else tuple(names)
