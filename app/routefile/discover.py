"""`discover` of a route file: routes of services that describe themselves on NATS (ADR-32)."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter, ValidationError, WithJsonSchema

from ..formats.words import SERVICE_NAME
from ..routing.paths import parse_prefix
from ..routing.words import parse_subject
from .auth import Auth, AuthRulesModel
from .names import OPEN
from .strict import StrictModel, check_with
from .types import LongDuration, read_list

FORGET_AFTER = 60.0  # seconds

_AUTH: TypeAdapter[AuthRulesModel] = TypeAdapter(Auth)
_UNSAID: Any = None


def _check_name(name: str) -> str:
    if not SERVICE_NAME.fullmatch(name):
        raise ValueError("the name of a service has letters, digits, `_` and `-`")
    return name


def _read_names(value: object) -> object:
    """A list of names. A text may have several, with commas between."""
    return [name.strip() for name in value.split(",")] if isinstance(value, str) else value


class DiscoverModel(StrictModel):
    """Services whose routes come from what they say about themselves."""

    services: Annotated[
        list[Annotated[str, AfterValidator(_check_name)]],
        BeforeValidator(_read_names),
        Field(min_length=1),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
    ] = Field(description="The names of the services.")
    prefix: Annotated[str, check_with(parse_prefix)] | None = Field(
        None, description="The beginning of the paths of these services: `/v1`."
    )
    auth: Auth = Field(
        _UNSAID,
        description="Who may call their routes, as `auth` of a route. A service can ask for more, and not for less. "
        "Default: `auth` of `defaults`.",
    )
    subjects: Annotated[
        list[Annotated[str, check_with(parse_subject)]],
        BeforeValidator(read_list),
        WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
    ] = Field(
        [],
        description="The subjects that their routes may go to, one or a list, such as `orders.>`. Default: all that do "
        "not begin with `$` or `_`.",
    )
    nats: str | None = Field(
        None,
        description="The NATS cluster or account that has these services, as `nats` of a route. Default: `nats` of "
        "`defaults`, else `main`.",
    )
    forget_after: LongDuration = Field(
        FORGET_AFTER,
        description="How long a service may be silent until its routes go. Default: `1m`.",
    )


def read_auth(value: object) -> AuthRulesModel | None:
    """The rules; None if they are wrong, which is reported elsewhere."""
    try:
        return _AUTH.validate_python(value)
    except ValidationError:
        return None


def read_discover(value: object) -> object:
    """The mapping; names alone are its `services`."""
    return {"services": value} if isinstance(value, str | list) else value


Discover = Annotated[
    DiscoverModel,
    BeforeValidator(read_discover),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                DiscoverModel.model_json_schema(by_alias=True),
            ]
        }
    ),
]


def choose_auth(own: AuthRulesModel | None, floor: AuthRulesModel | None) -> AuthRulesModel | None:
    """The `auth` of a route of a service: what the service asks for, if that is at least `floor`. Raises ValueError if
    it is less."""
    if own is None or floor is None or floor.any == [OPEN]:
        return own or floor
    has_less = not (
        set(own.any) <= set(floor.any)
        and set(own.scopes) >= set(floor.scopes)
        and all(own.claims.get(name) == value for name, value in floor.claims.items())
    )
    if has_less:
        raise ValueError("the service asks for less than `auth` of the route file")
    return own


def is_allowed(subject: str, patterns: list[str]) -> bool:
    """Whether all subjects of this template are among those of one of the patterns, if there are any."""
    return not patterns or any(_covers(pattern.split("."), subject.split(".")) for pattern in patterns)


def _covers(pattern: list[str], tokens: list[str]) -> bool:
    if pattern[-1] == ">":
        return len(tokens) >= len(pattern) and _covers(pattern[:-1], tokens[: len(pattern) - 1])
    if len(pattern) != len(tokens) or tokens[-1].endswith("...}"):
        return False
    return all(wanted in ("*", own) for wanted, own in zip(pattern, tokens, strict=True))
