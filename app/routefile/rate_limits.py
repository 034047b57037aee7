"""`rate_limits` and `rate_limit` in a route file: their keys and their meaning. The names are those of Traefik."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from ..edge.buckets import Limit
from ..edge.rate_limit import Counter, RateLimit
from ..formats.schemas import Json
from ..formats.words import suggest
from .auth import AuthRulesModel
from .names import OPEN, is_plain
from .strict import StrictModel, check_with
from .types import LongDuration, read_list

MOST = 1_000_000  # requests each period, or at once
LONGEST = 24 * 60 * 60  # seconds

_CLAIM = "claim:"
_KINDS = ("ip", "key", "route")
_BEFORE_AUTH = ("ip", "route")
_FIRST = Limit("-", 1, 1.0, 1, "route")
_UNSAID: Any = None


def _check_name(name: str) -> str:
    if not is_plain(name) or name == OPEN:
        raise ValueError("the name of a limit is 1 to 64 of letters, digits, `.`, `_` and `-`, and not `none`")
    return name


def _check_period(seconds: float) -> float:
    if not 0 < seconds <= LONGEST:
        raise ValueError("must be a duration of at most a day, such as 1s, 1m or 1h")
    return seconds


def _check_by(text: str) -> None:
    if text in _KINDS or (text.startswith(_CLAIM) and 0 < len(text) - len(_CLAIM) <= 128 and text.isprintable()):
        return
    raise ValueError(f"must be `ip`, `key`, `route`, or a claim such as `claim:sub`{suggest(text, _KINDS)}")


LimitName = Annotated[str, AfterValidator(_check_name)]
_Amount = Annotated[int, Field(ge=1, le=MOST)]
_Period = Annotated[LongDuration, AfterValidator(_check_period)]
_By = Annotated[
    str,
    check_with(_check_by),
    WithJsonSchema({"type": "string", "pattern": "^(ip|key|route|claim:.{1,128})$", "examples": ["ip", "claim:sub"]}),
]


class LimitModel(StrictModel):
    """How many requests are allowed. A token bucket counts them."""

    average: _Amount = Field(description="Requests each `period`, in the long run.")
    period: _Period = Field(1.0, description="The time for `average`, up to a day, such as `1m` or `1h`.")
    burst: _Amount = Field(_UNSAID, description="Requests at once, after a long enough pause. Default: `average`.")
    by: _By = Field(
        "ip",
        description="Which requests count together. `ip`: requests from one address, or from one /64 for IPv6. `key`: "
        "requests of one caller. `claim:NAME`: requests with the same value of a claim. `route`: all requests to a "
        "route.",
    )


RateLimits = Annotated[
    list[str],
    Field(min_length=1),
    BeforeValidator(read_list),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]}),
]


def make_counters(declared: Json) -> dict[str, Counter]:
    """The counters of valid limits, by name. `declared` is `rate_limits` at the top of a file."""
    models = {n: LimitModel.model_validate(raw) for n, raw in declared.items()} if isinstance(declared, dict) else {}
    return {name: Counter(_to_limit(name, model)) for name, model in models.items()}


def fill_counters(counters: dict[str, Counter], declared: Json) -> None:
    """Add a placeholder for each limit that is wrong, so that routes that name it get no second fault."""
    for name in declared if isinstance(declared, dict) else ():
        counters.setdefault(str(name), Counter(_FIRST))


def _to_limit(name: str, model: LimitModel) -> Limit:
    burst = model.average if model.burst is None else model.burst
    return Limit(name, model.average, model.period, burst, model.by)


def make_rate_limits(
    names: Sequence[str], counters: Mapping[str, Counter], *, route: str, before_auth: bool
) -> Iterator[RateLimit]:
    """The limits of a route that come before `auth` (by address or by route), or else those that come after it."""
    for name in names:
        if name != OPEN and (counters[name].limit.kind in _BEFORE_AUTH) == before_auth:
            yield RateLimit(counters[name], route=route)


def find_limit_faults(
    names: Sequence[str] | None, counters: Mapping[str, Counter], auth: AuthRulesModel | None
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Faults of `rate_limit` of a route: the key path below `rate_limit`, and a text. `auth` has the rules of the same
    route."""
    names = names or ()
    if OPEN in names:
        if len(names) > 1:
            yield (), "`none` means no limit: it can't be combined with a limit"
        return
    for index, name in enumerate(names):
        if name not in counters:
            hint = suggest(name, counters) or (
                f"; known are {', '.join(counters)}" if counters else "; the file has no limits"
            )
            yield (index,), f"no limit of this name is under `rate_limits`{hint}"
        elif name in names[:index]:
            yield (index,), "is listed twice"
        elif counters[name].limit.kind not in _BEFORE_AUTH and (auth is None or OPEN in auth.any):
            by = counters[name].limit.by
            yield (
                (index,),
                f"this limit is `by: {by}`, and everybody may call this route: it needs `auth` with a scheme",
            )
